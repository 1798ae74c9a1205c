"""Hosts and ports in memory, with the delays and faults of a network, on virtual time.

    network = MemoryNetwork()
    nursery.start_soon(trio.serve_listeners, handler, [network.listen("server.test", 80)])
    network.set_link("server.test", latency=0.05, jitter=0.01)
    stream = await network.open_stream("server.test", 80)
    network.link("server.test").drop()

Nothing runs in the background: it costs no real time on a `trio.testing.MockClock` with autojump, and the
same calls in the same order give the same answers.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, TypedDict, Unpack, final

import trio

from .memory_link import Link, Links
from .memory_stream import Connection, MemoryStream

__all__ = ["LinkSettings", "MemoryListener", "MemoryNetwork"]


class LinkSettings(TypedDict, total=False):
    """What `MemoryNetwork.set_link` takes; `Conditions` says what each means."""

    latency: float
    jitter: float
    bandwidth: float | None
    window: int
    refuse_rate: float
    reset_rate: float


@final
class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Where a server gets its connections. Made by `MemoryNetwork.listen` only.

    Attributes:
        host: as it was given to `listen`.
        port: as it was given to `listen`.
        backlog: how many connections may wait to be accepted. Further ones hang meanwhile.
    """

    def __init__(self, host: str, port: int, backlog: int, on_close: Callable[[], None]) -> None:
        self.host: Final = host
        self.port: Final = port
        self.backlog: Final = backlog
        self._on_close = on_close
        self._waiting: deque[Connection] = deque()
        self._acceptors = trio.lowlevel.ParkingLot()
        self._connectors = trio.lowlevel.ParkingLot()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._waiting)} waiting"
        return f"<MemoryListener {self.host}:{self.port}: {state}>"

    async def accept(self) -> MemoryStream:
        """The next connection's stream, in the order of connecting.

        Raises:
            trio.ClosedResourceError: the listener is closed, perhaps meanwhile.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed and not self._waiting:
            await self._acceptors.park()
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed")
        connection = self._waiting.popleft()
        self._connectors.unpark()
        return connection.server

    async def aclose(self) -> None:
        """Stop listening, at once. What waits to be accepted is reset."""
        if not self._closed:
            self._closed = True
            self._on_close()
            self._acceptors.unpark_all()
            self._connectors.unpark_all()
            for connection in self._waiting:
                connection.reset()
            self._waiting.clear()
        await trio.lowlevel.checkpoint()

    async def room(self) -> bool:
        """Wait for room in the backlog; False if nobody listens any more. It is for the network's own use."""
        while not self._closed and len(self._waiting) >= self.backlog:
            await self._connectors.park()
        return not self._closed

    def put(self, connection: Connection) -> None:
        """Queue `connection` to be accepted. It is for the network's own use."""
        self._waiting.append(connection)
        self._acceptors.unpark()


@final
class MemoryNetwork:
    """A network of its own: a `trio_mcp.network.Network`.

    A host exists once something has listened there or its link has been asked for; so does every IP address.

    Args:
        rng: what jitter and the fault rates are drawn from; `random.Random(0)` unless given.

    Attributes:
        rng: that generator. Connectors draw the jitter of their reconnecting from it, too.
        on_event: called with each thing that happens, as one line of text such as
            "#1 client sends 120 B"; `None` unless set.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self.on_event: Callable[[str], None] | None = None
        self.rng: Final = random.Random(0) if rng is None else rng
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._hosts: set[str] = set()
        self._hanging = trio.lowlevel.ParkingLot()
        self._links = Links(on_heal=self._retry)
        self._count = 0

    def __repr__(self) -> str:
        return f"<MemoryNetwork: {len(self._listeners)} listeners, {len(self._links.live)} connections>"

    @property
    def connections(self) -> list[Connection]:
        """The live ones, oldest first: neither reset nor closed by both sides."""
        return list(self._links.live.values())

    def listen(self, host: str, port: int, *, backlog: int = 128) -> MemoryListener:
        """Take connections to `port` of `host`, from now on.

        Raises:
            OSError: something listens there already (EADDRINUSE).
        """
        key = (host.lower(), port)
        if key in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), f"{host}:{port}")

        def stop() -> None:
            del self._listeners[key]
            self._report(f"{host}:{port} stops listening")

        self._hosts.add(host.lower())
        listener = self._listeners[key] = MemoryListener(host, port, backlog, stop)
        self._report(f"{host}:{port} listens")
        return listener

    def link(self, host: str | None = None, port: int | None = None) -> Link:
        """The way to `port` of `host`, or to all its ports, or to all hosts.

        A setting that was not set at a link is that of the one that it is a part of.
        """
        if host is None and port is not None:
            raise ValueError("a port needs a host")
        return self._links.get(None if host is None else host.lower(), port)

    def set_link(
        self, host: str | None = None, port: int | None = None, **settings: Unpack[LinkSettings]
    ) -> Link:
        """Change those settings of `link(host, port)` that are given, for what is sent from then on."""
        link = self.link(host, port)
        for name, value in settings.items():
            if name not in LinkSettings.__annotations__:
                raise TypeError(f"a link has no setting {name!r}")
            setattr(link, name, value)
        return link

    async def open_stream(self, host: str, port: int) -> MemoryStream:
        """Connect, which takes a round trip, and hangs while a link on the way is dropped or hanging.

        Raises:
            socket.gaierror: there is no such host.
            OSError: the connection was refused, as `trio.open_tcp_stream` says it.
        """
        name = host.lower()
        await trio.lowlevel.checkpoint()
        if not self._exists(name):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        await self._passage(name, port)
        if delay := self._delay(name, port) + self._delay(name, port):
            await trio.sleep(delay)
            # It may have gone down meanwhile.
            await self._passage(name, port)
        listener = self._listeners.get((name, port))
        if listener is None or self._refuses(name, port) or not await listener.room():
            self._report(f"{name}:{port} refuses")
            raise _refused(host, port)
        connection = self._connect(name, port)
        listener.put(connection)
        return connection.client

    def _exists(self, host: str) -> bool:
        if host in self._hosts or self._links.has_host(host):
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    async def _passage(self, host: str, port: int) -> None:
        while any(link.dropped or link.hanging for link in self._links.on_the_way(host, port)):
            await self._hanging.park()

    def _delay(self, host: str, port: int) -> float:
        conditions = self._links.conditions(host, port)
        return conditions.latency + (self.rng.uniform(0, conditions.jitter) if conditions.jitter else 0)

    def _refuses(self, host: str, port: int) -> bool:
        rate = self._links.conditions(host, port).refuse_rate
        if any(link.refusing for link in self._links.on_the_way(host, port)):
            return True
        return bool(rate) and self.rng.random() < rate

    def _connect(self, host: str, port: int) -> Connection:
        self._count += 1
        connection = Connection(
            self._count,
            host,
            port,
            conditions=lambda: self._links.conditions(host, port),
            rng=self.rng,
            report=self._report,
            is_link_dropped=lambda: any(link.dropped for link in self._links.on_the_way(host, port)),
            on_end=self._forget,
        )
        self._links.live[connection.number] = connection
        self._report(f"#{connection.number} connects to {connection.address}")
        # A link may have been dropped while the listener had no room.
        connection.refresh()
        # The narrowest comes last, and has the last word.
        for link in reversed(self._links.on_the_way(host, port)):
            link.made(connection)
        return connection

    def _forget(self, connection: Connection) -> None:
        del self._links.live[connection.number]

    def _retry(self) -> None:
        self._hanging.unpark_all()

    def _report(self, event: str) -> None:
        if self.on_event is not None:
            self.on_event(event)


def _refused(host: str, port: int) -> OSError:
    """The error that `trio.open_tcp_stream` raises."""
    message = f"all attempts to connect to {host}:{port} failed"
    refused = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    error = OSError(message)
    error.__cause__ = ExceptionGroup(message, [refused])
    return error
