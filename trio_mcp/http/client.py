"""One HTTP exchange: send a request, read its response piece by piece, leave whenever you like.

    async with client.exchange("POST", url, headers, body, silence=300) as response:
        while chunk := await response.receive():
            ...

Leaving early never waits for the peer. Without an exception, the rest is read aside for a moment, so that
the connection can serve again; with one, or a cancellation, the connection is closed at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Final

import httpx2

from ..errors import HTTPStatusError
from .engine import Engine, HttpRequest
from .failures import translate_errors
from .response import HttpResponse
from .setup import has_lawful_port

__all__ = ["HttpClient"]

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_DRAINS: Final = 8


class HttpClient:
    """Makes exchanges with one server.

    Args:
        engine: what sends.
        headers: sent with every request.
        timeout: seconds for connecting and for sending.
        max_size: bytes that a body read whole may have.
        spawn: starts a background task, for reading what is left of a response.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        headers: Mapping[str, str],
        timeout: float,
        max_size: int,
        spawn: Callable[[Callable[[], Awaitable[object]]], object],
    ) -> None:
        self.timeout: float = timeout
        self._engine = engine
        self._headers = dict(headers)
        self._max_size = max_size
        self._spawn = spawn
        self._drains = 0

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        silence: float,
        repeatable: bool = True,
    ) -> AsyncGenerator[HttpResponse]:
        """Send a request; the block gets its response.

        Args:
            method: the HTTP method.
            url: where to; a redirect is followed if it keeps method and origin.
            headers: beside those of every request, and stronger than they.
            body: the content.
            silence: the longest time in seconds in which nothing comes.
            repeatable: whether the request does the same twice as it does once: then it is sent again if the
                connection, which was idle before, ended without an answer.

        Raises:
            ConnectError: no connection.
            ConnectionLost: it broke, or fell silent (`Stalled`).
            HTTPStatusError: a redirect that must not be followed.
        """
        with translate_errors(self.timeout):
            target = _parsed(url)
        request = HttpRequest(
            method, target, {**self._headers, **headers}, body, self.timeout, silence, repeatable
        )
        response = await self._send(request)
        try:
            yield response
        except BaseException:
            await response.abandon()  # noqa: ASYNC102 - shielded, and never waits
            raise
        if response.ended:
            return
        if self._drains < _MAX_DRAINS:
            self._drains += 1
            self._spawn(partial(self._drain, response))
        else:
            await response.abandon()

    async def _drain(self, response: HttpResponse) -> None:
        try:
            await response.drain()
        finally:
            self._drains -= 1

    async def _send(self, request: HttpRequest) -> HttpResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            response = HttpResponse(*await self._engine.send(request), self._max_size)
            location = response.headers.get("location") if response.status in _REDIRECTS else None
            if location is None:
                return response
            await response.abandon()
            origin, target = request.url, self._redirected(response, request.url, location)
            if response.status not in (307, 308) or _origin(target) != _origin(origin):
                raise self._refused(
                    response,
                    f"a redirect to {_public(target)}, which is not followed: "
                    "use that URL if it is the server that you mean",
                )
            request.url = target
        raise self._refused(
            response, f"more than {_MAX_REDIRECTS} redirects, the last one to {_public(target)}"
        )

    def _redirected(self, response: HttpResponse, url: httpx2.URL, location: str) -> httpx2.URL:
        try:
            target = url.join(location)
            if has_lawful_port(target):
                return target
            raise httpx2.InvalidURL("no such port")
        except httpx2.InvalidURL as exc:
            raise self._refused(response, "a redirect to something that is not a URL") from exc

    def _refused(self, response: HttpResponse, what: str) -> HTTPStatusError:
        return HTTPStatusError(
            f"HTTP {response.status}: {what}", status_code=response.status, headers=response.public_headers()
        )


_parsed = lru_cache(maxsize=16)(httpx2.URL)  # a connection has one URL, and not much more


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _public(url: httpx2.URL) -> str:
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
