"""One task as this side knows it, and the looking at it: by one waiter at a time, for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from ...dispatcher import Progress
from ...protocol.wire import JSONObject
from .patience import persevere
from .state import SHORTEST_INTERVAL, TaskState

__all__ = ["TrackedTask"]


class TrackedTask:
    """A task that is known by its id.

    Args:
        task_id: the server's name for it: whoever knows it may be able to use the task, so it is not shown.
        look: asks the server where a task stands.
        state: what is known of it already; None for nothing.

    Attributes:
        state: the last that is known.
        progress: the last that was reported.
        answered: the keys of the questions that were answered.
        changed: set at the next change; then there is another event.
        attending: held by the one waiter that answers the server's questions.
        fetching: held while the result is fetched.
        waiters: how many wait for the result.
    """

    def __init__(
        self, task_id: str, look: Callable[[str], Awaitable[TaskState]], state: TaskState | None
    ) -> None:
        self.task_id: str = task_id
        self.state: TaskState | None = state
        self.progress: Progress | None = None
        self.answered: set[str] = set()
        self.changed: trio.Event = trio.Event()
        self.attending: trio.Lock = trio.Lock()
        self.fetching: trio.Lock = trio.Lock()
        self.waiters: int = 0
        self._look = look
        self._looked_at: float | None = None if state is None else trio.current_time()
        self._looking = False
        self._hinted = False

    @property
    def ended(self) -> bool:
        """Whether the task is known to have ended."""
        return self.state is not None and self.state.ended

    def put(self, progress: Progress) -> None:
        """Take a report of progress. Called by readers: never waits."""
        self.progress = progress
        self._tell()

    def hint(self) -> None:
        """There may be news: look soon. Called by readers: never waits."""
        self._hinted = True
        self._tell()

    def adopt(self, state: TaskState) -> None:
        """Take what the server says of the task; an end is the end, whatever comes late."""
        if not self.ended:
            self.state = state
            self._tell()

    def keep(self, result: JSONObject) -> None:
        """Keep the result of the task, which has ended."""
        assert self.state is not None
        self.state = replace(self.state, result=result)

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def refresh(self) -> None:
        """Look at once."""
        self.adopt(await self._look(self.task_id))

    async def until(self, met: Callable[[], bool]) -> None:
        """Look at the task from time to time until `met()`; of several waiters, one looks for all."""
        await trio.lowlevel.checkpoint()
        while not met():
            if self._looking:
                await self.changed.wait()
                continue
            self._looking = True
            try:
                if await self._is_time():
                    self._hinted = False
                    try:
                        await persevere(self.refresh)
                    finally:
                        self._looked_at = trio.current_time()
            finally:
                self._looking = False
                self._tell()  # another waiter has to look, should this one leave

    async def _is_time(self) -> bool:
        """Wait for the next look, for as long as the server asks for; or False as soon as there are news."""
        if self._looked_at is None or self.state is None:
            return True
        # Hints may come in floods.
        pause = SHORTEST_INTERVAL if self._hinted else self.state.interval
        with trio.move_on_at(self._looked_at + pause):
            await self.changed.wait()
            return False
        return True
