"""The connector's own deadlines: what they raise is typed, and a `trio.TooSlowError` as well.

A caller's deadline is none of these: it is the caller's cancel scope, and stays `trio.Cancelled`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import trio

from .errors import ConnectError, ConnectionLost, ConnectorError, OAuthError

__all__ = ["ConnectTimeout", "LoginTimeout", "Stalled", "deadline", "patience", "paused"]

_running: Final[ContextVar[tuple[trio.CancelScope, ...]]] = ContextVar("trio_mcp deadlines", default=())


class ConnectTimeout(ConnectError, trio.TooSlowError):
    """Could not connect in time: no connection within `timeout`, or no handshake within `connect_timeout`."""


class Stalled(ConnectionLost, trio.TooSlowError):
    """Nothing came for `sse_read_timeout`, or a short exchange took longer than `timeout`."""


class LoginTimeout(OAuthError, trio.TooSlowError):
    """Nobody logged in within `login_timeout`."""


@contextmanager
def deadline(seconds: float, error: Callable[[], ConnectorError]) -> Generator[trio.CancelScope]:
    """Cancel the block after `seconds`, and raise `error()` if that is what ended it."""
    with patience(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise error()


@contextmanager
def patience(seconds: float) -> Generator[trio.CancelScope]:
    """Cancel the block after `seconds`, not counting those that are spent in `paused`."""
    with trio.move_on_after(seconds) as scope:
        token = _running.set((*_running.get(), scope))
        try:
            yield scope
        finally:
            _running.reset(token)


@contextmanager
def paused() -> Generator[None]:
    """Stop the clocks of our own deadlines around the block: for a person, who has a deadline of their own.

    The deadlines of callers are theirs, and go on.
    """
    began = trio.current_time()
    stopped = [(scope, scope.deadline - began) for scope in _running.get() if scope.deadline < math.inf]
    for scope, _ in stopped:
        scope.deadline = math.inf
    try:
        yield
    finally:
        now = trio.current_time()
        for scope, left in stopped:
            scope.deadline = now + left
