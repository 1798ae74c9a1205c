"""HTTP/1.1 as bytes: what is written cannot be forged, and what is read is read strictly."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.cases.http_responses import LAWFUL, OK, UNLAWFUL, head
from tests.protocol.strategies import chunked, repeatable
from trio_mcp.errors import ConfigurationError, ProtocolError
from trio_mcp.http.http11 import MAX_HEAD, ResponseParser, encode_header, encode_request, encode_request_line


def parse(*pieces: bytes, method: bytes = b"POST") -> tuple[ResponseParser, bytes]:
    """Feed `pieces` for as long as the response has not ended; what its body is."""
    parser, body = ResponseParser(), b""
    parser.begin(method)
    for piece in pieces:
        if not parser.ended:
            parser.feed(piece)
            body += parser.take()
    return parser, body


# Requests


def test_a_request_is_what_the_standard_says() -> None:
    lines = [encode_header(b"host", b"x"), encode_header(b"accept", b"a, b")]
    assert (
        encode_request(encode_request_line(b"GET", b"/?q=1"), lines, None)
        == b"GET /?q=1 HTTP/1.1\r\nhost: x\r\naccept: a, b\r\n\r\n"
    )
    line = encode_request_line(b"POST", b"/")
    assert encode_request(line, [], b"ab") == b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nab"
    assert encode_request(line, [], b"").endswith(b"content-length: 0\r\n\r\n")


@repeatable
@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
@example(b"GET", b"/", b"x", b"a\r\nevil: 1")
@example(b"GET", b"/", b"x", b"a\nb")
@example(b"GET", b"/", b"x\r\nevil", b"1")
@example(b"GET", b"/ HTTP/1.1\r\nevil: 1\r\n\r\n", b"x", b"1")
@example(b"GET", b"/", b"x", b" a")
@example(b"GET", b"/", b"x", b"\xc3\xa4\tb")
def test_whatever_is_written_is_read_as_that_and_nothing_else(
    method: bytes, target: bytes, name: bytes, value: bytes
) -> None:
    try:
        line = encode_request_line(method, target)
        data = encode_request(line, [b"host: x\r\n", encode_header(name, value)], None)
    except ConfigurationError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    try:
        request = server.next_event()
    except h11.RemoteProtocolError:
        # The two readings of headers that mean something to HTTP itself.
        assert name.lower() in {b"host", b"content-length", b"transfer-encoding"}
        return
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method, target)
    assert (name.lower(), value) in [*request.headers]
    assert len([*request.headers]) == 2


def test_a_value_that_is_refused_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="'authorization' breaks HTTP") as caught:
        encode_header(b"authorization", b"Bearer s3cret\r\n")
    assert "s3cret" not in str(caught.value)


# Responses


@pytest.mark.parametrize("name", LAWFUL)
@repeatable
@given(data=st.data())
def test_a_response_is_the_same_however_it_is_cut(name: str, data: st.DataObject) -> None:
    start, body, reusable = LAWFUL[name]
    parser, read = parse(*data.draw(chunked(start + body)))
    assert (parser.status, read, parser.ended, parser.reusable) == (200, b"abcde", True, reusable)


def test_headers_are_joined_by_name() -> None:
    parser, _ = parse(head(OK, "Set-Cookie: a=1", "X-Y: \xe4", "set-cookie: b=2", "content-length: 0"))
    assert parser.fields == {"set-cookie": "a=1, b=2", "x-y": "\xe4", "content-length": "0"}
    assert parser.headers[0] == (b"Set-Cookie", b"a=1")


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    parser, body = parse(head(OK) + b"abc")
    assert (parser.ended, body) == (False, b"abc")
    parser.feed(b"")
    assert (parser.ended, parser.reusable) == (True, False)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_statuses_have_no_body(status: str) -> None:
    parser, body = parse(head(f"HTTP/1.1 {status}"))
    assert (parser.ended, parser.reusable, body) == (True, True, b"")


def test_the_answer_to_head_has_no_body() -> None:
    parser, body = parse(head(OK, "content-length: 5"), method=b"HEAD")
    assert (parser.ended, parser.reusable, body) == (True, False, b"")


@pytest.mark.parametrize(
    "rest", [b"x", b"HTTP/1.1 200 OK\r\n\r\n", head(OK, "content-length: 1") + b"x", head("HTTP/1.1 100 Go")]
)
def test_what_comes_behind_a_response_makes_its_connection_useless(rest: bytes) -> None:
    parser, body = parse(head(OK, "content-length: 2") + b"ab" + rest)
    assert (parser.status, body, parser.ended, parser.reusable) == (200, b"ab", True, False)


@pytest.mark.parametrize("name", UNLAWFUL)
def test_what_is_not_http_is_an_error(name: str) -> None:
    with pytest.raises(ProtocolError, match="broke HTTP") as caught:
        parse(*(UNLAWFUL[name][n : n + 1] for n in range(len(UNLAWFUL[name]))))
    assert str(caught.value) == str(caught.value).strip()
    with pytest.raises(ProtocolError, match="broke HTTP"):
        parse(UNLAWFUL[name])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n" * 20_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
        head(OK, "transfer-encoding: chunked") + b"1;" + b"e" * 200_000,
        head(OK, "transfer-encoding: chunked") + b"0\r\n" + b"x: y\r\n" * 20_000,
    ],
    ids=["reason", "value", "name", "many", "interim", "bare", "extension", "trailers"],
)
@pytest.mark.parametrize("step", [1000, 1 << 16])  # as much as is read at a time
def test_headers_have_a_limit(data: bytes, step: int) -> None:
    with pytest.raises(ProtocolError, match=f"more than {MAX_HEAD} bytes of HTTP headers"):
        parse(*(data[n : n + step] for n in range(0, len(data), step)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 2",
        head(OK, "content-length: 9") + b"a",
        head(OK, "transfer-encoding: chunked") + b"5\r\na",
    ],
)
def test_an_end_in_the_middle_is_told(data: bytes) -> None:
    parser = ResponseParser()
    parser.begin(b"POST")
    if data:
        parser.feed(data)
    with pytest.raises(EOFError):
        parser.feed(b"")
    assert not parser.reusable
    assert parser.started == bool(data)


HEADERS = st.lists(
    st.tuples(st.from_regex(r"x-[a-z]{1,5}", fullmatch=True), st.from_regex(r"[!-~]{1,8}", fullmatch=True)),
    max_size=4,
)


@repeatable
@given(HEADERS, st.binary(max_size=50), st.booleans(), st.integers(200, 599), st.booleans())
def test_it_reads_what_h11_writes(
    headers: list[tuple[str, str]], body: bytes, in_chunks: bool, status: int, close: bool
) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    server.next_event(), server.next_event()
    bodiless = status in (204, 304)
    framing = (
        []
        if bodiless
        else [("transfer-encoding", "chunked") if in_chunks else ("content-length", str(len(body)))]
    )
    sent = [*headers, *framing, *([("connection", "close")] if close else [])]
    data = server.send(h11.Response(status_code=status, headers=sent)) or b""
    if not bodiless:
        data += server.send(h11.Data(data=body)) or b""
    data += server.send(h11.EndOfMessage()) or b""
    parser, read = parse(data)
    assert (parser.status, read, parser.ended) == (status, b"" if bodiless else body, True)
    assert parser.reusable == (not close)
    assert [(n.decode(), v.decode()) for n, v in parser.headers][: len(headers)] == headers


@repeatable
@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_nothing_that_comes_can_raise_anything_else(pieces: list[bytes], lawful_start: bool) -> None:
    parser = ResponseParser()
    parser.begin(b"POST")
    try:
        if lawful_start:
            parser.feed(head(OK, "transfer-encoding: chunked"))
        for piece in pieces:
            if not parser.ended:
                parser.feed(piece)
    except (ProtocolError, EOFError):
        pass
