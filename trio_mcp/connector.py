"""What the user holds: a connection as a block.

    async with connector as c:      # the tasks begin; the handshake is made
        await c.call_tool("add", {"a": 1, "b": 2})
                                    # callbacks end, goodbye is said, the tasks end

All tasks live in the block. What the body raises comes out as it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

import mcp_types as types
import trio

from .block import Block, check_trio
from .callbacks import RequestContext
from .connection import Connection, Setup, TransportFactory, open_connection
from .errors import ConnectorError, NotConnected, UnsupportedFeature, UsageError
from .methods import Methods
from .options import check_roots
from .protocol.versions import is_modern
from .statistics import Statistics
from .transports.base import TransportName

__all__ = ["Connector"]


class Connector(Methods, Block):
    """A connection to one MCP server. Its classes, one for each kind of target, are made by `open_connector`.

    Args:
        setup: what was asked for, checked.
        roots: the roots to offer; None for none.
    """

    def __init__(self, setup: Setup, roots: Sequence[types.Root] | None) -> None:
        super().__init__()
        self._setup = setup
        self._roots = check_roots(roots or ())
        self._statistics = Statistics()
        self._connection: Connection | None = None
        self._opening = trio.CancelScope()
        self._leave = trio.Event()
        self._left: trio.Event | None = None

    @abstractmethod
    def _open_transport(self) -> AbstractAsyncContextManager[TransportFactory]:
        """Open what the transport needs; the block makes the transport of it."""

    # The block

    @asynccontextmanager
    async def _lifetime(self) -> AsyncGenerator[None]:
        self._statistics = statistics = Statistics()
        self._opening = trio.CancelScope()
        async with (
            self._open_transport() as make,
            open_connection(self._setup, make, self, statistics) as connection,
        ):
            with self._opening:
                await connection.session.open()
            if self._opening.cancelled_caught:
                raise NotConnected("the connector was closed while it was being opened").locate(
                    self.public_identifier
                )
            self._connection = connection
            try:
                yield
            finally:
                self._connection = None

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

    def _is_open(self) -> UsageError:
        error = UsageError("this connector is open already; make one for each connection")
        return error.locate(self.public_identifier)

    async def aclose(self) -> None:
        """End a connection that `connect` or `run` has opened, and wait until it has ended.

        In an `async with` block nothing waits: calls in flight end with `NotConnected`, and the end of the
        block does the rest.
        """
        check_trio()
        self._leave.set()
        if self._connection is not None:
            await self._connection.session.close()
        elif self._block is not None:
            self._opening.cancel(reason="the connector was closed")
        if self._left is not None:
            await self._left.wait()
        await trio.lowlevel.checkpoint()

    async def until_lost(self) -> ConnectorError:
        """Wait until the connection is lost for good, so that only a new block helps; gives the reason.

        Over Streamable HTTP each request is a connection of its own: there that is never.

        Raises:
            NotConnected: the connector is closed.
        """
        session = self._live().session
        with session.call():
            reason = await session.transport.until_lost()
        return reason.locate(self.public_identifier)

    def __repr__(self) -> str:
        if not self.is_connected:
            return f"<{type(self).__name__} {self.public_identifier} closed>"
        return f"<{type(self).__name__} {self.public_identifier} {self.transport} {self.protocol_version}>"

    # What is known of the connection

    def _live(self) -> Connection:
        if self._connection is None:
            raise NotConnected("not connected: its block has not begun, or has ended").locate(
                self.public_identifier
            )
        return self._connection

    @property
    def is_connected(self) -> bool:
        """Whether the handshake has been made, and the connection was neither closed nor lost."""
        session = None if self._connection is None else self._connection.session
        return session is not None and not session.closed and session.transport.connected

    @property
    def public_identifier(self) -> str:
        """What the server is called: its URL without user, password and query."""
        return self._setup.identifier

    @property
    def transport(self) -> TransportName:
        """The transport in use."""
        return self._live().session.transport.name

    @property
    def server_info(self) -> types.Implementation | None:
        """What the server says it is. For display only: nothing may depend on it (26/basic/index)."""
        return self._live().session.negotiated.server_info

    @property
    def server_capabilities(self) -> types.ServerCapabilities:
        """What the server offers."""
        return self._live().session.negotiated.capabilities

    @property
    def instructions(self) -> str | None:
        """How the server wants to be used, for a model's system prompt."""
        return self._live().session.negotiated.instructions

    @property
    def client_info(self) -> types.Implementation:
        """Who we say we are."""
        return self._setup.client_info

    def statistics(self) -> Statistics:
        """What has been counted since the block was entered: a copy."""
        return self._statistics.copy()

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
        if self._setup.callbacks.list_roots is None:
            error = UnsupportedFeature("roots were not declared: open the connector with roots=[]")
            raise error.locate(self.public_identifier)
        self._roots = check_roots(roots)
        if self._connection is not None and not is_modern(self.protocol_version):
            await self.notify("notifications/roots/list_changed")
        else:
            await trio.lowlevel.checkpoint()
