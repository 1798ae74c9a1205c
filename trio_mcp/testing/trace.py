"""What happened in a run, in its order: for comparing runs, and for reading one that failed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from typing import NamedTuple, final

import trio

__all__ = ["Entry", "Trace"]

_TRIOS_OWN = frozenset({"<init>", "<TrioToken.run_sync_soon task>"})
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


class Entry(NamedTuple):
    """One thing that happened.

    Attributes:
        time: seconds on the run's clock, to the microsecond.
        task: the task that did it, or "-" for none.
        event: "spawned", "step", "exited", or what a network or a note said.
    """

    time: float
    task: str
    event: str

    def __str__(self) -> str:
        return f"{self.time:12.6f}  {self.task}  {self.event}"


@final
class Trace(trio.abc.Instrument):
    """A Trio instrument that records every task's spawning, steps and exit, and what `note` is told.

    A task is called by its qualified name and its number among those of that name, such as "app.worker#2":
    the same in every run and process. Trio's own tasks are left out.

    Two traces are equal if the same happened in both, with the same settings of `max_entries`.

    Args:
        max_entries: how many of the latest entries are kept. Older ones are forgotten, and count for
            equality and for the fingerprint all the same.
    """

    def __init__(self, max_entries: int = 100_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=max_entries)
        self._count = 0
        self._now = 0.0
        self._hash = hashlib.sha256()
        self._names: dict[trio.lowlevel.Task, str] = {}
        self._ordinals: Counter[str] = Counter()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is kept, oldest first."""
        return tuple(self._entries)

    @property
    def forgotten(self) -> int:
        """How many entries came before those that are kept."""
        return self._count - len(self._entries)

    def note(self, event: str) -> None:
        """Record `event` for the current task and time.

        It should be the same in each run of the same seed: without ids, addresses or an order of sets.
        Outside a run, the time is that of the latest entry.
        """
        try:
            task = self._name(trio.lowlevel.current_task())
        except RuntimeError:
            task = "-"
        self._record(task, event)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ if anything went another way."""
        return self._hash.hexdigest()[:16]

    def __str__(self) -> str:
        head = [f"({self.forgotten} earlier entries are forgotten)"] if self.forgotten else []
        return "\n".join([*head, *map(str, self._entries)])

    def __repr__(self) -> str:
        return f"<Trace: {self._count} entries, {self.fingerprint()}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self._hash.digest() == other._hash.digest() and self._entries == other._entries

    # Trio keeps its instruments in dictionaries, and a trace that still grows is none but itself.
    def __hash__(self) -> int:
        return object.__hash__(self)

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        self._record(self._name(task), "spawned")

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        self._record(self._name(task), "step")

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        self._record(self._name(task), "exited")
        self._names.pop(task, None)

    def _record(self, task: str, event: str) -> None:
        if not task:
            return
        if trio.lowlevel.in_trio_run():
            # Rounded, so that a sum of delays reads well.
            self._now = round(trio.current_time(), 6)
        entry = Entry(self._now, task, event)
        self._count += 1
        self._hash.update(f"{entry.time!r} {task} {event}\n".encode())
        self._entries.append(entry)

    def _name(self, task: trio.lowlevel.Task) -> str:
        name = self._names.get(task)
        if name is None:
            self._names[task] = name = self._make_name(task)
        return name

    def _make_name(self, task: trio.lowlevel.Task) -> str:
        name = task.name
        if name in _TRIOS_OWN:
            return ""
        if _ADDRESS.search(name):
            # Trio names the task of a callable object by its repr.
            name = task.coro.__qualname__
        name = name.rpartition("<locals>.")[2]
        self._ordinals[name] += 1
        return f"{name}#{self._ordinals[name]}"
