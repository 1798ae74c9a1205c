"""A cell: one fault in one phase, played alone in a world of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

import trio
import trio.testing

from trio_mcp.testing import MemoryNetwork, Simulation

from .oracle import Watch, count_tasks
from .outcomes import OK, Attempt, Outcome

__all__ = ["GOODBYE", "LATE", "Cell", "Play", "Played", "run"]

GOODBYE: Final = 1.0
LATE: Final = 0.75
"""Of the time that an exchange takes: the server is at work then, or its answer is on the way."""

_NEVER_MIND: Final = 1e-6
_TIME_LIMIT: Final = 3600.0
_SETTLING: Final = 1.0


@dataclass
class Played:
    """How a cell went.

    Attributes:
        middle: when its caller would leave in the middle, in virtual seconds from the act's beginning.
        deviations: what should have been otherwise, in words.
    """

    middle: float = 0.0
    deviations: list[str] = field(default_factory=list)

    def check(self, what: str, made: Attempt, expected: Outcome = OK) -> None:
        """Note how `made` deviates from what was expected."""
        self.deviations += [f"{what}: {each}" for each in made.deviations(expected)]

    def check_act(
        self, made: Attempt, expected: Outcome, leave_after: float | None, grace: float = 0.0
    ) -> None:
        """Note how the act that was struck deviates: from what was expected or, if its caller was to leave in
        its middle, from leaving at once, or with `grace` to say goodbye in.
        """
        self.middle = made.seconds * LATE
        if leave_after is None:
            self.check("the act", made, expected)
        elif not made.left:
            self.deviations.append(f"the act ended by {made.error!r} before its caller could leave")
        elif made.seconds > leave_after + grace + _NEVER_MIND:
            self.deviations.append(f"its caller got away after {made.seconds - leave_after:g} s only")

    def check_closing(self, began: float) -> None:
        """Note it if leaving a connector's block, since `began`, took too long."""
        if (took := trio.current_time() - began) > GOODBYE + _NEVER_MIND:
            self.deviations.append(f"closing took {took:g} s")


Play: TypeAlias = Callable[[MemoryNetwork, trio.Nursery, Watch, "float | None"], Awaitable[Played]]
"""Plays a cell in this network, with its servers in this nursery; the caller leaves after so many seconds."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        server: what it is that misbehaves: "modern", "legacy", or the transport that is not HTTP.
        phase: where.
        fault: what it does.
        expected: what comes of the act that is struck.
        play: plays it.
    """

    server: str
    phase: str
    fault: str
    expected: Outcome
    play: Play

    @property
    def name(self) -> str:
        return f"{self.server} | {self.phase} | {self.fault}"


def run(cell: Cell, *, leave_after: float | None = None, seed: int = 0) -> Played:
    """Play a cell on a mock clock, and see whether anything is left of it.

    Args:
        cell: it.
        leave_after: when the caller of the act that is struck leaves, in virtual seconds; None for never.
        seed: settles the order of tasks.
    """
    watch = Watch()
    simulation = Simulation(seed, trace=False, time_limit=_TIME_LIMIT)
    with watch.on():
        played = simulation.run(partial(_play, cell, watch, leave_after))
    played.deviations += watch.deviations()
    return played


async def _play(cell: Cell, watch: Watch, leave_after: float | None, simulation: Simulation) -> Played:
    network = simulation.network
    async with trio.open_nursery() as servers:
        before = count_tasks(servers)
        played = await cell.play(network, servers, watch, leave_after)
        network.link().heal()
        await trio.sleep(_SETTLING)
        await trio.testing.wait_all_tasks_blocked()
        if (left := count_tasks(servers) - before) > 0:
            played.deviations.append(f"{left} tasks are left")
        if network.connections:
            played.deviations.append(f"connections are left: {network.connections}")
        servers.cancel_scope.cancel(reason="the cell has ended")
    return played
