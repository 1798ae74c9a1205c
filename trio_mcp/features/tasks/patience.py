"""Requests about a task that survive an outage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from ...errors import ConnectError, ConnectionLost, HTTPStatusError

__all__ = ["persevere"]

T = TypeVar("T")

_MAX_IN_VAIN: Final = 6
_LONGEST_DELAY: Final = 60.0


async def persevere(send: Callable[[], Awaitable[T]]) -> T:
    """`await send()`, and again for as long as a server may take to be restarted: about a minute.

    For requests that do the same twice as once. A task may take a day, and one lost connection does not
    end it.

    Raises:
        ConnectorError: the failure of the last attempt, or one that does not pass by waiting.
    """
    delay = 1.0
    for _ in range(_MAX_IN_VAIN):
        try:
            return await send()
        except (ConnectionLost, ConnectError):
            pause = delay
        except HTTPStatusError as exc:
            if exc.status_code < 500 and exc.status_code != 429:
                raise
            pause = max(delay, min(exc.retry_after or 0.0, _LONGEST_DELAY))
        await trio.sleep(pause)
        delay *= 2
    return await send()
