"""The engine of our own: straight to the pool, without an object that nobody asks for.

What needs more than that goes through an httpx2 client over the same pool: an auth flow, cookies.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import httpx2

from .client_engine import ClientEngine, ClientReply, cookie_jar
from .engine import MAX_SIZE, HttpRequest, Reply
from .failures import check_coding
from .http11 import encode_header, encode_request
from .pool import Pool
from .transport import Address, TrioTransport, address, as_response

__all__ = ["PoolEngine"]

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
        # One for each engine, so that what is secret goes with it.
        self._line = lru_cache(maxsize=_LINES)(_line)

    async def send(self, request: HttpRequest) -> tuple[Reply, Mapping[str, str]]:
        """Send `request`; see `Engine.send`."""
        if not self._direct:
            return await self._beside.send(request)
        origin, target, host = _address(request.url)
        headers = {"host": host, "accept-encoding": self._accepted, **request.headers}
        method = request.method.encode("ascii")
        exchange = await self._pool.exchange(
            origin,
            method,
            encode_request(method, target, map(self._line, headers, headers.values()), request.body),
            connect_timeout=request.timeout,
            send_timeout=request.timeout,
            silence=request.silence,
            repeatable=request.repeatable,
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


@lru_cache(maxsize=16)  # a connection has one URL, and not much more
def _address(url: str) -> Address:
    return address(httpx2.URL(url))


def _line(name: str, value: str) -> bytes:
    return encode_header(name.encode("ascii"), value.encode("latin-1"))
