"""A lock between processes, as a block: a file that the operating system locks, and frees should we die."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from filelock import FileLock, Timeout

__all__ = ["file_lock"]

# There is no waiting for such a lock that could be cancelled, so it is tried again and again.
_FIRST_DELAY: Final = 0.01
_LAST_DELAY: Final = 0.25


@asynccontextmanager
async def file_lock(path: Path, seconds: float, limiter: trio.CapacityLimiter) -> AsyncGenerator[None]:
    """Hold the lock of `path` for the block. Waiting for it can be cancelled.

    Args:
        path: a file in a directory that is there.
        seconds: how long to wait for it.
        limiter: for the threads.

    Raises:
        OSError: it cannot be locked.
        trio.TooSlowError: somebody else has had it for all of that time.
    """
    delay = _FIRST_DELAY
    attempt = _Attempt(path)
    with trio.fail_after(seconds):
        while not await attempt.make(limiter):
            await trio.sleep(delay)
            delay = min(2 * delay, _LAST_DELAY)
    try:
        yield
    finally:
        attempt.give_up()


class _Attempt:
    """What tries to get the lock in a thread, and does not keep it for one who has left."""

    def __init__(self, path: Path) -> None:
        # Taken in one thread and released in another.
        self._lock = FileLock(path, mode=0o600, thread_local=False)
        self._mutex = threading.Lock()
        self._given_up = False

    async def make(self, limiter: trio.CapacityLimiter) -> bool:
        try:
            return await trio.to_thread.run_sync(self._try, abandon_on_cancel=True, limiter=limiter)
        except trio.Cancelled:
            self.give_up()
            raise

    def _try(self) -> bool:
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        with self._mutex:
            if self._given_up:
                self._lock.release()
        return True

    def give_up(self) -> None:
        with self._mutex:
            self._given_up = True
            self._lock.release()  # if it is ours; closing a file does not wait
