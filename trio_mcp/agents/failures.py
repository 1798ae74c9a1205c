"""A call that failed, as a result for the model: what happened, and whether it may have been carried out.

What a model is told may end up anywhere. So it is told what its server says to whoever calls (an error's
message, a tool's own words), and of everything else only the kind: no URL, no path, no header, no last words
of a process. The person who runs the program finds those in the exception; log it.
"""

from __future__ import annotations

from typing import Final

import mcp_types as types
import trio

from ..errors import (
    AuthorizationError,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    HTTPStatusError,
    InputRefused,
    InternalError,
    InvalidArguments,
    InvalidOutput,
    MCPError,
    MessageTooLarge,
    ProtocolError,
    ServerUnavailable,
    TaskCancelled,
    ToolFailed,
    TransportError,
    UnknownName,
    URLElicitationRequired,
    UsageError,
)
from .calls import error_result

__all__ = ["failure_result"]

_MAX_MESSAGE: Final = 2000
_MAYBE: Final = "It may have been carried out all the same."

_KINDS: Final[dict[type[BaseException], str]] = {
    InvalidArguments: "Nothing was called: the arguments cannot be sent as JSON.",
    UnknownName: "Nothing was called: its server has no such tool any more, or is not there.",
    URLElicitationRequired: "The user must go to a web page first, which the server asks for. Tell the user.",
    InputRefused: "The server asked for something that the user or this program did not give.",
    TaskCancelled: "The call was cancelled, so that it has no result.",
    AuthorizationError: "The server does not allow it: access is missing or was refused. Tell the user.",
    MessageTooLarge: f"The result was too large to be received. {_MAYBE}",
    InvalidOutput: "The call was carried out, but its result is not what the tool promises: it was left out.",
    ProtocolError: f"The server's answer could not be understood. {_MAYBE}",
    ConnectError: "The server could not be reached.",
    ServerUnavailable: "The server is not available at the moment: nothing was called.",
    ConnectionLost: f"The connection to the server was lost before the answer came. {_MAYBE}",
    HTTPStatusError: "The server answered with a failure.",
    TransportError: f"The way to the server failed. {_MAYBE}",
    trio.TooSlowError: f"The call took longer than it was given, and was cancelled. {_MAYBE}",
}
"""The first that fits an exception."""


def failure_result(exc: BaseException) -> types.CallToolResult:
    """What a model is to hear of a call that failed.

        try:
            with trio.fail_after(30):
                result = await c.call_tool(call.name, call.arguments)
        except (ConnectorError, trio.TooSlowError) as exc:
            result = failure_result(exc)

    A `ToolFailed` gives the tool's own result, an `MCPError` the server's message and code.

    Args:
        exc: what the call raised.

    Raises:
        BaseException: `exc` itself, if it is no failure of the call but of the program: a `UsageError` (but
            `InvalidArguments`, which a model can cause, and `UnknownName`, which a server of a group can that
            was opened anew), an `InternalError`, and all that is neither a `ConnectorError` nor a
            `trio.TooSlowError`.
    """
    if isinstance(exc, UsageError) and not isinstance(exc, InvalidArguments | UnknownName):
        raise exc
    if isinstance(exc, InternalError) or not isinstance(exc, ConnectorError | trio.TooSlowError):
        raise exc
    if isinstance(exc, ToolFailed):
        return exc.result
    return error_result(_told(exc))


def _told(exc: ConnectorError | trio.TooSlowError) -> str:
    for kind, told in _KINDS.items():
        if isinstance(exc, kind):
            if isinstance(exc, HTTPStatusError):
                told = f"{told} (HTTP status {exc.status_code})"
            return told
    if isinstance(exc, MCPError):
        message = exc.message if len(exc.message) <= _MAX_MESSAGE else exc.message[:_MAX_MESSAGE] + "…"
        return f"The server answered with an error: {message} (error {exc.code})"
    return f"The call failed: {type(exc).__name__}"
