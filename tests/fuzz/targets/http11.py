"""The parser of HTTP responses, against itself however a response is cut, and against h11."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import h11

from tests.fuzz.cases.http_responses import RESPONSES
from trio_mcp.errors import ProtocolError
from trio_mcp.http.http11 import ResponseParser

CASES: Final = [*RESPONSES.values()]
TOKENS: Final = [
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 ", b"HTTP/1.1 100 Continue\r\n\r\n", b" 204 ", b" 304 ", b" 101 "),
    *(b"content-length: ", b"transfer-encoding: chunked\r\n", b"transfer-encoding: ", b"chunked", b"gzip, "),
    *(b"connection: close\r\n", b"connection: keep-alive\r\n", b"upgrade: x\r\n", b"trailer: a\r\n"),
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"0\r\n\r\n", b"5\r\nhello\r\n", b";a=b", b" ", b"\t", b",", b":"),
    *(b"\0", b"\xff", b"0", b"5", b"ffffffffffffffff", b"99999999999999999999"),
]


class Outcome(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    end: str  # "ended", "cut off", "broken", "closed": ended by the connection's end
    reusable: bool


def target(data: bytes) -> None:
    for method in (b"POST", b"HEAD"):
        whole = parse([data], method)
        for size in (1, 7):
            pieces = parse((data[start : start + size] for start in range(0, len(data), size)), method)
            assert pieces == whole, (method, size, pieces, whole)
        if whole.end in ("ended", "closed"):
            assert 200 <= whole.status < 600
            assert not (whole.end == "closed" and whole.reusable)
            compare(whole, by_h11(data, method))


def parse(pieces: Iterable[bytes], method: bytes) -> Outcome:
    parser = ResponseParser()
    parser.begin(method)
    body, end = b"", ""
    try:
        for piece in pieces:
            parser.feed(piece)
            body += parser.take()
        end = "ended" if parser.ended else ""
        if not parser.ended:
            parser.feed(b"")
            end = "closed"
    except ProtocolError:
        # What came before it depends on where it was cut; nobody uses it, for the exchange has failed.
        return Outcome(0, [], b"", "broken", False)
    except EOFError:
        end = "cut off"
    finally:
        parser.release()
    return Outcome(parser.status, parser.headers, body, end, parser.reusable)


def by_h11(data: bytes, method: bytes) -> Outcome:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    status, headers, body, fed = 0, list[tuple[bytes, bytes]](), b"", False
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(b"")
                fed = True
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                return Outcome(status, headers, body, "cut off", False)
    except h11.RemoteProtocolError:
        return Outcome(status, headers, body, "broken", False)
    # What h11 is stricter in: it never keeps HTTP/1.0 alive, and empty lines are not passed over.
    kept = connection.their_state is h11.DONE or b"HTTP/1.0" in data
    reusable = kept and not connection.trailing_data[0].strip(b"\r\n")
    return Outcome(status, headers, body, "closed" if fed else "ended", reusable)


def compare(ours: Outcome, theirs: Outcome) -> None:
    """Two parsers that see two different responses are what smuggling lives on.

    That one refuses what the other takes is no harm.
    """
    if theirs.end not in ("ended", "closed"):
        return
    assert (ours.status, ours.body) == (theirs.status, theirs.body), (ours, theirs)
    assert not ours.reusable or theirs.reusable, (ours, theirs)
