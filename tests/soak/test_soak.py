"""Short runs of the soak and the load: their books agree. How fast it was is nobody's business here."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from .ledger import Outcome, audit
from .load import run as run_loads
from .memory import soak_in_memory
from .run import report, soak
from .virtual import ERAS, simulate_week

PROGRAM: Final = Path(__file__).with_name("run.py")
both_eras = pytest.mark.parametrize("era", ERAS)


def test_books_that_agree_are_sound() -> None:
    found = audit("rrec", {0: 1, 1: 1, 2: 1})
    assert found.sound
    assert (found.calls, found.carried_out, found.unknown) == (4, 3, 1)
    assert str(found).startswith(
        "4 calls: 2 result, 1 error, 1 cancelled; the server has carried out 3, 1 of "
    )


@pytest.mark.parametrize(
    ("outcomes", "ledger"),
    [
        ("r", {}),  # a result of nothing
        ("r", {0: 2}),
        ("c", {0: 2}),
        *((letter.value, {0: 1}) for letter in Outcome if letter.value in "wshd."),
    ],
)
def test_books_that_do_not_agree_are_found_out(outcomes: str, ledger: dict[int, int]) -> None:
    assert not audit(outcomes, ledger).sound


@both_eras
def test_in_memory_each_call_ends_once_and_nothing_grows(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest keeps what is logged, which would be counted.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    figures = soak_in_memory(era, calls=600, connections=20)
    assert figures.audit.sound, figures
    assert figures.audit.outcomes[Outcome.ERROR] > 10
    assert figures.audit.outcomes[Outcome.CANCELLED] > 5
    assert figures.restarts > 0
    assert figures.left == (0, 0)
    assert figures.grown < 100_000


@both_eras
def test_days_with_restarts_and_tokens_pass_with_one_login(era: str) -> None:
    week = simulate_week(era, days=2)
    assert week.sound, week
    assert week.restarts >= 1
    assert week.refreshes > 40
    assert week.reinitializations == (week.restarts if era == "legacy" else 0)


@pytest.mark.real
@both_eras
def test_over_sockets_each_call_ends_once_and_nothing_is_left(era: str) -> None:
    figures = soak("trio_mcp", calls=2000, connections=40, era=era, between=500, seconds=100)
    assert figures.audit.sound, report(figures)
    assert figures.restarts > 0
    assert figures.growth["descriptors"] <= 0
    assert figures.growth["tasks"] <= 0
    assert sum(figures.faults.values()) > 50


@pytest.mark.real
def test_a_load_of_connectors_and_of_calls_in_flight_is_carried() -> None:
    for load in run_loads(connectors=30, calls=3, in_flight=200, servers=2):
        assert load.sound, load


def test_a_wrong_number_of_calls_is_wrong_usage() -> None:
    command = [sys.executable, str(PROGRAM), "--calls", "7", "--connections", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "a multiple of it" in done.stderr
