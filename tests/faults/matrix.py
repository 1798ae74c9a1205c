"""The cells: every phase with every fault that it can have, in each era; and how one is run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
import trio.testing

from trio_mcp.testing import Simulation

from .faults import Fault
from .oracle import Watch, count_tasks
from .outcomes import Outcome
from .phases import PHASES, Phase, Played
from .server import Era
from .world import World

__all__ = ["CELLS", "Cell", "run"]

_TIME_LIMIT: Final = 3600.0


@dataclass(frozen=True)
class Cell:
    """A fault in a phase, with a server of one era."""

    era: Era
    phase: Phase
    fault: Fault

    @property
    def name(self) -> str:
        return f"{self.era}-{self.phase.name}-{self.fault.name}"

    @property
    def expected(self) -> Outcome:
        """What comes of it for the act that is struck."""
        return self.fault.outcome(self.era, self.phase.name, self.phase.expected(self.fault))

    async def play(self, simulation: Simulation, watch: Watch, leave_after: float | None) -> Played:
        async with trio.open_nursery() as nursery:
            world = World(self.era, simulation.network, nursery, watch, oauth=self.phase.oauth)
            await trio.testing.wait_all_tasks_blocked()
            tasks = count_tasks()
            played = await self.phase.play(world, self.fault, self.expected, leave_after)
            await world.settle()
            if (left := count_tasks() - tasks) > 0:
                played.deviations.append(f"{left} tasks are left")
            if simulation.network.connections:
                played.deviations.append(f"connections are left: {simulation.network.connections}")
            nursery.cancel_scope.cancel(reason="the cell has ended")
        return played


CELLS: Final = [Cell(era, phase, fault) for phase in PHASES for era in phase.eras for fault in phase.faults]


def run(cell: Cell, *, leave_after: float | None = None, seed: int = 0) -> Played:
    """Run a cell, alone in its world, on a mock clock.

    Args:
        cell: it.
        leave_after: when the caller of the act that is struck leaves, in virtual seconds; None for never.
        seed: settles the order of tasks.
    """
    watch = Watch()
    simulation = Simulation(seed, trace=False, time_limit=_TIME_LIMIT)
    with watch.on():
        played = simulation.run(partial(_main, cell, watch, leave_after))
    played.deviations += watch.deviations()
    return played


async def _main(cell: Cell, watch: Watch, leave_after: float | None, simulation: Simulation) -> Played:
    return await cell.play(simulation, watch, leave_after)
