"""The connector's own deadlines: what they raise is typed, and a `trio.TooSlowError` as well.

A caller's deadline is none of these: it is the caller's cancel scope, and stays `trio.Cancelled`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import trio

from .errors import ConnectError, ConnectionLost, ConnectorError

__all__ = ["ConnectTimeout", "Stalled", "deadline"]


class ConnectTimeout(ConnectError, trio.TooSlowError):
    """Could not connect in time: no connection within `timeout`, or no handshake within `connect_timeout`."""


class Stalled(ConnectionLost, trio.TooSlowError):
    """Nothing came for `sse_read_timeout`, or a short exchange took longer than `timeout`."""


@contextmanager
def deadline(seconds: float, error: Callable[[], ConnectorError]) -> Generator[trio.CancelScope]:
    """Cancel the block after `seconds`, and raise `error()` if that is what ended it."""
    with trio.move_on_after(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise error()
