"""What a server does wrong whose messages all come by one way, and what it is to come to: a row for each."""

# ruff: noqa: E501 - its tables have a fault on each line

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import trio

from trio_mcp.deadlines import ConnectTimeout, Stalled
from trio_mcp.errors import (
    AccessDenied,
    ConnectError,
    ConnectionLost,
    HTTPStatusError,
    MCPError,
    MessageTooLarge,
    ProtocolError,
)
from trio_mcp.testing import HttpExchange, MemoryStream
from trio_mcp.testing.messages import notification, request

from .faults import MAX_SIZE, SILENCE, TIMEOUT
from .messages import MESSAGES, BadMessage
from .outcomes import OK, Fails, Fine, Outcome, TimesOut
from .pipe_worlds import KINDS, Kind, PipeStrike, Told
from .server import MARK, Era

__all__ = ["FAULTS", "POSTS", "UPGRADES", "PipeFault", "PostFault", "UpgradeFault"]


@dataclass(frozen=True)
class PipeFault:
    """One row.

    Args:
        name: what is wrong.
        strike: does it, in place of the answer to a request.
        call: what comes of that request.
        lost: whether the connection is lost by it, and the calls beside it with it.
        kinds: which transports have it.
        but: where something else comes of a call, by transport.
    """

    name: str
    strike: PipeStrike
    call: Outcome
    lost: bool = False
    kinds: tuple[Kind, ...] = KINDS
    but: Mapping[Kind, Outcome] = field(default_factory=dict)

    def outcome(self, kind: Kind) -> Outcome:
        """What comes of a call."""
        return self.but.get(kind, self.call)

    def opening(self, kind: Kind, era: Era) -> Outcome:
        """What comes of opening a connector."""
        outcome = self.outcome(kind)
        if isinstance(outcome, TimesOut):
            return Fails(ConnectTimeout, "connect_timeout", within=30.2)
        if isinstance(outcome, Fails) and outcome.kind is MCPError and kind != "sse":
            return replace(outcome, cause=MCPError)  # both eras were asked
        return outcome


def _lost(says: str, cause: type[BaseException] | None = None, within: float = 3.0) -> Fails:
    return Fails(ConnectionLost, says, cause, within)


async def _reset(told: Told) -> None:
    await trio.sleep(0.1)
    await told.end.reset()


async def _fin(told: Told) -> None:
    await told.end.cut()


async def _silence(told: Told) -> None:
    await trio.lowlevel.checkpoint()


async def _bad(told: Told, message: BadMessage) -> None:
    """Send a bad message and, unless it is an answer, the right one behind it."""
    await told.end.say(message.encoded(told.message["id"], told.result, told.echo))
    if not message.in_pipe:
        await told.answer()


async def _raw(told: Told, data: bytes, answers: bool = True) -> None:
    await told.end.raw(data)
    if answers:
        await told.answer()


async def _drip(told: Told) -> None:
    line = json.dumps({"jsonrpc": "2.0", "id": told.message["id"], "result": told.result}).encode()
    async with told.end.sending:
        for start in range(0, len(line), 4):
            await told.end.raw(line[start : start + 4])
            await trio.sleep(0.25)
        await told.end.raw(b"\n")


async def _oversize(told: Told) -> None:
    await told.end.say(b'"' + b"x" * MAX_SIZE + b'"')


async def _twice(told: Told) -> None:
    await told.answer()
    await told.answer()


async def _flood(told: Told) -> None:
    for _ in range(3_000):
        await told.end.say(json.dumps(notification("notifications/tools/list_changed")).encode())
    await told.answer()


async def _flood_of_requests(told: Told) -> None:
    for number in range(1_100):
        await told.end.say(json.dumps(request(f"flood-{number}", "roots/list")).encode())
    await told.answer()


async def _half_a_message(told: Told) -> None:
    await told.end.raw(b'{"jsonrpc": "2.0", "id": ')
    await told.end.cut()


def _frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    """A frame of a WebSocket (RFC 6455, 5.2)."""
    masked, size = 0x80 if mask else 0, len(payload)
    length = bytes([masked | size]) if size < 126 else bytes([masked | 126]) + struct.pack("!H", size)
    return bytes([(0x80 if fin else 0) | opcode]) + length + (bytes(4) if mask else b"") + payload


async def _fragments(told: Told) -> None:
    text = json.dumps({"jsonrpc": "2.0", "id": told.message["id"], "result": told.result}).encode()
    first, *rest = [text[start : start + 20] for start in range(0, len(text), 20)]
    await told.end.raw(_frame(1, first, fin=False))
    for piece in rest:
        await told.end.raw(_frame(9, b"ping"))
        await told.end.raw(_frame(0, piece, fin=False))
    await told.end.raw(_frame(0, b""))


def _closing(code: int, reason: str) -> PipeStrike:
    async def strike(told: Told) -> None:
        await told.end.raw(_frame(8, struct.pack("!H", code) + (reason or told.echo).encode()))

    return strike


_LINES: Final[tuple[Kind, ...]] = ("lines",)
_EVENTS: Final[tuple[Kind, ...]] = ("sse",)
_SOCKET: Final[tuple[Kind, ...]] = ("websocket",)
_TOO_LARGE: Final = Fails(MessageTooLarge, "max_message_size", MessageTooLarge)

FAULTS: Final = [
    # The connection
    PipeFault("reset", _reset, _lost("broke"), lost=True, but={"lines": _lost("broke", trio.BrokenResourceError), "sse": _lost("broke", trio.BrokenResourceError)}),
    PipeFault("FIN", _fin, _lost("closed the connection|broke|in the middle"), lost=True),
    PipeFault("silence", _silence, TimesOut(), but={"sse": Fails(Stalled, "for 10 s", within=SILENCE + 3)}),
    PipeFault("slow drip", _drip, Fine(within=25), kinds=("lines",)),
    PipeFault("the answer twice", _twice, OK),
    PipeFault("a flood of notifications", _flood, Fine(within=10)),
    PipeFault("a flood of requests", _flood_of_requests, Fine(within=20)),
    PipeFault("an oversize message", _oversize, _TOO_LARGE, lost=True),
    # Lines
    PipeFault("what a program prints", partial(_raw, data=f"Welcome! {MARK}\n\n\r\n\0\n\xff\n".encode("latin-1")), OK, kinds=_LINES),
    PipeFault("carriage returns", partial(_raw, data=b'{"jsonrpc": "2.0", "method": "x"}\r\n\r'), OK, kinds=_LINES),
    PipeFault("a line without an end", partial(_raw, data=b"x" * (MAX_SIZE + 1), answers=False), _TOO_LARGE, lost=True, kinds=_LINES),
    PipeFault("FIN in a line", _half_a_message, _lost("closed the connection"), lost=True, kinds=_LINES),
    # WebSocket
    PipeFault("fragments, pings between them", _fragments, OK, kinds=_SOCKET),
    PipeFault("close 1000", _closing(1000, "bye"), _lost("closed with code 1000"), lost=True, kinds=_SOCKET),
    PipeFault("close 1011", _closing(1011, "we failed"), _lost("closed with code 1011 .*we failed"), lost=True, kinds=_SOCKET),
    PipeFault("close with a secret", _closing(1008, ""), _lost("closed with code 1008"), lost=True, kinds=_SOCKET),
    PipeFault("a text that is not UTF-8", partial(_raw, data=_frame(1, b"\xff"), answers=False), _lost("1007"), lost=True, kinds=_SOCKET),
    PipeFault("a masked frame", partial(_raw, data=_frame(1, b"x", mask=True), answers=False), _lost("1002"), lost=True, kinds=_SOCKET),
    PipeFault("an unknown opcode", partial(_raw, data=_frame(11, b"x"), answers=False), _lost("1002"), lost=True, kinds=_SOCKET),
    # HTTP+SSE
    PipeFault("another endpoint", partial(_raw, data=b"event: endpoint\ndata: http://evil.test/\n\n"), OK, kinds=_EVENTS),
    PipeFault("an id that is not UTF-8", partial(_raw, data=b"id: \xff\n\n", answers=False), Fails(ProtocolError, "not UTF-8", UnicodeDecodeError), lost=True, kinds=_EVENTS),
    PipeFault("an oversize line", partial(_raw, data=b"x" * (MAX_SIZE + 1), answers=False), _TOO_LARGE, lost=True, kinds=_EVENTS),
    PipeFault("its end", _fin, _lost(""), lost=True, kinds=_EVENTS),
    # Messages
    *(PipeFault(f"message: {bad.name}", partial(_bad, message=bad), bad.outcome if bad.in_pipe else OK) for bad in MESSAGES if bad.name != "100,000 brackets"),
]  # fmt: skip
"""Faults in place of an answer."""


@dataclass(frozen=True)
class PostFault:
    """How the POST of a call is answered over HTTP+SSE, and what comes of the call."""

    name: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    call: Outcome

    async def strike(self, exchange: HttpExchange) -> bool:
        await exchange.respond(
            self.status, self.headers, self.body or exchange.request.headers["authorization"].encode()
        )
        return True


def _http(kind: type[HTTPStatusError], status: int) -> Fails:
    return Fails(kind, f"HTTP {status}", attributes={"status_code": status})


POSTS: Final = [
    PostFault(str(status), status, (("content-type", "text/plain"),), b"", _http(AccessDenied if status in (401, 403) else HTTPStatusError, status))
    for status in (400, 401, 403, 404, 405, 429, 500, 502, 503)
]  # fmt: skip
"""Faults of the exchange that brings a message to a server of HTTP+SSE."""


@dataclass(frozen=True)
class UpgradeFault:
    """How the opening handshake of a WebSocket is answered: by bytes, in which ECHO stands for what is secret."""

    name: str
    reply: bytes
    outcome: Outcome
    stays: bool = False

    async def strike(self, stream: MemoryStream) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        (authorization,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization"))
        path = head.split(b" ", 2)[1]
        await stream.send_all(self.reply.replace(b"ECHO", authorization + b" " + path))
        while self.stays and await stream.receive_some():
            pass
        return True


def _refused(status: str, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-type: text/plain\r\n\r\nECHO" % (status.encode(), headers)


_SWITCHED: Final = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"

UPGRADES: Final = [
    UpgradeFault("silence", b"", Fails(ConnectTimeout, "no WebSocket within 5 s", within=TIMEOUT + 1), stays=True),
    UpgradeFault("FIN", b"", Fails(ConnectError, "closed the connection")),
    UpgradeFault("half a head", b"HTTP/1.1 101 Sw", Fails(ConnectError, "closed the connection")),
    UpgradeFault("no HTTP", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Fails(ConnectError, "", Exception)),
    UpgradeFault("200", _refused("200 OK"), Fails(ConnectError, "HTTP 200 and opened no WebSocket")),
    UpgradeFault("401", _refused("401 Unauthorized", b"www-authenticate: Bearer realm=ECHO\r\n"), _http(AccessDenied, 401)),
    UpgradeFault("403", _refused("403 Forbidden"), _http(AccessDenied, 403)),
    UpgradeFault("404", _refused("404 Not Found"), _http(HTTPStatusError, 404)),
    UpgradeFault("503", _refused("503 Service Unavailable", b"retry-after: 7\r\n"), _http(HTTPStatusError, 503)),
    UpgradeFault("302", _refused("302 Found", b"location: http://evil.test/?ECHO\r\n"), _http(HTTPStatusError, 302)),
    UpgradeFault("302, with a secret", _refused("302 Found", b"location: http://evil.test/ECHO\r\n"), _http(HTTPStatusError, 302)),
    UpgradeFault("no key", _SWITCHED + b"\r\n", Fails(ConnectError, "", Exception), stays=True),
    UpgradeFault("a wrong key", _SWITCHED + b"sec-websocket-accept: ECHO\r\n\r\n", Fails(ConnectError, "", Exception), stays=True),
]  # fmt: skip
"""Faults of the opening handshake of a WebSocket."""
