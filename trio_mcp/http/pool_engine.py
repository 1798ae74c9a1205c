"""The engine of our own: straight to the pool, without an object that nobody asks for.

What needs more than that goes through an httpx2 client over the same pool: an auth flow, cookies.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import httpx2

from .client_engine import ClientEngine, ClientReply, cookie_jar
from .connection import Origin
from .engine import MAX_SIZE, HttpRequest, Reply
from .failures import check_coding
from .http11 import encode_header, encode_request, encode_request_line
from .pool import Pool
from .transport import TrioTransport, address, as_response

__all__ = ["PoolEngine"]

_STARTS: Final = 16  # a connection has one URL and three methods, and not much more
_LINES: Final = 64  # header lines that are prepared once: those of each request, and some names of tools


class PoolEngine:
    """Sends over the connections of `pool`.

    Args:
        pool: it is the caller's to close.
        auth: the auth flow of every request; None for none.
        max_size: bytes that a body may have which is read in the auth flow.
    """

    def __init__(self, pool: Pool, auth: httpx2.Auth | None, max_size: int = MAX_SIZE) -> None:
        self._pool = pool
        self._client = httpx2.AsyncClient(
            transport=TrioTransport(pool), cookies=cookie_jar(), trust_env=False
        )
        self._beside = ClientEngine(self._client, auth, max_size, own_pool=True)
        self._direct = auth is None
        self._accepted = self._client.headers["accept-encoding"]
        # One of each for each engine, so that what is secret goes with it.
        self._line = lru_cache(maxsize=_LINES)(_line)
        self._start = lru_cache(maxsize=_STARTS)(_start)

    async def send(self, request: HttpRequest) -> tuple[Reply, Mapping[str, str]]:
        """Send `request`; see `Engine.send`."""
        if not self._direct:
            return await self._beside.send(request)
        origin, method, line, host = self._start(request.method, request.url)
        headers = {"host": host, "accept-encoding": self._accepted, **request.headers}
        exchange = await self._pool.exchange(
            origin,
            method,
            encode_request(line, map(self._line, headers, headers.values()), request.body),
            connect_timeout=request.timeout,
            send_timeout=request.timeout,
            silence=request.silence,
            repeatable=request.repeatable,
            on_sent=request.on_sent,
        )
        fields = exchange.fields
        if "set-cookie" not in fields and "content-encoding" not in fields:
            return exchange, headers
        try:
            check_coding(fields.get("content-encoding"))
            response = as_response(exchange, httpx2.Request(request.method, request.url))
            self._client.cookies.extract_cookies(response)
        except BaseException:
            await exchange.close()  # noqa: ASYNC102 - shielded, and never waits
            raise
        self._direct = not any(True for _ in self._client.cookies.jar)
        return ClientReply(response, request.silence), headers


def _start(method: str, url: str) -> tuple[Origin, bytes, bytes, str]:
    origin, target, host = address(httpx2.URL(url))
    encoded = method.encode("ascii")
    return origin, encoded, encode_request_line(encoded, target), host


def _line(name: str, value: str) -> bytes:
    return encode_header(name.encode("ascii"), value.encode("latin-1"))
