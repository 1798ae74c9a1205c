"""What is measured, and what trio_mcp is to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .contenders import CONTENDERS

Figure = Literal["cpu", "overshoot", "failed"]
"""A figure of a series that a target is about."""

US: Final = "trio_mcp"
SDK: Final = "mcp-trio"
FLOOR: Final = "floor"
WIDE: Final = "trio_mcp-wide"

ECHO_TEXT: Final = "the answer to a small question"
BIG_BYTES: Final = 1_000_000
"""Of JSON; the text in it has fewer, because quotes are escaped."""
PROGRESS_COUNT: Final = 100
AT_A_TIME: Final = 50
IN_FLIGHT: Final = 1000
CANCEL_AFTER: Final = 0.02
"""Seconds that a call at the silent server is given."""


@dataclass(frozen=True)
class Target:
    """A figure of trio_mcp that is at most `limit`, or at most `limit` times that of another client."""

    limit: float
    against: str | None = None
    figure: Figure = "cpu"

    def __str__(self) -> str:
        match self.figure, self.against:
            case "failed", _:
                return "none fails"
            case "overshoot", _:
                return f"at most {self.limit * 1000:g} ms"
            case _, against:
                name = {SDK: "mcp.Client on Trio", FLOOR: "the floor"}[against or FLOOR]
                return f"at most {self.limit:g} x {name}"


@dataclass(frozen=True)
class Work:
    """One thing that is measured.

    Attributes:
        title: what it is.
        unit: what one operation is.
        fewest, most: the operations that a round may have; how many it has follows from the time that it
            is given.
        step: rounds have a multiple of this.
        targets: what trio_mcp is to reach.
        names: who takes part.
        fresh: whether each round has a process of its own.
    """

    title: str
    unit: str
    targets: Sequence[Target]
    fewest: int = 1
    most: int = 1
    step: int = 1
    names: Sequence[str] = tuple(name for name in CONTENDERS if name != WIDE)
    fresh: bool = False


_FIFTH: Final = (Target(0.2, SDK), Target(2.5, FLOOR))

WORKS: Final = {
    "sequential": Work("one call after the other, JSON answer", "call", _FIFTH, fewest=5, most=3000),
    "concurrent": Work(
        f"{AT_A_TIME} calls at a time", "call", _FIFTH, fewest=AT_A_TIME, most=3000, step=AT_A_TIME
    ),
    "progress": Work(
        "a call with 100 progress notifications and a callback",
        "call",
        (Target(0.125, SDK),),
        fewest=2,
        most=300,
    ),
    "big": Work("a JSON answer of 1 MB", "call", (Target(1.2, FLOOR),), fewest=2, most=300),
    "opening": Work(
        "opening and closing a connection", "connection", (Target(0.2, SDK),), fewest=2, most=1000
    ),
    "in-flight": Work(
        f"{IN_FLIGHT:,} calls in flight on one connector",
        "call",
        (Target(0, figure="failed"),),
        fewest=IN_FLIGHT,
        most=IN_FLIGHT,
        names=tuple(CONTENDERS),
        fresh=True,
    ),
    "import": Work(
        "importing the client",
        "import",
        (Target(0.6, SDK),),
        names=("httpx2", US, SDK, "fastmcp"),
    ),
    "cancel": Work(
        "cancelling a call at a silent server",
        "cancelled call",
        (Target(0.01, figure="overshoot"),),
        fewest=5,
        most=20,
    ),
}
