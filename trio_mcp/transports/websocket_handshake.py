"""The opening handshake of a WebSocket (RFC 6455, 4), with whatever an auth flow makes of it.

The handshake stands behind httpx2's interface for transports: an auth flow sees the refusal of a server as it
sees one over HTTP, sends its own requests over HTTP, and has the handshake made again.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, cast

import httpx2
import trio
import wsproto.utilities
from trio_websocket import WebSocketConnection, wrap_client_stream

from ..auth.authorizer import MAX_TRIES, Authorizer
from ..deadlines import ConnectTimeout, deadline
from ..errors import AccessDenied, ConfigurationError, ConnectError, HTTPStatusError, ProtocolError
from ..http.client_engine import ClientReply, cookie_jar
from ..http.failures import translate_errors
from ..http.http11 import ResponseParser
from ..http.pool import Pool, connect
from ..http.response import HttpResponse
from ..http.transport import TrioTransport, address
from ..network import Network, close_at_once
from ..supervision import FlatNursery
from .refusals import CREDENTIALS, status_text
from .websocket_stream import NotSwitched, Reader, WatchedStream

__all__ = ["Handshake", "Link"]

SUBPROTOCOL: Final = "mcp"
_READ_SIZE: Final = 1 << 16
_MAX_REFUSAL: Final = 1 << 16  # bytes of a refusal's body that are read
_MAX_ROUNDS: Final = 10  # handshakes that one auth flow may make
# trio-websocket sets these itself; the others make no sense for a request without a body.
_OWN_HEADERS: Final = frozenset({b"host", b"connection", b"upgrade", b"content-length", b"transfer-encoding"})


class Link:
    """A WebSocket that is open, and what it stands on. Made by `Handshake` only.

    Attributes:
        socket: trio-websocket's connection.
        stream: under it.
        reader: its reader.
        redact: takes what the handshake kept secret out of a text of the server's.
    """

    def __init__(self, socket: WebSocketConnection, stream: WatchedStream, reader: Reader) -> None:
        self.socket: WebSocketConnection = socket
        self.stream: WatchedStream = stream
        self.reader: Reader = reader
        self.redact: Callable[[str], str] = str
        # Private, and named here only. Where it is not found, nothing is counted.
        stream.count_frames = lambda: len(getattr(socket, "_message_parts", ()))

    async def close(self, grace: float) -> None:
        """Close it, with a closing handshake if that takes no more than `grace` seconds. It is shielded."""
        with trio.CancelScope(shield=True):
            if grace > 0 and self.socket.closed is None and not self.stream.torn:
                with trio.move_on_after(grace):
                    await self.socket.aclose()
            await close_at_once(self.stream)
            self.reader.scope.cancel(reason="the WebSocket is closed")


class Handshake(httpx2.AsyncBaseTransport):
    """Makes the opening handshake with one server.

    Args:
        url: the server's, `http://` for `ws://` and `https://` for `wss://`: what auth flows know.
        headers: sent with the handshake.
        auth: the auth flow; None for none.
        authorizer: what gives handshakes their authorization, in place of a flow; None for nothing.
        network: what to dial with.
        tls: gives the context for TLS.
        timeout: seconds for connecting and shaking hands; and so for each request of the auth flow's own.
        max_message_size: characters of a message from which on trio-websocket gives the connection up.
        nursery: where the reader of the WebSocket runs.
    """

    def __init__(
        self,
        url: httpx2.URL,
        headers: Mapping[str, str],
        auth: httpx2.Auth | None,
        authorizer: Authorizer | None,
        network: Network,
        tls: Callable[[], ssl.SSLContext],
        timeout: float,
        max_message_size: int,
        nursery: FlatNursery,
    ) -> None:
        self._url = url
        self._headers = headers
        self._auth = auth
        self._authorizer = authorizer
        self._network = network
        self._tls = tls
        self._timeout = timeout
        self._max_message_size = max_message_size
        self._nursery = nursery
        self._beside = TrioTransport(Pool(network, tls))
        self._link: Link | None = None
        self._rounds = 0

    async def make(self) -> Link:
        """Make it.

        Raises:
            ConnectError: no connection, not in time (`ConnectTimeout`), or not a WebSocket.
            HTTPStatusError: the server answered with a redirect or a refusal (`AccessDenied`).
            AuthorizationError: the auth flow failed.
        """
        try:
            if self._authorizer is not None:
                response = await self._asked(self._authorizer)
            elif self._auth is not None:
                response = await self._authorized(self._auth)
            else:
                response = await self.handle_async_request(self._request({}))
            reply = HttpResponse(
                ClientReply(response, self._timeout),
                response.request.headers,
                _MAX_REFUSAL,
                lambda _: False,
                str(self._url),
            )
            if self._link is None:
                raise _refusal(reply, response)
            self._link.redact = reply.redact
        except BaseException:
            await self._drop()  # noqa: ASYNC102 - shielded, and never waits
            raise
        return self._link

    def _request(self, authorization: Mapping[str, str]) -> httpx2.Request:
        return httpx2.Request("GET", self._url, headers={**self._headers, **authorization})

    async def _asked(self, authorizer: Authorizer) -> httpx2.Response:
        url, tries, again = str(self._url), 0, True
        while again:
            tries += 1
            request = self._request(await authorizer.headers("GET", url))
            response = await self.handle_async_request(request)
            # Nothing goes on without the connection, so that a person may be asked.
            again = tries < MAX_TRIES and await authorizer.challenged(
                "GET", response.status_code, response.headers, request.headers, tries, may_login=True
            )
        return response

    async def _authorized(self, auth: httpx2.Auth) -> httpx2.Response:
        client = httpx2.AsyncClient(transport=self, cookies=cookie_jar(), trust_env=False)
        with translate_errors(self._timeout, authorizing=True):
            async with client:
                return await client.send(self._request({}), auth=auth)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Shake hands, or send what an auth flow has to ask elsewhere."""
        if request.method != "GET" or request.url != self._url:
            request.extensions.setdefault("timeout", httpx2.Timeout(self._timeout).as_dict())
            return await self._beside.handle_async_request(request)
        await self._drop()  # a flow that goes on after a success wants another one
        self._rounds += 1
        if self._rounds > _MAX_ROUNDS:
            raise ConnectError(f"the auth flow does not end: it has made {_MAX_ROUNDS} handshakes")
        with deadline(self._timeout, self._too_slow):
            stream = await connect(self._network, address(request.url).origin, self._tls)
            try:
                answer = await self._shake_hands(stream, request)
            except BaseException:
                await close_at_once(stream)  # noqa: ASYNC102 - shielded, and never waits
                raise
        if isinstance(answer, Link):
            self._link = answer
            return httpx2.Response(101, headers=answer.socket.handshake_headers, content=b"", request=request)
        await close_at_once(stream)
        return answer

    async def aclose(self) -> None:
        """Close what the auth flow has used; the WebSocket stays."""
        await self._beside.aclose()

    async def _drop(self) -> None:
        if self._link is not None:
            await self._link.close(0)
            self._link = None

    def _too_slow(self) -> ConnectTimeout:
        return ConnectTimeout(f"no WebSocket within {self._timeout:g} s (timeout=)")

    async def _shake_hands(self, raw: trio.abc.Stream, request: httpx2.Request) -> Link | httpx2.Response:
        stream = WatchedStream(raw, self._max_message_size)
        reader = Reader(self._nursery)
        try:
            with trio.CancelScope() as scope:
                reader.on_end = partial(scope.cancel, reason="the connection ended during the handshake")
                socket = await wrap_client_stream(
                    # Of a nursery, it wants `start_soon` only; and any stream will do.
                    cast("trio.Nursery", reader),
                    cast("trio.SocketStream", stream),
                    host=request.headers["host"],
                    resource=request.url.raw_path.decode("ascii"),
                    subprotocols=[SUBPROTOCOL],
                    extra_headers=list(_header_lines(request)),
                    max_message_size=self._max_message_size,
                    receive_buffer_size=_READ_SIZE,
                )
                return Link(socket, stream, reader)
        except BaseException:
            reader.scope.cancel(reason="the handshake was given up")
            raise
        if isinstance(reader.failure, NotSwitched):
            return await _read_response(raw, reader.failure.data, request)
        if reader.failure is not None and not stream.sent:
            # It may quote a header, and so a token: it is no cause that could be shown.
            raise ConfigurationError(
                "the handshake cannot be sent: its URL or a header breaks HTTP "
                f"({type(reader.failure).__name__})"
            )
        raise _why(reader.failure) from reader.failure


def _header_lines(request: httpx2.Request) -> Iterator[tuple[bytes, bytes]]:
    return ((name, value) for name, value in request.headers.raw if name.lower() not in _OWN_HEADERS)


async def _read_response(stream: trio.abc.Stream, begun: bytes, request: httpx2.Request) -> httpx2.Response:
    """The response by HTTP that the server has begun, with the beginning of its body."""
    parser = ResponseParser()
    parser.begin(b"GET")
    body = b""
    try:
        parser.feed(begun)
        while not parser.ended and len(body) < _MAX_REFUSAL:
            body += parser.take()
            parser.feed(await stream.receive_some(_READ_SIZE))
    except (EOFError, trio.BrokenResourceError, ProtocolError) as exc:
        if parser.status == 0:
            raise ConnectError(f"the server's answer to the WebSocket handshake is broken: {exc!r}") from exc
    finally:
        parser.release()
    body += parser.take()
    # What it is encoded in stays: an excerpt of it is shown, if it is text.
    headers = [(name, value) for name, value in parser.headers if name.lower() != b"content-encoding"]
    return httpx2.Response(parser.status, headers=headers, content=body[:_MAX_REFUSAL], request=request)


def _why(failure: Exception | None) -> ConnectError:
    """Why there is no WebSocket, although the server has not refused it."""
    if failure is None:
        return ConnectError("the server closed the connection during the WebSocket handshake")
    cause: BaseException | None = failure
    while cause is not None and not isinstance(cause, wsproto.utilities.RemoteProtocolError):
        cause = cause.__context__
    return ConnectError(f"the server broke the WebSocket handshake: {cause or type(failure).__name__}")


def _refusal(reply: HttpResponse, response: httpx2.Response) -> HTTPStatusError | ConnectError:
    """The error that an answer by HTTP means."""
    status = reply.status
    if 200 <= status < 300:
        return ConnectError(
            f"the server answered HTTP {status} and opened no WebSocket: is this the URL of such an endpoint?"
        )
    text = status_text(reply, reply.redact(response.text))
    headers = reply.public_headers()
    if status in (401, 403):
        return AccessDenied(f"{text}{CREDENTIALS}", status, headers)
    if status < 400:
        target = headers.get("location")
        text += f": a redirect{f' to {target}' if target else ''}, which is not followed"
    elif status in (400, 404, 405, 426, 501):
        text += "; is this the URL of a WebSocket endpoint?"
    return HTTPStatusError(text, status, headers)
