"""Model servers whose messages share one connection: HTTP+SSE and WebSocket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from typing_extensions import Unpack

from tests.fuzz.sessions.servers import CAPABILITIES, NO_TOOLS, QUESTION, Model, text
from tests.transports.sse_server import Posted, SseServer
from tests.transports.websocket_servers import URL, accepting, listen
from trio_mcp.connector import Connector
from trio_mcp.options import CommonOptions
from trio_mcp.protocol.versions import is_modern
from trio_mcp.testing import HttpExchange, MemoryNetwork
from trio_mcp.testing.messages import Json, error, notification, request, response
from trio_mcp.websocket_connector import WebSocketConnector

__all__ = ["PipeModel", "SseModel", "WebSocketModel"]

INFO: Final = {"name": "model", "version": "1"}
STAMP: Final = "io.modelcontextprotocol/subscriptionId"

Say = Callable[[Json | str], Awaitable[None]]
"""Sends a message, or what is none."""
Cut = Callable[[], Awaitable[None]]


class PipeModel(Model):
    """What the two have in common."""

    shares = True

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self._questions: dict[str, trio.Event] = {}
        self._answers: dict[str, str] = {}

    def expire(self) -> None:
        pass  # its session is its connection

    async def restart(self, downtime: float) -> None:
        self.reset()
        await self.outage(downtime)

    async def _take(self, message: Json, say: Say, cut: Cut) -> None:
        method, id = message.get("method", "answer"), message.get("id")
        if method == "answer":
            self._answers[message["id"]] = message["result"]["content"]["text"]
            self._questions[message["id"]].set()
        elif method == "tools/call":
            await self._call(message, say, cut)
        elif method == "tools/list":
            await say(response(id, NO_TOOLS))
        elif method == "subscriptions/listen":
            wanted = {"notifications": message["params"]["notifications"], "_meta": {STAMP: id}}
            await say(notification("notifications/subscriptions/acknowledged", wanted))
        elif method == "initialize":
            about = {"protocolVersion": self.version, "capabilities": CAPABILITIES, "serverInfo": INFO}
            await say(response(id, about))
        elif method == "server/discover" and is_modern(self.version):
            known = {"supportedVersions": [self.version], "capabilities": CAPABILITIES}
            await say(response(id, {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **known}))
        elif id is not None:
            await say(error(id, -32601, "no such method"))

    async def _call(self, message: Json, say: Say, cut: Cut) -> None:
        arguments, id = message["params"]["arguments"], message["id"]
        nonce, do = arguments["nonce"], arguments["do"]
        modern = is_modern(self.version)
        if do == "ask" and modern and "inputResponses" not in message["params"]:
            question = {"method": "sampling/createMessage", "params": {**QUESTION, "systemPrompt": nonce}}
            await say(response(id, {"resultType": "input_required", "inputRequests": {"q": question}}))
            return None
        self.carried_out[nonce] += 1
        match do:
            case "stream":
                token = message["params"]["_meta"]["progressToken"]
                await say(notification("notifications/progress", {"progressToken": token, "progress": 1}))
                await trio.sleep(0.5)
            case "slow":
                await trio.sleep(3)
            case "ask" if modern:
                nonce = message["params"]["inputResponses"]["q"]["content"]["text"]
            case "ask":
                asked = self._questions[nonce] = trio.Event()
                params = {**QUESTION, "systemPrompt": nonce}
                await say(request(nonce, "sampling/createMessage", params))
                await asked.wait()
                nonce = self._answers[nonce]
            case "twice":
                await say(response(id, text(nonce)))
            case "cut":
                return await cut()
            case "reset":
                return self.reset()
            case "not json" | "html":
                await say("<p>")
            case "wrong id":
                await say(response("nobody's", text(nonce)))
            case "hang":
                return None
            case "error":
                return await say(error(id, -32000, "no", nonce))
        return await say(response(id, text(nonce)))


@final
class SseModel(PipeModel):
    """HTTP+SSE, where one stream brings the answers to all calls."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__("2024-11-05")
        self._server = SseServer(nursery)
        methods = ("initialize", "tools/call", "tools/list", "answer")
        self._server.on |= dict.fromkeys(methods, self._posted)

    @property
    def network(self) -> MemoryNetwork:
        return self._server.network

    def connect(self, silence: float, **options: Unpack[CommonOptions]) -> Connector:
        return self._server.connect(sse_read_timeout=silence, **options)

    async def notify(self, message: Json) -> None:
        for stream in self._server.streams:
            if not stream.ended.is_set():
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._say(stream, message)

    async def _posted(self, posted: Posted) -> None:
        if posted.message.get("params", {}).get("arguments", {}).get("do") == "503":
            await posted.exchange.respond(503)
            return
        await posted.accept()

        async def say(message: Json | str) -> None:
            await self._say(posted.stream, message)

        await self._take(posted.message, say, posted.stream.cut)

    async def _say(self, stream: HttpExchange, message: Json | str) -> None:
        data = message if isinstance(message, str) else json.dumps(message)
        async with self._server.sending:
            await stream.send(f"data: {data}\n\n".encode())


@final
class WebSocketModel(PipeModel):
    """WebSocket, of either era. That a call gets no answer is no fault there: the connection is watched."""

    is_silent = True

    def __init__(self, nursery: trio.Nursery, network: MemoryNetwork, version: str) -> None:
        super().__init__(version)
        self._network = network
        self._sockets: list[WebSocketConnection] = []
        listen(nursery, network, accepting(self._talk))

    @property
    def network(self) -> MemoryNetwork:
        return self._network

    def connect(self, silence: float, **options: Unpack[CommonOptions]) -> Connector:
        return WebSocketConnector(URL, network=self._network, reconnect=True, **options)

    async def notify(self, message: Json) -> None:
        if is_modern(self.version):
            return  # whose listeners would want a stamp on it
        for socket in self._sockets:
            with suppress(ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                await socket.send_message(json.dumps(message))

    async def _talk(self, socket: WebSocketConnection) -> None:
        self._sockets.append(socket)

        async def say(message: Json | str) -> None:
            await socket.send_message(message if isinstance(message, str) else json.dumps(message))

        async def take(message: Json) -> None:
            with suppress(ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
                await self._take(message, say, socket.aclose)

        async with trio.open_nursery() as nursery:
            try:
                while True:
                    nursery.start_soon(take, json.loads(await socket.get_message()))
            except ConnectionClosed:
                self._sockets.remove(socket)
                nursery.cancel_scope.cancel(reason="the client has left")
