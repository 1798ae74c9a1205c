"""What a server of Streamable HTTP does wrong, and what it is to come to: one row for each fault.

Columns: what is done; what comes of a request that meets it (a handshake, a call); what comes of a message
that wants no answer (a notification, the answer to the server's question).
"""

# ruff: noqa: E501 - its tables have a fault on each line

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import trio
from httptools import HttpParserError, HttpParserUpgrade

from trio_mcp.deadlines import ConnectTimeout, Stalled
from trio_mcp.errors import (
    AccessDenied,
    ConnectionLost,
    HTTPStatusError,
    MCPError,
    MessageTooLarge,
    ProtocolError,
    SessionExpired,
    VersionMismatch,
)
from trio_mcp.testing.messages import error, event, notification, request

from .messages import MESSAGES, BadMessage
from .outcomes import OK, Fails, Fine, Outcome, TimesOut
from .server import Asked, Strike

__all__ = ["BROKEN", "CONTENTS", "MAX_SIZE", "RESPONSES", "SILENCE", "STREAMS", "TIMEOUT", "Fault", "silence"]

TIMEOUT: Final = 5.0
SILENCE: Final = 10.0
MAX_SIZE: Final = 1 << 16
"""What the connectors of the matrix are given as `timeout`, `sse_read_timeout` and `max_message_size`."""

_OVERSIZE: Final = "x" * (MAX_SIZE + 1)
_JSON: Final = "application/json"


@dataclass(frozen=True)
class Fault:
    """One row.

    Args:
        name: what is wrong.
        strike: does it.
        request: what comes of a request.
        one_way: what comes of a message that wants no answer; None for the same.
        reopens: whether a GET stream that meets it is opened again.
        times: how often it is done.
        but: where something else comes of it: by phase, or by era and phase.
    """

    name: str
    strike: Strike
    request: Outcome
    one_way: Outcome | None = None
    reopens: bool = True
    times: int = 1
    but: Mapping[str, Outcome] = field(default_factory=dict)

    def outcome(self, era: str, phase: str, default: Outcome) -> Outcome:
        """What comes of it where only that phase knows better than `default`."""
        return self.but.get(f"{era} {phase}", self.but.get(phase, default))


# Means


def _status(status: int, body: str = "", type: str | None = "text/plain", **headers: str) -> Strike:
    """Answers by a status, and repeats all that the request kept secret, in the body and in each header."""

    async def strike(asked: Asked) -> None:
        text = f"{body} {asked.echo}" if type != _JSON else json.dumps(error(asked.id, -32000, asked.echo))
        told = {name: value.replace("ECHO", asked.echo.replace("?", "&")) for name, value in headers.items()}
        await asked.reply(status, text, type, **told)

    return strike


def _raw(data: bytes, *, stay: bool = True) -> Strike:
    """Sends bytes in place of a response. It stays on the line, or hangs up."""

    async def strike(asked: Asked) -> None:
        await asked.raw(data)
        if stay:
            await trio.sleep_forever()
        await asked.cut()

    return strike


def _body(body: bytes, type: str | None = _JSON, **headers: str) -> Strike:
    async def strike(asked: Asked) -> None:
        await asked.reply(200, body, type, **headers)

    return strike


def _proper(asked: Asked) -> bytes:
    """The right answer, as bytes."""
    body = json.dumps(asked.answer)
    headers = {**asked.headers, "content-type": _JSON, "content-length": str(len(body))}
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n{body}".encode()


async def _reset(asked: Asked) -> None:
    await trio.sleep(0.1)  # at work; the network in memory breaks connections at both sides at once
    await asked.reset()


async def _fin(asked: Asked) -> None:
    await asked.cut()


async def silence(asked: Asked) -> None:
    await trio.sleep_forever()


async def _half_head(asked: Asked) -> None:
    await asked.raw(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await asked.cut()


async def _drip(asked: Asked) -> None:
    data = _proper(asked)
    for start in range(0, len(data), 4):
        await asked.raw(data[start : start + 4])
        await trio.sleep(0.25)


async def _drip_for_ever(asked: Asked) -> None:
    await asked.raw(b"HTTP/1.1 200 OK\r\nx-drip: ")
    while True:
        await asked.raw(b"x")
        await trio.sleep(1)


async def _drip_body_for_ever(asked: Asked) -> None:
    await asked.http.start(200, [("content-type", _JSON)])
    while True:
        await asked.http.send(b" ")
        await trio.sleep(1)


async def _early_hints(asked: Asked) -> None:
    await asked.raw(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3 + _proper(asked))


async def _http_1_0(asked: Asked) -> None:
    await asked.raw(_proper(asked).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    await asked.cut()


async def _truncated(asked: Asked) -> None:
    await asked.raw(_proper(asked)[:-5])
    await asked.cut()


async def _truncated_chunks(asked: Asked) -> None:
    await asked.raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{"
    )
    await asked.cut()


async def _more_than_announced(asked: Asked) -> None:
    await asked.raw(_proper(asked) + b"more than was announced")
    await asked.cut()


async def _moved(asked: Asked, status: int) -> None:
    """To another path of the same origin, where all is well."""
    if asked.http.request.target.startswith("/moved"):
        await asked.json(asked.answer, headers=asked.headers)
    else:
        await asked.reply(status, location="/moved/here")


async def _moved_to_itself(asked: Asked) -> None:
    await asked.reply(307, location=asked.http.request.target)


async def _no_content(asked: Asked) -> None:
    await asked.reply(204)


async def _gzipped(asked: Asked, how: Callable[[bytes], bytes], coding: str = "gzip") -> None:
    body = how(json.dumps(asked.answer).encode())
    await asked.reply(200, body, _JSON, content_encoding=coding, **asked.headers)


async def _bad_json(asked: Asked, message: BadMessage) -> None:
    await asked.reply(200, message.encoded(asked.id, asked.result, asked.echo), _JSON, **asked.headers)


async def _bad_event(asked: Asked, message: BadMessage) -> None:
    await asked.http.send(b"data: " + message.encoded(asked.id, asked.result, asked.echo) + b"\n\n")


def _http(kind: type[HTTPStatusError], status: int, says: str = "", **attributes: object) -> Fails:
    return Fails(kind, f"HTTP {status}.*{says}", attributes={"status_code": status, **attributes})


def _fallen_back(status: int) -> Fails:
    """What comes of a status by which HTTP+SSE is tried, too."""
    return Fails(
        HTTPStatusError,
        f"HTTP {status}.*HTTP.SSE was tried as well: HTTP 40",
        HTTPStatusError,
        attributes={"status_code": status},
    )


def _exceptions(bad: BadMessage) -> dict[str, Outcome]:
    """Where something else comes of a bad message than of a call."""
    if bad.in_pipe and bad.name != "an error":
        return {"listen": _broke("had not acknowledged"), "listen, open": OK}
    if isinstance(bad.outcome, Fails) and bad.outcome.kind is MCPError:
        # An error may mean another era: both were asked, and the first one's answer is the reason for the second.
        return {"handshake": replace(bad.outcome, cause=MCPError)}
    return {}


def _broke(says: str, cause: type[BaseException] | None = None, within: float = 3.0) -> Fails:
    return Fails(ProtocolError, says, cause, within)


def _lost(says: str, cause: type[BaseException] | None = None) -> Fails:
    return Fails(ConnectionLost, says, cause)


def _right(name: str, strike: Strike) -> Fault:
    """A fault that is none for who knows HTTP: the answer is right, but not where a stream was asked for."""
    return Fault(name, strike, OK, reopens=False, but={"listen": _broke("had not acknowledged")})


_STALLED: Final = Fails(Stalled, "for 10 s", within=SILENCE + 1)
_STALLED_SHORT: Final = Fails(Stalled, "for 5 s", within=TIMEOUT + 1)
_RESET: Final = _lost("connection broke", trio.BrokenResourceError)
_TOO_LONG: Final = Fails(Stalled, "timeout=", within=2 * TIMEOUT + 1)
_EXPIRED: Final = _http(SessionExpired, 404)
_EVERYTHING: Final = Fails(ConnectTimeout, "connect_timeout", within=30.001)


_DRIPS: Final[dict[str, Outcome]] = {
    "handshake": _EVERYTHING,
    "listen": Fails(ConnectTimeout, "acknowledge", within=30.001),
}

BROKEN: Final = [
    # Of the connection
    Fault("reset", _reset, _RESET, but={"legacy handshake": OK, "initialized": OK}),
    Fault("FIN", _fin, _lost("closed the connection without an answer"), but={"legacy handshake": OK, "initialized": OK}),
    Fault("silence", silence, _STALLED, _STALLED_SHORT, but={"modern handshake": replace(_STALLED, within=21.0)}),
    Fault("half a head", _half_head, _lost("in the middle of its response")),
    Fault("slow drip", _drip, Fine(within=30), but={"listen": _broke("acknowledge", within=30), "modern handshake": Fails(VersionMismatch, "no common", within=30)}, reopens=False),
    Fault("endless drip of a header", _drip_for_ever, TimesOut(), _TOO_LONG, but=_DRIPS, reopens=False),
    Fault("endless drip of a body", _drip_body_for_ever, TimesOut(), OK, but={**_DRIPS, "initialized": OK}, reopens=False),
    _right("early hints", _early_hints),
    _right("HTTP/1.0", _http_1_0),
    Fault("truncated body", _truncated, _lost("in the middle of its response"), OK, reopens=False),
    Fault("truncated chunks", _truncated_chunks, _lost("in the middle of its response"), OK, reopens=False),
    _right("more than announced", _more_than_announced),
    # Of HTTP
    Fault("no HTTP", _raw(b"SSH-2.0-OpenSSH_9.9\r\n"), _broke("broke HTTP", HttpParserError)),
    Fault("HTTP/9.9", _raw(b"HTTP/9.9 200 OK\r\n\r\n"), _broke("broke HTTP", HttpParserError)),
    Fault("a broken header", _raw(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), _broke("broke HTTP", HttpParserError)),
    Fault("two lengths", _raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"), _broke("broke HTTP", HttpParserError)),
    Fault("a broken length", _raw(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"), _broke("broke HTTP", HttpParserError)),
    Fault("broken chunks", _raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), _broke("broke HTTP", HttpParserError)),
    Fault("endless headers", _raw(b"HTTP/1.1 200 OK\r\n" + b"x-y: z\r\n" * 10_000), _broke("more than 65536 bytes of HTTP headers")),
    Fault("101", _raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), _broke("switched protocols", HttpParserUpgrade)),
    # Of the content coding
    _right("gzip", partial(_gzipped, how=gzip.compress)),
    Fault("broken gzip", partial(_gzipped, how=bytes), _broke("content encoding", Exception), OK, reopens=False),
    Fault("layers of gzip", partial(_gzipped, how=lambda data: gzip.compress(gzip.compress(data)), coding="gzip, gzip"), _broke("several layers")),
    # Too much
    Fault("a bomb of gzip", partial(_gzipped, how=lambda data: gzip.compress(bytes(1 << 24))), Fails(MessageTooLarge, "max_message_size"), OK, reopens=False),
    Fault("an oversize body", _body(json.dumps(_OVERSIZE).encode()), Fails(MessageTooLarge, "max_message_size"), OK, reopens=False),
]  # fmt: skip
"""Faults by which there is no whole response."""

RESPONSES: Final = [
    # Statuses
    Fault("202", _status(202, type=None), _broke("HTTP 202 with no content type"), OK, reopens=False),
    Fault("204", _no_content, _broke("HTTP 204 with no content type"), OK, reopens=False),
    Fault("400", _status(400), _http(HTTPStatusError, 400), reopens=False, but={"handshake": _fallen_back(400)}),
    Fault("401", _status(401, www_authenticate='Bearer realm="ECHO"'), _http(AccessDenied, 401, "auth="), reopens=False),
    Fault("403", _status(403, www_authenticate='Bearer error="ECHO"'), _http(AccessDenied, 403, "auth="), reopens=False),
    Fault("404", _status(404), _http(HTTPStatusError, 404), reopens=False, but={"handshake": _fallen_back(404), "legacy call": OK, "initialized": _EXPIRED, "reply": _EXPIRED, "cancel": _EXPIRED}),
    Fault("405", _status(405, allow="GET"), _http(HTTPStatusError, 405), reopens=False, but={"handshake": _fallen_back(405)}),
    Fault("429", _status(429, retry_after="7"), _http(HTTPStatusError, 429, "wait for 7 s", retry_after=7.0)),
    Fault("500 as HTML", _status(500, "<html>", "text/html"), _http(HTTPStatusError, 500)),
    Fault("500 as text", _status(500, x_debug="ECHO"), _http(HTTPStatusError, 500)),
    Fault("500 with an error", _status(500, type=_JSON), Fails(MCPError, "-32000", HTTPStatusError, attributes={"http_status": 500}), _http(HTTPStatusError, 500)),
    Fault("502 as HTML", _status(502, "<html>", "text/html"), _http(HTTPStatusError, 502)),
    Fault("503", _status(503, retry_after="7"), _http(HTTPStatusError, 503, "wait for 7 s", retry_after=7.0)),
    # Redirects
    Fault("307, same origin", partial(_moved, status=307), OK),
    Fault("308, same origin", partial(_moved, status=308), OK),
    Fault("307, another origin", _status(307, location="http://evil.test/mcp?sent=ECHO"), _http(HTTPStatusError, 307, "http://evil.test/mcp, which is not followed")),
    Fault("307, with a secret", _status(307, location="http://evil.test/ECHO"), _http(HTTPStatusError, 307, "which is not followed")),
    Fault("301", partial(_moved, status=301), _http(HTTPStatusError, 301, "http://127.0.0.1:8000/moved/here")),
    Fault("302", partial(_moved, status=302), _http(HTTPStatusError, 302, "http://127.0.0.1:8000/moved/here")),
    Fault("303", partial(_moved, status=303), _http(HTTPStatusError, 303, "http://127.0.0.1:8000/moved/here")),
    Fault("redirects in a circle", _moved_to_itself, _http(HTTPStatusError, 307, "more than 5 redirects"), times=50),
    Fault("a redirect to no URL", _status(307, location="http://evil.test:ECHO/"), Fails(HTTPStatusError, "not a URL")),
    Fault("a redirect to nowhere", _status(307), _http(HTTPStatusError, 307), reopens=False),
    # Contents
    Fault("HTML", _status(200, "<html>", "text/html"), _broke("HTTP 200 with text/html instead of JSON"), OK, reopens=False),
    Fault("no content type", _status(200, type=None), _broke("HTTP 200 with no content type"), OK, reopens=False),
    Fault("a secret as content type", _status(200, type=None, content_type="ECHO"), _broke("instead of JSON"), OK, reopens=False),
    Fault("an empty body", _body(b""), _broke("not JSON", ValueError), OK, reopens=False),
    Fault("truncated gzip", partial(_gzipped, how=lambda data: gzip.compress(data)[:-12]), _broke("not JSON", ValueError), OK, reopens=False),
]  # fmt: skip
"""Faults that are whole responses."""

CONTENTS: Final = [
    Fault(f"JSON: {bad.name}", partial(_bad_json, message=bad), bad.outcome, OK, reopens=False, but=_exceptions(bad))
    for bad in MESSAGES
]  # fmt: skip
"""Faults of the message that the response is."""


# On an event stream


async def _end(asked: Asked) -> None:
    await asked.http.finish()


async def _end_resumably(asked: Asked) -> None:
    await asked.http.send(event("", id="resume-here", retry=200))
    await asked.cut()


async def _answer_in_drips(asked: Asked) -> None:
    data = event(asked.answer)
    for start in range(0, len(data), 4):
        await asked.http.send(data[start : start + 4])
        await trio.sleep(0.25)


async def _comments_for_ever(asked: Asked) -> None:
    while True:
        await asked.http.send(b": still here\n\n")
        await trio.sleep(1)


async def _cut_in_an_event(asked: Asked) -> None:
    await asked.http.send(event(asked.answer)[:-10])
    await asked.cut()


def _events(*events: bytes, answers: bool = True) -> Strike:
    """Sends events, and the right answer behind them."""

    async def strike(asked: Asked) -> None:
        for each in events:
            await asked.http.send(each)
        if answers:
            await asked.say(asked.answer)

    return strike


async def _bad_event_and_silence(asked: Asked) -> None:
    await asked.http.send(event(notification("notifications/tools/list_changed")) + b"id: \xff\n\n")
    await trio.sleep_forever()


async def _raw_on_stream(asked: Asked, data: bytes) -> None:
    await asked.raw(data)
    await trio.sleep_forever()


async def _answer_twice(asked: Asked) -> None:
    await asked.say(asked.answer, asked.answer)


async def _flood(asked: Asked) -> None:
    await asked.say(*[notification("notifications/tools/list_changed")] * 3_000, asked.answer)


async def _flood_of_requests(asked: Asked) -> None:
    questions = [request(f"flood-{number}", "roots/list") for number in range(1_100)]
    await asked.say(*questions, asked.answer)


STREAMS: Final = [
    Fault("reset", _reset, _RESET),
    Fault("FIN", _fin, _lost("in the middle of its response")),
    Fault("FIN in an event", _cut_in_an_event, _lost("in the middle of its response")),
    Fault("its end", _end, _lost("ended before the answer")),
    Fault("FIN, to be resumed", _end_resumably, _lost("in the middle of its response"), but={"legacy answer": OK}),
    Fault("silence", silence, _STALLED),
    Fault("slow drip", _answer_in_drips, Fine(within=20)),
    Fault("endless comments", _comments_for_ever, TimesOut()),
    Fault("broken chunks", partial(_raw_on_stream, data=b"zz\r\n"), _broke("HTTP", HttpParserError)),
    Fault("the answer twice", _answer_twice, OK),
    Fault("a flood of notifications", _flood, OK),
    Fault("a flood of requests", _flood_of_requests, Fine(within=10)),
    Fault("an oversize event", _events(b"data: " + _OVERSIZE.encode() + b"\n\n"), Fails(MessageTooLarge, "max_message_size")),
    Fault("an oversize line", _events(_OVERSIZE.encode()), Fails(MessageTooLarge, "max_message_size")),
    Fault("an oversize event of small lines", _events(b"data: 0123456789\n" * 6_000), Fails(MessageTooLarge, "max_message_size")),
    Fault("an event type that is not UTF-8", _events(b"event: \xff\ndata: x\n\n"), _broke("not UTF-8", UnicodeDecodeError)),
    Fault("an id that is not UTF-8", _events(b"id: \xff\ndata: x\n\n"), _broke("not UTF-8", UnicodeDecodeError)),
    Fault("an event, another that is not UTF-8, and silence", _bad_event_and_silence, _broke("not UTF-8", UnicodeDecodeError)),
    Fault("fields that nobody knows", _events(b"what: ever\nretry: -5\nretry: " + b"9" * 400 + b"\nid\n\n"), OK),
    Fault("events of another type", _events(b"event: ping\ndata: {not json\n\n"), OK),
    Fault("empty events", _events(b"data\n\ndata:\n\n"), OK),
    Fault("U+2028 and a BOM", _events("data: {}\u2028\n\n".encode()), _broke("not JSON", ValueError)),
    *(
        Fault(f"SSE: {bad.name}", partial(_bad_event, message=bad), bad.outcome if bad.is_answer else _lost("ended before the answer"), but=_exceptions(bad))
        for bad in MESSAGES
    ),
]  # fmt: skip
"""Faults on an event stream that has begun well."""
