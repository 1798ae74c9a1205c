"""One HTTP exchange: send a request, read its response piece by piece, leave whenever you like.

async with await client.send("POST", url, headers, body, silence=300) as response:
    while chunk := await response.receive():
        ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Final
from urllib.parse import unquote

import httpx2

from ..auth.authorizer import MAX_TRIES, Authorizer
from ..deadlines import Stalled, deadline
from ..errors import HTTPStatusError
from ..origin import has_lawful_port, same_origin
from .engine import Engine, HttpRequest, nothing
from .exchange import AT_ONCE
from .response import HttpResponse
from .urls import public_url

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
        authorizer: what gives requests their authorization; None for nothing.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        headers: Mapping[str, str],
        timeout: float,
        max_size: int,
        spawn: Callable[[Callable[[], Awaitable[object]]], object],
        authorizer: Authorizer | None = None,
    ) -> None:
        self.timeout: float = timeout
        self._engine = engine
        self._headers = dict(headers)
        self._max_size = max_size
        self._spawn = spawn
        self._authorizer = authorizer
        self._drains = 0

    def brief(self, body: bytes) -> AbstractContextManager[object]:
        """A deadline around an exchange that should be short: `timeout` for each step of it.

        The steps are connecting, each 16 KiB of sending, and the answer. Silence alone would not end it where
        a server sends its headers byte by byte.

        Args:
            body: what is sent.

        Raises:
            Stalled: it took longer.
        """
        seconds = self.timeout * (2 + len(body) // AT_ONCE)
        return deadline(
            seconds, lambda: Stalled(f"the exchange was not done within {seconds:g} s (timeout=)")
        )

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        silence: float,
        repeatable: bool = True,
        may_login: bool = True,
        on_sent: Callable[[], object] = nothing,
    ) -> HttpResponse:
        """Send a request; its response, to be entered as a block.

        Args:
            method: the HTTP method.
            url: where to; a redirect is followed if it keeps method and origin.
            headers: beside those of every request, and stronger than they.
            body: the content.
            silence: the longest time in seconds in which nothing comes.
            repeatable: whether the request does the same twice as it does once: then it is sent again if the
                connection, which was idle before, ended without an answer.
            may_login: whether it is worth asking a person to log in; not if nobody waits for it.
            on_sent: called when the request has been sent whole; see `HttpRequest`.

        Raises:
            ConnectError: no connection.
            ConnectionLost: it broke, or fell silent (`Stalled`).
            HTTPStatusError: a redirect that must not be followed.
            AuthorizationError: the way to a token failed.
        """
        headers = {**self._headers, **headers}
        request = HttpRequest(method, url, headers, body, self.timeout, silence, repeatable, on_sent)
        if self._authorizer is None:
            return await self._follow(request)
        tries = 0
        while True:
            tries += 1
            request.url = url
            response = await self._follow(request, self._authorizer)
            refused = response.status in (401, 403)
            if not refused and "dpop-nonce" not in response.headers:
                return response
            if refused and tries == MAX_TRIES:
                return response  # no person is to log in for a request that is not sent again
            if not await self._is_worth_another(method, response, tries, may_login) or tries == MAX_TRIES:
                return response
            # The body goes out again: it was refused unread.
            async with response:
                pass

    async def _is_worth_another(
        self, method: str, response: HttpResponse, tries: int, may_login: bool
    ) -> bool:
        assert self._authorizer is not None
        try:
            return await self._authorizer.challenged(
                method,
                response.status,
                response.headers,
                response.request_headers,
                tries,
                may_login=may_login,
            )
        except BaseException:
            await response.abandon()  # noqa: ASYNC102 - it never waits
            raise

    async def _follow(self, request: HttpRequest, authorizer: Authorizer | None = None) -> HttpResponse:
        headers = request.headers
        for _ in range(_MAX_REDIRECTS + 1):
            if authorizer is not None:
                request.headers = {**headers, **await authorizer.headers(request.method, request.url)}
            reply, sent = await self._engine.send(request)
            response = HttpResponse(reply, sent, self._max_size, self._linger, request.url)
            location = response.headers.get("location") if response.status in _REDIRECTS else None
            if location is None:
                return response
            await response.abandon()
            origin = httpx2.URL(request.url)
            target = self._redirected(response, origin, location)
            if response.status not in (307, 308) or not same_origin(target, origin):
                raise self._refused(
                    response,
                    f"a redirect to {self._shown(response, target)}, which is not followed: "
                    "use that URL if it is the server that you mean",
                )
            request.url = str(target)
        raise self._refused(
            response,
            f"more than {_MAX_REDIRECTS} redirects, the last one to {self._shown(response, target)}",
        )

    def _linger(self, response: HttpResponse) -> bool:
        """Have the rest of `response` read in the background; False if there is too much of that already."""
        if self._drains >= _MAX_DRAINS:
            return False
        self._drains += 1
        self._spawn(partial(self._drain, response))
        return True

    async def _drain(self, response: HttpResponse) -> None:
        try:
            await response.drain()
        finally:
            self._drains -= 1

    def _redirected(self, response: HttpResponse, url: httpx2.URL, location: str) -> httpx2.URL:
        with suppress(UnicodeError):  # headers are read as Latin-1, and most of what is not ASCII is UTF-8
            location = location.encode("latin-1").decode("utf-8")
        try:
            target = url.join(location)
            if has_lawful_port(target):
                return target
            raise httpx2.InvalidURL("no such port")
        except httpx2.InvalidURL:
            # That error quotes what the server sent, which may repeat what the request kept secret.
            raise self._refused(response, "a redirect to something that is not a URL") from None

    def _shown(self, response: HttpResponse, target: httpx2.URL) -> str:
        """Where a redirect leads to, for an error: without what the request kept secret."""
        shown = response.redact(public_url(target))
        decoded = unquote(shown)
        return shown if response.redact(decoded) == decoded else "a URL that repeats a secret of the request"

    def _refused(self, response: HttpResponse, what: str) -> HTTPStatusError:
        return HTTPStatusError(
            f"HTTP {response.status}: {what}", status_code=response.status, headers=response.public_headers()
        )
