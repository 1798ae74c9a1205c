"""One HTTP exchange: send a request, read its response piece by piece, leave whenever you like.

    async with client.exchange("POST", url, headers, body, silence=300) as response:
        while chunk := await response.receive():
            ...

Leaving early never waits for the peer. Without an exception, the rest is read aside for a moment, so that
the connection can serve again; with one, or a cancellation, the connection is closed at once.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from typing import Final

import httpx2
import trio

from ..deadlines import Stalled, deadline
from ..errors import HTTPStatusError, MessageTooLarge
from .engine import check_open, has_lawful_port
from .failures import translate_errors

__all__ = ["HttpClient", "HttpResponse"]

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DRAIN_SECONDS: Final = 0.25
_DRAIN_BYTES: Final = 1 << 16
_MAX_DRAINS: Final = 8
_MAX_STEPS: Final = 10_000
_EXCERPT_LENGTH: Final = 200
_SECRET_HEADER: Final = re.compile(
    "(^|-)(auth|authorization|cookie|key|apikey|password|secret|token)(-|$)|session-id$"
)
# A shorter value would be found in any text.
_SECRET_LENGTH: Final = 6


class HttpResponse:
    """A response whose headers have come. Made by `HttpClient.exchange` only.

    Attributes:
        status: the HTTP status code.
        headers: case-insensitive.
        ended: whether the body has been read to its end, or let go.
    """

    def __init__(self, response: httpx2.Response, silence: float, max_size: int) -> None:
        self.status: int = response.status_code
        self.headers: httpx2.Headers = response.headers
        self._response = response
        self._chunks = response.aiter_bytes()
        self._silence = silence
        self._max_size = max_size
        self.ended: bool = False

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The headers that were sent, case-insensitive."""
        return self._response.request.headers

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters; "" if there is none."""
        value: str = self.headers.get("content-type", "")
        return value.partition(";")[0].strip().lower()

    async def receive(self) -> bytes:
        """The next piece of the body, decoded; b"" at its end.

        Raises:
            ConnectionLost: the connection broke, or nothing came for `silence` seconds (`Stalled`).
            ProtocolError: broken HTTP, or a broken content encoding.
        """
        with deadline(self._silence, self._stalled), translate_errors(self._silence):
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        self.ended = True
        return b""

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            MessageTooLarge: it is larger than the limit.
        """
        pieces: list[bytes] = []
        size = 0
        while chunk := await self.receive():
            size += len(chunk)
            if size > self._max_size:
                raise MessageTooLarge(
                    f"the server sent a body of more than {self._max_size} bytes; "
                    "max_message_size raises the limit"
                )
            pieces.append(chunk)
        return b"".join(pieces)

    def public_headers(self) -> dict[str, str]:
        """The headers that an error may show."""
        shown = {
            name.lower(): self.redact(value)
            for name, value in self.headers.items()
            if name.lower() not in ("set-cookie", "mcp-session-id")
        }
        if "location" in shown:
            shown["location"] = shown["location"].partition("?")[0]
        return shown

    def excerpt(self, body: str) -> str:
        """The beginning of `body`, for an error message."""
        text = " ".join(body.split())
        return text if len(text) <= _EXCERPT_LENGTH else text[:_EXCERPT_LENGTH] + "…"

    def redact(self, text: str) -> str:
        """`text`, which the server sent, without what the request kept secret."""
        for name, value in self.request_headers.items():
            if _SECRET_HEADER.search(name.lower()):
                # The last word of "Bearer x", the values of "a=x; b=y", and then all of it.
                parts = [part.rpartition("=")[2] for part in value.split("; ")]
                for secret in (value.rpartition(" ")[2], *parts, value):
                    if len(secret) >= _SECRET_LENGTH:
                        text = text.replace(secret, "[secret]")
        return text

    def _stalled(self) -> Stalled:
        return Stalled(
            f"the server fell silent for {self._silence:g} s in the middle of its response "
            "(sse_read_timeout=)"
        )

    async def drain(self) -> None:
        """Read to the end for a moment, then let go."""
        read = 0
        try:
            with trio.move_on_after(_DRAIN_SECONDS), suppress(Exception):
                while read < _DRAIN_BYTES and (chunk := await self.receive()):
                    read += len(chunk)
        finally:
            await self.abandon()  # noqa: ASYNC102 - shielded, and never waits

    async def abandon(self) -> None:
        """Let go at once; the connection is closed if the body was not at its end.

        It never waits, and raises nothing: all of it happens in a scope that is cancelled already.
        """
        if self.ended:
            return
        self.ended = True
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel(reason="the exchange was left half-way")
            await self._chunks.aclose()
            await self._response.aclose()


class _TidyStream(httpx2.AsyncByteStream):
    """A response's stream that can be closed half-way.

    The engine's streams are generators in generators: closing the outer one leaves the inner ones
    suspended, and the connection with them, to the garbage collector. A cancelled scope around their next
    step ends them all.
    """

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream
        self._pieces = stream.__aiter__()
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except BaseException:
            self._ended = True
            raise

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel(reason="the exchange was left half-way")
            steps = 0  # not without end: there are streams that never checkpoint
            while not self._ended and steps < _MAX_STEPS:
                steps += 1
                await anext(self)
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel(reason="the exchange was left half-way")
            await self._stream.aclose()


class HttpClient:
    """Makes exchanges with one server.

    Args:
        engine: the httpx2 client to send with.
        auth: the auth flow of every request; None leaves the engine's own.
        headers: sent with every request.
        timeout: seconds for connecting and for sending.
        max_size: bytes that a body read whole may have.
        spawn: starts a background task, for reading what is left of a response.
    """

    def __init__(
        self,
        engine: httpx2.AsyncClient,
        *,
        auth: httpx2.Auth | None,
        headers: Mapping[str, str],
        timeout: float,
        max_size: int,
        spawn: Callable[[Callable[[], Awaitable[object]]], object],
    ) -> None:
        self.timeout = timeout
        self._engine = engine
        self._auth = httpx2.USE_CLIENT_DEFAULT if auth is None else auth
        self._headers = dict(headers)
        # How long to wait for an answer is not the engine's to say: see `silence` below.
        # And queueing is ours: it must not kill anybody, whatever pool the user's client has.
        self._limits = httpx2.Timeout(timeout, read=None, pool=None)
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
    ) -> AsyncGenerator[HttpResponse]:
        """Send a request; the block gets its response.

        Args:
            method: the HTTP method.
            url: where to; a redirect is followed if it keeps method and origin.
            headers: beside those of every request, and stronger than they.
            body: the content.
            silence: the longest time in seconds in which nothing comes.

        Raises:
            ConnectError: no connection.
            ConnectionLost: it broke, or fell silent (`Stalled`).
            HTTPStatusError: a redirect that must not be followed.
        """
        response = await self._send(method, url, {**self._headers, **headers}, body, silence)
        try:
            yield response
        except BaseException:
            await response.abandon()  # noqa: ASYNC102 - shielded, and never waits
            raise
        if self._drains < _MAX_DRAINS and not response.ended:
            self._drains += 1
            self._spawn(partial(self._drain, response))
        else:
            await response.abandon()

    async def _drain(self, response: HttpResponse) -> None:
        try:
            await response.drain()
        finally:
            self._drains -= 1

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, silence: float
    ) -> HttpResponse:
        check_open(self._engine)
        with translate_errors(self.timeout):
            target = _parsed(url)
        for _ in range(_MAX_REDIRECTS + 1):
            with (
                deadline(silence, lambda: _no_answer(silence, self.timeout)),
                translate_errors(self.timeout, authorizing=self._auth is not httpx2.USE_CLIENT_DEFAULT),
            ):
                request = self._engine.build_request(
                    method, target, headers=headers, content=body, timeout=self._limits
                )
                raw = await self._engine.send(request, stream=True, auth=self._auth, follow_redirects=False)
            assert isinstance(raw.stream, httpx2.AsyncByteStream)
            raw.stream = _TidyStream(raw.stream)
            response = HttpResponse(raw, silence, self._max_size)
            location = raw.headers.get("location")
            if raw.status_code not in _REDIRECTS or location is None:
                return response
            await response.abandon()
            origin, target = target, self._redirected(response, target, location)
            if raw.status_code not in (307, 308) or _origin(target) != _origin(origin):
                raise self._refused(
                    response,
                    f"a redirect to {_public(target)}, which is not followed: "
                    "use that URL if it is the server that you mean",
                )
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


def _no_answer(silence: float, timeout: float) -> Stalled:
    option = "timeout=" if silence == timeout else "sse_read_timeout="
    return Stalled(f"the server did not answer for {silence:g} s ({option})")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _public(url: httpx2.URL) -> str:
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
