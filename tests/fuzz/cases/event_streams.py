"""Event streams, and the events that the WHATWG HTML standard (9.2.6) finds in them."""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = ["STREAMS"]

Event: TypeAlias = tuple[str, bytes]

STREAMS: Final[list[tuple[str, bytes, list[Event]]]] = [
    ("LF", b"data: a\n\n", [("message", b"a")]),
    ("CR", b"data: a\r\r", [("message", b"a")]),
    ("CRLF", b"data: a\r\n\r\n", [("message", b"a")]),
    ("line ends mixed", b"data: a\r\ndata: b\rdata: c\n\r\n", [("message", b"a\nb\nc")]),
    ("LF and CRLF are two", b"data: a\n\r\ndata: b\n\n", [("message", b"a"), ("message", b"b")]),
    (
        "nothing else ends a line",
        "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(),
        [("message", "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg".encode())],
    ),
    ("a byte order mark", b"\xef\xbb\xbfdata: a\n\n", [("message", b"a")]),
    ("a byte order mark alone on its line", b"\xef\xbb\xbf\n\ndata: a\n\n", [("message", b"a")]),
    ("a second byte order mark is content", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    ("a byte order mark later on", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", b"a")]),
    ("comments alone", b": hello\n\n:\n\n", []),
    ("a comment within an event", b"data: a\n: hello\ndata: b\n\n", [("message", b"a\nb")]),
    ("an event that has not ended", b"data: a\n", []),
    ("a line that has not ended", b"data: a\n\ndata: b", [("message", b"a")]),
    ("no space", b"data:a\n\n", [("message", b"a")]),
    ("one space is taken off", b"data:  a \n\n", [("message", b" a ")]),
    ("a tab is not", b"data:\ta\n\n", [("message", b"\ta")]),
    ("the first colon separates", b"data: a:b\n\n", [("message", b"a:b")]),
    ("a field without a colon", b"data\n\n", [("message", b"")]),
    ("the standard's example", b"data\n\ndata\ndata\n\ndata:", [("message", b""), ("message", b"\n")]),
    ("empty data is data", b"data:\n\n", [("message", b"")]),
    ("several lines", b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", b"YHOO\n+2\n10")]),
    ("a type", b"event: add\ndata: 7\n\n", [("add", b"7")]),
    ("the last type counts", b"event: add\nevent: rm\ndata: 7\n\n", [("rm", b"7")]),
    ("a type without data is forgotten", b"event: add\n\ndata: 7\n\n", [("message", b"7")]),
    ("a type holds for one event", b"event: add\ndata: 7\n\ndata: 8\n\n", [("add", b"7"), ("message", b"8")]),
    ("an empty type", b"event:\ndata: 7\n\n", [("message", b"7")]),
    ("unknown fields", b"Data: a\nDATA: b\n data: c\ndatax: d\nother: e\n\n", []),
    ("an id alone", b"id: 1\n\n", []),
    ("empty lines alone", b"\n\n\r\n\r\r", []),
    ("nothing", b"", []),
    ("a NUL in a name or a value", b"data:\0\ndata\0:2\n\0data:3\ndata: 4\n\n", [("message", b"\0\n4")]),
    ("a name within a name", b"da-ta:1\ndata_5\nda ta:2\ndata:3\n\n", [("message", b"3")]),
    ("a space before the colon", b"data : 1\ndata:2\n\n", [("message", b"2")]),
    (
        "data that looks like a field",
        b"data: data: 1\ndata:event: x\n\n",
        [("message", b"data: 1\nevent: x")],
    ),
    ("fields in any order", b"data: 1\nid: 2\nretry: 3\nevent: e\ndata: 4\n\n", [("e", b"1\n4")]),
    ("a comment without a space", b":data: 1\n\ndata: 2\n\n", [("message", b"2")]),
    ("a comment that is longer than it looks", b": " + b"x" * 2000 + b"\ndata: 1\n\n", [("message", b"1")]),
    ("half of a byte order mark", b"\xef\xbbdata: 1\n\ndata: 2\n\n", [("message", b"2")]),
    ("a byte order mark in data", b"data: \xef\xbb\xbf1\n\n", [("message", b"\xef\xbb\xbf1")]),
    ("a byte order mark of UTF-16", b"\xff\xfedata: 1\n\n", []),
    ("an id with a NUL, an id without", b"id: 1\0\nid: 2\ndata: 3\n\n", [("message", b"3")]),
    ("a retry within an event", b"data: 1\nretry: 5\ndata: 2\n\n", [("message", b"1\n2")]),
    ("CR and CRLF are two ends", b"data: a\r\r\ndata: b\r\n\r", [("message", b"a"), ("message", b"b")]),
    ("LF and CR are two ends", b"data: a\n\rdata: b\n\n", [("message", b"a"), ("message", b"b")]),
    ("text beyond the basic plane", "event: 🎈\ndata: 🎈é\n\n".encode(), [("🎈", "🎈é".encode())]),
    ("data that is not UTF-8", b"data: \xc3\xff\n\n", [("message", b"\xc3\xff")]),
    (
        "data that breaks off, and another event",
        b"data: {\n\ndata: }\n\n",
        [("message", b"{"), ("message", b"}")],
    ),
]
"""By name: the stream, and its events as (type, data)."""
