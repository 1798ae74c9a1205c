"""Cancel a block at each step of Trio's scheduler, one run for each: no step may leave anything behind.

    async def main(simulation: Simulation) -> None:
        async with ScriptedServer(network=simulation.network) as server, server.connect() as c:
            with simulation.cancellable():
                await c.call_tool("x")
            await c.call_tool("x")  # the connection is as good as before

    def test_a_call_can_be_cancelled_at_any_time() -> None:
        cancel_everywhere(main)

Tests that cancel after a delay try a few moments of the many that there are. Here an instrument counts the
moments: those between any two steps of any tasks, the server's among them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .simulation import Simulation

__all__ = ["cancel_everywhere"]


def cancel_everywhere(
    main: Callable[[Simulation], Awaitable[object]], *, seed: int = 0, time_limit: float = 86400.0
) -> int:
    """Simulate `main` again and again, its `Simulation.cancellable` blocks cancelled ever one step later.

    It begins with step 0, before the block does anything, and ends with the first run in which the blocks end
    before they would be cancelled. The failure of a run is raised, and a note says the step.

    Args:
        main: called with the `Simulation`. It keeps nothing from one run to the next.
        seed: of all of the runs, so that each does the same as the one before until it is cancelled.
        time_limit: seconds of virtual time that each run may take.

    Returns:
        how many steps there were to be cancelled at.

    Raises:
        ValueError: `main` has no `with simulation.cancellable():`.
    """
    step = 0
    while True:
        simulation = Simulation(seed, trace=False, time_limit=time_limit, cancel_at=step)
        simulation.run(main)
        if simulation.cancelled_at is None:
            break
        step += 1
    if step == 0:
        raise ValueError("there is nothing to cancel: main has entered no simulation.cancellable() block")
    return step
