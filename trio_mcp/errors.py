"""Every exception that trio_mcp raises of its own, as one tree.

Flat: none of them ever comes in an exception group. Typed: a caller tells them apart by class.
The cause, where there is one, is `__cause__`.

  ConnectorError
  ├── UsageError                    a mistake in the calling program
  │   ├── ConfigurationError        an option that cannot work (also a ValueError)
  │   ├── InvalidArguments          arguments that are not JSON (also a ValueError)
  │   ├── NotConnected              used outside of its block, or closed while in flight
  │   ├── UnsupportedFeature        the negotiated protocol version has no such thing
  │   ├── UnknownName               no such tool, prompt, resource or server in a group (also a KeyError)
  │   └── AmbiguousName             a resource that several servers of a group have
  ├── TransportError                the way to the server failed
  │   ├── ConnectError              could not connect
  │   │   └── ConnectTimeout        ... in time (also a trio.TooSlowError; in deadlines.py)
  │   ├── ConnectionLost            the connection broke; the request may have been carried out
  │   │   ├── ServerFailed          ... because the server, which runs in this process, raised an exception
  │   │   └── Stalled               ... by silence (also a trio.TooSlowError; in deadlines.py)
  │   ├── ServerUnavailable         the server of a group is not up at the moment
  │   └── HTTPStatusError           the server answered with an HTTP error status
  │       ├── SessionExpired        404: the server no longer knows the session
  │       └── AccessDenied          401 or 403 (also an AuthorizationError)
  ├── AuthorizationError            not allowed, or the way to a token failed
  │   └── OAuthError                a step on the way to a token failed
  │       └── LoginTimeout          ... nobody logged in in time (also a trio.TooSlowError; in deadlines.py)
  ├── ProtocolError                 the server broke the protocol
  │   ├── MessageTooLarge           more than `max_message_size` bytes
  │   ├── VersionMismatch           no protocol version that both sides speak
  │   └── InvalidOutput             `structuredContent` against the tool's `outputSchema`
  ├── TaskCancelled                 the server's task was cancelled, here or there
  ├── InputRefused                  the server needs an answer that its user or program refused
  ├── ToolFailed                    a tool's own failure, where a `result_type` was asked for
  ├── MCPError                      the server answered with a JSON-RPC error
  │   └── URLElicitationRequired    ... because the user must go to a URL first
  └── InternalError                 a bug in trio_mcp; please report it

The text of one shows control characters as escapes; `message` has them as they came.

No message, repr or attribute of these holds a token, a client secret or a session id of ours; where a server
repeats one in an HTTP error, it is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from .text import printable

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ElicitRequestURLParams

__all__ = [
    "AccessDenied",
    "AmbiguousName",
    "AuthorizationError",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLost",
    "ConnectorError",
    "HTTPStatusError",
    "InputRefused",
    "InternalError",
    "InvalidArguments",
    "InvalidOutput",
    "MCPError",
    "MessageTooLarge",
    "NotConnected",
    "OAuthError",
    "OAuthStep",
    "ProtocolError",
    "ServerFailed",
    "ServerUnavailable",
    "SessionExpired",
    "ToolFailed",
    "TaskCancelled",
    "TransportError",
    "URLElicitationRequired",
    "UnknownName",
    "UnsupportedFeature",
    "UsageError",
    "VersionMismatch",
]

_URL_ELICITATION_REQUIRED: Final = -32042
_E = TypeVar("_E", bound="ConnectorError")

OAuthStep: TypeAlias = Literal["discovery", "registration", "authorization", "token", "storage"]


class ConnectorError(Exception):
    """The base of all of trio_mcp's exceptions.

    Attributes:
        server: which server it was, as `Connector.public_identifier` names it, if known.
        request: what was asked of it, such as ``tools/call 'add'``, if it was a request.
        begun: whether the server had taken the call up before, in an earlier round of it. Then the call as a
            whole was not refused, whatever this error says of its last round.
    """

    def __init__(self, message: str, *args: object) -> None:
        super().__init__(message, *args)  # args as __init__ takes them: copy and pickle need that
        self.message = message
        self.server: str | None = None
        self.request: str | None = None
        self.begun: bool = False

    def locate(self: _E, server: str, request: str | None = None) -> _E:
        """Say where it happened, unless a place nearer to it has said so; returns the error itself."""
        self.server = self.server or server
        self.request = self.request or request
        return self

    def __str__(self) -> str:
        # What a server says is in it, and a traceback is printed as it is: it must not steer the terminal.
        message = printable(self.message)
        if self.server is None:
            return message
        if self.request is None:
            return f"{self.server}: {message}"
        return f"{self.request} on {self.server}: {message}"


class UsageError(ConnectorError):
    """A mistake in the calling program: what it asked for was not sent, or its callback answered nonsense."""


class ConfigurationError(UsageError, ValueError):
    """An option that cannot work: a wrong scheme, an unknown transport, a header with a line break."""


class InvalidArguments(UsageError, ValueError):
    """What was to be sent is not JSON: NaN, a lone surrogate, a cycle, an object of some class."""


class NotConnected(UsageError):
    """Used outside of its block, or in flight when the connector was closed.

    In the second case the server may have carried the request out.
    """


class UnsupportedFeature(UsageError):
    """The negotiated protocol version, or what was declared when connecting, has no such thing."""


class UnknownName(UsageError, KeyError):
    """A group of servers has no such server, tool, prompt or resource.

    Attributes:
        name: what was asked for.
        near: the names that are most like it, best first; it may be empty.
    """

    def __init__(self, message: str, name: str, near: Sequence[str] = ()) -> None:
        super().__init__(message)
        Exception.__init__(self, message, name, near)
        self.name = name
        self.near: tuple[str, ...] = tuple(near)


class AmbiguousName(UsageError):
    """Several servers of a group have that resource: say which one is meant, by `server=`.

    Attributes:
        name: what was asked for.
        servers: those that have it.
    """

    def __init__(self, message: str, name: str, servers: Sequence[str]) -> None:
        super().__init__(message)
        Exception.__init__(self, message, name, servers)
        self.name = name
        self.servers: tuple[str, ...] = tuple(servers)


class TransportError(ConnectorError):
    """The way to the server failed."""


class ConnectError(TransportError):
    """Could not connect: name resolution, refused, unreachable, TLS."""


class ConnectionLost(TransportError):
    """The connection broke before the answer came; the server may have carried the request out."""


class ServerFailed(ConnectionLost):
    """A server in this process raised an exception, which ended it. That exception is `__cause__`."""


class ServerUnavailable(TransportError):
    """The server of a group is not up; `__cause__` is why, if that is known. Nothing was sent.

    Attributes:
        name: the server's, in the group.
        status: "opening", "down" (it is opened anew) or "failed" (it is not).
    """

    def __init__(self, message: str, name: str, status: str) -> None:
        super().__init__(message)
        Exception.__init__(self, message, name, status)
        self.name = name
        self.status = status


class HTTPStatusError(TransportError):
    """The server answered with an HTTP status that is not a success.

    Attributes:
        status_code: such as 503.
        headers: the response's headers, names in lower case; cookies and session ids left out.
    """

    def __init__(self, message: str, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(message, status_code, headers)
        self.status_code = status_code
        self.headers: dict[str, str] = dict(headers)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (`Retry-After`), or None.

        The header's other form, a date, is left in `headers`: what it means depends on two clocks.
        """
        value = self.headers.get("retry-after", "").strip()
        return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None

    @property
    def www_authenticate(self) -> str | None:
        """The challenge of a 401 or 403, as it was sent."""
        return self.headers.get("www-authenticate")


class SessionExpired(HTTPStatusError):
    """404 for a request of a session: the server has ended it, or was restarted."""


class AuthorizationError(ConnectorError):
    """Not allowed, or the way to a token failed."""


class OAuthError(AuthorizationError):
    """A step on the way to a token failed (26/basic/authorization).

    Attributes:
        step: "discovery" of the authorization server, "registration" of the client, "authorization" by a
            person, getting a "token", or the "storage" of what was got.
        error: the server's error code, such as "invalid_grant", if it gave one.
        error_description: what it says about that, shortened.
    """

    def __init__(
        self, step: OAuthStep, message: str, error: str | None = None, error_description: str | None = None
    ) -> None:
        text = f"{step}: {message}"
        if error is not None:
            text += f" ({error}{f': {error_description}' if error_description else ''})"
        super().__init__(text)
        Exception.__init__(self, step, message, error, error_description)  # as a copy is made
        self.step: OAuthStep = step
        self.error = error
        self.error_description = error_description


class AccessDenied(HTTPStatusError, AuthorizationError):
    """HTTP 401 or 403: the server wants other credentials than were sent, or more."""


class ProtocolError(ConnectorError):
    """The server broke the protocol. That call failed; the connection goes on."""


class MessageTooLarge(ProtocolError):
    """The server sent more than `max_message_size` bytes as one message."""


class VersionMismatch(ProtocolError):
    """There is no protocol version that both sides speak."""


class InvalidOutput(ProtocolError):
    """A tool's structured content does not fit its output schema, or the schema is not usable."""


class InputRefused(ConnectorError):
    """A call of a modern server needs an answer, and the callback refused it, or there is none."""


class TaskCancelled(ConnectorError):
    """A task has no result, because it was cancelled: by `TaskHandle.cancel`, or by the server."""


class ToolFailed(ConnectorError):
    """A tool failed, and so there is nothing to make the `result_type` of that the caller wants.

    Attributes:
        result: the tool's result, whose `is_error` is true; its content is for a model to see.
    """

    def __init__(self, message: str, result: CallToolResult) -> None:
        super().__init__(message, result)
        self.result = result


class MCPError(ConnectorError):
    """The server answered a request with a JSON-RPC error.

    Raised by a callback, it is the answer to the server's request.

    Args:
        code: the JSON-RPC error code, such as -32602.
        message: one sentence.
        data: whatever the error's sender adds: a JSON value or None.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        Exception.__init__(self, code, message, data)  # the arguments that a copy is made with
        self.code = code
        self.data = data
        self.http_status: int | None = None

    def __str__(self) -> str:
        return f"{super().__str__()} (error {self.code})"


class URLElicitationRequired(MCPError):
    """The user must go to some URLs before the server can do what was asked (2511/client/elicitation).

    Raised if no callback declares elicitation by URL, if one was declined, or if the server wants some still
    when the request is sent again. It can be sent once more when the user has been there.

    Attributes:
        elicitations: where to go, and why. A URL must not be opened, nor fetched, without the user's consent.
    """

    def __init__(
        self, message: str, elicitations: Sequence[ElicitRequestURLParams], data: object = None
    ) -> None:
        super().__init__(_URL_ELICITATION_REQUIRED, message, data)
        Exception.__init__(self, message, elicitations, data)
        self.elicitations: list[ElicitRequestURLParams] = list(elicitations)


class InternalError(ConnectorError):
    """A bug in trio_mcp itself. The cause is attached; please report it."""
