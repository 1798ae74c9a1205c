"""A legacy server (2025-11-25) over Streamable HTTP that misbehaves, at `/CLIENT/SCENARIO` in its own way."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import trio

from trio_mcp.testing import HttpExchange, serve_http

__all__ = ["serve"]

Json = dict[str, Any]
JSON = ("content-type", "application/json")
SSE = ("content-type", "text/event-stream")
DONE: Json = {"content": [{"type": "text", "text": "done"}]}
INITIALIZED: Json = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "misbehaving", "version": "1"},
}
PROGRESS = 20


def event(message: Json) -> bytes:
    return f"event: message\ndata: {json.dumps(message)}\n\n".encode()


def tool(name: str) -> Json:
    return {"name": name, "inputSchema": {"type": "object"}}


class Misbehaving:
    """The server. What it knows, it knows by path: of one client in one scenario."""

    def __init__(self) -> None:
        self.sessions: dict[str, int] = {}
        self.expired: set[str] = set()
        self.calls: dict[str, int] = {}
        self.cancelled: dict[str, bool] = {}

    async def answer(self, exchange: HttpExchange) -> None:
        path = exchange.request.target
        if exchange.request.method == "DELETE" and path.endswith("/close"):
            await trio.sleep_forever()
        if exchange.request.method != "POST":
            await exchange.respond(405 if exchange.request.method == "GET" else 200)
            return
        message = json.loads(exchange.request.body)
        method, id = message.get("method"), message.get("id")
        if exchange.request.headers.get("mcp-session-id") in self.expired:
            await exchange.respond(404)
        elif method == "initialize":
            await self.initialize(exchange, path, id)
        elif method == "notifications/cancelled":
            self.cancelled[path] = True
            await exchange.respond(202)
        elif id is None:
            await exchange.respond(202)
        elif method == "tools/list":
            await self.list_tools(exchange, path, message)
        elif method == "tools/call":
            await self.call_tool(exchange, path, message)
        else:
            error = {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}}
            await exchange.respond(400, [JSON], json.dumps(error).encode())

    async def reply(self, exchange: HttpExchange, id: object, result: Json, *more: tuple[str, str]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()
        await exchange.respond(200, [JSON, *more], body)

    async def initialize(self, exchange: HttpExchange, path: str, id: object) -> None:
        number = self.sessions[path] = self.sessions.get(path, 0) + 1
        self.calls[path], self.cancelled[path] = 0, False
        await self.reply(exchange, id, INITIALIZED, ("mcp-session-id", f"{path}-{number}"))

    async def list_tools(self, exchange: HttpExchange, path: str, message: Json) -> None:
        id = message["id"]
        if path.endswith("/list-error"):
            error = {"code": -32000, "message": "no list today"}
            body = json.dumps({"jsonrpc": "2.0", "id": id, "error": error}).encode()
            await exchange.respond(200, [JSON], body)
        elif not path.endswith("/pages"):
            await self.reply(exchange, id, {"tools": [tool("x")]})
        elif "cursor" in (message.get("params") or {}):
            await self.reply(exchange, id, {"tools": [tool("c"), tool("d")]})
        else:
            await self.reply(exchange, id, {"tools": [tool("a"), tool("b")], "nextCursor": "2"})

    async def call_tool(self, exchange: HttpExchange, path: str, message: Json) -> None:
        id, name = message["id"], message["params"]["name"]
        self.calls[path] += 1
        match path.rpartition("/")[2]:
            case "cut":
                await exchange.start(200, [SSE])
                await exchange.finish(b": nothing more\n\n")
            case "wrong-id":
                await self.reply(exchange, "another", DONE)
            case "status":
                await exchange.respond(503, [("retry-after", "7")], b"busy")
            case "reset" if self.calls[path] == 1:
                await exchange.cut()
            case "expired" if self.sessions[path] == 1:
                self.expired.add(f"{path}-1")
                await exchange.respond(404)
            case "progress":
                token = message["params"]["_meta"]["progressToken"]
                await exchange.start(200, [SSE])
                for number in range(PROGRESS):
                    params = {"progressToken": token, "progress": number + 1, "total": PROGRESS}
                    await exchange.send(
                        event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
                    )
                await exchange.finish(event({"jsonrpc": "2.0", "id": id, "result": DONE}))
            case "cancel" if name == "told":
                text = "yes" if self.cancelled[path] else "no"
                await self.reply(exchange, id, {"content": [{"type": "text", "text": text}]})
            case "cancel":
                await trio.sleep_forever()
            case _:
                await self.reply(exchange, id, DONE)


async def serve(*, task_status: trio.TaskStatus[str]) -> None:
    """Serve on a free port of the loopback interface; the task's value is the URL that paths are added to."""
    handle = partial(serve_http, handler=Misbehaving().answer, cancel_on_disconnect=True)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        task_status.started(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
