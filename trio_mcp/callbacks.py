"""The user's callbacks: their types, and what they are given.

The signatures are those of the official SDK, so a callback written for it works here. Each may be left
out; what is given decides which capabilities the server is told of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import mcp_types as types

from .errors import ConfigurationError
from .protocol.versions import has_elicitation, is_modern

__all__ = [
    "Callbacks",
    "Caller",
    "ConnectionCallback",
    "ConnectionChange",
    "ElicitationCallback",
    "ListRootsCallback",
    "LoggingCallback",
    "MessageHandler",
    "ProgressCallback",
    "RequestContext",
    "SamplingCallback",
    "in_callback",
]

T = TypeVar("T")

in_callback: ContextVar[bool] = ContextVar("trio_mcp_in_callback", default=False)
"""Set in a task that answers the server: a call made there must not queue behind the call it belongs to."""


class Caller(Protocol):
    """The connection, as a callback sees it: it may call back into it. In fact a `Connector`."""

    @property
    def public_identifier(self) -> str:
        """What the server is called; see `Connector.public_identifier`."""
        ...

    @property
    def protocol_version(self) -> str:
        """The negotiated protocol version; see `Connector.protocol_version`."""
        ...

    async def request(self, method: str, params: Mapping[str, Any] | None, result_type: type[T], /) -> T:
        """Send a request; see `Connector.request`."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any] | None = None, /) -> None:
        """Send a notification; see `Connector.notify`."""
        ...

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> types.CallToolResult:
        """Call a tool; see `Connector.call_tool`."""
        ...

    async def read_resource(self, uri: str) -> types.ReadResourceResult:
        """Read a resource; see `Connector.read_resource`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What a callback is told of the request it answers.

    Attributes:
        session: the connection that the request came over.
        request_id: the server's id for it.
        meta: its `_meta`, if it had one.
        related_task: the id of the task in whose course the server asks, if it is one.
    """

    session: Caller
    request_id: int | str
    meta: Mapping[str, Any] | None = None
    related_task: str | None = None


SamplingCallback: TypeAlias = Callable[
    [RequestContext, types.CreateMessageRequestParams],
    Awaitable[types.CreateMessageResult | types.CreateMessageResultWithTools | types.ErrorData],
]
"""Answers `sampling/createMessage` (2511/client/sampling)."""

ElicitationCallback: TypeAlias = Callable[
    [RequestContext, types.ElicitRequestParams], Awaitable[types.ElicitResult | types.ErrorData]
]
"""Answers `elicitation/create`, as a form or by URL (2511/client/elicitation)."""

ListRootsCallback: TypeAlias = Callable[[RequestContext], Awaitable[types.ListRootsResult | types.ErrorData]]
"""Answers `roots/list` (2511/client/roots)."""

LoggingCallback: TypeAlias = Callable[[types.LoggingMessageNotificationParams], Awaitable[None]]
"""Takes the server's log messages, one after the other (2511/server/utilities/logging).

It runs beside the calls: a call may return before the callback has seen what was logged in it.
"""

MessageHandler: TypeAlias = Callable[[types.ServerNotification], Awaitable[None]]
"""Takes every notification that the protocol knows but `notifications/cancelled`, one after the other.

A modern server sends changes of lists and resources only where `subscriptions/listen` asks for them.
"""

ProgressCallback: TypeAlias = Callable[[float, float | None, str | None], Awaitable[None]]
"""Takes `(progress, total, message)` of one call, in order (2511/basic/utilities/progress)."""


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """The connection was lost, or is there again.

    Attributes:
        connected: whether it is there.
        reason: in words.
    """

    connected: bool
    reason: str


ConnectionCallback: TypeAlias = Callable[[ConnectionChange], Awaitable[None]]
"""Hears of each loss of the connection and of each return, one after the other.

Over Streamable HTTP each request is a connection of its own: there it is the GET stream of a legacy server,
or its session, that was lost, and calls go on or open a new session.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """What a server may ask of the client: callbacks, how far two of them go, the settings of extensions."""

    sampling: SamplingCallback | None = None
    elicitation: ElicitationCallback | None = None
    list_roots: ListRootsCallback | None = None
    logging: LoggingCallback | None = None
    message: MessageHandler | None = None
    connection: ConnectionCallback | None = None
    sampling_capabilities: types.SamplingCapability | None = None
    elicitation_capabilities: types.ElicitationCapability | None = None
    extensions: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        for name in ("sampling", "elicitation", "list_roots", "logging", "message", "connection"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise ConfigurationError(
                    f"the callback for {name} is not callable: {type(callback).__name__}"
                )

    def capabilities(self, version: str) -> types.ClientCapabilities:
        """What the server may ask for in `version`."""
        return types.ClientCapabilities(
            sampling=self._sampling(version),
            elicitation=self._elicitation(version),
            roots=self._roots(version),
            extensions={name: dict(settings) for name, settings in (self.extensions or {}).items()} or None,
        )

    # What is declared without a callback is answered by hand, as only a modern server can be.

    def _sampling(self, version: str) -> types.SamplingCapability | None:
        if self.sampling is None:
            return self.sampling_capabilities if is_modern(version) else None
        return self.sampling_capabilities or types.SamplingCapability()

    def _elicitation(self, version: str) -> types.ElicitationCapability | None:
        if self.elicitation is None:
            return self.elicitation_capabilities if is_modern(version) else None
        if not has_elicitation(version):
            return None
        declared = self.elicitation_capabilities or types.ElicitationCapability(
            form=types.FormElicitationCapability(), url=types.UrlElicitationCapability()
        )
        if version != "2025-06-18":
            return declared
        # It had forms only, and no name for them; an empty declaration means them in every version.
        forms = declared.form is not None or declared.url is None
        return types.ElicitationCapability() if forms else None

    def _roots(self, version: str) -> types.RootsCapability | None:
        if self.list_roots is None:
            return None
        # Only a legacy server can be told of a change: a modern one asks anew in each round.
        return types.RootsCapability(list_changed=None if is_modern(version) else True)
