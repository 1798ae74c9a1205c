"""Servers in memory that are reached over scripted wires: whole messages, no bytes, no framing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Unpack

import mcp_types as types
import pytest
import trio

from trio_mcp.errors import ConnectionLost, ConnectorError
from trio_mcp.pipe_connector import PipeConnector, PipeOptions
from trio_mcp.transports.wires import Wire

JSON = dict[str, Any]

MODERN = "2026-07-28"
LEGACY = "2025-11-25"

DISCOVERED: JSON = {
    "resultType": "complete",
    "supportedVersions": [MODERN],
    "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}},
    "ttlMs": 0,
    "cacheScope": "private",
}
both_eras = pytest.mark.parametrize("version", [MODERN, LEGACY])

TEXT: JSON = {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}


class ScriptedWire(Wire):
    """One wire, as the server sees it: what it was sent, and what it says."""

    def __init__(self, server: WireServer) -> None:
        self.seen: list[JSON] = []
        self.closed = False
        self._server = server
        self._say, self._said = trio.open_memory_channel[bytes | Exception](100_000)

    # The client's side

    async def send(self, message: bytes) -> None:
        await self._server.on_send(json.loads(message))
        self.seen.append(json.loads(message))
        self._server.answer(self, self.seen[-1])

    async def receive(self) -> bytes:
        try:
            said = self._said.receive_nowait()  # what has come already costs no turn of the scheduler
        except trio.WouldBlock:
            said = await self._said.receive()
        if isinstance(said, Exception):
            raise said
        return said

    # The server's side

    def say(self, message: object) -> None:
        self.say_raw(json.dumps(message).encode())

    def say_raw(self, data: bytes) -> None:
        self._say.send_nowait(data)

    def notify(self, method: str, params: JSON | None = None) -> None:
        self.say({"jsonrpc": "2.0", "method": method, "params": params or {}})

    def ask(self, request_id: int | str, method: str, params: JSON | None = None) -> None:
        self.say({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}})

    def respond(self, request_id: object, result: JSON = TEXT) -> None:
        self.say({"jsonrpc": "2.0", "id": request_id, "result": result})

    def break_off(self, reason: Exception | None = None) -> None:
        self._say.send_nowait(reason or ConnectionLost("the cable was cut"))

    def methods(self) -> list[str]:
        return [message.get("method", "answer") for message in self.seen]

    def all(self, method: str) -> list[JSON]:
        return [message for message in self.seen if message.get("method") == method]


class WireServer:
    """What is at the other end of each wire, one after the other.

    Attributes:
        version: the one that it speaks.
        on: results of methods; None is no answer. Beside those of the handshake, nothing is answered.
        wires: all that there have been.
        on_send: awaited with each message before it counts as sent.
        on_open: awaited before each wire is opened; what it raises is why it could not be.
        on_close: awaited at each wire's end.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.on: dict[str, Callable[[JSON], JSON | None]] = {}
        self.wires: list[ScriptedWire] = []
        self.on_send: Callable[[JSON], Awaitable[object]] = _pass
        self.on_open: Callable[[], Awaitable[object]] = _pass
        self.on_close: Callable[[], Awaitable[object]] = _pass
        if version == MODERN:
            self.on["server/discover"] = lambda message: DISCOVERED
        else:
            self.on["initialize"] = lambda message: {
                "protocolVersion": version,
                "serverInfo": {"name": "s", "version": "1"},
                "capabilities": DISCOVERED["capabilities"],
            }
            for method in ("logging/setLevel", "resources/subscribe", "resources/unsubscribe", "ping"):
                self.on[method] = lambda message: {}

    @property
    def wire(self) -> ScriptedWire:
        return self.wires[-1]

    def answer(self, wire: ScriptedWire, message: JSON) -> None:
        answer = self.on.get(message.get("method", ""))
        result = answer(message) if answer else None
        if result is not None:
            wire.respond(message["id"], result)

    @asynccontextmanager
    async def open_wire(self) -> AsyncGenerator[Wire]:
        await self.on_open()
        wire = ScriptedWire(self)
        self.wires.append(wire)
        try:
            yield wire
        finally:
            wire.closed = True
            await self.on_close()

    def connect(self, **options: Unpack[PipeOptions]) -> MemoryConnector:
        return MemoryConnector(self, **{"protocol_version": self.version, **options})

    async def saw(self, method: str, times: int = 1) -> JSON:
        """Wait until the wire has carried it so often; gives the last one."""
        while len(self.wire.all(method)) < times:
            await trio.lowlevel.checkpoint()
        return self.wire.all(method)[times - 1]


async def _pass(*args: object) -> None:
    await trio.lowlevel.checkpoint()


class MemoryConnector(PipeConnector):
    """A connection to a `WireServer`."""

    def __init__(self, server: WireServer, **options: Any) -> None:
        defaults: Any = {"timeout": 5, "roots": None, "reconnect": False, "max_message_size": 1 << 20}
        super().__init__("wires", "memory", **{**defaults, **options})
        self._server = server

    def _open_wire(self) -> AbstractAsyncContextManager[Wire]:
        return self._server.open_wire()


class Call:
    """A call in a task of its own, and what came of it."""

    def __init__(self, nursery: trio.Nursery, c: MemoryConnector, name: str = "x") -> None:
        self.result: types.CallToolResult | None = None
        self.error: Exception | None = None
        self.scope = trio.CancelScope()
        self.ended_at: float | None = None
        nursery.start_soon(self._make, c, name)

    async def _make(self, c: MemoryConnector, name: str) -> None:
        with self.scope:
            try:
                self.result = await c.call_tool(name)
            except ConnectorError as exc:
                self.error = exc
        self.ended_at = trio.current_time()


def named(wire: ScriptedWire, tool: str) -> Any:
    """The id of the call to `tool`."""
    (call,) = [each for each in wire.all("tools/call") if each["params"]["name"] == tool]
    return call["id"]


class Gate:
    """Lets messages through to the wire only while it is open."""

    def __init__(self, server: WireServer) -> None:
        self.waiting: list[str] = []
        self._opened = trio.Event()
        server.on_send = self._pass

    async def _pass(self, message: dict[str, Any]) -> None:
        self.waiting.append(message.get("method", "answer"))
        await self._opened.wait()

    def open(self) -> None:
        self._opened.set()
