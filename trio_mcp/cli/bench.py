"""`trio-mcp bench`: how many calls a second, and how long they take."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import trio
import typer

from ..errors import ConnectorError, ToolFailed
from ..text import one_line
from .arguments import parse_arguments
from .connecting import Connecting
from .exits import DONE, FAILED
from .listings import print_rows
from .output import ProgressView, block_text, print_json, print_text
from .session import Session
from .tools import AsJson, Words, prepared

__all__ = ["Measured", "bench", "measure"]

_MAX_CALLS: Final = 1_000_000
_MAX_CONCURRENCY: Final = 1_000
_MAX_SECONDS: Final = 3_600
_SHARES: Final = (50, 90, 99)
_REPORT_EVERY: Final = 0.2


async def bench(
    where: Connecting,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The tool; else it is the listing of all tools.")
    ] = None,
    arguments: Words = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, max=_MAX_CONCURRENCY, help="Calls at a time.")
    ] = 1,
    calls: Annotated[
        int, typer.Option("--calls", "-n", min=1, max=_MAX_CALLS, help="Stop after so many calls.")
    ] = 1000,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.001, max=_MAX_SECONDS, help="Stop when this is over.")
    ] = 10,
    json: AsJson = False,
) -> int:
    """Call again and again, and tell how many calls a second that makes, and how long they take.

    It calls the tool for real. One call is made before, and not counted. The exit code is 1 if a call failed.
    """
    words = parse_arguments(arguments or ())
    async with where.open(closed="this is a benchmark") as session:
        once = await _what(session, name, words)
        await once()
        with ProgressView(session.notes) as view:
            shown = view if session.notes.is_terminal else None
            measured = await measure(once, concurrency=concurrency, calls=calls, seconds=seconds, view=shown)
    if json:
        print_json(session.console, measured.as_object())
    else:
        rows = [(key, str(value)) for key, value in measured.as_object().items() if key != "failures"]
        print_rows(session.console, ("measured", "value"), rows)
        for reason, count in measured.failures.most_common():
            print_text(session.notes, one_line(f"failed {count} times: {reason}"))
    return FAILED if measured.failures else DONE


async def _what(session: Session, name: str | None, words: Sequence[Any]) -> Callable[[], Awaitable[object]]:
    c = session.connector
    if name is None:
        return lambda: c.list_tools_page(cache="bypass")
    values = await prepared(session, name, words)

    async def once() -> None:
        result = await c.call_tool(name, values)
        if result.is_error:
            raise ToolFailed(f"the tool failed: {' '.join(map(block_text, result.content))[:200]}", result)

    return once


@dataclass
class Measured:
    """What came of it.

    Attributes:
        elapsed: seconds in all.
        latencies: seconds of each call that succeeded.
        failures: how often calls failed, by the reason.
    """

    elapsed: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Calls that have ended."""
        return len(self.latencies) + self.failures.total()

    def percentile(self, share: float) -> float:
        """The seconds that `share` per cent of the calls took at most (nearest rank)."""
        return sorted(self.latencies)[max(0, math.ceil(share / 100 * len(self.latencies)) - 1)]

    def as_object(self) -> dict[str, Any]:
        """For people and machines."""
        found: dict[str, Any] = {
            "calls": self.count,
            "failed": self.failures.total(),
            "seconds": round(self.elapsed, 3),
            "calls per second": round(self.count / self.elapsed, 1) if self.elapsed else None,
        }
        if self.latencies:
            found["mean ms"] = round(sum(self.latencies) / len(self.latencies) * 1000, 3)
            for share in _SHARES:
                found[f"p{share} ms"] = round(self.percentile(share) * 1000, 3)
            found["max ms"] = round(max(self.latencies) * 1000, 3)
        found["failures"] = dict(self.failures)
        return found


async def measure(
    once: Callable[[], Awaitable[object]],
    *,
    concurrency: int,
    calls: int,
    seconds: float,
    view: ProgressView | None = None,
) -> Measured:
    """Do something again and again.

    Args:
        once: makes a call; what it raises of trio_mcp's errors is counted.
        concurrency: how many at a time.
        calls: how many at most; calls that are under way when the time is over do not count.
        seconds: how long at most.
        view: where the progress is shown.
    """
    measured, left, began = Measured(), calls, trio.current_time()

    async def caller() -> None:
        nonlocal left
        while left:
            left -= 1
            started = trio.current_time()
            try:
                await once()
            except ConnectorError as exc:
                measured.failures[str(exc)] += 1
            else:
                measured.latencies.append(trio.current_time() - started)

    async def show(view: ProgressView) -> None:
        while True:
            await trio.sleep(_REPORT_EVERY)
            await view.report(measured.count, calls, "calls")

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as showing:
            if view is not None:
                showing.start_soon(show, view)
            async with trio.open_nursery() as callers:
                for _ in range(min(concurrency, calls)):
                    callers.start_soon(caller)
            showing.cancel_scope.cancel(reason="all calls are made")
    measured.elapsed = trio.current_time() - began
    return measured
