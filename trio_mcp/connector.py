"""What the user holds: a connection as a block.

    async with connector as c:      # the tasks begin; the handshake is made
        await c.call_tool("add", {"a": 1, "b": 2})
                                    # callbacks end, goodbye is said, the tasks end

All tasks live in the block. What the body raises comes out as it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import mcp_types as types
import trio

from ._version import __version__
from .callbacks import Callbacks, ProgressCallback, RequestContext
from .dispatcher import Dispatcher
from .errors import ConfigurationError, NotConnected, ProtocolError, UnsupportedFeature, UsageError
from .features.output_schemas import OutputSchemas
from .methods import Methods
from .negotiation import VersionOption, check_version
from .protocol.versions import is_modern
from .session import Session
from .statistics import Statistics
from .supervision import Supervisor, open_supervisor
from .transports.base import Inbox, OneWay, Transport, TransportName

__all__ = ["Connector", "TransportFactory", "check_seconds", "check_trio"]

T = TypeVar("T")

TransportFactory: TypeAlias = Callable[[Inbox, Supervisor, Statistics], Transport]


class Connector(Methods):
    """A connection to one MCP server. Its classes, one for each kind of target, are made by `open_connector`.

    Args:
        identifier: what errors and people call the server; without secrets.
        callbacks: what the server may ask of us.
        roots: the roots to offer; None for no such thing, unless `callbacks` has one of its own.
        protocol_version: "auto", or the only version to speak.
        client_info: who we say we are; None for trio_mcp and its version.
        connect_timeout: seconds that the handshake may take as a whole.
        goodbye_timeout: seconds that closing may wait for the server.
        validate_output: whether structured content is validated against the tool's output schema.
    """

    def __init__(
        self,
        identifier: str,
        callbacks: Callbacks,
        *,
        roots: Sequence[types.Root] | None,
        protocol_version: VersionOption,
        client_info: types.Implementation | None,
        connect_timeout: float,
        goodbye_timeout: float,
        validate_output: bool,
    ) -> None:
        self._identifier = identifier
        self._callbacks = callbacks
        self._roots = check_roots(roots or ())
        self._pinned = check_version(protocol_version)
        if client_info is not None and not isinstance(client_info, types.Implementation):
            raise ConfigurationError(
                f"client_info must be an mcp_types.Implementation, not {type(client_info).__name__}"
            )
        self._client_info = client_info or types.Implementation(name="trio_mcp", version=__version__)
        self._connect_timeout = check_seconds("connect_timeout", connect_timeout)
        self._goodbye_timeout = check_seconds("goodbye_timeout", goodbye_timeout)
        self._output_schemas = OutputSchemas() if validate_output else None
        self._statistics = Statistics()
        self._session: Session | None = None
        self._block: AbstractAsyncContextManager[None] | None = None
        self._opening = trio.CancelScope()
        self._leave = trio.Event()
        self._left: trio.Event | None = None

    @abstractmethod
    def _open_transport(self) -> AbstractAsyncContextManager[TransportFactory]:
        """Open what the transport needs; the block makes the transport of it."""

    # The block

    async def __aenter__(self) -> Self:
        check_trio()
        self._check_not_open()
        self._opening = trio.CancelScope()
        self._block = block = self._lifetime()
        try:
            await block.__aenter__()
        except BaseException:
            self._block = None
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._block is not None
        try:
            return await self._block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - its own business
        finally:
            self._block = None

    @asynccontextmanager
    async def _lifetime(self) -> AsyncGenerator[None]:
        self._statistics = statistics = Statistics()
        transport: Transport  # it needs the dispatcher, and the dispatcher needs it

        def deliver(message: OneWay) -> None:
            transport.deliver(message)

        async with self._open_transport() as make, open_supervisor(self._goodbye_timeout) as supervisor:
            dispatcher = Dispatcher(self._callbacks, self, deliver, supervisor, statistics)
            transport = make(dispatcher, supervisor, statistics)
            session = Session(
                transport,
                dispatcher,
                supervisor,
                statistics,
                client_info=self._client_info,
                callbacks=self._callbacks,
                pinned=self._pinned,
                connect_timeout=self._connect_timeout,
                server=self._identifier,
            )
            supervisor.close = session.close
            supervisor.drain, supervisor.goodbye = dispatcher.drain, transport.goodbye
            try:
                with self._opening:
                    await session.open()
                if self._opening.cancelled_caught:
                    raise NotConnected("the connector was closed while it was being opened").locate(
                        self._identifier
                    )
                self._session = session
                yield
            finally:
                self._session = None
                dispatcher.close()

    async def run(  # noqa: ASYNC114
        self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be open until `aclose` is called: a task for `await nursery.start(connector.run)`."""
        self._check_not_open()
        self._leave, self._left = trio.Event(), (left := trio.Event())
        try:
            async with self:
                task_status.started(self)
                await self._leave.wait()
        except NotConnected:
            pass  # `aclose` ended the opening: that is what it is for
        finally:
            self._left = None
            left.set()

    def _check_not_open(self) -> None:
        if self._block is not None:
            error = UsageError("this connector is open already; make one for each connection")
            raise error.locate(self._identifier)

    async def aclose(self) -> None:
        """End a connection that `connect` or `run` has opened, and wait until it has ended.

        In an `async with` block nothing waits: calls in flight end with `NotConnected`, and the end of the
        block does the rest.
        """
        check_trio()
        self._leave.set()
        if self._session is not None:
            await self._session.close()
        elif self._block is not None:
            self._opening.cancel(reason="the connector was closed")
        if self._left is not None:
            await self._left.wait()
        await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        if not self.is_connected:
            return f"<{type(self).__name__} {self._identifier} closed>"
        return f"<{type(self).__name__} {self._identifier} {self.transport} {self.protocol_version}>"

    # What is known of the connection

    def _live(self) -> Session:
        if self._session is None:
            raise NotConnected("not connected: its block has not begun, or has ended").locate(
                self._identifier
            )
        return self._session

    @property
    def is_connected(self) -> bool:
        """Whether the handshake has been made and the connection has not been closed."""
        return self._session is not None and not self._session.closed

    @property
    def public_identifier(self) -> str:
        """What the server is called: its URL without user, password and query."""
        return self._identifier

    @property
    def transport(self) -> TransportName:
        """The transport in use."""
        return self._live().transport.name

    @property
    def protocol_version(self) -> str:
        """The negotiated protocol version, such as "2026-07-28"."""
        return self._live().negotiated.version

    @property
    def server_info(self) -> types.Implementation | None:
        """What the server says it is. For display only: nothing may depend on it (26/basic/index)."""
        return self._live().negotiated.server_info

    @property
    def server_capabilities(self) -> types.ServerCapabilities:
        """What the server offers."""
        return self._live().negotiated.capabilities

    @property
    def instructions(self) -> str | None:
        """How the server wants to be used, for a model's system prompt."""
        return self._live().negotiated.instructions

    @property
    def client_info(self) -> types.Implementation:
        """Who we say we are."""
        return self._client_info

    def statistics(self) -> Statistics:
        """What has been counted since the block was entered: a copy."""
        return self._statistics.copy()

    # Requests

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        result_type: type[T],
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> T:
        return await self._live().request(method, params, result_type, progress_callback, meta)

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._live().notify(method, params)

    request.__doc__ = Methods.request.__doc__
    notify.__doc__ = Methods.notify.__doc__

    def _set_log_level(self, level: types.LoggingLevel) -> None:
        self._live().log_level = level

    def _located(self, error: ProtocolError, request: str | None = None) -> ProtocolError:
        return error.locate(self._identifier, request)

    # Roots

    async def _list_own_roots(self, context: RequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=self._roots)

    def get_roots(self) -> list[types.Root]:
        """The roots that are offered: a copy."""
        return list(self._roots)

    async def set_roots(self, roots: Sequence[types.Root]) -> None:
        """Offer other roots from now on; a connected legacy server is told so (2511/client/roots).

        Raises:
            UnsupportedFeature: roots were not declared when connecting: give `roots=`, be it `[]`.
        """
        if self._callbacks.list_roots is None:
            error = UnsupportedFeature("roots were not declared: open the connector with roots=[]")
            raise error.locate(self._identifier)
        self._roots = check_roots(roots)
        if self._session is not None and not is_modern(self.protocol_version):
            await self.notify("notifications/roots/list_changed")
        else:
            await trio.lowlevel.checkpoint()


def check_roots(roots: Sequence[types.Root]) -> list[types.Root]:
    """A copy of `roots`.

    Raises:
        ConfigurationError: it is not a sequence of `mcp_types.Root`.
    """
    for root in roots:
        if not isinstance(root, types.Root):
            raise ConfigurationError(
                f'roots must be objects like mcp_types.Root(uri="file:///x"), not {type(root).__name__}'
            )
    return list(roots)


def check_trio() -> None:
    """Make sure that this is a Trio program.

    Raises:
        UsageError: it runs on something else, such as asyncio.
    """
    if not trio.lowlevel.in_trio_task():
        raise UsageError("trio_mcp runs on Trio: start the program with trio.run(main), not with asyncio")


def check_seconds(name: str, value: float) -> float:
    """`value`, if it is a time to wait.

    Raises:
        ConfigurationError: it is not a number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"{name} must be a number of seconds above 0, not {value!r}")
    return float(value)
