"""HTTP/1.1 from the server's side, over any stream: as simple as a test can have it, and honest.

    async def hello(exchange: HttpExchange) -> None:
        await exchange.respond(200, [("content-type", "text/plain")], b"hello")

    await serve_http(stream, hello, cancel_on_disconnect=True)

What is read is read strictly (llhttp, through httptools). What is written is valid, so that a mistake in a
test is not taken for one in the client; `HttpExchange.send_raw` and `HttpExchange.cut` are there to break
HTTP on purpose. No `Date` and no `Server` header: the same test writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from http.client import responses
from typing import Final, final

import trio

from ..network import close_at_once
from ..supervision import open_flat_nursery
from .http_requests import MAX_BODY, HttpRequest, RequestReader

__all__ = ["HttpExchange", "HttpHandler", "serve_http"]

# They have no body (RFC 9110, 6.4.1).
_BODILESS: Final = frozenset({204, 304})


@final
class HttpExchange:
    """One request, and the ways to answer it. Made by `serve_http` only.

    Every method is a checkpoint. Those that write raise `trio.BrokenResourceError` when the client has
    left, and `trio.ClosedResourceError` when the connection has been closed here, too: after `cut`, or when
    the handler has returned or was cancelled. A handler may let them through. Tasks may write side by side: a
    piece is sent when those before it are.

    Attributes:
        request: what is to be answered.
        disconnected: set as soon as the connection is over: closed or reset by the client, or `cut`. That
            the client has closed only its sending side counts, too.
        ended: set when nothing more can be sent: the response is finished, or `disconnected` is set.
        started: whether a response was begun with `start` or `respond`.
    """

    def __init__(self, stream: trio.abc.Stream, request: HttpRequest) -> None:
        self.request: HttpRequest = request
        self.disconnected: trio.Event = trio.Event()
        self.ended: trio.Event = trio.Event()
        self.started: bool = False
        self._stream = stream
        self._raw = False
        self._cut = False
        self._finished = False
        self._writing = trio.Lock()
        # With HTTP/1.0, persistence would have to be negotiated; that is not worth it here.
        self._persistent = request.keep_alive and request.http_version == "1.1"
        self._chunked = False
        self._left: int | None = None  # bytes that content-length still promises; None: it promises nothing
        self._failures: list[Exception] = []

    def __repr__(self) -> str:
        state = "ended" if self.ended.is_set() else "started" if self.started else "new"
        return f"<HttpExchange {self.request.method} {self.request.target} {state}>"

    async def start(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the head of the response, at once.

        The body is chunked, unless `headers` have a `content-length` or there is no body. A client of
        HTTP/1.0 reads until the connection is closed.

        Args:
            status: 200 to 599; interim responses are for `send_raw`.
            headers: names in any case.
        """
        await self._write(self._head(status, headers))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, at once. What answers HEAD is dropped.

        Raises:
            RuntimeError: more than `content-length` says.
        """
        await self._write(self._piece(data))

    async def finish(self, data: bytes = b"") -> None:
        """End the body, after a last piece of it, in one write.

        Raises:
            RuntimeError: the body is shorter or longer than `content-length` says. `cut` leaves it short.
        """
        await self._write(self._piece(data) + self._end())
        self.ended.set()

    async def respond(self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        """Send a whole response, in one write; `content-length` is added where it belongs."""
        headers = list(headers)
        if status not in _BODILESS and "content-length" not in _names(headers):
            headers.append(("content-length", str(len(body))))
        await self._write(self._head(status, headers) + self._piece(body) + self._end())
        self.ended.set()

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are: to break HTTP on purpose, or for what this class cannot say.

        A handler that sent its response in this way may return without `start`; the connection is then
        taken to be fit for the next request. If it is not, `cut` it.
        """
        self._raw = True
        await self._write(data)

    async def cut(self) -> None:
        """Close the connection here and now, whatever has been sent. The handler is not cancelled by that."""
        self._cut = True
        self._leave()
        await close_at_once(self._stream)
        await trio.lowlevel.checkpoint()

    def _head(self, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
        if self.started:
            raise RuntimeError("the response has been started already")
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is not the status of a response")
        self.started = True
        headers = list(headers)
        names = _names(headers)
        if status in _BODILESS:
            self._left = 0
        elif "content-length" in names:
            self._left = int(names["content-length"])
        elif self.request.http_version == "1.1":
            self._chunked = self.request.method != "HEAD"
            if "transfer-encoding" not in names:
                headers.append(("transfer-encoding", "chunked"))
        if names.get("connection", "").lower() == "close":
            self._persistent = False
        elif not self._persistent:
            headers.append(("connection", "close"))
        lines = [_status_line(status), *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def _piece(self, data: bytes) -> bytes:
        self._check_open()
        if self.request.method == "HEAD":
            return b""
        if self._left is not None:
            if len(data) > self._left:
                raise RuntimeError(
                    f"the body is {len(data) - self._left} bytes longer than its content-length"
                )
            self._left -= len(data)
        if self._chunked and data:  # an empty chunk would end the body
            return b"%x\r\n%b\r\n" % (len(data), data)
        return data

    def _end(self) -> bytes:
        if self._left and self.request.method != "HEAD":
            raise RuntimeError(f"the body is {self._left} bytes shorter than its content-length")
        self._finished = True
        return b"0\r\n\r\n" if self._chunked else b""

    def _check_open(self) -> None:
        if not self.started:
            raise RuntimeError("the response has not been started")
        if self._finished and not self.disconnected.is_set():
            raise RuntimeError("the response has been finished")

    async def _write(self, data: bytes) -> None:
        if not data:
            await trio.lowlevel.checkpoint()
            return
        try:
            async with self._writing:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._failures.append(exc)
            self._leave()
            raise

    def _leave(self) -> None:
        self.disconnected.set()
        self.ended.set()


HttpHandler = Callable[[HttpExchange], Awaitable[None]]


async def serve_http(
    stream: trio.abc.Stream, handler: HttpHandler, *, cancel_on_disconnect: bool, max_body: int = MAX_BODY
) -> None:
    """Answer the requests that come over `stream`, one after the other, until either side closes it.

    A response that the handler has started is finished for it when it returns. While it runs, the stream is
    watched for the client's leaving. A request that is not HTTP is answered by 400, one that is too large by
    413 or 431; then the connection is closed.

    Args:
        stream: is closed at the end, however that comes.
        handler: called once for each request.
        cancel_on_disconnect: whether a handler is cancelled when its client leaves. If not, it goes on, and
            sees it by `HttpExchange.disconnected` and by failing writes.
        max_body: bytes that a request's body may have.

    Raises:
        Exception: what the handler raised, the same object, and never a group made here. That it could not
            write to a client that had left is no failure.
        RuntimeError: the handler returned and has not answered.
    """
    reader = RequestReader(stream, max_body)
    try:
        while (request := await reader.next()) is not None:
            exchange = HttpExchange(stream, request)
            await _handle(exchange, handler, reader, cancel_on_disconnect)
            if exchange.disconnected.is_set() or not exchange._persistent:
                return
        if reader.refusal is not None:
            with suppress(trio.BrokenResourceError):
                line = _status_line(reader.refusal)
                await stream.send_all(f"{line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
    finally:
        await close_at_once(stream)  # noqa: ASYNC102 - shielded, and never waits


async def _handle(
    exchange: HttpExchange, handler: HttpHandler, reader: RequestReader, cancel_on_disconnect: bool
) -> None:
    scope = trio.CancelScope()

    async def watch() -> None:
        await reader.read_ahead()
        exchange._leave()
        if cancel_on_disconnect and not exchange._cut:
            scope.cancel(reason="the client has left")

    try:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(watch)
            with scope:
                await handler(exchange)
            nursery.cancel_scope.cancel(reason="the handler has returned")
        if exchange.started and not exchange.ended.is_set():
            await exchange.finish()
    except Exception as exc:
        if not _consists_of(exc, exchange._failures):
            raise
    if not (exchange.started or exchange._raw or exchange.disconnected.is_set()):
        raise RuntimeError(f"the handler returned and has not answered {exchange!r}")


def _names(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {responses.get(status, '')}"


def _consists_of(exc: BaseException, known: list[Exception]) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return all(_consists_of(inner, known) for inner in exc.exceptions)
    return any(exc is each for each in known)
