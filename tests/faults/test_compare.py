"""The comparison's judge, and its cases; the comparison itself is run by hand (docs/reliability.md)."""

from __future__ import annotations

import pytest

from .compare import VERDICTS, judge
from .compare_server import CASES, Case
from .faults import silence


@pytest.mark.parametrize(
    ("is_right", "status", "call", "text", "alive", "verdict"),
    [
        (True, None, "ok", "", True, "right"),
        (True, None, "error", "", True, "refused"),
        (False, None, "error", "", True, "right"),
        (False, None, "ok", "", True, "accepted"),
        (False, None, "timeout", "", True, "waited"),
        (False, None, "error", "", False, "dead"),
        (False, 503, "error", "HTTP 503", True, "right"),
        (False, 503, "error", "on port 50300", True, "hidden"),
    ],
)
def test_what_is_seen_has_a_verdict(
    is_right: bool, status: int | None, call: str, text: str, alive: bool, verdict: str
) -> None:
    case = Case("x", "fault-0", is_right, status, silence)
    assert judge(case, {"call": call, "text": text, "alive": alive})[0] == verdict
    assert verdict in VERDICTS


def test_each_case_is_called_by_a_tool_of_its_own() -> None:
    assert len({case.tool for case in CASES}) == len({case.name for case in CASES}) == len(CASES)
