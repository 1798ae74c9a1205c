"""The ways to the server of `mcp_server.py`: one table of them, and of what cannot be shown over which."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.http.site import server_tls
from tests.transports.websocket_servers import accepting, official
from trio_mcp import ConnectionLost, Connector, StdioServer, open_connector
from trio_mcp.testing import MemoryNetwork, serve_asgi

from . import mcp_server
from .children import StartServer

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)
BOTH = (*LEGACY, *MODERN)
NEWEST = (LEGACY[-1], *MODERN)


def negotiated(version: str) -> str:
    return MODERN[-1] if version == "auto" else version


@dataclass(frozen=True)
class Kit:
    """What servers are made with."""

    shared_server: StartServer
    own_server: StartServer
    stdio_forks: StdioServer
    authority: trustme.CA
    ca_file: Path


@dataclass(frozen=True)
class Serving:
    """A server that serves.

    Attributes:
        target: what `open_connector` takes.
        kill: ends it at once. A server on stdio is told so over a connection.
        options: what a connector to it needs.
    """

    target: Any
    kill: Callable[[Connector], Awaitable[None]]
    options: Mapping[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncGenerator[Connector]:
        """A connection, under the deadline that every test of this folder keeps."""
        with trio.fail_after(20):
            async with open_connector(self.target, **{**self.options, **options}) as c:
                yield c


Serve = Callable[[Kit, bool], AbstractAsyncContextManager[Serving]]


# How they serve. With `own`, the server is for one test, and may be killed.


@asynccontextmanager
async def in_process(kit: Kit, own: bool) -> AsyncGenerator[Serving]:
    async def kill(c: Connector) -> None:
        raise NotImplementedError

    mcp_server.listening[""].set()  # there are no streams to be opened first
    yield Serving(mcp_server.server, kill)


@asynccontextmanager
async def behind_websockets(kit: Kit, own: bool, *, secure: bool = False) -> AsyncGenerator[Serving]:
    mcp_server.listening[""].set()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    tls = server_tls(kit.authority, "127.0.0.1") if secure else None
    talk = accepting(official(mcp_server.server._lowlevel_server), max_message_size=1 << 24)
    life = trio.CancelScope(deadline=math.inf)

    async def talk_to(stream: trio.abc.Stream) -> None:
        async with stream:
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            with suppress(trio.BrokenResourceError):
                await talk(stream)

    async def live() -> None:
        with life:
            await trio.serve_listeners(talk_to, [listener])

    async def kill(c: Connector) -> None:
        life.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        url = f"{'wss' if secure else 'ws'}://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        yield Serving(url, kill, {"verify": kit.ca_file})
        life.cancel()


@asynccontextmanager
async def in_child(kit: Kit, own: bool, *flags: str) -> AsyncGenerator[Serving]:
    child = (kit.own_server if own else kit.shared_server)(*flags)

    async def kill(c: Connector) -> None:
        child.kill()

    yield Serving(child.url, kill)


@asynccontextmanager
async def in_memory(kit: Kit, own: bool, *, sse: bool = False) -> AsyncGenerator[Serving]:
    network = MemoryNetwork()
    app = mcp_server.server.sse_app() if sse else mcp_server.server.streamable_http_app()

    async def kill(c: Connector) -> None:
        network.link("127.0.0.1").refuse()
        network.link("127.0.0.1").reset()

    async with serve_asgi(mcp_server.NoteStreams(app), network.listen("127.0.0.1", 8000)):
        yield Serving(f"http://127.0.0.1:8000/{'sse' if sse else 'mcp'}", kill, {"network": network})


@asynccontextmanager
async def on_stdio(kit: Kit, own: bool) -> AsyncGenerator[Serving]:
    async def kill(c: Connector) -> None:
        with suppress(ConnectionLost):
            await c.call_tool("die", {"code": 4})

    yield Serving(kit.stdio_forks, kill)


# The tables


@dataclass(frozen=True)
class Way:
    """A way to the server.

    Attributes:
        transport: what `Connector.transport` says.
        serve: starts the server, or gives one that runs.
        versions: those that all is shown in; the handshake is in every version that the way `has`.
    """

    transport: str
    serve: Serve
    versions: tuple[str, ...] = BOTH

    @property
    def has(self) -> tuple[str, ...]:
        return LEGACY if self.transport == "sse" else (*BOTH, "auto")


WAYS = {
    "memory": Way("memory", in_process),
    "ws": Way("websocket", behind_websockets),
    "wss": Way("websocket", partial(behind_websockets, secure=True), NEWEST),
    "http": Way("streamable-http", in_child),
    "http-json": Way("streamable-http", lambda *a: in_child(*a, "--json"), NEWEST),
    "http-stateless": Way("streamable-http", lambda *a: in_child(*a, "--stateless"), NEWEST),
    "http-stateless-json": Way("streamable-http", lambda *a: in_child(*a, "--stateless", "--json"), NEWEST),
    "http-memory": Way("streamable-http", in_memory, NEWEST),
    "sse": Way("sse", lambda *a: in_child(*a, "--sse"), LEGACY),
    "sse-memory": Way("sse", partial(in_memory, sse=True), LEGACY[-1:]),
    "stdio": Way("stdio", on_stdio),
}

JSON = ("http-json", "http-stateless-json")
STATELESS = ("http-stateless", "http-stateless-json")


@dataclass(frozen=True)
class Lack:
    """What cannot be shown over some ways, in some versions, and why."""

    scenario: str
    ways: tuple[str, ...]
    versions: tuple[str, ...]
    why: str


LACKS = (
    Lack("progress", JSON, BOTH, "a JSON body is one message: the answer"),
    Lack("logging", JSON, BOTH, "a JSON body is one message: the answer"),
    Lack("logging", STATELESS, LEGACY, "there is no session in which the level could be kept"),
    Lack("question", JSON, LEGACY, "a JSON body is one message: the answer"),
    Lack("question", STATELESS, LEGACY, "there is no session in which the client's answer would be known"),
    Lack("question aside", STATELESS, LEGACY, "without sessions there is no GET stream"),
    Lack("subscribing", STATELESS, LEGACY, "without sessions there is no GET stream"),
    Lack("cancelling", JSON, MODERN, "this SDK notices that the client leaves only where it streams"),
    Lack(
        "cancelling", STATELESS[1:], LEGACY, "this SDK notices that the client leaves only where it streams"
    ),
    Lack("death", ("memory",), BOTH, "it is in the test's own process"),
    Lack(
        "closing",
        ("sse-memory",),
        BOTH,
        "this SDK's app fails at a cancellation that comes as its stream ends",
    ),
    Lack("silence", ("memory", "stdio"), BOTH, "there is no network to look at, and the server ends as well"),
    Lack("closing seen", ("stdio",), BOTH, "a process that has ended cannot be asked what it saw"),
    Lack("closing seen", JSON, MODERN, "this SDK notices that the client leaves only where it streams"),
    Lack(
        "closing seen", STATELESS[1:], LEGACY, "this SDK notices that the client leaves only where it streams"
    ),
)


def cases(scenario: str, versions: tuple[str, ...] = BOTH) -> Iterator[tuple[str, str]]:
    """The ways and versions that `scenario` is shown in."""
    for name, way in WAYS.items():
        for version in way.versions:
            lacking = any(
                lack.scenario == scenario and name in lack.ways and version in lack.versions for lack in LACKS
            )
            if version in versions and not lacking:
                yield name, version
