"""A bounded queue between a reader that must not wait and a callback that may be slow.

Full, it forgets its oldest entry and counts that: what is newest tells most, be it progress, a log or a
change of some list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """First in, first out.

    Args:
        capacity: entries that may wait.
        on_drop: called for each entry that is forgotten.

    Attributes:
        drained: set when the mailbox is closed and all that was in it has been handled.
    """

    def __init__(self, capacity: int, on_drop: Callable[[], None]) -> None:
        self._send, self._receive = trio.open_memory_channel[T](capacity)
        self._on_drop = on_drop
        self.drained: trio.Event = trio.Event()

    def put(self, entry: T) -> None:
        """Queue `entry`, at once. After `close` it is dropped."""
        try:
            try:
                self._send.send_nowait(entry)
            except trio.WouldBlock:
                self._receive.receive_nowait()
                self._on_drop()
                self._send.send_nowait(entry)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._on_drop()

    def close(self) -> None:
        """Take nothing more. `serve` ends when what is queued has been handled."""
        self._send.close()

    @property
    def filling(self) -> bool:
        """Whether more than half of the capacity is taken."""
        statistics = self._send.statistics()
        return statistics.current_buffer_used * 2 > statistics.max_buffer_size

    async def serve(self, handle: Callable[[T], Awaitable[object]]) -> None:
        """Hand each entry to `handle`, one after the other, until the mailbox is closed and empty."""
        async with self._receive:
            async for entry in self._receive:
                await handle(entry)
                while self._send.statistics().current_buffer_used:
                    # What has come meanwhile, without a checkpoint for each.
                    await handle(self._receive.receive_nowait())
        self.drained.set()
