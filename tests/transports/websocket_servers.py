"""WebSocket servers for the tests: of trio-websocket and the official SDK, scripted, and of bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import mcp_types as types
import trio
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import generate_accept_token

from trio_mcp.testing import MemoryNetwork

HOST = "server.test"
URL = f"ws://{HOST}/mcp"

Serve = Callable[[trio.abc.Stream], Awaitable[object]]
Talk = Callable[[WebSocketConnection], Awaitable[object]]
Json = dict[str, Any]


def listen(nursery: trio.Nursery, network: MemoryNetwork, serve: Serve, port: int = 80) -> None:
    """Serve each connection to `HOST`, and close it then."""

    async def handle(stream: trio.abc.Stream) -> None:
        async with stream:
            with suppress(
                trio.BrokenResourceError, trio.ClosedResourceError
            ):  # the client may go at any time
                await serve(stream)

    nursery.start_soon(trio.serve_listeners, handle, [network.listen(HOST, port)])


# With trio-websocket


def accepting(
    talk: Talk,
    seen: list[WebSocketRequest] | None = None,
    subprotocol: str | None = "mcp",
    max_message_size: int = 1 << 20,
    patience: float = math.inf,
) -> Serve:
    """A server that accepts each handshake, and talks then."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(patience) as waiting:  # trio-websocket misses a client that leaves early
                request = await wrap_server_stream(nursery, stream, max_message_size=max_message_size)
            if waiting.cancelled_caught:
                return
            if seen is not None:
                seen.append(request)
            with suppress(ConnectionClosed):  # also by a client that leaves before it is accepted
                await talk(await request.accept(subprotocol=subprotocol))
            nursery.cancel_scope.cancel()

    return serve


def scripted(**methods: Callable[[Json], Awaitable[Json | None]]) -> Talk:
    """A server of version 2025-11-25. Slashes in the names of methods are written as `__`.

    A handler that gives None leaves the answer out.
    """

    async def talk(socket: WebSocketConnection) -> None:
        while True:
            message = json.loads(await socket.get_message())
            handler = methods.get(message["method"].replace("/", "__"))
            if handler is not None:
                result = await handler(message)
            elif message["method"] == "initialize":
                info = {"name": "scripted", "version": "1"}
                result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            else:
                result = {}
            if "id" in message and result is not None:
                await socket.send_message(answer(message, result))

    return talk


def answer(message: Json, result: Json) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}, ensure_ascii=False)


def official(server: Server[Any]) -> Talk:
    """A server of the official SDK."""

    async def talk(socket: WebSocketConnection) -> None:
        to_server, its_input = anyio.create_memory_object_stream[SessionMessage | Exception](16)
        its_output, from_server = anyio.create_memory_object_stream[SessionMessage](16)

        async def read() -> None:
            with to_server:
                with suppress(ConnectionClosed):
                    while True:
                        text = await socket.get_message()
                        message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
                        await to_server.send(SessionMessage(message))

        async def write() -> None:
            with from_server, suppress(ConnectionClosed):
                async for message in from_server:
                    await socket.send_message(
                        message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            await server.run(its_input, its_output, server.create_initialization_options())
            nursery.cancel_scope.cancel()

    return talk


# Of bytes


async def read_head(stream: trio.abc.Stream) -> bytes:
    """A request's head."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some()
        if not data:
            break
        head += data
    return bytes(head)


def saying(reply: bytes, *, stay: bool = False) -> Serve:
    """A server that answers the handshake with these bytes, and closes unless it is to stay."""

    async def serve(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(reply)
        if stay:
            await trio.sleep_forever()

    return serve


def switching(head: bytes, **changes: str | None) -> bytes:
    """The answer 101 to the handshake `head`; headers are changed, or left out by None."""
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    headers: dict[str, str | None] = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_accept": generate_accept_token(key.partition(b":")[2].strip()).decode(),
        "sec_websocket_protocol": "mcp",
        **changes,
    }
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n".encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    """A frame as a server sends it (RFC 6455, 5.2), or masked as a client's."""
    masked = 0x80 if mask else 0
    size = len(payload)
    length = bytes([masked | min(size, 126)]) + (struct.pack("!H", size) if size > 125 else b"")
    return bytes([(0x80 if fin else 0) | opcode]) + length + (bytes(4) if mask else b"") + payload


TEXT, CONTINUATION, CLOSE, PING = 1, 0, 8, 9
