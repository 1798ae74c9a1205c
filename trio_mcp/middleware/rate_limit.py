"""So many requests per second, and no more."""

from __future__ import annotations

from typing import Any

import trio

from ..errors import ConfigurationError
from .base import CallNext, Middleware, MiddlewareContext

__all__ = ["RateLimitMiddleware"]


class RateLimitMiddleware(Middleware):
    """Lets requests begin at `rate` per second, and `burst` at once after a rest: a token bucket.

    Who comes first goes first. A caller that is cancelled while it waits takes no token. One instance that
    several connectors share bounds all of them together. The handshake does not wait: others wait for it.

    Args:
        rate: requests per second.
        burst: how many may begin at once after a rest.

    Raises:
        ConfigurationError: `rate` is not a number above 0, or `burst` not an int above 0.
    """

    def __init__(self, rate: float, burst: int = 1) -> None:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
            raise ConfigurationError(f"rate must be a number of requests per second above 0, not {rate!r}")
        if type(burst) is not int or burst < 1:
            raise ConfigurationError(f"burst must be an int above 0, not {burst!r}")
        self._interval = 1 / rate
        self._burst = burst
        self._turn = trio.Lock()  # which hands on in the order in which it was asked for
        self._tokens = float(burst)
        self._updated = float("inf")

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        if context.method != "initialize":
            async with self._turn:
                self._refill()
                if self._tokens < 1:
                    await trio.sleep((1 - self._tokens) * self._interval)
                    self._refill()
                self._tokens = max(self._tokens - 1, 0)
        return await call_next(context)

    def _refill(self) -> None:
        now = trio.current_time()
        # The clock may be another one than before, as each `trio.run` has its own.
        elapsed = max(now - self._updated, 0)
        self._tokens = min(self._tokens + elapsed / self._interval, self._burst)
        self._updated = now
