"""One attempt at a time, whoever waits for it, in a task of the connection's own.

A caller who is cancelled leaves at once, and the attempt goes on for the others, and for the next one.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, TypeVar

import trio

from ..deadlines import paused
from ..errors import ConnectorError

__all__ = ["Attempts", "Spawn"]

Spawn: TypeAlias = Callable[[Callable[[], Awaitable[object]]], object]
T = TypeVar("T")


class _Attempt:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: Exception | None = None


class Attempts:
    """Makes attempts to obtain a token.

    Args:
        services: starts a task that lives as long as the connection at most.
        errands: starts a task that may finish even when the connection is closing.
    """

    def __init__(self, services: Spawn, errands: Spawn) -> None:
        self._services = services
        self._errands = errands
        self._attempt: _Attempt | None = None

    async def join(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Wait for the attempt that is under way, or else do `work`; whether it was `work`."""
        attempt = self._attempt
        if ours := attempt is None:
            attempt = self._attempt = _Attempt()
            self._services(partial(self._run, attempt, work))
        with paused():
            await attempt.done.wait()
        if attempt.error is None:
            return ours
        if not isinstance(attempt.error, ConnectorError):
            raise attempt.error  # a callback's own
        # Each caller gets an error of its own: one object raised in many tasks would mix their stories.
        raise copy.copy(attempt.error) from attempt.error.__cause__

    async def _run(self, attempt: _Attempt, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as exc:
            attempt.error = exc
        finally:
            self._attempt = None
            attempt.done.set()

    async def finish(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` to its end, also when the connection closes: the server may have used up a token."""
        results: list[T] = []
        errors: list[Exception] = []
        done = trio.Event()

        async def errand() -> None:
            try:
                results.append(await work())
            except Exception as exc:
                errors.append(exc)
            finally:
                done.set()

        try:
            self._errands(errand)
        except RuntimeError:  # the connection is closing, and takes no more
            return await work()
        await done.wait()
        if errors:
            raise errors[0]
        return results[0]
