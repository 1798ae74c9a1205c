"""Responses as bytes: lawful ones and what becomes of them, and what is no HTTP."""

from __future__ import annotations

from typing import Final

__all__ = ["CHUNKS", "LAWFUL", "OK", "RESPONSES", "UNLAWFUL", "head"]

OK: Final = "HTTP/1.1 200 OK"


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


CHUNKS: Final = b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\ntrailer: 1\r\n\r\n"
LAWFUL: Final[dict[str, tuple[bytes, bytes, bool]]] = {
    "a length": (head(OK, "Content-Length: 5"), b"abcde", True),
    "chunks and trailers": (head(OK, "Transfer-Encoding: chunked"), CHUNKS, True),
    "a space behind the coding": (head(OK, "Transfer-Encoding: chunked "), CHUNKS, True),
    "an unknown interim response": (
        head("HTTP/1.1 199 Thinking", "x: y") + head(OK, "content-length: 5"),
        b"abcde",
        True,
    ),
    "a trailer that closes": (
        head(OK, "transfer-encoding: chunked"),
        CHUNKS.replace(b"trailer: 1", b"connection: close"),
        False,
    ),
    "chunks, and the connection closes": (
        head(OK, "transfer-encoding: Chunked", "connection: close"),
        CHUNKS,
        False,
    ),
    "HTTP/1.0": (head("HTTP/1.0 200 OK", "content-length: 5"), b"abcde", False),
    "HTTP/1.0 kept alive": (
        head("HTTP/1.0 200 OK", "connection: keep-alive", "content-length: 5"),
        b"abcde",
        True,
    ),
    "interim responses": (
        head("HTTP/1.1 103 Early Hints", "link: x")
        + head("HTTP/1.1 100 Continue")
        + head(OK, "content-length: 5"),
        b"abcde",
        True,
    ),
    "no reason": (head("HTTP/1.1 200 ", "content-length: 5"), b"abcde", True),
}
"""By name: head, body as it is sent (it says `abcde`), whether the connection can be used again."""

UNLAWFUL: Final[dict[str, bytes]] = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "HTTP/2.0": head("HTTP/2.0 200 OK", "connection: keep-alive", "content-length: 0"),
    "HTTP/0.9": head("HTTP/0.9 200 OK", "content-length: 0"),
    "a status of 0": head("HTTP/1.1 000 OK", "content-length: 1") + b"x",
    "a status below 100": head("HTTP/1.1 099 OK"),
    "a status above 599": head("HTTP/1.1 600 OK", "content-length: 0"),
    "an interim response with a body": head("HTTP/1.1 199 Go", "content-length: 1") + b"x" + head(OK),
    "an interim response in chunks": head("HTTP/1.1 104 Go", "transfer-encoding: chunked")
    + CHUNKS
    + head(OK),
    "a bare line feed": b"HTTP/1.1 200 OK\ncontent-length: 1\n\nx",
    "two lengths": head(OK, "content-length: 1", "content-length: 2"),
    "a length and chunks": head(OK, "content-length: 1", "transfer-encoding: chunked"),
    "a length that is none": head(OK, "content-length: -1"),
    "a length with a plus": head(OK, "content-length: +1"),
    "an endless length": head(OK, "content-length: " + "9" * 100),
    "a space before the colon": head(OK, "content-length : 1"),
    "a header without a colon": head(OK, "nonsense"),
    "a control character in a header": head(OK, "x: a\x00b"),
    "a coding that was not offered": head(OK, "transfer-encoding: gzip, chunked"),
    "a coding with a tab": head(OK, "transfer-encoding: chunked\t"),
    "a coding with a space of another kind": head(OK, "transfer-encoding: chunked\xa0"),
    "chunks that are none": head(OK, "transfer-encoding: chunked") + b"zz\r\n",
    "a chunk that is too long": head(OK, "transfer-encoding: chunked") + b"1\r\nab\r\n",
    "a chunk of a negative size": head(OK, "transfer-encoding: chunked") + b"-1\r\nab\r\n",
    "another protocol": head("HTTP/1.1 101 Switching", "upgrade: websocket", "connection: upgrade"),
}

_ODD: Final[dict[str, bytes]] = {
    "no response": b"",
    "until the connection ends": head(OK) + b"abc",
    "no body by its status": head("HTTP/1.1 204 No Content"),
    "a status without a body that has a length": head("HTTP/1.1 304 Not Modified", "content-length: 5"),
    "a chunked answer without a body": head("HTTP/1.1 204 No Content", "transfer-encoding: chunked"),
    "two responses": (head(OK, "content-length: 1") + b"a") * 2,
    "a response and a byte": head(OK, "content-length: 1") + b"ab",
    "a response and an empty line": head(OK, "content-length: 1") + b"a\r\n",
    "a head that is cut off": b"HTTP/1.1 200 OK\r\nx: y\r\n",
    "a body that is cut off": head(OK, "content-length: 5") + b"ab",
    "a chunk that is cut off": head(OK, "transfer-encoding: chunked") + b"5\r\nab",
    "chunks without an end": head(OK, "transfer-encoding: chunked") + b"1\r\na\r\n",
    "a folded header": head(OK, "x: a", " b", "content-length: 1") + b"a",
    "an empty header": head(OK, "x:", "content-length:1") + b"a",
    "the same length twice": head(OK, "content-length: 1", "content-length: 1") + b"a",
    "the same length twice in one": head(OK, "content-length: 1, 1") + b"a",
    "a length with zeros": head(OK, "content-length: 0001") + b"a",
    "a coding twice": head(OK, "transfer-encoding: chunked", "transfer-encoding: chunked") + CHUNKS,
    "a coding of its own": head(OK, "transfer-encoding: identity") + b"a",
    "chunks in HTTP/1.0": head("HTTP/1.0 200 OK", "transfer-encoding: chunked") + CHUNKS,
    "a size with spaces": head(OK, "transfer-encoding: chunked") + b"1 \r\na\r\n0\r\n\r\n",
    "a size with zeros": head(OK, "transfer-encoding: chunked") + b"00A\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n",
    "an extension in quotes": head(OK, "transfer-encoding: chunked") + b'1;a="b\\"c"\r\na\r\n0\r\n\r\n',
    "a chunk that ends in a line feed": head(OK, "transfer-encoding: chunked") + b"1\na\n0\n\n",
    "a size that is too large": head(OK, "transfer-encoding: chunked") + b"f" * 17 + b"\r\n",
    "a switch without a word of it": head("HTTP/1.1 101 Switching Protocols"),
    "an upgrade that is offered": head(OK, "upgrade: h2c", "connection: upgrade", "content-length: 1") + b"a",
    "closing and keeping": head(OK, "connection: close, keep-alive", "content-length: 1") + b"a",
    "no reason and no space": b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\na",
    "a reason of Latin-1": b"HTTP/1.1 200 \xe4\xf6\r\ncontent-length: 1\r\n\r\na",
    "an empty line in front": b"\r\n" + head(OK, "content-length: 1") + b"a",
    "small letters": b"http/1.1 200 ok\r\ncontent-length: 1\r\n\r\na",
    "events": head(OK, "content-type: text/event-stream", "transfer-encoding: chunked")
    + b"9\r\ndata: {}\n\r\n",
}

RESPONSES: Final[dict[str, bytes]] = {
    **{name: head + body for name, (head, body, _) in LAWFUL.items()},
    **UNLAWFUL,
    **_ODD,
}
"""All of them, and more of which no more is said than that they end in some way."""
