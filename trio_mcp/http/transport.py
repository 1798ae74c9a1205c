"""The pool behind httpx2's interface: for auth flows, cookies, and what else works with an httpx2 client."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import httpx2
import trio

from ..errors import ConfigurationError
from .connection import Origin
from .engine import nothing
from .exchange import Exchange
from .failures import as_httpx2
from .http11 import encode_header, encode_request, encode_request_line
from .pool import Pool

__all__ = ["ON_SENT", "REPEATABLE", "Address", "TrioTransport", "address", "as_response"]

REPEATABLE: Final = "trio_mcp.repeatable"
"""The extension of an httpx2 request that says whether it does the same twice as it does once."""

ON_SENT: Final = "trio_mcp.on_sent"
"""The extension of an httpx2 request that is called when it has been sent whole."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, 9.2.2
_PORTS: Final = {"http": 80, "https": 443}
_STEP: Final = 1 << 14  # bytes that are decoded without a break: some codings make much work of few
_FRAMING: Final = frozenset({b"connection", b"content-length", b"transfer-encoding"})


class Address(NamedTuple):
    """What of a URL goes where."""

    origin: Origin
    target: bytes
    host: str


def address(url: httpx2.URL) -> Address:
    """Where a request to `url` goes, and what it asks for there.

    Raises:
        ConfigurationError: neither `http://` nor `https://`.
    """
    if url.scheme not in _PORTS:
        raise ConfigurationError(f"the request cannot be sent: its scheme is {url.scheme!r}")
    host = url.raw_host.decode("ascii")
    origin = Origin(host, url.port or _PORTS[url.scheme], url.scheme == "https")
    return Address(origin, url.raw_path, url.netloc.decode("ascii"))


class TrioTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport on Trio streams.

    Args:
        pool: what makes the exchanges; it is closed with the transport.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request`, and give its response when the headers have come.

        Raises:
            httpx2.TransportError: as of any httpx2 transport; the cause is trio_mcp's own error.
        """
        body = await request.aread()
        timeouts = request.extensions.get("timeout", {})
        with as_httpx2(request):
            origin, target, _ = address(request.url)
            lines = [
                encode_header(name, value)
                for name, value in request.headers.raw
                if name.lower() not in _FRAMING
            ]
            framed = body if body or "content-length" in request.headers else None
            method = request.method.encode("ascii")
            exchange = await self._pool.exchange(
                origin,
                method,
                encode_request(encode_request_line(method, target), lines, framed),
                connect_timeout=_seconds(timeouts.get("connect")),
                send_timeout=_seconds(timeouts.get("write")),
                silence=_seconds(timeouts.get("read")),
                repeatable=bool(request.extensions.get(REPEATABLE, request.method in _SAFE)),
                on_sent=request.extensions.get(ON_SENT, nothing),
            )
        return as_response(exchange, request)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()


def as_response(exchange: Exchange, request: httpx2.Request) -> httpx2.Response:
    """`exchange` as httpx2 has it, with its content encodings decoded, and each step of that bounded."""
    return httpx2.Response(
        exchange.status, headers=exchange.headers, stream=_Body(exchange, request), request=request
    )


class _Body(httpx2.AsyncByteStream):
    def __init__(self, exchange: Exchange, request: httpx2.Request) -> None:
        self._exchange = exchange
        self._request = request
        self._rest = b""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._rest:
            await trio.lowlevel.checkpoint()
        else:
            with as_httpx2(self._request):
                self._rest = await self._exchange.receive()
        if not self._rest:
            raise StopAsyncIteration
        data, self._rest = self._rest[:_STEP], self._rest[_STEP:]
        return data

    async def aclose(self) -> None:
        await self._exchange.close()


def _seconds(value: float | None) -> float:
    return math.inf if value is None else value
