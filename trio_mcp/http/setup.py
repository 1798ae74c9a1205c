"""Which engine a connection sends with: ours, or one on an httpx2 client where somebody asks for that."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx2
import trio

from ..errors import ConfigurationError
from ..network import Network, TcpNetwork
from .client_engine import ClientAsTransport, ClientEngine, cookie_jar
from .engine import MAX_SIZE, Engine, HttpRequest, Reply
from .pool import Pool
from .pool_engine import PoolEngine

if TYPE_CHECKING:
    import httpx  # noqa: ASYNC127 - for those who hold its objects

__all__ = [
    "HttpClientOption",
    "Verify",
    "check_http_client",
    "check_verify",
    "directly",
    "is_proxied",
    "open_engine",
    "ssl_context",
]

Verify: TypeAlias = "bool | str | os.PathLike[str] | ssl.SSLContext"
HttpClientOption: TypeAlias = "httpx2.AsyncClient | httpx.AsyncClient | None"

_CLOSE_SECONDS: Final = 1.0


def directly(network: Network) -> Network:
    """`network` as it is: what `open_engine` makes of it unless told otherwise."""
    return network


@asynccontextmanager
async def open_engine(
    url: httpx2.URL,
    *,
    auth: httpx2.Auth | None = None,
    verify: Verify = True,
    http_client: HttpClientOption = None,
    network: Network | None = None,
    proxy: str | None = None,
    max_size: int = MAX_SIZE,
    dial: Callable[[Network], Network] = directly,
    anywhere: bool = False,
) -> AsyncGenerator[Engine]:
    """What sends requests to `url`, open for the block.

    Args:
        url: the endpoint.
        auth: the auth flow of every request; None for none, or the client's own.
        verify: True (the system's trust store), False, a CA file or an `ssl.SSLContext`.
        http_client: the user's client; None for an engine of ours.
        network: what to dial with; None for the operating system's network.
        proxy: the URL of a proxy; None for what the environment says.
        max_size: bytes that a body may have which is read in an auth flow.
        dial: what to make of the network before it is used, if it is we who dial.
        anywhere: whether requests go to hosts that servers name. Then a client of the user's adds nothing of
            its own to them, and those that the environment names no proxy for are dialled by us.

    Raises:
        ConfigurationError: the CA file cannot be read, or the proxy is no such thing.
        TypeError: `http_client` is not a client of either library.
    """
    if http_client is not None and check_http_client(http_client):
        assert isinstance(http_client, httpx2.AsyncClient)
        yield ClientEngine(http_client, auth, max_size, bare=anywhere)
        return
    if http_client is not None:
        assert not isinstance(http_client, httpx2.AsyncClient)
        transport = ClientAsTransport(http_client, bare=anywhere)
        async with _closing(httpx2.AsyncClient(transport=transport)) as client:
            yield ClientEngine(client, auth, max_size, bare=anywhere)
    elif proxy is not None or (network is None and not anywhere and is_proxied(url, auth)):
        async with _closing(_proxied_client(verify, proxy)) as client:
            yield ClientEngine(client, auth, max_size)
    else:
        if verify is not True:
            verify = ssl_context(verify)  # once; and a file that cannot be read is told now
        pool = Pool(dial(network or TcpNetwork()), partial(ssl_context, verify))
        try:
            engine = PoolEngine(pool, auth, max_size)
            if anywhere and network is None and _has_proxies():
                async with _closing(_proxied_client(verify, None)) as client:
                    yield _AsNamed(engine, ClientEngine(client, auth, max_size))
            else:
                yield engine
        finally:
            await pool.aclose()  # noqa: ASYNC102 - it never waits


class _AsNamed:
    """Sends each request to a proxy or not, as the environment has it for its URL."""

    def __init__(self, direct: Engine, proxied: Engine) -> None:
        self._direct = direct
        self._proxied = proxied

    async def send(self, request: HttpRequest) -> tuple[Reply, Mapping[str, str]]:
        proxied = is_proxied(httpx2.URL(request.url), None)
        return await (self._proxied if proxied else self._direct).send(request)


@asynccontextmanager
async def _closing(client: httpx2.AsyncClient) -> AsyncGenerator[httpx2.AsyncClient]:
    try:
        yield client
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await client.aclose()


def _proxied_client(verify: Verify, proxy: str | None) -> httpx2.AsyncClient:
    # No limit on connections: requests queue fairly further up, and an answer to the server's own request
    # must never wait for the call that it belongs to. HTTP/2 stays off: there, cancelled streams are never
    # reset.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=4)
    context = ssl_context(verify)
    try:
        return httpx2.AsyncClient(
            verify=context, cookies=cookie_jar(), limits=limits, http2=False, proxy=proxy
        )
    except ImportError as exc:  # for socks5://
        raise ConfigurationError(f"the proxy cannot be used: {exc}") from exc
    except (ValueError, httpx2.InvalidURL):
        # They quote what they cannot read, and so a password.
        raise ConfigurationError(
            "the proxy cannot be used: its URL (proxy=, or HTTPS_PROXY and the like) has to look like "
            "http://127.0.0.1:8080, and a user and a password in it are percent-encoded"
        ) from None


def is_proxied(url: httpx2.URL, auth: httpx2.Auth | None) -> bool:
    """Whether the environment names a proxy for `url`, as HTTPS_PROXY, ALL_PROXY and NO_PROXY do."""
    proxies = urllib.request.getproxies()
    if auth is not None:
        # Its own requests may go to any host, and an httpx2 client looks at each.
        return _has_proxies()
    named = url.scheme in proxies or "all" in proxies
    return named and not urllib.request.proxy_bypass(url.host)


def _has_proxies() -> bool:
    return not urllib.request.getproxies().keys().isdisjoint({"http", "https", "all"})


def ssl_context(verify: Verify) -> ssl.SSLContext:
    """What `verify=` means.

    Raises:
        ConfigurationError: certificates cannot be read.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, bool):
        where = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return _default_context(verify, *where)
    try:
        return ssl.create_default_context(cafile=os.fspath(verify))
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"verify: cannot read certificates from {os.fspath(verify)!r}: {exc}"
        ) from exc


@cache
def _default_context(verify: bool, *where: str | None) -> ssl.SSLContext:
    """The context for the system's trust store, as these variables of the environment name it, or for none.

    Made once: reading the store blocks the loop for tens of milliseconds.
    """
    try:
        return httpx2.create_ssl_context(verify=verify)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(f"the system's certificates cannot be read (SSL_CERT_FILE): {exc}") from exc


def check_verify(verify: Verify | None) -> Verify:
    """`verify`, where None is True, as for mcp-use.

    Raises:
        TypeError: it is nothing that can verify.
    """
    if verify is None:
        return True
    if not isinstance(verify, bool | str | os.PathLike | ssl.SSLContext):
        raise TypeError(f"verify must be a bool, a CA file or an ssl.SSLContext, not {type(verify).__name__}")
    return verify


def check_http_client(http_client: object) -> bool:
    """Whether it is an httpx2 client (True) or an httpx one (False).

    Raises:
        TypeError: it is neither.
    """
    if isinstance(http_client, httpx2.AsyncClient):
        return True
    httpx = sys.modules.get("httpx")  # it is imported, if there is an object of it
    if httpx is not None and isinstance(http_client, httpx.AsyncClient):
        return False
    raise TypeError(
        f"http_client must be an httpx2.AsyncClient or an httpx.AsyncClient, not {type(http_client).__name__}"
    )
