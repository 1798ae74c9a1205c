"""The decoder of event streams, against the standard written out plainly; however the stream is cut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from tests.fuzz.cases.event_streams import STREAMS
from trio_mcp.errors import MessageTooLarge, ProtocolError
from trio_mcp.protocol.sse import RETRY_CEILING, RETRY_FLOOR, SSEDecoder

CASES: Final = [stream for _, stream, _ in STREAMS]
TOKENS: Final = [
    *(b"data", b"event", b"id", b"retry", b":", b" ", b": ", b"data: ", b"id: ", b"retry: 5", b"event: "),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xef\xbb\xbf", b"\xff", "é".encode(), "\u2028".encode()),
]

LARGE: Final = 1 << 16
SMALL: Final = 24

Outcome: TypeAlias = tuple[list[tuple[str, bytes]], str, float | None, type[Exception] | None]


def target(data: bytes) -> None:
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    single = [data[start : start + 1] for start in range(len(data))]
    if len(data) < LARGE:
        expected = by_the_standard(data)
        for chunks in ([data], pieces, single):
            assert (found := decode(chunks, LARGE)) == expected, (found, expected)
    expected = decode([data], SMALL)
    for chunks in (pieces, single):
        assert (found := decode(chunks, SMALL)) == expected, (found, expected)
    assert all(len(content) <= SMALL for _, content in expected[0])


def decode(chunks: Iterable[bytes], limit: int) -> Outcome:
    decoder = SSEDecoder(limit)
    events: list[tuple[str, bytes]] = []
    error: type[Exception] | None = None
    try:
        for chunk in chunks:
            events += ((event.type, event.data) for event in decoder.feed(chunk))
        decoder.feed(b"")  # an error that was put off
    except ProtocolError as exc:
        error = type(exc)
        assert limit == SMALL or error is not MessageTooLarge
    return events, decoder.last_event_id, decoder.retry, error


def by_the_standard(stream: bytes) -> Outcome:
    """What "Interpreting an event stream" says, and where we go beyond it: bounds of `retry`, bad UTF-8."""
    *lines, _ = (
        stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    )
    events: list[tuple[str, bytes]] = []
    data, kind, last_id, next_id, retry = b"", "", "", "", None
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if not line:
            last_id = next_id
            if data:
                events.append((kind or "message", data[:-1]))
            data, kind = b"", ""
        elif name == b"data":
            data += value + b"\n"
        elif name in (b"event", b"id"):
            if name == b"id" and b"\0" in value:
                continue
            try:
                text = value.decode()
            except UnicodeDecodeError:
                return events, last_id, retry, ProtocolError
            if name == b"event":
                kind = text
            else:
                next_id = text
        elif name == b"retry" and value and not value.strip(b"0123456789"):
            milliseconds = float(value[:400]) if len(value) < 300 else 1e9 if value.strip(b"0") else 0.0
            retry = min(max(milliseconds / 1000, RETRY_FLOOR), RETRY_CEILING)
    return events, last_id, retry, None
