"""The cases of "Interpreting an event stream" in the WHATWG HTML standard, and what MCP adds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.cases.event_streams import STREAMS
from tests.protocol.strategies import chunked, repeatable
from trio_mcp.errors import MessageTooLarge, ProtocolError
from trio_mcp.protocol.sse import RETRY_CEILING, RETRY_FLOOR, ServerSentEvent, SSEDecoder

LIMIT: Final = 1 << 16


def read(chunks: Iterable[bytes], limit: int = LIMIT) -> tuple[list[ServerSentEvent], SSEDecoder]:
    decoder = SSEDecoder(limit)
    return [event for chunk in chunks for event in decoder.feed(chunk)], decoder


def message(data: bytes | str, kind: str = "message") -> ServerSentEvent:
    return ServerSentEvent(kind, data if isinstance(data, bytes) else data.encode())


@pytest.mark.parametrize(
    ("stream", "events"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS]
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    expected = [ServerSentEvent(*event) for event in events]
    assert read([stream])[0] == expected
    assert read(bytes([byte]) for byte in stream)[0] == expected


@pytest.mark.parametrize("chunks", [[b"data: a\r", b"\n\r", b"\n"], [b"data: a\r", b"\n", b"\r", b"\n"]])
def test_a_crlf_in_two_chunks_is_one_line_end(chunks: list[bytes]) -> None:
    assert read([*chunks, b"data: b\n\n"])[0] == [message("a"), message("b")]


def test_an_event_that_ends_in_cr_does_not_wait_for_the_next_byte() -> None:
    decoder = SSEDecoder(LIMIT)
    assert decoder.feed(b"data: a\r\r") == [message("a")]
    assert decoder.feed(b"\ndata: b\n\n") == [message("b")]


def test_an_empty_chunk_changes_nothing() -> None:
    assert read([b"data: a\r", b"", b"\ndata: b\n\n"])[0] == [message("a\nb")]


@pytest.mark.parametrize(
    ("stream", "last_id"),
    [
        (b"data: a\n\n", ""),
        (b"id: 1\ndata: a\n\n", "1"),
        (b"id: 1\n\n", "1"),
        (b"id: 1\ndata: a\n\ndata: b\n\n", "1"),
        (b"id: 1\ndata: a\n\nid\ndata: b\n\n", ""),
        (b"id: 1\nid: 2\n\n", "2"),
        (b"id: 1\n\nid: 2\0\n\n", "1"),
        ("id: 世界\n\n".encode(), "世界"),
        (b"id:  x \n\n", " x "),
    ],
)
def test_the_last_event_id_is_the_latest_that_is_valid(stream: bytes, last_id: str) -> None:
    assert read([stream])[1].last_event_id == last_id


def test_an_id_counts_once_its_event_is_complete() -> None:
    decoder = SSEDecoder(LIMIT)
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n\n")
    assert decoder.last_event_id == "2"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1500", 1.5),
        (b"0", RETRY_FLOOR),
        (b"300000", RETRY_CEILING),
        (b"300001", RETRY_CEILING),
        (b"999999999", RETRY_CEILING),
        (b"9" * 400, RETRY_CEILING),
        (b"9" * 10_000, RETRY_CEILING),
        (b"-5", None),
        (b"+5", None),
        (b"1.5", None),
        (b"1e3", None),
        (b"5 ", None),
        (b"  5", None),
        (b"", None),
        ("\u0665".encode(), None),
    ],
)
def test_retry_is_digits_only_and_within_bounds(value: bytes, seconds: float | None) -> None:
    assert read([b"retry: " + value + b"\n"])[1].retry == seconds


def test_the_last_valid_retry_counts() -> None:
    assert read([b"retry: 1000\n\nretry: 2000\nretry: x\n"])[1].retry == 2.0


def test_leading_zeros_of_retry_mean_nothing() -> None:
    assert read([b"retry: 0000001500\n"])[1].retry == 1.5


@pytest.mark.parametrize("line", [b"id: \xff\n", b"event: \xed\xa0\x80\n"])
def test_an_id_or_a_type_that_is_not_utf_8_is_an_error(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="not UTF-8") as caught:
        read([line])
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_an_error_that_waits_behind_events_can_be_asked_for() -> None:
    decoder = SSEDecoder(64)
    assert decoder.feed(b"data: x\n\nid: \xff\n\n") == [message(b"x")]
    with pytest.raises(ProtocolError, match="not UTF-8"):
        decoder.check()


def test_data_comes_out_as_it_was_sent() -> None:
    assert read([b"data: \xff\0\xfe\n\n"])[0] == [message(b"\xff\0\xfe")]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: " + b"x" * 100, id="a line that does not end"),
        pytest.param(b"data: x\n" * 20, id="an event that does not end"),
        pytest.param(b"data: a\n: " + b"x" * 100 + b"\n", id="a comment within an event"),
        pytest.param(b"data: " + b"x" * 100 + b"\n\n", id="a whole event"),
    ],
)
def test_an_event_is_bounded_however_it_comes(stream: bytes) -> None:
    for chunks in ([stream], [bytes([byte]) for byte in stream]):
        with pytest.raises(MessageTooLarge, match="more than 64 bytes; max_message_size raises the limit"):
            read(chunks, limit=64)


def test_an_event_may_be_as_large_as_the_limit() -> None:
    event = b"data: " + b"x" * 57
    for chunks in ([event + b"\n\n"], [event[:30], event[30:], b"\n\n"]):
        with pytest.raises(MessageTooLarge):
            read(chunks, limit=len(event) - 1)
        assert read(chunks, limit=len(event))[0] == [message("x" * 57)]


def test_the_bound_is_on_each_event_and_not_on_the_stream() -> None:
    assert len(read([b"data: x\n\n" * 100], limit=64)[0]) == 100


def test_keep_alive_comments_between_events_do_not_add_up() -> None:
    assert read([b":\r\n"] * 100 + [b"data: x\n\n"], limit=64)[0] == [message("x")]


def test_what_came_whole_before_an_error_is_not_lost() -> None:
    events: list[ServerSentEvent] = []
    decoder = SSEDecoder(64)
    with pytest.raises(MessageTooLarge):
        for chunk in (b"data: answer\n\ndata: " + b"x" * 100, b"x"):
            for event in decoder.feed(chunk):
                events.append(event)
    assert events == [message("answer")]


lines: Final = st.one_of(
    st.sampled_from(
        [
            b"",
            b"data: a",
            b"data",
            b"data:",
            b"event: e",
            b"id: 1",
            b"id",
            b"retry: 5",
            b": c",
            b"x: y",
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbfdata: z",
            "data: é\u2028".encode(),
        ]
    ),
    st.binary(max_size=8),
)
streams: Final = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12).map(
    lambda parts: b"".join(line + end for line, end in parts)
)


def outcome(chunks: Iterable[bytes], limit: int) -> object:
    decoder = SSEDecoder(limit)
    try:
        events = [event for chunk in chunks for event in decoder.feed(chunk)]
    except ProtocolError as exc:
        return str(exc)
    return events, decoder.last_event_id, decoder.retry


@repeatable
@given(st.data(), streams, st.sampled_from([16, LIMIT]))
def test_any_chunking_gives_the_same_events(data: st.DataObject, stream: bytes, limit: int) -> None:
    assert outcome(data.draw(chunked(stream)), limit) == outcome([stream], limit)


@repeatable
@given(st.lists(st.binary()))
def test_any_bytes_give_events_or_a_protocol_error(chunks: list[bytes]) -> None:
    decoder = SSEDecoder(64)
    for chunk in chunks:
        try:
            events = decoder.feed(chunk)
        except ProtocolError:
            return
        for event in events:
            assert event.type
            assert b"\r" not in event.data


data_lines: Final = st.binary(max_size=20).map(lambda value: value.translate(None, b"\r\n"))


@repeatable
@given(st.lists(st.lists(data_lines, min_size=1, max_size=3)), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_what_a_server_writes_comes_out(written: list[list[bytes]], end: bytes) -> None:
    stream = b"".join(b"".join(b"data: " + line + end for line in event) + end for event in written)
    assert [event.data for event in read([stream])[0]] == [b"\n".join(event) for event in written]
