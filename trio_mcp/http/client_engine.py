"""The engine on an httpx2 client: the user's, or one with a proxy, an auth flow or cookies.

A user's `httpx.AsyncClient` is put to work as the transport of an httpx2 client, so that all above it deals
with one library. Neither is closed here.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from math import inf
from typing import TYPE_CHECKING, Any, Final

import httpx2
import trio

from ..deadlines import deadline
from ..errors import ProtocolError, UsageError
from .auth_flow import BoundedFlow
from .engine import HttpRequest, Reply
from .exchange import no_answer, silent
from .failures import check_coding, translate_errors
from .tidy_stream import TidyStream
from .transport import ON_SENT, REPEATABLE

if TYPE_CHECKING:
    import httpx  # noqa: ASYNC127 - for those who hold its objects

__all__ = ["ClientAsTransport", "ClientEngine", "ClientReply", "check_open", "cookie_jar"]

# The extension of a response that says which headers were sent, where the request does not know.
_SENT: Final = "trio_mcp.sent_headers"
# Each library's client adds these itself.
_CLIENTS_OWN: Final = frozenset(
    {b"host", b"connection", b"accept-encoding", b"user-agent", b"content-length"}
)
_PIECE: Final = 1 << 16  # bytes of a decoded body at a time: what reads it works through a piece in one go
# What every client should have room for (RFC 6265, 6.1). All of them go with each request.
_MAX_COOKIES: Final = 50
_MAX_COOKIE: Final = 4096


class ClientEngine:
    """Sends with `client`.

    Args:
        client: it is the caller's to close.
        auth: the auth flow of every request; None leaves the client's own.
        max_size: bytes that a body may have which is read in an auth flow.
        own_pool: whether our own pool is the client's transport, and watches the silence byte by byte. What
            any other transport does is not known: there it is watched here, until the headers have come.
        bare: whether the client adds nothing of its own: no headers, parameters, cookies nor auth.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        auth: httpx2.Auth | None,
        max_size: int,
        *,
        own_pool: bool = False,
        bare: bool = False,
    ) -> None:
        self._client = client
        self._auth = auth
        self._max_size = max_size
        self._own_pool = own_pool
        self._bare = bare

    async def send(self, request: HttpRequest) -> tuple[Reply, Mapping[str, str]]:
        """Send `request`; see `Engine.send`."""
        check_open(self._client)
        await trio.lowlevel.checkpoint()  # there are transports without one
        silence = request.silence
        timeouts = httpx2.Timeout(request.timeout, read=silence if self._own_pool else None)
        with (
            deadline(
                inf if self._own_pool else silence, lambda: no_answer(silence, request.timeout)
            ) as scope,
            translate_errors(request.timeout, authorizing=self._auth is not None),
        ):
            build = httpx2.Request if self._bare else self._client.build_request
            theirs = build(
                request.method,
                request.url,
                headers=request.headers,
                content=request.body,
                extensions={
                    "timeout": timeouts.as_dict(),
                    REPEATABLE: request.repeatable,
                    ON_SENT: request.on_sent,
                },
            )
            auth: Any = self._client.auth if self._auth is None else self._auth
            if self._bare:
                auth = httpx2.Auth()  # adds nothing; None would be what the URL or a netrc file has
            elif auth is None:
                auth = httpx2.USE_CLIENT_DEFAULT
            else:
                watching = None if self._own_pool else scope
                auth = BoundedFlow(auth, timeouts, silence, self._max_size, watching)
            if not self._own_pool:
                request.on_sent()  # when that will be, only the client knows
            try:
                response = await self._client.send(theirs, stream=True, auth=auth, follow_redirects=False)
            except httpx2.HTTPStatusError as exc:  # the user's hooks may raise_for_status()
                if exc.response.request.url != theirs.url:
                    raise
                response = exc.response  # its body is there if a hook has read it
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = TidyStream(response.stream)
        reply = ClientReply(response, silence)
        try:
            check_coding(response.headers.get("content-encoding"))
        except ProtocolError:
            await reply.close()  # noqa: ASYNC120 - shielded, and never waits
            raise
        return reply, response.extensions.get(_SENT, response.request.headers)


class ClientReply:
    """A response of an httpx2 client.

    Args:
        response: with its body still to come.
        silence: the longest time in seconds in which nothing comes.
    """

    def __init__(self, response: httpx2.Response, silence: float) -> None:
        self.status: int = response.status_code
        self.fields: Mapping[str, str] = response.headers
        self.ended: bool = False
        self._response = response
        self._chunks = response.aiter_bytes()
        self._silence = silence
        self._rest = b""

    async def receive(self) -> bytes:
        """The next piece of the body, decoded; b"" at its end. See `Reply.receive`."""
        await trio.lowlevel.checkpoint()  # a few bytes may be many pieces
        if not self._rest:
            with deadline(self._silence, partial(silent, self._silence)), translate_errors(self._silence):
                async for chunk in self._chunks:
                    if chunk:
                        self._rest = chunk
                        break
        self.ended = not self._rest
        data, self._rest = self._rest[:_PIECE], self._rest[_PIECE:]
        return data

    async def close(self) -> None:
        """Let go at once: all of it happens in a scope that is cancelled already."""
        if self.ended:
            return
        self.ended = True
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel(reason="the exchange was left half-way")
            await self._chunks.aclose()
            await self._response.aclose()


def check_open(client: httpx2.AsyncClient | httpx.AsyncClient) -> None:
    """Make sure that a user's client can send.

    Raises:
        UsageError: it is closed.
    """
    if client.is_closed:
        raise UsageError("the http_client is closed: it must stay open for as long as the connector's block")


def cookie_jar() -> CookieJar:
    """A jar for an httpx2 client of ours: without cookies that httpx2 could not send back."""
    return _QuietJar(_AsciiCookies())


class _QuietJar(CookieJar):
    """It warns of none: a cookie that cannot be read is the server's mistake, and not the program's.

    When it is full, it takes new values for what it has, and nothing else.
    """

    def set_cookie(self, cookie: Cookie) -> None:
        super().set_cookie(cookie)
        if len(self) > _MAX_COOKIES:
            self.clear(cookie.domain, cookie.path, cookie.name)

    def make_cookies(self, response: Any, request: Any) -> Sequence[Cookie]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return super().make_cookies(response, request)


class _AsciiCookies(DefaultCookiePolicy):
    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        text = f"{cookie.name}{cookie.value}"
        return text.isascii() and len(text) <= _MAX_COOKIE and super().set_ok(cookie, request)


class ClientAsTransport(httpx2.AsyncBaseTransport):
    """An `httpx.AsyncClient`, with its own auth, cookies, proxies and hooks, behind httpx2's interface.

    Args:
        client: it is the caller's to close.
        bare: whether it adds nothing of its own: no headers, parameters, cookies nor auth.
    """

    def __init__(self, client: httpx.AsyncClient, *, bare: bool = False) -> None:
        self._client = client
        self._bare = bare
        self._httpx = sys.modules["httpx"]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request` as the other library's client does."""
        check_open(self._client)
        build = self._httpx.Request if self._bare else self._client.build_request
        theirs = build(
            request.method,
            str(request.url),
            headers=[
                (name, value) for name, value in request.headers.raw if name.lower() not in _CLIENTS_OWN
            ],
            content=await request.aread() or None,
            extensions=dict(request.extensions),
        )
        try:
            auth = self._httpx.Auth() if self._bare else self._httpx.USE_CLIENT_DEFAULT
            response = await self._client.send(theirs, stream=True, follow_redirects=False, auth=auth)
        except self._httpx.RequestError as exc:
            raise _counterpart(exc, request) from exc
        except self._httpx.HTTPStatusError as exc:  # the user's hooks may raise_for_status()
            if exc.response.request.url != theirs.url:
                raise
            response = exc.response
        headers = response.headers.raw
        stream: httpx2.AsyncByteStream
        if response.is_closed:  # a hook has read it, and decoded it, or has raised
            headers = [(name, value) for name, value in headers if name.lower() != b"content-encoding"]
            stream = httpx2.ByteStream(_read_by_now(response))
        else:
            stream = _ForeignStream(response, request)
        # Its headers are more than ours: the client's own authorization, for one.
        sent = {_SENT: response.request.headers}
        return httpx2.Response(response.status_code, headers=headers, stream=stream, extensions=sent)


class _ForeignStream(httpx2.AsyncByteStream):
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


def _read_by_now(response: httpx.Response) -> bytes:
    """The body of a closed response, as far as somebody has read it."""
    try:
        return response.content
    except sys.modules["httpx"].ResponseNotRead:
        return b""


def _counterpart(exc: httpx.RequestError | httpx.StreamError, request: httpx2.Request) -> httpx2.RequestError:
    """The httpx2 exception of the same name: the two libraries share their tree."""
    kind = getattr(httpx2, type(exc).__name__, httpx2.TransportError)
    if not issubclass(kind, httpx2.RequestError):  # of a stream that was closed, say
        kind = httpx2.ReadError
    return kind(str(exc), request=request)
