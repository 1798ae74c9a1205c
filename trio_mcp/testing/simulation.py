"""One seed, one run: everything that is left to chance in a Trio program follows from a number.

    async def main(simulation: Simulation) -> None:
        simulation.network.set_link(latency=0.05, jitter=0.05, reset_rate=0.01)
        ...

    def test_it_holds_however_tasks_interleave() -> None:
        explore(main)

Run again with the seed that failed, it goes the very same way, step by step.

The models are FoundationDB's simulation, Go's `testing/synctest` and tokio's turmoil.

What follows the seed: the order of Trio's tasks, virtual time, and what `Simulation.network` and
`Simulation.rng` draw. What does not, and must stay out of a simulated run: threads, subprocesses and real
sockets; the `random` module and other clocks than Trio's; iterating over sets of objects, such as
`Nursery.child_tasks`, whose order depends on addresses; async generators that are left to the garbage
collector; TLS with an ECDSA key, whose signatures differ in length from one time to the next; with an RSA
key, traces are equal.

Trio itself cancels the scopes of one deadline, and the tasks of one scope, in an order that depends on
addresses. That shows only in the order in which abort functions (those given to
`trio.lowlevel.wait_task_rescheduled`) are called: Trio's own do not care, and the tasks run in an order that
follows the seed.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, TypeVar, final

import trio
from trio.testing import MockClock

from .memory_network import MemoryNetwork
from .steps import Steps
from .trace import Trace

__all__ = ["SEED_VARIABLE", "Simulation", "explore", "seeded"]

T = TypeVar("T")

SEED_VARIABLE: Final = "TRIO_MCP_SEED"
"""The environment variable that makes `explore` run one seed only."""

_NOTED: Final = 20
"""Entries of the trace in the note on a failure."""


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Let the order in which Trio runs tasks follow `seed`, in the runs that are made inside this block.

    What was before is restored at the end. Blocks can be nested. They hold for the whole process.

    Raises:
        RuntimeError: this release of Trio has other internals.
    """
    # The one place that touches private names of Trio, which Hypothesis's plugin for Trio sets as well:
    # `_ALLOW_DETERMINISTIC_SCHEDULING`, with which the loop sorts each batch of tasks by age and shuffles it,
    # and `_r`, the generator that it shuffles with.
    import trio._core._run as trio_run

    internals: Any = trio_run
    flag, generator = "_ALLOW_DETERMINISTIC_SCHEDULING", getattr(trio_run, "_r", None)
    if not hasattr(internals, flag) or not isinstance(generator, random.Random):
        raise RuntimeError(
            f"trio {trio.__version__} cannot be seeded: its module trio._core._run has no {flag}, or no _r "
            "that is a random.Random. Use a release of trio that trio_mcp.testing knows, or report this."
        )
    allowed, state = getattr(internals, flag), generator.getstate()
    setattr(internals, flag, True)
    generator.seed(f"{seed} scheduling")
    try:
        yield
    finally:
        setattr(internals, flag, allowed)
        generator.setstate(state)


@final
class Simulation:
    """One run that follows from a seed.

    Args:
        seed: any integer.
        trace: whether tasks and the network's events are recorded, which takes a few microseconds each;
            notes always are.
        time_limit: seconds of virtual time that the run may take. A deadlock takes them all, at once.
        cancel_at: the step of Trio's tasks within its `cancellable` blocks at which they are cancelled, from
            0; None for never. See `cancel_everywhere`.

    Attributes:
        rng: for the test's own draws. It, the network and the scheduling do not shift one another.
        network: a network whose jitter and faults follow from the seed.
        trace: what happened, also after the run.
    """

    def __init__(
        self, seed: int, *, trace: bool = True, time_limit: float = 86400.0, cancel_at: int | None = None
    ) -> None:
        self.seed: Final = seed
        self.cancel_at: Final = cancel_at
        self.rng: Final = random.Random(f"{seed} test")
        self.network: Final = MemoryNetwork(random.Random(f"{seed} network"))
        self.trace: Final = Trace()
        self._time_limit = time_limit
        self._steps = Steps(cancel_at)
        self._instruments: list[trio.abc.Instrument] = [self.trace] if trace else []
        if cancel_at is not None:
            self._instruments.append(self._steps)
        if trace:
            self.network.on_event = self.trace.note
        self._started = False
        self._in_main = False

    def __repr__(self) -> str:
        return f"<Simulation of seed {self.seed}: {self.trace!r}>"

    @property
    def cancelled_at(self) -> float | None:
        """When `cancel_at` was reached within a `cancellable` block, in virtual time; None: it was not."""
        return self._steps.reached

    @contextmanager
    def cancellable(self) -> Generator[trio.CancelScope]:
        """A block that is cancelled at the step `cancel_at`; gives its scope.

        There may be several, one after the other, through which the steps are counted.

        Raises:
            RuntimeError: it is within another one.
        """
        with trio.CancelScope() as scope, self._steps.counted(scope):
            yield scope

    def run(self, main: Callable[[Simulation], Awaitable[T]]) -> T:
        """`trio.run(main, simulation)` on a mock clock that begins at 0. Returns what `main` does.

        Raises:
            trio.TooSlowError: the time limit has passed: a deadlock, or work without an end.
            RuntimeError: it has run already (one simulation is one run), or a run is under way.
            TypeError: `main` is not an async function.

        What `main` raises comes out as it is, with a note that names the seed and says what happened last.
        """
        if self._started:
            raise RuntimeError(f"the simulation of seed {self.seed} has run already: make another one")
        self._started = True
        clock = MockClock(autojump_threshold=0)
        try:
            with seeded(self.seed):
                return trio.run(self._bounded(main), clock=clock, instruments=self._instruments)
        except BaseException as exc:
            if not self._in_main:
                raise
            exc.add_note(self._how_to_replay())
            if latest := self.trace.entries[-_NOTED:]:
                exc.add_note("the latest of its trace:\n" + "\n".join(map(str, latest)))
            raise

    def _how_to_replay(self) -> str:
        if self.cancel_at is not None:
            arguments = f"{self.seed}, cancel_at={self.cancel_at}"
            how = "not cancelled before" if self.cancelled_at is None else "cancelled at"
            return f"{how} step {self.cancel_at}: replay it with Simulation({arguments}).run(...)"
        return (
            f"simulated with seed {self.seed}: replay it with Simulation({self.seed}).run(...), "
            f"or with {SEED_VARIABLE}={self.seed} in the environment if `explore` found it"
        )

    def _bounded(self, main: Callable[[Simulation], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        # The trace calls the main task by the name of `main`.
        @functools.wraps(main)
        async def bounded() -> T:
            awaitable = main(self)
            if not isinstance(awaitable, Awaitable):
                raise TypeError(f"main must be an async function, and gave {awaitable!r:.100}")
            self._in_main = True
            with trio.move_on_after(self._time_limit):
                return await awaitable
            raise trio.TooSlowError(
                f"the simulation was not done after {self._time_limit} s of virtual time: is it a deadlock, "
                "or does it wait for a thread, which the mock clock does not see?"
            )

        return bounded


def explore(main: Callable[[Simulation], Awaitable[object]], seeds: Iterable[int] = range(100)) -> None:
    """Simulate `main` once for each seed, until one fails. Its failure is raised, and a note says the seed.

    With the environment variable TRIO_MCP_SEED set to a number, that seed alone is run, whatever `seeds` is,
    and recorded, which exploring is not: the end of its trace is noted on its failure. Under pytest,
    `--mcp-seed` sets it, whatever it was.

    Args:
        main: called with the `Simulation`. It keeps nothing from one run to the next.
        seeds: integers.

    Raises:
        ValueError: TRIO_MCP_SEED is not a number, or there are no seeds.
    """
    if chosen := os.environ.get(SEED_VARIABLE):
        try:
            seeds = [int(chosen)]
        except ValueError:
            raise ValueError(f"{SEED_VARIABLE} must be an integer, not {chosen!r}") from None
    seed = None
    for seed in seeds:
        Simulation(seed, trace=bool(chosen)).run(main)
    if seed is None:
        raise ValueError("there are no seeds to explore")
