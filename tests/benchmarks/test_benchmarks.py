"""The benchmarks run, and their report comes out. What they measure is nobody's business here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from .docs import heading, page
from .pythons import import_round
from .report import work_table
from .results import Player, Results, Round, Series, judge
from .works import WORKS

PROGRAM: Final = Path(__file__).with_name("run.py")
SECONDS: Final = 120


def results_of(work: str, **costs: list[float]) -> Results:
    """A run whose rounds have these costs."""
    results = Results({}, "")
    results.works[work] = {
        name: Series([Round(1, cpu, cpu, 0) for cpu in rounds]) for name, rounds in costs.items()
    }
    return results


def outcome(results: Results) -> str:
    return judge(results)[0].outcome


def test_a_target_is_reached_or_missed_where_all_the_evidence_says_so() -> None:
    assert outcome(results_of("big", trio_mcp=[1.1, 1.1, 1.1], floor=[1, 1, 1])) == "yes"
    assert outcome(results_of("big", trio_mcp=[2.0, 2.1, 2.2], floor=[1, 1, 1])) == "no"


def test_a_flattering_median_is_unclear() -> None:
    """The floor's median was disturbed, its fastest round was not."""
    assert outcome(results_of("big", trio_mcp=[3.0, 3.9, 4.0], floor=[1.5, 4.6, 4.7])) == "unclear"


def test_one_late_cancellation_of_all_misses_the_target() -> None:
    results = results_of("cancel", trio_mcp=[1, 1, 1])
    for each, overshoot in zip(
        results.works["cancel"]["trio_mcp"].rounds, (0.001, 0.012, 0.001), strict=True
    ):
        each.overshoot = overshoot
    assert outcome(results) == "no"


@pytest.mark.parametrize("work", WORKS)
def test_every_works_table_has_the_peak_memory(work: str) -> None:
    results = results_of(work, trio_mcp=[1])
    results.players["trio_mcp"] = Player("trio_mcp", "", {})
    results.works[work]["trio_mcp"].rounds[0].peak = 7 * 2**20
    results.works[work]["trio_mcp"].rounds[0].held = 1
    heading, row = work_table(results, work)
    assert dict(zip(heading, row, strict=True))["peak memory"] == "7 MiB"


def test_an_import_has_a_peak_of_memory() -> None:
    assert import_round("trio_mcp", sys.executable).peak > 10 * 2**20


def test_a_series_that_broke_off_has_reached_nothing() -> None:
    results = results_of("in-flight", trio_mcp=[1, 1])
    results.works["in-flight"]["trio_mcp"].error = "NameError"
    assert outcome(results) == "failed"


def test_what_was_not_compared_is_not_judged() -> None:
    assert outcome(results_of("big", trio_mcp=[1, 1])) == "not measured"


@pytest.mark.real
def test_a_short_run_gives_a_report_that_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    works = ["sequential", "progress", "cancel"]
    command = [sys.executable, str(PROGRAM), "--quick", "--rounds", "1", "--only", ",".join(works), "--json"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("floor", "bare httpx2 on Trio", "trio_mcp", "mcp.Client on Trio", "mcp.Client on asyncio"):
        assert len(re.findall(rf"^  {name}  ", done.stdout, re.MULTILINE)) == 1 + len(works)
    written = json.loads(file.read_text("utf-8"))
    results = Results.from_json(written)
    assert results.as_json() == written
    assert not results.changed
    assert set(results.absent) == {"fastmcp"}
    assert not any(series.error for by_name in results.works.values() for series in by_name.values())
    for work in works:
        assert f"### {heading(work)}\n" in page(results)


def test_a_work_that_does_not_exist_is_wrong_usage() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--only", "nothing"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no work nothing" in done.stderr
