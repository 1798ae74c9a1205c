"""The requests of one connection, as a server in a test reads them: strictly, whole, and within limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, final

import httptools
import trio

__all__ = ["MAX_BODY", "MAX_HEAD", "HttpRequest", "RequestReader"]

MAX_BODY: Final = 1 << 24
"""Bytes that a request's body may have, unless set."""

MAX_HEAD: Final = 1 << 16
"""Bytes that a request's target and headers may have, and that may be pipelined behind a request."""


@final
@dataclass(frozen=True)
class HttpRequest:
    """A request, whole.

    Attributes:
        target: path and query, as they came.
        headers: by names in lower case; what came more than once is joined by `", "`.
        raw_headers: as they came, in their order.
        http_version: `"1.1"` or `"1.0"`.
        keep_alive: whether the client leaves the connection open for a further request.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes
    http_version: str
    keep_alive: bool


class RequestReader:
    """Reads the requests of one connection.

    Attributes:
        refusal: the status that answers what came after the last request, if it cannot be handled.
    """

    def __init__(self, stream: trio.abc.Stream, max_body: int) -> None:
        self.refusal: int | None = None
        self._stream = stream
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[HttpRequest] = deque()
        self._kept = bytearray()  # read ahead, and not parsed yet
        self._idle_size = 0  # bytes that nothing has come of yet
        self._expecting = False  # a client that waits for leave to send its body

    async def next(self) -> HttpRequest | None:
        """The next request; None if the client has left, or if there is a `refusal`."""
        while not self._requests and self.refusal is None:
            if self._expecting and not self._kept:
                self._expecting = False
                with suppress(trio.BrokenResourceError):
                    await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = bytes(self._kept) or await self._receive()
            if not data:
                return None
            self._kept.clear()
            self._feed(data)
        return self._requests.popleft() if self._requests else None

    async def read_ahead(self) -> None:
        """Keep what comes for the next request, until the client leaves or the stream is closed."""
        while data := await self._receive():
            self._kept += data
            if len(self._kept) > MAX_HEAD:
                await trio.sleep_forever()  # it is not read further, and so its leaving is not seen

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _feed(self, data: bytes) -> None:
        self._idle_size += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]  # the offer is not taken: what follows is HTTP still
            except httptools.HttpParserError:
                self._refuse(400)
                break
        if self._idle_size > MAX_HEAD:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        self.refusal = self.refusal or status

    # What the parser calls

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_done = False
        self._body = bytearray()

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # trailers are dropped
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_done = True
        self._idle_size = 0
        if len(self._target) + sum(len(name) + len(value) for name, value in self._headers) > MAX_HEAD:
            self._refuse(431)
        self._expecting = _joined(self._headers).get("expect", "").lower() == "100-continue"

    def on_body(self, piece: bytes) -> None:
        self._idle_size = 0
        self._expecting = False
        self._body += piece
        if len(self._body) > self._max_body:
            self._refuse(413)

    def on_message_complete(self) -> None:
        self._idle_size = 0
        self._expecting = False
        if self.refusal is None:
            request = HttpRequest(
                method=self._parser.get_method().decode(),
                target=self._target.decode(),
                headers=_joined(self._headers),
                raw_headers=self._headers,
                body=bytes(self._body),
                http_version=self._parser.get_http_version(),
                keep_alive=self._parser.should_keep_alive(),
            )
            self._requests.append(request)


def _joined(raw_headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
