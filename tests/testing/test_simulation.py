"""One seed, one run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio._core._run as trio_run

from trio_mcp.testing.memory_stream import MemoryStream
from trio_mcp.testing.simulation import SEED_VARIABLE, Simulation, explore, seeded

ROOT: Final = Path(__file__).parent.parent.parent
HOST: Final = "server.test"


@pytest.fixture(autouse=True)
def _no_seed_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEED_VARIABLE, raising=False)


async def racy(simulation: Simulation) -> None:
    """A little of everything whose order is left to chance."""
    network, note = simulation.network, simulation.trace.note
    network.set_link(latency=0.005, jitter=0.02, reset_rate=0.05, refuse_rate=0.1)
    jobs, work = trio.open_memory_channel[int](1)
    go = trio.Event()

    async def echo(stream: MemoryStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            note("served a broken stream")

    async def client(number: int) -> None:
        await go.wait()
        with trio.move_on_after(0.3):
            for _ in range(2):
                with trio.move_on_after(0.1) as scope:
                    try:
                        async with await network.open_stream(HOST, 80) as stream:
                            await stream.send_all(bytes(number + 1))
                            await stream.receive_some()
                    except (OSError, trio.BrokenResourceError) as exc:
                        note(type(exc).__name__)
                if scope.cancelled_caught:
                    note("timed out")

    async def worker(work: trio.MemoryReceiveChannel[int]) -> None:
        async with work:
            async for job in work:
                note(f"job {job}")
                await trio.sleep(simulation.rng.uniform(0, 0.1))

    async def hurry() -> None:
        # Scopes of one deadline, which Trio's heap orders by their addresses.
        deadline = trio.current_time() + 0.25
        with trio.move_on_at(deadline), trio.move_on_at(deadline):
            await trio.sleep_forever()
        note("hurried")

    async def outage() -> None:
        await trio.sleep(0.05)
        network.link(HOST).drop()
        await trio.sleep(0.06)
        network.link(HOST).heal()

    async with trio.open_nursery() as servers:
        await servers.start(trio.serve_listeners, echo, [network.listen(HOST, 80)])
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(client, number)
                nursery.start_soon(worker, work.clone())
                nursery.start_soon(hurry)
            nursery.start_soon(outage)
            work.close()
            go.set()
            async with jobs:
                for job in range(3):
                    await jobs.send(job)
        servers.cancel_scope.cancel()


def trace_of(seed: int, main: Callable[[Simulation], Awaitable[object]] = racy) -> Simulation:
    simulation = Simulation(seed)
    simulation.run(main)
    return simulation


# The same


def test_one_seed_gives_one_trace_however_often_and_wherever_its_objects_lie() -> None:
    first = trace_of(7).trace
    assert len(first.entries) > 100
    # They shift the addresses of what is allocated next.
    ballast: list[object] = []
    for run in range(200):
        ballast.append(bytearray(random.randrange(2000)))
        if run % 100 == 0:
            ballast.clear()
        assert trace_of(7).trace == first


def test_one_seed_gives_one_trace_in_every_process() -> None:
    program = (
        "from tests.testing.test_simulation import trace_of;"
        "print([trace_of(seed).trace.fingerprint() for seed in range(10)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert told == {str([trace_of(seed).trace.fingerprint() for seed in range(10)])}


def test_other_seeds_give_other_interleavings() -> None:
    async def only_scheduling(simulation: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trio.lowlevel.checkpoint)

    assert len({trace_of(seed, only_scheduling).trace.fingerprint() for seed in range(20)}) > 10
    assert len({trace_of(seed).trace.fingerprint() for seed in range(20)}) == 20


def test_drawing_more_from_one_source_does_not_shift_the_others() -> None:
    def outcome(own_draws: int, network_draws: int) -> tuple[list[int], float, float]:
        """An order of tasks, a delay of the network and a number of the test's, after other draws."""

        async def main(simulation: Simulation) -> tuple[list[int], float, float]:
            order: list[int] = []

            async def append(number: int) -> None:
                order.append(number)

            async def connect() -> float:
                began = trio.current_time()
                await simulation.network.open_stream(HOST, 80)
                return round(trio.current_time() - began, 6)

            simulation.network.set_link(jitter=1)
            simulation.network.listen(HOST, 80)
            for _ in range(own_draws):
                simulation.rng.random()
            for _ in range(network_draws):
                await connect()
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(append, number)
            return order, await connect(), simulation.rng.random()

        return Simulation(1).run(main)

    order, delay, number = outcome(0, 0)
    assert outcome(5, 0)[:2] == (order, delay)
    assert outcome(5, 0)[2] != number
    assert outcome(0, 5)[::2] == (order, number)
    assert outcome(0, 5)[1] != delay


# A run


def test_a_run_begins_at_time_0_and_returns_what_main_does() -> None:
    async def main(simulation: Simulation) -> tuple[int, float]:
        began = trio.current_time()
        await trio.sleep(1000)
        return simulation.seed, began

    simulation = Simulation(5)
    assert simulation.run(main) == (5, 0.0)
    assert repr(simulation).startswith("<Simulation of seed 5: <Trace: 4 entries, ")


def test_a_simulation_runs_once() -> None:
    simulation = trace_of(1)
    with pytest.raises(RuntimeError, match="has run already"):
        simulation.run(racy)


def test_a_failure_comes_out_as_it_is_with_the_seed_and_what_happened_last() -> None:
    error = KeyError("x")

    async def main(simulation: Simulation) -> None:
        simulation.trace.note("about to fail")
        raise error

    with pytest.raises(KeyError) as caught:
        Simulation(42).run(main)
    assert caught.value is error
    assert "Simulation(42)" in error.__notes__[0]
    assert "about to fail" in error.__notes__[1]


def test_wrong_use_is_told_without_a_seed_to_replay() -> None:
    def not_async(simulation: Simulation) -> int:
        return 5

    async def no_argument() -> None:
        pass

    with pytest.raises(TypeError, match="main must be an async function, and gave 5") as caught:
        Simulation(1).run(not_async)  # type: ignore[arg-type]
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(TypeError, match="takes 0 positional arguments") as caught:
        Simulation(1).run(no_argument)  # type: ignore[arg-type]
    assert not hasattr(caught.value, "__notes__")


async def test_a_run_within_a_run_is_told_without_a_seed_to_replay() -> None:
    with pytest.raises(RuntimeError, match="from inside") as caught:
        Simulation(1).run(racy)
    assert not hasattr(caught.value, "__notes__")


def test_a_deadlock_is_a_failure_and_takes_no_time() -> None:
    async def main(simulation: Simulation) -> None:
        await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError, match="after 60 s of virtual time: is it a deadlock"):
        Simulation(1, time_limit=60).run(main)


def test_without_a_trace_only_notes_are_recorded() -> None:
    async def main(simulation: Simulation) -> None:
        simulation.network.listen(HOST, 80)
        simulation.trace.note("noted")

    simulation = Simulation(1, trace=False)
    simulation.run(main)
    assert [entry.event for entry in simulation.trace.entries] == ["noted"]


# Exploring


async def lost_update(simulation: Simulation) -> None:
    """A race: an update is lost if it comes between another one's reading and writing."""
    balance = 0

    async def deposit_at_once() -> None:
        nonlocal balance
        await trio.lowlevel.checkpoint()
        balance += 1

    async def deposit_slowly() -> None:
        nonlocal balance
        read = balance
        await trio.lowlevel.checkpoint()
        balance = read + 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deposit_at_once)
        nursery.start_soon(deposit_slowly)
    simulation.trace.note(f"balance {balance}")
    if balance != 2:
        raise AssertionError("an update was lost")


def seed_of(error: BaseException) -> int:
    return int(error.__notes__[0].partition("seed ")[2].partition(":")[0])


def test_a_lost_update_is_found_and_its_seed_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="lost") as caught:
        explore(lost_update)
    seed = seed_of(caught.value)
    explore(lost_update, range(seed))
    with pytest.raises(AssertionError, match="lost"):
        Simulation(seed).run(lost_update)

    # By hand, whatever seeds the test has.
    monkeypatch.setenv(SEED_VARIABLE, str(seed))
    with pytest.raises(AssertionError, match="lost") as replayed:
        explore(lost_update, [])
    assert seed_of(replayed.value) == seed
    assert "balance 1" in replayed.value.__notes__[1]


def test_a_race_shows_with_some_seeds_and_not_with_others() -> None:
    lost = 0
    for seed in range(100):
        try:
            Simulation(seed).run(lost_update)
        except AssertionError:
            lost += 1
    assert 20 < lost < 80


def test_all_seeds_pass_if_nothing_is_wrong() -> None:
    seen = []

    async def main(simulation: Simulation) -> None:
        seen.append(simulation.seed)

    explore(main, range(3))
    explore(main)
    assert seen == [0, 1, 2, *range(100)]


def test_exploring_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no seeds to explore"):
        explore(racy, [])


def test_exploring_does_not_record() -> None:
    async def main(simulation: Simulation) -> None:
        raise KeyError(simulation.seed)

    with pytest.raises(KeyError) as caught:
        explore(main, [3])
    assert seed_of(caught.value) == 3
    assert len(caught.value.__notes__) == 1


def test_a_seed_in_the_environment_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_VARIABLE, "seven")
    with pytest.raises(ValueError, match="TRIO_MCP_SEED must be an integer, not 'seven'"):
        explore(racy)


# What is restored


def scheduling() -> tuple[bool, object]:
    return trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()


@pytest.mark.parametrize("before", [False, True])
def test_everything_is_restored_also_on_errors_and_when_nested(
    monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", before)
    outside = scheduling()
    with seeded(1):
        inside = scheduling()
        assert inside[0]
        assert inside != outside
        with pytest.raises(KeyError), seeded(2):
            assert scheduling() != inside
            raise KeyError
        assert scheduling() == inside
    assert scheduling() == outside
    trace_of(1)
    assert scheduling() == outside


@pytest.mark.parametrize(
    ("name", "other"), [("_r", None), ("_r", 5), ("_ALLOW_DETERMINISTIC_SCHEDULING", None)]
)
def test_a_trio_with_other_internals_is_refused_with_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, name: str, other: Any
) -> None:
    if other is None:
        monkeypatch.delattr(trio_run, name)
    else:
        monkeypatch.setattr(trio_run, name, other)
    with pytest.raises(RuntimeError, match="cannot be seeded"), seeded(1):
        pytest.fail("it was seeded")
