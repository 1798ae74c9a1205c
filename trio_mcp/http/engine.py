"""The httpx2 client that does the work: ours, or one that the user gave.

A user's `httpx2.AsyncClient` is used as it is. A user's `httpx.AsyncClient` is put to work as the
transport of an httpx2 client, so that all above it deals with one library. Neither is closed here.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import httpx2
import trio

from ..errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import httpx  # noqa: ASYNC127 - for those who hold its objects

__all__ = [
    "HttpClientOption",
    "Verify",
    "check_http_client",
    "check_open",
    "check_verify",
    "has_lawful_port",
    "open_engine",
    "ssl_context",
]

Verify: TypeAlias = "bool | str | os.PathLike[str] | ssl.SSLContext"
HttpClientOption: TypeAlias = "httpx2.AsyncClient | httpx.AsyncClient | None"

_CLOSE_SECONDS = 1.0
# Each library's client adds these itself.
_CLIENTS_OWN = frozenset({b"host", b"connection", b"accept-encoding", b"user-agent", b"content-length"})


@asynccontextmanager
async def open_engine(http_client: HttpClientOption, verify: Verify) -> AsyncGenerator[httpx2.AsyncClient]:
    """An httpx2 client to send with, open for the block.

    Args:
        http_client: the user's client; None for one of our own.
        verify: True (the system's trust store), False, a CA file or an `ssl.SSLContext`.

    Raises:
        ConfigurationError: the CA file cannot be read.
        TypeError: `http_client` is not a client of either library.
    """
    ours = None
    if http_client is None:
        # No limit on connections: requests queue fairly further up, and an answer to the server's own
        # request must never wait for the call that it belongs to. HTTP/2 stays off: there, cancelled
        # streams are never reset.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=15)
        try:
            ours = httpx2.AsyncClient(verify=ssl_context(verify), limits=limits, http2=False)
        except (OSError, ImportError, ValueError) as exc:
            # The environment's: SSL_CERT_FILE, or a proxy that it names.
            raise ConfigurationError(f"the HTTP client cannot be set up: {exc}") from exc
    elif not check_http_client(http_client):
        assert not isinstance(http_client, httpx2.AsyncClient)
        ours = httpx2.AsyncClient(transport=_ClientAsTransport(http_client), trust_env=False)
    else:
        assert isinstance(http_client, httpx2.AsyncClient)
        yield http_client
        return
    try:
        yield ours
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await ours.aclose()


def ssl_context(verify: Verify) -> ssl.SSLContext | bool:
    """What `verify=` means, as httpx2 takes it."""
    if verify is True:
        return _system_trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    if isinstance(verify, bool | ssl.SSLContext):
        return verify
    try:
        return ssl.create_default_context(cafile=os.fspath(verify))
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"verify: cannot read certificates from {os.fspath(verify)!r}: {exc}"
        ) from exc


def check_open(client: httpx2.AsyncClient | httpx.AsyncClient) -> None:
    """Make sure that a user's client can send.

    Raises:
        UsageError: it is closed.
    """
    if client.is_closed:
        raise UsageError("the http_client is closed: it must stay open for as long as the connector's block")


def has_lawful_port(url: httpx2.URL) -> bool:
    """Whether the port exists: the operating system would take another one, modulo 65536."""
    return url.port is None or 0 < url.port < 1 << 16


@cache
def _system_trust(*where: str | None) -> ssl.SSLContext:
    """The context for the system's trust store, as these variables of the environment name it.

    Made once: reading the store blocks the loop for tens of milliseconds.
    """
    return httpx2.create_ssl_context()


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


class _ClientAsTransport(httpx2.AsyncBaseTransport):
    """An `httpx.AsyncClient`, with its own auth, cookies, proxies and hooks, behind httpx2's interface."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._httpx = sys.modules["httpx"]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        check_open(self._client)
        theirs = self._client.build_request(
            request.method,
            str(request.url),
            headers=[
                (name, value) for name, value in request.headers.raw if name.lower() not in _CLIENTS_OWN
            ],
            content=await request.aread() or None,
            extensions=dict(request.extensions),
        )
        try:
            response = await self._client.send(theirs, stream=True, follow_redirects=False)
        except self._httpx.RequestError as exc:
            raise _counterpart(exc, request) from exc
        return httpx2.Response(
            response.status_code, headers=response.headers.raw, stream=_Stream(response, request)
        )


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx.Response, request: httpx2.Request) -> None:
        self._response = response
        self._request = request
        self._httpx = sys.modules["httpx"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except (self._httpx.RequestError, self._httpx.StreamError) as exc:
            raise _counterpart(exc, self._request) from exc

    async def aclose(self) -> None:
        await self._response.aclose()


def _counterpart(exc: httpx.RequestError | httpx.StreamError, request: httpx2.Request) -> httpx2.RequestError:
    """The httpx2 exception of the same name: the two libraries share their tree."""
    kind: type[httpx2.RequestError] = getattr(httpx2, type(exc).__name__, httpx2.TransportError)
    return kind(str(exc), request=request)
