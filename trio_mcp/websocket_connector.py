"""`WebSocketConnector`: the connector for `ws://` and `wss://`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

import httpx2
import mcp_types as types
from typing_extensions import Unpack

from ._version import __version__
from .auth import AskedToken, AuthOption, Authorizer, OAuth, fixed_authorization, resolve_auth
from .connection import TransportFactory
from .errors import ConfigurationError
from .http import Verify, open_engine
from .http.authorizing import Dial, MakeAuthorizer, open_authorizing
from .http.engine import Engine
from .http.exposure import warn_if_exposed
from .http.setup import check_verify, directly, ssl_context
from .http.urls import check_url, public_url
from .network import Network, TcpNetwork
from .options import CommonOptions, check_seconds
from .pipe_connector import PipeConnector, PipeOptions
from .protocol.headers import check_headers
from .reconnecting import ReconnectPolicy
from .statistics import Statistics
from .supervision import Supervisor
from .transports.wires import Wire

__all__ = ["WebSocketConnector", "WebSocketOptions"]

_GRACE: Final = 0.8  # the part of the goodbye that the closing handshake has


class WebSocketOptions(PipeOptions, total=False):
    """What they mean stands at `WebSocketConnector`."""

    headers: Mapping[str, str] | None
    auth: AuthOption
    verify: Verify | None
    network: Network | None
    ping_interval: float | None


class WebSocketConnector(PipeConnector):
    """A connection over a WebSocket, with one message in each frame of text.

    The subprotocol `mcp` is offered. A server may select it or none; one that selects another is refused.

    Args:
        url: the MCP endpoint, `ws://` or `wss://`. A user and a password in it are sent by Basic.
        headers: sent with the handshake; copied, never changed.
        timeout: seconds for connecting (TCP, TLS and the handshake), and seconds in which the server takes
            nothing of a message; then the connection counts as lost.
        auth: as for `HttpConnector`. The handshake is a GET of `http(s)://` to it; what a flow of httpx2's
            asks elsewhere goes over HTTP, straight and not by a proxy.
        verify: as for `HttpConnector`.
        network: what to dial with; None for the operating system's network.
        ping_interval: seconds between pings, and seconds after a ping in which something, be it the pong,
            must come of the server; then the connection counts as lost (`Stalled`). None for no pings.
        roots: `file://` roots to offer; see `set_roots`.
        reconnect: whether a connection that was lost is opened again, and how. Calls that were under way
            fail with `ConnectionLost`, and are not sent again: the server may have carried them out.
        max_message_size: bytes that one message of the server may have.
        **options: as for `HttpConnector`.

    Raises:
        ConfigurationError: an option that cannot work. Entering the block raises `ConnectError`
            (`ConnectTimeout` if it took too long), `HTTPStatusError` where the server refuses the handshake
            (`AccessDenied` for 401 and 403), and `AuthorizationError` where the auth flow fails.
        TypeError: `auth`, `verify` or `network` is of a type that is not accepted.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5,
        auth: AuthOption = None,
        verify: Verify | None = True,
        *,
        network: Network | None = None,
        ping_interval: float | None = 20,
        roots: Sequence[types.Root] | None = None,
        reconnect: bool | ReconnectPolicy = False,
        max_message_size: int = 1 << 24,
        **options: Unpack[CommonOptions],
    ) -> None:
        self._verify = check_verify(verify)
        if network is not None and not isinstance(network, Network):
            raise TypeError(f"network must have open_stream(), as {type(network).__name__} has not")
        read = check_url(url, ("ws", "wss"))
        self._endpoint = read.copy_with(
            scheme="https" if read.scheme == "wss" else "http", userinfo=b"", fragment=None
        )
        self._headers = {"user-agent": f"trio_mcp/{__version__}", **check_headers(headers or {})}
        for name in self._headers:
            if name.startswith("sec-websocket-"):
                raise ConfigurationError(f"the header {name!r} is set by the WebSocket itself")
        self._auth: httpx2.Auth | None = None
        self._authorization: OAuth | AskedToken | None = None
        self._make_authorizer: MakeAuthorizer | None = None
        self._authorizer: Authorizer | None = None
        self._dial: Dial = directly
        match resolve_auth(auth):
            case httpx2.Auth() as flow:
                self._auth = flow
            case OAuth() | AskedToken() as authorization:
                self._authorization = authorization
            case None if read.userinfo:
                self._auth = httpx2.BasicAuth(read.username, read.password)
        if (fixed := fixed_authorization(self._auth)) is not None:
            self._auth = None  # a header, and no flow to run
            self._headers["authorization"] = fixed
        self._network = network
        self._ping_interval = None if ping_interval is None else check_seconds("ping_interval", ping_interval)
        super().__init__(
            public_url(read),
            "websocket",
            timeout=timeout,
            roots=roots,
            reconnect=reconnect,
            max_message_size=max_message_size,
            **options,
        )

    @asynccontextmanager
    async def _open_transport(self) -> AsyncGenerator[TransportFactory]:
        warn_if_exposed(
            self.public_identifier,
            self._endpoint,
            self._verify,
            self._network,
            self._headers,
            authorized=self._auth is not None or self._authorization is not None,
        )
        async with open_authorizing(
            self._endpoint, self._authorization, self._open_engine, self._timeout
        ) as (make_authorizer, dial):
            self._make_authorizer, self._dial = make_authorizer, dial
            async with super()._open_transport() as make:
                yield make

    def _open_engine(self, dial: Dial) -> AbstractAsyncContextManager[Engine]:
        return open_engine(
            self._endpoint, verify=self._verify, network=self._network, dial=dial, anywhere=True
        )

    def _prepare(self, supervisor: Supervisor, statistics: Statistics) -> None:
        assert self._make_authorizer is not None
        self._authorizer = self._make_authorizer(supervisor)

    def _open_wire(self) -> AbstractAsyncContextManager[Wire]:
        # trio-websocket is imported where it is used first.
        from .transports.websocket import open_websocket
        from .transports.websocket_handshake import Handshake

        return open_websocket(
            lambda nursery, limit: Handshake(
                self._endpoint,
                self._headers,
                self._auth,
                self._authorizer,
                self._dial(self._network or TcpNetwork()),
                partial(ssl_context, self._verify),
                self._timeout,
                limit,
                nursery,
            ),
            connect_timeout=self._setup.connect_timeout,
            ping_interval=self._ping_interval,
            max_message_size=self._max_message_size,
            grace=self._setup.goodbye_timeout * _GRACE,
        )
