"""So many requests at a time, and no more."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, Literal

import trio

from ..callbacks import in_callback
from ..errors import ConfigurationError
from .base import CallNext, Middleware, MiddlewareContext
from .subjects import subject

__all__ = ["ConcurrencyLimitMiddleware"]

_SCOPES: Final = (None, "method", "tool")


class ConcurrencyLimitMiddleware(Middleware):
    """Lets at most `limit` requests be under way at a time; the others queue, first come, first served.

    A caller that is cancelled while it waits gives its place in the queue up. One instance that several
    connectors share bounds all of them together. What must not wait for a request that holds a place does not
    queue, nor count: handshakes, and what is called by a callback, or within a request that holds a place
    here, by another hook or a progress callback.

    Args:
        limit: requests at a time.
        per: None for all together; "method" for so many of each method; "tool" for so many calls of each
            tool, everything else being free.

    Raises:
        ConfigurationError: `limit` is not an int above 0, or `per` is something else.
    """

    def __init__(self, limit: int, *, per: Literal["method", "tool"] | None = None) -> None:
        if type(limit) is not int or limit < 1:
            raise ConfigurationError(f"limit must be an int above 0, not {limit!r}")
        if per not in _SCOPES:
            raise ConfigurationError(f'per must be None, "method" or "tool", not {per!r}')
        self._limit = limit
        self._per = per
        self._queues: dict[str, _Queue] = {}

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        within = any(place.of is self and place.held for place in _places.get())
        free = self._per == "tool" and context.method != "tools/call"
        if context.method == "initialize" or in_callback.get() or within or free:
            return await call_next(context)
        key = {None: "", "method": context.method, "tool": subject(context.params) or ""}[self._per]
        queue = self._queues.setdefault(key, _Queue(self._limit))
        queue.users += 1
        try:
            async with queue.places:
                place = _Place(self)
                token = _places.set((*_places.get(), place))
                try:
                    return await call_next(context)
                finally:
                    place.held = False  # tasks that it has started, and that outlive it, hold none
                    _places.reset(token)
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[key]  # names come from outside: keep none that is not in use


class _Queue:
    """Attributes: places: to be held; users: who hold one or wait for one."""

    def __init__(self, limit: int) -> None:
        self.places = trio.Semaphore(limit)
        self.users = 0


class _Place:
    """Attributes: of: whose it is; held: whether the request that took it is still under way."""

    def __init__(self, of: ConcurrencyLimitMiddleware) -> None:
        self.of = of
        self.held = True


_places: ContextVar[tuple[_Place, ...]] = ContextVar("trio_mcp_places", default=())
"""The places of all requests that this task is within."""
