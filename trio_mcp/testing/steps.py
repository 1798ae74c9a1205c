"""Count the steps of Trio's tasks, and cancel a scope at one of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import final

import trio

__all__ = ["Steps"]


@final
class Steps(trio.abc.Instrument):
    """An instrument that counts while a block is open. All tasks count, also those that the block waits for.

    Args:
        cancel_at: the step before which the block is cancelled, 0 for its beginning; None for never.

    Attributes:
        reached: when it came to that; None if it did not.
    """

    def __init__(self, cancel_at: int | None) -> None:
        self.reached: float | None = None
        self._left = cancel_at
        self._scope: trio.CancelScope | None = None

    @contextmanager
    def counted(self, scope: trio.CancelScope) -> Generator[None]:
        """Count within this block, and cancel `scope` when the time has come.

        Raises:
            RuntimeError: it is within another one.
        """
        if self._scope is not None:
            raise RuntimeError("one block is counted at a time, and this one is within another one")
        self._scope = scope
        self._check()
        try:
            yield
        finally:
            self._scope = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._scope is not None and self._left is not None:
            self._left -= 1
            self._check()

    def _check(self) -> None:
        if self._left == 0 and self._scope is not None:
            self.reached = trio.current_time()
            self._scope.cancel(reason="this step is the one to be cancelled at")
