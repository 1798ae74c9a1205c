"""What the connectors have in common whose messages go through one pipe."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import mcp_types as types
from typing_extensions import Unpack

from .connection import TransportFactory
from .connector import Connector
from .options import CommonOptions, check_positive, check_seconds, make_setup
from .reconnecting import ReconnectPolicy, check_reconnect
from .statistics import Statistics
from .supervision import Supervisor
from .transports.base import Inbox, Transport, TransportName
from .transports.pipe import Pipe
from .transports.wires import Wire

__all__ = ["PipeConnector", "PipeOptions"]


class PipeOptions(CommonOptions, total=False):
    """What they mean stands at `StdioConnector`."""

    timeout: float
    roots: Sequence[types.Root] | None
    reconnect: bool | ReconnectPolicy
    max_message_size: int


class PipeConnector(Connector):
    """A connection through one pipe.

    Args:
        identifier: what errors and people call the server.
        name: the kind of the transport.
        timeout: seconds in which the server takes nothing of a message.
        roots: the roots to offer.
        reconnect: how to replace a connection that was lost.
        max_message_size: bytes that one message of the server may have.
        **options: the user's.
    """

    def __init__(
        self,
        identifier: str,
        name: TransportName,
        *,
        timeout: float,
        roots: Sequence[types.Root] | None,
        reconnect: bool | ReconnectPolicy,
        max_message_size: int,
        **options: Unpack[CommonOptions],
    ) -> None:
        if roots is not None and options.get("list_roots_callback") is None:
            options["list_roots_callback"] = self._list_own_roots
        self._name: TransportName = name
        self._timeout = check_seconds("timeout", timeout)
        self._max_message_size = check_positive("max_message_size", max_message_size)
        self._policy = check_reconnect(reconnect)
        super().__init__(make_setup(identifier, (identifier, secrets.token_hex()), **options), roots)

    @abstractmethod
    def _open_wire(self) -> AbstractAsyncContextManager[Wire]:
        """Connect for a block; see `OpenWire`."""

    def _prepare(self, supervisor: Supervisor, statistics: Statistics) -> None:  # noqa: B027 - most need none
        """Start what all wires of a connection need beside them, before the first is opened."""

    @asynccontextmanager
    async def _open_transport(self) -> AsyncGenerator[TransportFactory]:
        def make(inbox: Inbox, supervisor: Supervisor, statistics: Statistics) -> Transport:
            self._prepare(supervisor, statistics)
            return Pipe(
                self._name,
                self._open_wire,
                inbox=inbox,
                supervisor=supervisor,
                statistics=statistics,
                send_timeout=self._timeout,
                policy=self._policy,
                rng=self._setup.rng,
            )

        yield make
