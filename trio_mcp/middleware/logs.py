"""A line in the log for each request.

logging.basicConfig(level=logging.INFO)
async with open_connector(url, middleware=[LoggingMiddleware()]) as c:
    await c.call_tool("add", {"a": 1, "b": 2})

INFO:trio_mcp.requests:tools/call 'add' on https://example.com/mcp: ok in 0.012 s
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import mcp_types as types
import trio
from pydantic import BaseModel

from ..errors import ConnectorError
from ..protocol.envelope import dump
from .base import CallNext, Middleware, MiddlewareContext
from .subjects import subject

__all__ = ["LoggingMiddleware"]

_LONGEST: Final = 200
"""Characters of a name, of an error's text or of params."""


class LoggingMiddleware(Middleware):
    """Logs what is asked of the server, and what it asks, once each is over.

    A line says the method, what it is about, the server, how it ended and how long it took. It never shows a
    result. What comes from elsewhere is quoted and cut, so that it cannot pass for another line.

    Args:
        level: of what went well.
        failure_level: of what failed, a tool's own failure included. A cancelled request is no failure.
        show_params: whether the params are shown. They may hold secrets.
        logger: where to; "trio_mcp.requests" unless set.
    """

    def __init__(
        self,
        level: int = logging.INFO,
        failure_level: int = logging.WARNING,
        *,
        show_params: bool = False,
        logger: logging.Logger | None = None,
    ) -> None:
        self._level = level
        self._failure_level = failure_level
        self._show_params = show_params
        self._logger = logger or logging.getLogger("trio_mcp.requests")

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        return await self._logged(context, call_next, "")

    async def on_server_request(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, types.Result | types.ErrorData]
    ) -> types.Result | types.ErrorData:
        """See `Middleware`."""
        answer: types.Result | types.ErrorData = await self._logged(context, call_next, "the server's ")
        return answer

    async def _logged(
        self,
        context: MiddlewareContext[Any],
        call_next: Callable[[MiddlewareContext[Any]], Awaitable[Any]],
        whose: str,
    ) -> Any:
        what = whose + self._describe(context)  # before, as the params may be changed
        began = trio.current_time()
        try:
            result = await call_next(context)
        except trio.Cancelled:
            self._log(self._level, what, "cancelled", began)
            raise
        except BaseException as exc:
            self._log(self._failure_level, what, f"failed with {_reason(exc)}", began)
            raise
        if isinstance(result, types.CallToolResult) and result.is_error:
            self._log(self._failure_level, what, "the tool failed", began)
        elif isinstance(result, types.ErrorData):
            self._log(self._failure_level, what, f"refused with error {result.code}", began)
        else:
            self._log(self._level, what, "ok", began)
        return result

    def _describe(self, context: MiddlewareContext[Any]) -> str:
        name = subject(context.params)
        about = "" if name is None else f" {_quoted(name)}"
        text = f"{context.method}{about} on {context.connector.public_identifier}"
        if self._show_params:
            params = context.params
            text += f" with {_quoted(dump(params) if isinstance(params, BaseModel) else params)}"
        return text

    def _log(self, level: int, what: str, outcome: str, began: float) -> None:
        self._logger.log(level, "%s: %s in %.3f s", what, outcome, trio.current_time() - began)


def _quoted(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _reason(exc: BaseException) -> str:
    """Which error it is; what it says, if it is one of ours: then there is no secret in it."""
    name = type(exc).__name__
    return f"{name} {_quoted(exc.message)}" if isinstance(exc, ConnectorError) else name
