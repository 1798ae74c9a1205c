"""What a trace records, and how it is read and compared."""

from __future__ import annotations

import functools
import gc
import weakref

import trio
from trio.testing import MockClock

from trio_mcp.testing.trace import Entry, Trace


async def work(trace: Trace) -> None:
    trace.note("works")


def recorded(*, max_entries: int = 1000, jobs: int = 1) -> Trace:
    trace = Trace(max_entries)

    async def main() -> None:
        await trio.sleep(1.5)
        async with trio.open_nursery() as nursery:
            for _ in range(jobs):
                nursery.start_soon(work, trace)

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[trace])
    return trace


def test_it_records_spawning_steps_notes_and_exits_with_their_times() -> None:
    trace = recorded()
    assert trace.entries == (
        Entry(0.0, "main#1", "spawned"),
        Entry(0.0, "main#1", "step"),
        Entry(1.5, "main#1", "step"),
        Entry(1.5, f"{__name__}.work#1", "spawned"),
        Entry(1.5, f"{__name__}.work#1", "step"),
        Entry(1.5, f"{__name__}.work#1", "works"),
        Entry(1.5, f"{__name__}.work#1", "exited"),
        Entry(1.5, "main#1", "step"),
        Entry(1.5, "main#1", "exited"),
    )


def test_it_reads_as_lines() -> None:
    assert str(recorded()).splitlines()[:3] == [
        "    0.000000  main#1  spawned",
        "    0.000000  main#1  step",
        "    1.500000  main#1  step",
    ]


def test_tasks_are_told_apart_by_number_and_never_by_address() -> None:
    trace = Trace()

    class Job:
        async def __call__(self) -> None:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Job())
            nursery.start_soon(Job())
            nursery.start_soon(functools.partial(work, trace))
            nursery.start_soon(work, trace, name="by name")

    trio.run(main, instruments=[trace])
    assert {entry.task for entry in trace.entries} == {
        "main#1",
        "Job.__call__#1",
        "Job.__call__#2",
        f"{__name__}.work#1",
        "by name#1",
    }


def test_it_keeps_no_task_that_has_exited() -> None:
    references = []
    trace = Trace()

    async def main() -> None:
        references.append(weakref.ref(trio.lowlevel.current_task()))

    trio.run(main, instruments=[trace])
    gc.collect()
    assert [reference() for reference in references] == [None]


def test_what_is_noted_outside_a_task_belongs_to_none() -> None:
    trace = Trace()
    trace.note("before")

    class Noting(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            if trace.entries[-1].event != "in the loop":
                trace.note("in the loop")

    trio.run(trio.sleep, 3, clock=MockClock(autojump_threshold=0), instruments=[Noting()])
    trace.note("after")
    assert trace.entries == (
        Entry(0.0, "-", "before"),
        Entry(0.0, "-", "in the loop"),
        Entry(0.0, "-", "after"),
    )


def test_traces_are_equal_if_the_same_happened() -> None:
    assert recorded() == recorded()
    assert recorded().fingerprint() == recorded().fingerprint()
    assert recorded() != recorded(jobs=2)
    assert recorded().fingerprint() != recorded(jobs=2).fingerprint()
    assert recorded() != "a trace"


def test_it_forgets_its_oldest_entries_and_still_tells_runs_apart() -> None:
    trace = recorded(max_entries=2)
    assert [entry.event for entry in trace.entries] == ["step", "exited"]
    assert trace.forgotten == 7
    assert str(trace).splitlines()[0] == "(7 earlier entries are forgotten)"
    assert trace.fingerprint() == recorded().fingerprint()
    assert trace != recorded(max_entries=2, jobs=2)
    assert repr(trace) == f"<Trace: 9 entries, {trace.fingerprint()}>"
