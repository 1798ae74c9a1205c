"""Servers whose messages all come by one way: lines (stdio's framing), WebSocket, HTTP+SSE."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, Literal, TypeAlias

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from trio_mcp import Connector, open_connector
from trio_mcp.network import close_at_once
from trio_mcp.stream_connector import StreamConnector
from trio_mcp.testing import HttpExchange, MemoryNetwork, MemoryStream, serve_http
from trio_mcp.testing.messages import Json, error, notification, response

from .faults import MAX_SIZE, SILENCE, TIMEOUT
from .oracle import Watch
from .outcomes import Attempt, attempt
from .server import LEGACY, MARK, MODERN, Era

__all__ = ["KINDS", "Kind", "PipeStrike", "PipeWorld", "Told"]

HOST: Final = "server.test"
_TOKEN: Final = f"token-{MARK}"
Kind: TypeAlias = Literal["lines", "websocket", "sse"]
KINDS: Final[tuple[Kind, ...]] = ("lines", "websocket", "sse")


class End:
    """The server's end of one connection.

    Args:
        stream: what it is over: for HTTP+SSE, the event stream's.

    Attributes:
        secrets: everything secret that it was sent.
        sending: is held while a message is sent.
    """

    secrets: str = "nothing"

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.sending = trio.Lock()

    @abstractmethod
    async def say(self, message: bytes) -> None:
        """Send one message."""

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def reset(self) -> None:
        """Break the connection."""
        self.stream.connection.reset()
        await trio.lowlevel.checkpoint()

    async def cut(self) -> None:
        """Close the connection."""
        await close_at_once(self.stream)


class _Lines(End):
    async def say(self, message: bytes) -> None:
        async with self.sending:
            await self.stream.send_all(message + b"\n")


class _WebSocket(End):
    secrets = f"Bearer {_TOKEN} key-{MARK} query-{MARK}"

    def __init__(self, stream: MemoryStream, socket: WebSocketConnection) -> None:
        super().__init__(stream)
        self._socket = socket

    async def say(self, message: bytes) -> None:
        with suppress(ConnectionClosed):
            # What is not UTF-8 cannot be a text; a binary frame means the same.
            await self._socket.send_message(message)


class _Events(End):
    secrets = f"Bearer {_TOKEN} key-{MARK} query-{MARK} session-{MARK}-1"

    def __init__(self, stream: MemoryStream, exchange: HttpExchange) -> None:
        super().__init__(stream)
        self.exchange = exchange

    async def say(self, message: bytes) -> None:
        await self.exchange.send(b"data: " + message + b"\n\n")

    async def raw(self, data: bytes) -> None:
        await self.exchange.send(data)

    async def cut(self) -> None:
        await self.exchange.cut()


class Told:
    """A message of the client.

    Attributes:
        end: where it came from, and answers go.
        message: it.
        result: what is right for it.
        post: what it was POSTed by, over HTTP+SSE.
    """

    def __init__(self, end: End, message: Json, result: Json, post: HttpExchange | None = None) -> None:
        self.end = end
        self.message = message
        self.result = result
        self.post = post

    @property
    def echo(self) -> str:
        """Everything that it was sent in secret, as hostile or careless servers repeat it."""
        return self.end.secrets

    async def answer(self) -> None:
        """Answer as is right."""
        await self.end.say(json.dumps(response(self.message["id"], self.result)).encode())


PipeStrike: TypeAlias = Callable[[Told], Awaitable[None]]
"""Does something else with a message."""


class PipeWorld:
    """One server, and the network between it and its client.

    Attributes:
        ends: the connections that there have been.
        accept: what is done with a stream before anything else; True if that was all.
    """

    def __init__(
        self, kind: Kind, era: Era, network: MemoryNetwork, nursery: trio.Nursery, watch: Watch
    ) -> None:
        self.network = network
        self.link = network.link(HOST, 80)
        self.link.latency = 0.05
        self.struck_at = 0.0
        self.ends: list[End] = []
        self.accept: Callable[[MemoryStream], Awaitable[bool]] = _pass
        self.posted: Callable[[HttpExchange], Awaitable[bool]] = _pass
        self._kind = kind
        self._era = era
        self._watch = watch
        self._strikes: dict[str, PipeStrike] = {}
        self._nursery = nursery
        nursery.start_soon(trio.serve_listeners, self._serve, [network.listen(HOST, 80)])

    def misbehave(self, name: str, strike: PipeStrike) -> None:
        """Do something else with the next message of that name: a method, with the tool if it is a call."""
        self._strikes[name] = strike

    def behave(self) -> None:
        """Do as it should from now on."""
        self._strikes.clear()
        self.accept = self.posted = _pass

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Connector]:
        """A connector, opened."""
        headers = {"x-api-key": f"key-{MARK}"}
        if self._kind == "lines":
            stream = await self.network.open_stream(HOST, 80)
            connector: Connector = StreamConnector(
                stream, timeout=TIMEOUT, max_message_size=MAX_SIZE, roots=[]
            )
        elif self._kind == "websocket":
            connector = open_connector(
                f"ws://{HOST}/mcp?key=query-{MARK}",
                network=self.network,
                headers=headers,
                auth=_TOKEN,
                timeout=TIMEOUT,
                max_message_size=MAX_SIZE,
                reconnect=True,
                roots=[],
            )
        else:
            connector = open_connector(
                f"http://{HOST}/sse?key=query-{MARK}",
                transport="sse",
                network=self.network,
                headers=headers,
                auth=_TOKEN,
                timeout=TIMEOUT,
                sse_read_timeout=SILENCE,
                max_message_size=MAX_SIZE,
                roots=[],
            )
        async with connector as c:
            self._watch.texts.append(repr(c))
            yield c

    async def attempt(
        self, act: Callable[[], Awaitable[object]], leave_after: float | None = None
    ) -> Attempt:
        """See `outcomes.attempt`."""
        made = await attempt(act, leave_after)
        if made.error is not None:
            self._watch.errors.append(made.error)
        return made

    # What the server does

    async def _serve(self, stream: MemoryStream) -> None:
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if not await self.accept(stream):
                    await {"lines": self._lines, "websocket": self._websocket, "sse": self._sse}[self._kind](
                        stream
                    )
        finally:
            await close_at_once(stream)

    async def _lines(self, stream: MemoryStream) -> None:
        end, unread = _Lines(stream), b""
        self.ends.append(end)
        while data := await stream.receive_some():
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                self._take_soon(Told(end, json.loads(line), {}))

    async def _websocket(self, stream: MemoryStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            socket = await request.accept(subprotocol="mcp")
            end = _WebSocket(stream, socket)
            self.ends.append(end)
            with suppress(ConnectionClosed):
                while True:
                    self._take_soon(Told(end, json.loads(await socket.get_message()), {}))
            nursery.cancel_scope.cancel(reason="the client has left")

    async def _sse(self, stream: MemoryStream) -> None:
        await serve_http(stream, partial(self._exchange, stream), cancel_on_disconnect=True)

    async def _exchange(self, stream: MemoryStream, exchange: HttpExchange) -> None:
        if exchange.request.method == "GET":
            end = _Events(stream, exchange)
            self.ends.append(end)
            await exchange.start(200, [("content-type", "text/event-stream")])
            await exchange.send(f"event: endpoint\ndata: /messages?session=session-{MARK}-1\n\n".encode())
            await exchange.ended.wait()
            return
        told = Told(self.ends[-1], json.loads(exchange.request.body), {}, exchange)
        if not await self.posted(exchange):
            await exchange.respond(202, body=b"Accepted")
            self._take_soon(told)

    def _take_soon(self, told: Told) -> None:
        self._nursery.start_soon(self._take, told)

    async def _take(self, told: Told) -> None:
        name = str(told.message.get("method", "answer"))
        if name == "tools/call":
            name += f" {told.message['params']['name']}"
        told.result = self._result(name)
        with suppress(
            trio.BrokenResourceError, trio.ClosedResourceError, RuntimeError
        ):  # the client has left
            strike = self._strikes.pop(name, None)
            if strike is not None:
                self.struck_at = self.struck_at or trio.current_time()
                await strike(told)
            elif name == "tools/call slow":
                await told.end.say(
                    json.dumps(notification("notifications/message", {"level": "info"})).encode()
                )
                await trio.sleep(2)
                await told.answer()
            elif name in ("server/discover", "initialize") and (name == "initialize") is not (
                self._era == "legacy"
            ):
                await told.end.say(json.dumps(error(told.message["id"], -32601, "no such method")).encode())
            elif "id" in told.message and "method" in told.message:
                await told.answer()

    def _result(self, name: str) -> Json:
        match name:
            case "server/discover":
                discovered = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}}
                return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **discovered}
            case "initialize":
                info = {"name": "faulty", "version": "1"}
                return {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": info}
            case _:
                return {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}


async def _pass(anything: object) -> bool:
    await trio.lowlevel.checkpoint()
    return False
