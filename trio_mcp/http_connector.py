"""`HttpConnector`: the connector for `http://` and `https://`."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Literal, TypeAlias

import httpx2
import mcp_types as types

from ._version import __version__
from .auth import AskedToken, AuthOption, Authorizer, OAuth, fixed_authorization, resolve_auth
from .callbacks import (
    ConnectionCallback,
    ElicitationCallback,
    ListRootsCallback,
    LoggingCallback,
    MessageHandler,
    SamplingCallback,
)
from .connection import TransportFactory
from .connector import Connector
from .errors import ConfigurationError
from .features.extensions import Extension, ExtensionsOption, check_extensions
from .features.response_cache import CacheOption
from .http import HttpClient, HttpClientOption, Verify, open_engine
from .http.authorizing import Dial, open_authorizing
from .http.engine import Engine
from .http.exposure import warn_if_exposed
from .http.setup import check_http_client, check_verify
from .http.urls import check_url, public_url
from .middleware.chain import MiddlewareOption
from .negotiation import VersionOption
from .network import Network
from .options import check_positive, check_seconds, make_setup
from .protocol.headers import check_headers
from .protocol.versions import is_modern
from .reconnecting import ReconnectPolicy, check_reconnect
from .statistics import Statistics
from .supervision import Supervisor
from .transports.base import Inbox, Transport
from .transports.fallback import WithFallback
from .transports.legacy_sse import LegacySse
from .transports.streamable_http import StreamableHttp

__all__ = ["HttpConnector", "HttpTransportOption"]

HttpTransportOption: TypeAlias = Literal["auto", "streamable-http", "sse"]


class HttpConnector(Connector):
    """A connection over HTTP: Streamable HTTP of every protocol version, or HTTP+SSE of 2024-11-05.

    Args:
        base_url: the MCP endpoint, `http://` or `https://`.
        headers: sent with every request; copied, never changed.
        timeout: seconds for one HTTP operation: connecting, sending, and any exchange that should be short.
            Never a deadline on a tool's work.
        sse_read_timeout: seconds that the server may send nothing while an answer or a stream is open;
            then the call fails with `Stalled`. Over HTTP+SSE there is one stream for all calls.
        auth: a bearer token (without "Bearer "); a function, async or not, that returns one, asked again when
            the server refuses it; an `OAuth`, or a dict of its options; an `httpx2.Auth` or an `httpx.Auth`;
            None is none.
        sampling_callback: answers the server's requests to sample a model.
        elicitation_callback: answers the server's requests to ask the user, by a form or a URL. Defaults of
            the form that it leaves out are filled in.
        message_handler: awaited with each notification of the server. What it raises ends the block, as
            with every callback.
        logging_callback: awaited with each log message. A modern server is asked for those of level "info"
            and above; see `set_logging_level`.
        middleware: what every request goes through, the first one outermost; see `trio_mcp.middleware`.
        verify: True checks the server's certificate against the system's trust store; a CA file or an
            `ssl.SSLContext` against that; False checks nothing; None is True.
        roots: `file://` roots to offer; see `set_roots`.
        list_roots_callback: answers the server's `roots/list`, instead of `roots`.
        transport: "streamable-http"; "sse" for HTTP+SSE, which has legacy versions only; "auto" for the first
            one, and for the second one on the answers that tell of such a server: 400, 404 or 405 to
            `initialize`, without an error of the modern era (26/basic/transports/streamable-http). If
            neither works, one error tells both. Middleware sees one handshake; headers that it adds go with
            what is POSTed, and not with the GET that opens the stream of HTTP+SSE.
        protocol_version: "auto", or the only version to speak.
        client_info: who we say we are; None for trio_mcp and its version.
        http_client: an `httpx2.AsyncClient` or `httpx.AsyncClient` to send with; it stays the caller's, and
            `verify` does not apply to it.
        network: what to dial with; None for the operating system's network. `trio_mcp.testing` has one in
            memory.
        proxy: the URL of a proxy; None for what the environment names (HTTPS_PROXY, ALL_PROXY, NO_PROXY).
        max_message_size: bytes that one message of the server may have.
        max_connections: requests at a time, each on a connection of its own; further ones queue, first come,
            first served.
        connect_timeout: seconds that the handshake may take as a whole.
        goodbye_timeout: seconds that closing may wait for the server.
        sampling_capabilities: what to declare of sampling; declare `tools` if the callback can deal with
            requests that offer the model tools. Without a callback, a modern server's questions are for
            `request_round`.
        elicitation_capabilities: which modes to declare; None for both, if there is a callback. Without one,
            as for sampling.
        validate_output: whether structured content is validated against the tool's output schema.
        extensions: what to offer beyond the protocol, by identifier: settings, or an `Extension`. Tasks are
            one, and handled here: `{TASKS_EXTENSION: {}}`; see `start_task`.
        cache: whether results are kept for as long as the server says; or a `CacheStore` to keep them in.
        connection_callback: awaited when the connection is lost, and when it is there again: the stream of
            HTTP+SSE; the GET stream or the session of Streamable HTTP, where calls go on meanwhile.
        reconnect: whether a stream that was lost is opened again, and how: that of HTTP+SSE, with a new
            session, where calls in flight fail with `ConnectionLost`; of Streamable HTTP in legacy versions,
            the GET stream and, where the server can resume them, those of calls. What the server asks for by
            `retry` is kept to there.
        rng: the source of jitter; None for the network's, if it has one (see `Network`), or for one of its
            own.

    Raises:
        ConfigurationError: an option that cannot work.
        TypeError: `auth` or `http_client` is of a type that is not accepted.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5,
        sse_read_timeout: float = 300,
        auth: AuthOption = None,
        sampling_callback: SamplingCallback | None = None,
        elicitation_callback: ElicitationCallback | None = None,
        message_handler: MessageHandler | None = None,
        logging_callback: LoggingCallback | None = None,
        middleware: MiddlewareOption | None = None,
        verify: Verify | None = True,
        *,
        roots: Sequence[types.Root] | None = None,
        list_roots_callback: ListRootsCallback | None = None,
        transport: HttpTransportOption = "auto",
        protocol_version: VersionOption = "auto",
        client_info: types.Implementation | None = None,
        http_client: HttpClientOption = None,
        network: Network | None = None,
        proxy: str | None = None,
        max_message_size: int = 1 << 24,
        max_connections: int = 100,
        connect_timeout: float = 30,
        goodbye_timeout: float = 1,
        sampling_capabilities: types.SamplingCapability | None = None,
        elicitation_capabilities: types.ElicitationCapability | None = None,
        validate_output: bool = True,
        extensions: ExtensionsOption | None = None,
        cache: CacheOption = True,
        connection_callback: ConnectionCallback | None = None,
        reconnect: bool | ReconnectPolicy = True,
        rng: random.Random | None = None,
    ) -> None:
        if transport not in ("auto", "streamable-http", "sse"):
            raise ConfigurationError(
                f'transport must be "auto", "streamable-http" or "sse", not {transport!r}'
            )
        verify = check_verify(verify)
        if http_client is not None:
            check_http_client(http_client)
        if sum(option is not None for option in (http_client, network, proxy)) > 1:
            raise ConfigurationError("http_client, network and proxy exclude each other")
        if network is not None and not isinstance(network, Network):
            raise TypeError(f"network must have open_stream(), as {type(network).__name__} has not")
        url = check_url(base_url, ("http", "https"))
        if list_roots_callback is None and roots is not None:
            list_roots_callback = self._list_own_roots
        # Without what authenticates: httpx2 logs each URL.
        self._endpoint = url.copy_with(userinfo=b"")
        self._headers = {"user-agent": f"trio_mcp/{__version__}", **check_headers(headers or {})}
        self._timeout = check_seconds("timeout", timeout)
        self._silence = check_seconds("sse_read_timeout", sse_read_timeout)
        self._auth: httpx2.Auth | None = None
        self._authorization: OAuth | AskedToken | None = None
        match resolve_auth(auth):
            case httpx2.Auth() as flow:
                self._auth = flow
            case OAuth() as oauth:
                if http_client is not None and "authorization" in http_client.headers:
                    raise ConfigurationError(
                        "http_client has an Authorization header of its own: it and OAuth exclude each other"
                    )
                self._authorization = oauth
                extensions = {**dict.fromkeys(oauth.extensions, Extension()), **check_extensions(extensions)}
            case AskedToken() as asked:
                self._authorization = asked
            case None if url.userinfo:
                self._auth = httpx2.BasicAuth(url.username, url.password)
        if http_client is None and (fixed := fixed_authorization(self._auth)) is not None:
            # A header, and no flow to run. Not with the user's client, which may have a flow of its own.
            self._auth = None
            self._headers["authorization"] = fixed
        self._verify = verify
        self._http_client = http_client
        self._network = network
        self._proxy = proxy
        self._max_message_size = check_positive("max_message_size", max_message_size)
        self._max_connections = check_positive("max_connections", max_connections)
        self._policy = check_reconnect(reconnect)
        self._option = transport
        known = self._auth is None and self._authorization is None and http_client is None
        setup = make_setup(
            public_url(url),
            _audience(self._endpoint, self._headers, known=known),
            sampling_callback=sampling_callback,
            elicitation_callback=elicitation_callback,
            message_handler=message_handler,
            logging_callback=logging_callback,
            middleware=middleware,
            list_roots_callback=list_roots_callback,
            protocol_version=protocol_version,
            client_info=client_info,
            connect_timeout=connect_timeout,
            goodbye_timeout=goodbye_timeout,
            sampling_capabilities=sampling_capabilities,
            elicitation_capabilities=elicitation_capabilities,
            validate_output=validate_output,
            extensions=extensions,
            cache=cache,
            connection_callback=connection_callback,
            rng=rng or getattr(network, "rng", None),
        )
        if setup.pinned is not None and is_modern(setup.pinned):
            if transport == "sse":
                raise ConfigurationError(
                    f"there is no {setup.pinned} over HTTP+SSE, which is of the versions before it"
                )
            self._option = "streamable-http"
        super().__init__(setup, roots)

    @asynccontextmanager
    async def _open_transport(self) -> AsyncGenerator[TransportFactory]:
        if self._http_client is None:
            warn_if_exposed(
                self.public_identifier,
                self._endpoint,
                self._verify,
                self._network,
                self._headers,
                authorized=self._auth is not None or self._authorization is not None,
            )
        elsewhere = partial(self._open_engine, None, anywhere=True)
        async with (
            open_authorizing(self._endpoint, self._authorization, elsewhere, self._timeout) as (
                make_authorizer,
                dial,
            ),
            self._open_engine(self._auth, dial) as engine,
        ):

            def make(inbox: Inbox, supervisor: Supervisor, statistics: Statistics) -> Transport:
                return self._make_transport(
                    engine, make_authorizer(supervisor), inbox, supervisor, statistics
                )

            yield make

    def _make_transport(
        self,
        engine: Engine,
        authorizer: Authorizer | None,
        inbox: Inbox,
        supervisor: Supervisor,
        statistics: Statistics,
    ) -> Transport:
        http = HttpClient(
            engine,
            headers=self._headers,
            timeout=self._timeout,
            max_size=self._max_message_size,
            spawn=supervisor.services.start_soon,
            authorizer=authorizer,
        )

        def streamable() -> Transport:
            return StreamableHttp(
                str(self._endpoint),
                http,
                inbox=inbox,
                supervisor=supervisor,
                statistics=statistics,
                silence=self._silence,
                max_message_size=self._max_message_size,
                max_connections=self._max_connections,
                policy=self._policy,
                rng=self._setup.rng,
            )

        def legacy_sse() -> Transport:
            return LegacySse(
                str(self._endpoint),
                http,
                inbox=inbox,
                supervisor=supervisor,
                statistics=statistics,
                silence=self._silence,
                max_message_size=self._max_message_size,
                max_connections=self._max_connections,
                connect_timeout=self._setup.connect_timeout,
                policy=self._policy,
                rng=self._setup.rng,
            )

        if self._option == "sse":
            return legacy_sse()
        if self._option == "streamable-http":
            return streamable()
        return WithFallback(
            streamable(), legacy_sse, inbox=inbox, supervisor=supervisor, statistics=statistics
        )

    def _open_engine(
        self, auth: httpx2.Auth | None, dial: Dial, *, anywhere: bool = False
    ) -> AbstractAsyncContextManager[Engine]:
        return open_engine(
            self._endpoint,
            auth=auth,
            verify=self._verify,
            http_client=self._http_client,
            network=self._network,
            proxy=self._proxy,
            max_size=self._max_message_size,
            dial=dial,
            anywhere=anywhere,
        )


def _audience(url: httpx2.URL, headers: Mapping[str, str], *, known: bool) -> tuple[str, str]:
    """Which server it is, and whose credentials it is given, as digests.

    Where the credentials are not `known`, because a flow or a client brings them, they are nobody else's.
    """
    whose = [dict(headers), "" if known else secrets.token_hex()]
    texts = str(url), json.dumps(whose, sort_keys=True)
    server, owner = (hashlib.sha256(text.encode()).hexdigest() for text in texts)
    return server, owner
