"""A block that is cancelled at each step of the scheduler."""

from __future__ import annotations

import pytest
import trio

from trio_mcp.testing import Simulation, cancel_everywhere


def test_each_step_is_cancelled_once_and_the_last_run_is_not() -> None:
    runs: list[list[int]] = []

    async def main(simulation: Simulation) -> None:
        done: list[int] = []
        runs.append(done)
        with simulation.cancellable():
            for number in range(4):
                await trio.lowlevel.checkpoint()
                done.append(number)

    assert cancel_everywhere(main) == 4 + 1
    # At its beginning, before each step, and not at all. Before a task's step it is woken already.
    assert [len(done) for done in runs] == [0, 0, 1, 2, 3, 4]


def test_the_steps_of_other_tasks_count_and_those_outside_of_the_block_do_not() -> None:
    async def idle(steps: int) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()

    async def main(simulation: Simulation) -> None:
        await idle(10)
        with simulation.cancellable():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(idle, 5)
                nursery.start_soon(idle, 5)
        await idle(10)

    assert 2 * 5 <= cancel_everywhere(main) <= 2 * 5 + 5


def test_what_is_left_behind_at_some_step_is_found_and_found_again() -> None:
    async def main(simulation: Simulation) -> None:
        held: list[str] = []
        with simulation.cancellable():
            held.append("it")
            await trio.lowlevel.checkpoint()
            held.append("more")  # a slip: between these two, nothing lets go
            await trio.sleep(1)
            try:
                await trio.sleep(1)
            finally:
                held.clear()
        if simulation.cancelled_at is not None:
            assert trio.current_time() == simulation.cancelled_at
            assert held != ["it", "more"], "left behind"

    with pytest.raises(AssertionError, match="left behind") as caught:
        cancel_everywhere(main)
    (note,) = caught.value.__notes__
    assert note == "cancelled at step 2: replay it with Simulation(0, cancel_at=2).run(...)"
    with pytest.raises(AssertionError, match="left behind"):
        Simulation(0, cancel_at=2).run(main)


def test_a_failure_that_was_not_cancelled_says_so() -> None:
    async def main(simulation: Simulation) -> None:
        with simulation.cancellable():
            await trio.lowlevel.checkpoint()
        if simulation.cancelled_at is None:
            raise KeyError

    with pytest.raises(KeyError) as caught:
        cancel_everywhere(main)
    assert caught.value.__notes__[0].startswith("not cancelled before step 2: ")


def test_blocks_follow_each_other_and_do_not_stand_within_each_other() -> None:
    async def twice(simulation: Simulation) -> None:
        for _ in range(2):
            with simulation.cancellable() as scope:
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            assert scope.cancel_called == (simulation.cancelled_at is not None) or not scope.cancel_called

    async def nested(simulation: Simulation) -> None:
        with simulation.cancellable(), simulation.cancellable():
            raise AssertionError

    assert cancel_everywhere(twice) == 4 + 1
    with pytest.raises(RuntimeError, match="within another one"):
        Simulation(0, cancel_at=1).run(nested)


def test_there_must_be_something_to_cancel() -> None:
    async def main(simulation: Simulation) -> None:
        pass

    with pytest.raises(ValueError, match="nothing to cancel"):
        cancel_everywhere(main)


def test_a_deadlock_that_a_cancellation_leads_to_is_a_failure() -> None:
    async def main(simulation: Simulation) -> None:
        answered = trio.Event()
        with simulation.cancellable():
            await trio.lowlevel.checkpoint()
            answered.set()
        await answered.wait()

    with pytest.raises(trio.TooSlowError, match="is it a deadlock") as caught:
        cancel_everywhere(main, time_limit=100)
    assert "cancelled at step 0" in caught.value.__notes__[0]


def test_without_a_step_nothing_is_cancelled() -> None:
    async def main(simulation: Simulation) -> None:
        with simulation.cancellable() as scope:
            await trio.sleep(1)
        assert not scope.cancel_called
        assert simulation.cancelled_at is None

    Simulation(0).run(main)
