"""The limit on calls under way that the servers of a group share."""

from __future__ import annotations

from typing import Any, Final

from ..middleware.base import CallNext, MiddlewareContext
from ..middleware.concurrency_limit import ConcurrencyLimitMiddleware

__all__ = ["CallLimit"]

_LISTS: Final = frozenset({"tools/list", "prompts/list", "resources/list", "resources/templates/list"})


class CallLimit(ConcurrencyLimitMiddleware):
    """Lets so many requests be under way at a time, over all servers that it is given to.

    Listings neither queue nor count: one server that hangs would hold up those of the others.
    """

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        if context.method in _LISTS:
            return await call_next(context)
        return await super().on_request(context, call_next)
