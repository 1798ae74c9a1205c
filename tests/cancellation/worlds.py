"""The ways to reach a peer, all of them in memory."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import mcp_types as types
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.transports.sse_server import Posted, SseServer
from tests.transports.websocket_servers import URL, accepting, listen
from trio_mcp import Connector, StreamConnector, open_connector
from trio_mcp.errors import MCPError
from trio_mcp.testing import Call, MemoryNetwork, ScriptedServer, Simulation
from trio_mcp.testing.messages import Json, error, request, response

from .peer import LEGACY, MODERN, SSE_VERSION, Channel, Peer

__all__ = ["WORLDS", "World"]

HOST: Final = "server.test"
OPTIONS: Final[dict[str, Any]] = {"goodbye_timeout": 1.0}


async def elicit(context: object, params: object) -> types.ElicitResult:
    await trio.sleep(0.5)
    return types.ElicitResult(action="accept", content={"name": "me"})


class World(ABC):
    """A peer, and the way to it.

    Attributes:
        peer: what it does, and has seen.
        network: what it is reached over.
        exchanges: whether each request has a response of its own, whose end tells the server enough.
    """

    exchanges: bool = False

    def __init__(self, version: str, simulation: Simulation, servers: trio.Nursery) -> None:
        self.peer = Peer(version)
        self.network: MemoryNetwork = simulation.network
        self.start(servers)

    @abstractmethod
    def start(self, servers: trio.Nursery) -> None:
        """Serve, in that nursery."""

    @abstractmethod
    async def connector(self, **options: Any) -> Connector:
        """A connector that has not been entered yet."""

    @property
    def known(self) -> set[int | str]:
        """The ids of all requests that have come."""
        return self.peer.known

    @property
    def tells(self) -> bool:
        """Whether a call that is cancelled is to be told of by `notifications/cancelled`."""
        return not (self.exchanges and self.peer.version == MODERN)


class Http(World):
    exchanges = True

    def __init__(
        self,
        version: str,
        simulation: Simulation,
        servers: trio.Nursery,
        url: str = f"http://{HOST}/mcp",
    ) -> None:
        self._url = url
        super().__init__(version, simulation, servers)

    def start(self, servers: trio.Nursery) -> None:
        self.server = server = ScriptedServer(self.peer.version, url=self._url, network=self.network)
        for method in (
            "server/discover", "tools/list", "tools/call", "subscriptions/listen", "resources/subscribe",
            "resources/unsubscribe",
        ):  # fmt: skip
            server.on[method] = self._answer
        server.on["notifications/cancelled"] = self._notice
        server.on["notifications/initialized"] = self._notice
        initialize = server.on["initialize"]

        async def begin(call: Call) -> Any:
            await self.peer.result(call.message, HttpChannel(call))
            return initialize(call)

        server.on["initialize"] = begin
        if self.peer.version == LEGACY:
            server.listen()
        server.capabilities = {"tools": {"listChanged": True}, "resources": {"subscribe": True}}
        servers.start_soon(server.run)

    @property
    def known(self) -> set[int | str]:
        # Also those that were refused, because their session has expired.
        return {call.id for call in self.server.seen}

    async def _answer(self, call: Call) -> Json:
        return await self.peer.result(call.message, HttpChannel(call))

    def _notice(self, call: Call) -> None:
        self.peer.notice(call.message)

    async def connector(self, **options: Any) -> Connector:
        return self.server.connect(**OPTIONS, **options)


class HttpChannel(Channel):
    def __init__(self, call: Call) -> None:
        self._call = call

    async def say(self, message: Json) -> None:
        await self._call.send(message)

    async def ask(self, method: str, params: Json) -> Json:
        return await self._call.ask(method, params)


class Conversation(Channel):
    """One wire to a peer, for whole messages."""

    def __init__(self, peer: Peer, nursery: trio.Nursery, send: Callable[[Json], Awaitable[object]]) -> None:
        self._peer = peer
        self._nursery = nursery
        self._send = send
        self._sending = trio.Lock()
        self._ids = itertools.count(1)
        self._answers: dict[object, trio.MemorySendChannel[Json]] = {}
        self._at_work: dict[object, trio.CancelScope] = {}

    def take(self, message: Json) -> None:
        """Take a message of the client."""
        if "method" not in message:
            if (waiting := self._answers.get(message["id"])) is not None:
                waiting.send_nowait(message)
        elif "id" in message:
            self._nursery.start_soon(self._work, message)
        else:
            self._peer.notice(message)
            if message["method"] == "notifications/cancelled":
                scope = self._at_work.get(message["params"]["requestId"])
                if scope is not None:
                    scope.cancel(reason="the client says so")

    async def _work(self, message: Json) -> None:
        with trio.CancelScope() as scope:
            self._at_work[message["id"]] = scope
            try:
                answer = response(message["id"], await self._peer.result(message, self))
            except MCPError as exc:
                answer = error(message["id"], exc.code, exc.message)
            finally:
                del self._at_work[message["id"]]
            await self.say(answer)

    async def say(self, message: Json) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed):
            async with self._sending:
                # A message is not left half sent.
                with trio.CancelScope(shield=True):
                    await self._send(message)

    async def ask(self, method: str, params: Json) -> Json:
        id = f"ask-{next(self._ids)}"
        self._answers[id], receive = trio.open_memory_channel[Json](1)
        await self.say(request(id, method, params))
        return await receive.receive()


class Lines(World):
    """A message on each line, as on stdio."""

    def start(self, servers: trio.Nursery) -> None:
        listener = self.network.listen(HOST, 7)
        servers.start_soon(trio.serve_listeners, self._serve, [listener])

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async def send(message: Json) -> None:
            await stream.send_all(json.dumps(message).encode() + b"\n")

        async with stream, trio.open_nursery() as nursery:
            conversation = Conversation(self.peer, nursery, send)
            data = b""
            with suppress(trio.BrokenResourceError):
                async for piece in stream:
                    *lines, data = (data + piece).split(b"\n")
                    for line in lines:
                        conversation.take(json.loads(line))
            nursery.cancel_scope.cancel()

    async def connector(self, **options: Any) -> Connector:
        stream = await self.network.open_stream(HOST, 7)
        return StreamConnector(stream, **OPTIONS, **options)


class WebSockets(World):
    def start(self, servers: trio.Nursery) -> None:
        listen(servers, self.network, accepting(self._talk, patience=1))

    async def _talk(self, socket: WebSocketConnection) -> None:
        async def send(message: Json) -> None:
            await socket.send_message(json.dumps(message))

        async with trio.open_nursery() as nursery:
            conversation = Conversation(self.peer, nursery, send)
            with suppress(ConnectionClosed):
                while True:
                    conversation.take(json.loads(await socket.get_message()))
            nursery.cancel_scope.cancel()

    async def connector(self, **options: Any) -> Connector:
        return open_connector(URL, network=self.network, **OPTIONS, **options)


class Sse(World):
    """HTTP+SSE, of 2024-11-05."""

    def start(self, servers: trio.Nursery) -> None:
        self._servers = servers
        self._server = server = SseServer(servers, self.network)
        self._conversations: dict[object, Conversation] = {}
        self._work: dict[object, trio.CancelScope] = {}
        for method in (
            "initialize", "tools/list", "tools/call", "notifications/cancelled", "answer",
            "resources/subscribe", "resources/unsubscribe",
        ):  # fmt: skip
            server.on[method] = self._take

    async def _take(self, posted: Posted) -> None:
        if "id" in posted.message:
            self.peer.known.add(posted.message["id"])
        await posted.accept()
        if posted.stream not in self._conversations:
            send = partial(_post, posted)
            nursery = await self._servers.start(_until, posted.stream.ended)
            self._conversations[posted.stream] = Conversation(self.peer, nursery, send)
        self._conversations[posted.stream].take(posted.message)

    async def connector(self, **options: Any) -> Connector:
        return self._server.connect(**OPTIONS, **options)


async def _post(posted: Posted, message: Json) -> None:
    await posted.send(message)


async def _until(
    ended: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await ended.wait()
        nursery.cancel_scope.cancel()


WORLDS: Final[dict[str, tuple[type[World], str]]] = {
    "http-modern": (Http, MODERN),
    "http-legacy": (Http, LEGACY),
    "lines-modern": (Lines, MODERN),
    "lines-legacy": (Lines, LEGACY),
    "websocket-modern": (WebSockets, MODERN),
    "websocket-legacy": (WebSockets, LEGACY),
    "sse": (Sse, SSE_VERSION),
}
