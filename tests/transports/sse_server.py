"""A server of HTTP+SSE in memory: it does as 2024-11-05 says, unless a test has it do something else."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio
from typing_extensions import Unpack

from trio_mcp import Connector, open_connector
from trio_mcp.opening import HttpOptions
from trio_mcp.testing import HttpExchange, HttpRequest, MemoryNetwork, serve_http
from trio_mcp.testing.messages import Json, error, event, request, response

DONE: Json = {"content": [{"type": "text", "text": "done"}]}
SECRET = "s3cret-session"

Raw = Callable[[HttpExchange], Awaitable[None]]


@dataclass
class Posted:
    """A message that was POSTed, the exchange that it came by, and the stream that its answer goes to."""

    message: Json
    exchange: HttpExchange
    stream: HttpExchange
    sending: trio.Lock

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.exchange.request.headers)

    async def accept(self) -> None:
        await self.exchange.respond(202, body=b"Accepted")

    async def send(self, message: Json) -> None:
        async with self.sending:
            await self.stream.send(event(message))

    async def answer(self, result: Json) -> None:
        await self.send(response(self.message["id"], result))


class SseServer:
    """Serves `http://server.test/sse`, and takes messages at `/messages?session_id=…`.

    Attributes:
        on: what is done with a message that is POSTed, by method; "answer" for answers.
        on_get: what is done with a GET; by default a stream that begins with `hello`.
        on_post: what is done with a POST to the stream's own URL; by default 405.
        headers: what else the head of the stream says.
        endpoint: what the endpoint event says; {} is the session's id.
        gets: the requests that have asked for the stream.
        streams: the streams that were opened, the latest one last.
        posted: the messages that came.
    """

    def __init__(self, nursery: trio.Nursery, network: MemoryNetwork | None = None) -> None:
        self._nursery = nursery
        self.network = network or MemoryNetwork()
        self.link = self.network.link("server.test", 80)
        self.version = "2024-11-05"
        self.headers: list[tuple[str, str]] = []
        self.endpoint = "/messages?session_id={}"
        self.on: dict[str, Callable[[Posted], Awaitable[None]]] = {
            "initialize": self._initialize,
            "tools/call": self._call,
        }
        self.on_get: Raw = self.open_stream
        self.on_post: Raw = lambda exchange: exchange.respond(405)
        self.gets: list[HttpRequest] = []
        self.streams: list[HttpExchange] = []
        self.posted: list[Posted] = []
        self.sending = trio.Lock()
        self._asked = 0
        self._answers: dict[str, trio.MemorySendChannel[Json]] = {}
        serve = partial(serve_http, handler=self._handle, cancel_on_disconnect=True)
        nursery.start_soon(trio.serve_listeners, serve, [self.network.listen("server.test", 80)])

    def connect(self, **options: Unpack[HttpOptions]) -> Connector:
        options.setdefault("transport", "sse")
        options.setdefault("network", self.network)
        options.setdefault("rng", random.Random(0))
        return open_connector("http://server.test/sse", **options)

    def all(self, method: str) -> list[Posted]:
        return [posted for posted in self.posted if posted.message.get("method") == method]

    def methods(self) -> list[str]:
        return [posted.message.get("method", "answer") for posted in self.posted]

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """Ask the client, and wait for its answer."""
        self._asked += 1
        id = f"ask-{self._asked}"
        self._answers[id], receive = trio.open_memory_channel[Json](1)
        async with self.sending:
            await self.streams[-1].send(event(request(id, method, params)))
        return await receive.receive()

    # What is done unless a test has it otherwise

    async def open_stream(self, exchange: HttpExchange) -> None:
        await self.begin_stream(exchange)
        await exchange.ended.wait()

    async def begin_stream(self, exchange: HttpExchange) -> None:
        self.streams.append(exchange)
        number = len(self.streams)  # before there are others
        await exchange.start(200, [("content-type", "text/event-stream; charset=utf-8"), *self.headers])
        endpoint = self.endpoint.format(f"{SECRET}-{number}")
        await exchange.send(f"event: endpoint\ndata: {endpoint}\n\n".encode())

    async def _initialize(self, posted: Posted) -> None:
        await posted.accept()
        info = {"name": "sse", "version": "1"}
        await posted.answer({"protocolVersion": self.version, "capabilities": {}, "serverInfo": info})

    async def _call(self, posted: Posted) -> None:
        await posted.accept()
        await posted.answer(DONE)

    async def _handle(self, exchange: HttpExchange) -> None:
        incoming = exchange.request
        path, _, query = incoming.target.partition("?")
        if incoming.method == "GET":
            self.gets.append(incoming)
            await self.on_get(exchange)
        elif path == "/sse" and not query:
            await self.on_post(exchange)
        else:
            message = json.loads(incoming.body)
            number = int(query.rpartition("-")[2] or len(self.streams))
            posted = Posted(message, exchange, self.streams[number - 1], self.sending)
            self.posted.append(posted)
            # Aside, so that its connection can bring the next message as soon as this one is accepted.
            self._nursery.start_soon(self._take, posted)
            await exchange.ended.wait()

    async def _take(self, posted: Posted) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the client has left
            await self.on.get(posted.message.get("method", "answer"), self._other)(posted)

    async def _other(self, posted: Posted) -> None:
        await posted.accept()
        if "method" not in posted.message:
            await self._answers[posted.message["id"]].send(posted.message)
        elif "id" in posted.message:
            await posted.send(error(posted.message["id"], -32601, "no such method"))
