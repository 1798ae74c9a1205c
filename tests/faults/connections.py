"""What can befall connections: when they are made, and all of them at once while calls are under way."""

# ruff: noqa: E501 - its tables have a fault on each line

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import trio
import trustme

from trio_mcp.deadlines import ConnectTimeout, Stalled
from trio_mcp.errors import ConnectError, ConnectionLost, ConnectorError
from trio_mcp.network import close_at_once

from .outcomes import OK, Fails, Fine, Outcome
from .server import MARK
from .world import HOST, PORT, World

__all__ = ["DIALLED", "LINKS", "Dialled", "LinkFault", "serve", "trust"]

Handler = Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass(frozen=True)
class Dialled:
    """Something is wrong when a connection is made.

    Args:
        name: what.
        prepare: makes it so.
        outcome: what comes of opening a connector.
        handle: what there is at another port, if the server is not to be reached at all.
        tls: whether it is reached by `https://`.
        trusted: whether the client trusts the authority that its certificate is of.
        host: where it is.
    """

    name: str
    outcome: Outcome
    prepare: Callable[[World], object] = lambda world: None
    handle: Handler | None = None
    tls: bool = False
    trusted: bool = True
    host: str = HOST

    @property
    def url(self) -> str:
        port = PORT if self.handle is None else PORT + 1
        return f"{'https' if self.tls else 'http'}://{self.host}:{port}/mcp?key=query-{MARK}"


async def _reset(stream: trio.abc.Stream) -> None:
    await trio.sleep(0.1)
    stream.connection.reset()  # type: ignore[attr-defined]


async def _close(stream: trio.abc.Stream) -> None:
    await trio.sleep(0.1)


async def _silent(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    while await stream.receive_some():
        pass


async def _plain(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    await trio.sleep(1)


async def _half_a_handshake(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76")


@lru_cache
def _authority() -> trustme.CA:
    return trustme.CA()


@lru_cache
def _context(name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert(name).configure_cert(context)
    return context


async def _secure(stream: trio.abc.Stream, name: str, then: Handler) -> None:
    secured = trio.SSLStream(stream, _context(name), server_side=True, https_compatible=True)
    await secured.do_handshake()
    await then(secured)


def trust() -> ssl.SSLContext:
    """What a client is given that trusts the authority of these servers."""
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


def _no(
    says: str,
    cause: type[BaseException] | None,
    kind: type[ConnectorError] = ConnectError,
    within: float = 3.0,
) -> Fails:
    return Fails(kind, says, cause, within)


_LATE: Final = _no("no connection within 5 s", None, ConnectTimeout, 6.0)


DIALLED: Final = [
    Dialled("refused", _no("Connection refused", OSError), lambda world: world.link.refuse()),
    Dialled("no such host", _no("Name or service not known", socket.gaierror), host="nowhere.test"),
    Dialled("a black hole", _LATE, lambda world: world.link.hang()),
    Dialled("a partition", _LATE, lambda world: world.link.drop()),
    Dialled("reset", Fails(ConnectionLost, "connection broke", trio.BrokenResourceError), handle=_reset),
    Dialled("FIN", Fails(ConnectionLost, "closed the connection without an answer"), handle=_close),
    Dialled("silence", Fails(Stalled, "did not answer for 10 s", within=21.0), handle=_silent),
    Dialled("TLS: a certificate of nobody", _no("certificate", trio.BrokenResourceError), handle=partial(_secure, name=HOST, then=_silent), tls=True, trusted=False),
    Dialled("TLS: another's certificate", _no("certificate", trio.BrokenResourceError), handle=partial(_secure, name="other.test", then=_silent), tls=True),
    Dialled("TLS: none", _no("(?i)ssl", trio.BrokenResourceError), handle=_plain, tls=True),
    Dialled("TLS: silence", _LATE, handle=_silent, tls=True),
    Dialled("TLS: reset", _no("reset", trio.BrokenResourceError), handle=_reset, tls=True),
    Dialled("TLS: FIN", _no("", trio.BrokenResourceError), handle=_close, tls=True),
    Dialled("TLS: FIN in its handshake", _no("", trio.BrokenResourceError), handle=_half_a_handshake, tls=True),
    Dialled("TLS: FIN after it", Fails(ConnectionLost, "closed the connection without"), handle=partial(_secure, name=HOST, then=_close), tls=True),
]  # fmt: skip
"""Faults of connecting."""


@dataclass(frozen=True)
class LinkFault:
    """Something befalls all connections to the server, while calls are under way.

    Args:
        name: what.
        strike: makes it so.
        call: what comes of a call that is under way.
        next: what comes of one that is made then, before anything is healed.
    """

    name: str
    strike: Callable[[World], Awaitable[None]]
    call: Outcome
    next: Outcome


async def _all_reset(world: World) -> None:
    world.link.reset()


async def _all_closed(world: World) -> None:
    world.link.close()
    await trio.sleep(0.1)  # until it is known: a call that crosses with it is lost, and not made twice


async def _down(world: World) -> None:
    world.link.reset()
    world.link.refuse()


async def _gone(world: World) -> None:
    world.link.reset()
    world.link.hang()


async def _partition(world: World) -> None:
    world.link.drop()


async def _partition_and_back(world: World) -> None:
    world.link.drop()
    await trio.sleep(5)
    world.link.heal()


async def _restarted(world: World) -> None:
    world.server.forget_sessions()
    world.link.reset()


_BROKEN: Final = Fails(ConnectionLost, "connection broke", trio.BrokenResourceError)
_STALLED: Final = Fails(Stalled, "for 10 s", within=11.0)

LINKS: Final = [
    LinkFault("all reset", _all_reset, _BROKEN, OK),
    LinkFault("all closed", _all_closed, Fails(ConnectionLost, "closed the connection"), OK),
    LinkFault("the server goes down", _down, _BROKEN, _no("Connection refused", OSError)),
    LinkFault("the host goes down", _gone, _BROKEN, _LATE),
    LinkFault("a partition", _partition, _STALLED, _LATE),
    LinkFault("a short partition", _partition_and_back, Fine(within=8), OK),
    LinkFault("a restart", _restarted, _BROKEN, OK),
]  # fmt: skip
"""Faults of all connections."""


async def serve(stream: trio.abc.Stream, handle: Handler) -> None:
    """Handle a connection, and close it."""
    try:
        await handle(stream)
    except trio.BrokenResourceError:
        pass  # the client has left
    finally:
        await close_at_once(stream)
