"""The comparison's page says of trio_mcp what is so, and its table can be written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import trio

from tests.comparison.run import MARKS, PAGE, SENTENCES, Column, table
from tests.comparison.server import serve
from tests.comparison.worker import CLIENTS, SCENARIOS
from tests.tables import cells

WORKER = Path(__file__).with_name("worker.py")


@pytest.mark.real
async def test_trio_mcp_does_what_its_column_says(nursery: trio.Nursery) -> None:
    url = await nursery.start(serve)
    with trio.fail_after(60):
        done = await trio.run_process([sys.executable, str(WORKER), "trio_mcp", url], capture_stdout=True)
    found = json.loads(done.stdout)["found"]
    lines = PAGE.read_text("utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0].strip().splitlines()
    said = {row[0]: row[1] for row in map(cells, lines[2:])}
    assert said == {SENTENCES[scenario]: outcome for scenario, outcome in found.items()}


def test_a_table_has_a_row_for_each_scenario_and_a_column_for_each_client() -> None:
    columns = [
        Column(client, "python", "1.0", {scenario: f"{client} {scenario}" for scenario in SCENARIOS})
        for client in CLIENTS
    ]
    head, _, *rows = table(columns).splitlines()
    assert cells(head)[1:] == [f"{client} 1.0" for client in CLIENTS]
    assert [cells(row) for row in rows] == [
        [sentence, *(f"{client} {scenario}" for client in CLIENTS)]
        for scenario, sentence in SENTENCES.items()
    ]
    assert SENTENCES.keys() == SCENARIOS.keys()
