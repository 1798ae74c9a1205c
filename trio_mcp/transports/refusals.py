"""What a response means that is no success: an HTTP status, or the JSON-RPC error in its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from ..errors import AccessDenied, ConnectorError, HTTPStatusError, MCPError, SessionExpired
from ..http import HttpResponse
from ..protocol import headers as h
from ..protocol.wire import ErrorResponse, RequestId, decode

__all__ = ["CREDENTIALS", "redacted", "refusal", "status_text"]

CREDENTIALS: Final = "; it wants credentials, or other ones than these (auth=)"
"""What an error says of a 401 or 403."""

_SHOWN: Final = frozenset({"application/json", "application/problem+json", "text/plain"})


async def refusal(
    response: HttpResponse, *, patience: float, request: RequestId | None = None, doubt: bool = False
) -> ConnectorError:
    """The error that a response of 3xx, 4xx or 5xx means.

    Args:
        response: it.
        patience: seconds to wait for its body.
        request: which request it answers, if it was one: then the body may hold a JSON-RPC error.
        doubt: whether it may be that the URL is none of an MCP endpoint.
    """
    body = b""
    try:
        with trio.move_on_after(patience):
            body = await response.read()
    except ConnectorError:
        pass  # the status says what is to be said
    error = _status_error(response, response.redact(body.decode("utf-8", "replace")), doubt)
    if isinstance(error, AccessDenied | SessionExpired) or request is None:
        return error
    try:
        (answer,) = decode(body)
    except ConnectorError:
        return error
    if isinstance(answer, ErrorResponse) and answer.id in (None, request):
        answer = redacted(answer, response.redact)
        mcp_error = MCPError(answer.code, answer.message, answer.data)
        mcp_error.http_status = response.status
        mcp_error.__cause__ = error
        return mcp_error
    return error


def status_text(response: HttpResponse, body: str) -> str:
    """What an error says of the response's status and `body`, of which nothing may be secret any more."""
    text = f"HTTP {response.status}"
    if response.content_type in _SHOWN and body:
        text += f": {response.excerpt(body)}"
    return text


def _status_error(response: HttpResponse, body: str, doubt: bool) -> HTTPStatusError:
    status = response.status
    text = status_text(response, body)
    kind = HTTPStatusError
    if status in (401, 403):
        kind = AccessDenied
        text += CREDENTIALS
    elif status == 404 and h.SESSION_ID in response.request_headers:
        kind = SessionExpired
    elif status in (404, 405, 501) and doubt:
        text += "; is this the URL of an MCP endpoint?"
    error = kind(text, status, response.public_headers())
    if error.retry_after is not None:
        error.message += f"; it asks to wait for {error.retry_after:g} s"
    return error


def redacted(error: ErrorResponse, redact: Callable[[str], str]) -> ErrorResponse:
    """`error` without what the request kept secret, should the server have repeated that.

    Args:
        error: it.
        redact: takes that out of a text.
    """

    def walk(value: Any) -> Any:
        match value:
            case str():
                return redact(value)
            case list():
                return [walk(each) for each in value]
            case dict():
                return {walk(name): walk(each) for name, each in value.items()}
            case _:
                return value

    return ErrorResponse(error.id, error.code, redact(error.message), walk(error.data))
