"""HTTP/1.1 as bytes: a request to send, a response to read (RFC 9110, RFC 9112). It does no input or output.

llhttp parses, through httptools, and as strictly as it can: what a response smuggled in could hide behind
is an error. What it leaves to its caller is here: limits, interim responses, and where a body ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import httptools

from ..errors import ConfigurationError, ProtocolError

__all__ = ["MAX_HEAD", "ResponseParser", "encode_header", "encode_request", "encode_request_line"]

MAX_HEAD: Final = 1 << 16
"""Bytes that the headers of one response may have, interim responses and trailers included."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"([\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?")
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
# They have no body, whatever their headers say (RFC 9112, 6.3).
_BODILESS: Final = frozenset({204, 304})


def encode_header(name: bytes, value: bytes) -> bytes:
    """One line of a request's head.

    Raises:
        ConfigurationError: it would not survive, or would forge, a request. The value may be a secret, and
            is not quoted.
    """
    if not _TOKEN.fullmatch(name):
        raise ConfigurationError("the request cannot be sent: the name of a header breaks HTTP")
    if not _VALUE.fullmatch(value):
        raise ConfigurationError(
            f"the request cannot be sent: the value of its header {name.decode()!r} breaks HTTP"
        )
    return b"%b: %b\r\n" % (name, value)


def encode_request(line: bytes, lines: Iterable[bytes], body: bytes | None) -> bytes:
    """A whole request.

    Args:
        line: the first line, by `encode_request_line`.
        lines: the headers, each by `encode_header`; how the body is framed is added here.
        body: the content; None for a request that has none.
    """
    head = line + b"".join(lines)
    if body is None:
        return head + b"\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def encode_request_line(method: bytes, target: bytes) -> bytes:
    """The first line of a request.

    Args:
        method: such as `b"POST"`.
        target: path and query.

    Raises:
        ConfigurationError: it would break HTTP.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ConfigurationError("the request cannot be sent: its method or its URL breaks HTTP")
    return b"%b %b HTTP/1.1\r\n" % (method, target)


class ResponseParser:
    """Reads the responses that one connection brings, each to its request.

        parser = ResponseParser()
        parser.begin(b"POST")
        while not parser.ended:
            parser.feed(await stream.receive_some())
            body += parser.take()

    Attributes:
        status: the status code; 0 until the headers have come.
        headers: as they came.
        fields: the same with names in lower case, the values of repeated ones joined by commas.
        started: whether a byte has come.
        ended: whether the response has come whole.
        reusable: whether the connection can carry a further exchange, once this one has ended.
    """

    def __init__(self) -> None:
        # The two refer to each other; `release` ends that.
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin(b"")

    def begin(self, method: bytes) -> None:
        """Expect the response to a request of `method`; the one before it has ended, and is reusable."""
        self.status: int = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.fields: dict[str, str] = {}
        self.started: bool = False
        self.ended: bool = False
        self.reusable: bool = True
        self._headless_body = method == b"HEAD"
        self._until_close = False
        self._pieces: list[bytes] = []
        self._head_size = 0
        self._idle_size = 0  # bytes that nothing has come of yet

    def release(self) -> None:
        """Nothing more will be read: let go of the parser, which need not wait for the garbage collector."""
        self._parser = None

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed(self, data: bytes | bytearray) -> None:
        """Take in what the connection brought; `b""` is its end.

        Raises:
            ProtocolError: it is not HTTP, or its headers are larger than `MAX_HEAD`.
            EOFError: the connection ended before the response did.
        """
        if not data:
            self.reusable = False
            if not self._until_close:
                raise EOFError
            self.ended = True
            return
        assert self._parser is not None
        self.started = True
        self._idle_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as exc:
            raise exc.__context__ if isinstance(exc.__context__, ProtocolError) else exc from None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self.reusable = False
            if not self.ended:
                raise ProtocolError(f"the server broke HTTP: {_reason(exc)}") from exc
            # What comes after a response belongs to nobody: the connection goes, the response stays.
        if not self.ended and self._idle_size > MAX_HEAD:
            raise _too_large()

    # What httptools calls, by these names

    def on_message_begin(self) -> None:
        if self.ended:
            self.reusable = False  # a second response, which nobody has asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > MAX_HEAD:
            raise _too_large()
        self._idle_size = 0
        if self.status == 0:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.ended or self._parser is None:
            return
        status = self._parser.get_status_code()
        if not 100 <= status < 600 or self._parser.get_http_version()[:2] != "1.":
            raise ProtocolError("the server broke HTTP: a status line that HTTP/1 does not have")
        if status < 200:
            self.headers.clear()  # an interim response: the real one comes after it
            return
        self.status = status
        self._idle_size = 0
        self.reusable = self._parser.should_keep_alive()
        fields = self.fields
        for name, value in self.headers:
            key, text = name.lower().decode("latin-1"), value.decode("latin-1")
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        coding = fields.get("transfer-encoding")
        # Spaces and no other white space: it must not pass for chunked here if the parser does not think so.
        if coding is not None and coding.strip(" ").lower() != "chunked":
            raise ProtocolError("the server broke HTTP: a transfer coding that was not offered")
        if self._headless_body:
            # The parser cannot know, and would wait for a body.
            self.ended, self.reusable = True, False
        self._until_close = coding is None and "content-length" not in fields and status not in _BODILESS

    def on_body(self, piece: bytes) -> None:
        if self.ended:
            return
        if self.status == 0:
            # The parser gives a body to those interim responses that it does not know.
            raise ProtocolError("the server broke HTTP: an interim response with a body")
        self._idle_size = 0
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self.status != 0 and self._parser is not None and not self.ended:
            self.ended = True
            self.reusable = self._parser.should_keep_alive()  # once more: a trailer may have its say


def _too_large() -> ProtocolError:
    return ProtocolError(f"the server sent more than {MAX_HEAD} bytes of HTTP headers")


def _reason(exc: Exception) -> str:
    if isinstance(exc, httptools.HttpParserUpgrade):
        return "it switched protocols, which was not asked for"
    return str(exc)
