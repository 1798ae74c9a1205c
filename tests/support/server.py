"""An MCP endpoint in memory, scripted by a test: HTTP without sockets, on whatever clock runs.

server = Server(version="2025-11-25")
server.on["tools/call"] = lambda seen: seen.result({"content": []})
async with server.connect() as c:
    await c.call_tool("x")
assert server.methods() == [...]
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx2
import trio

from trio_mcp import open_connector
from trio_mcp.connector import Connector
from trio_mcp.protocol.versions import is_modern

URL = "http://server.test/mcp"
HANG = None
"""A piece of a stream after which nothing comes any more, and the stream stays open."""

Json: TypeAlias = dict[str, Any]
Piece: TypeAlias = "bytes | str | Json | float | None | BaseException"


class Stream(httpx2.AsyncByteStream):
    """A response body in pieces: bytes and text as they are, objects as SSE events, numbers as pauses in
    seconds, exceptions as breaks, and `HANG`."""

    def __init__(self, seen: Seen, pieces: tuple[Piece, ...]) -> None:
        self._seen = seen
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await trio.lowlevel.checkpoint()
            match piece:
                case None:
                    await trio.sleep_forever()
                case int() | float():
                    await trio.sleep(piece)
                case BaseException():
                    raise piece
                case bytes():
                    yield piece
                case str():
                    yield piece.encode()
                case _:
                    yield event(piece)
        self._seen.finished = True
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._seen.closed.set()
        await trio.lowlevel.checkpoint()


@dataclass
class Seen:
    """A request as the server saw it, and the ways to answer it."""

    verb: str
    headers: Mapping[str, str]
    message: Any
    time: float
    closed: trio.Event = field(default_factory=trio.Event)
    """Set when the client has let go of the response."""
    finished: bool = False
    """Whether the response was read to its end."""

    @property
    def id(self) -> Any:
        return self.message["id"]

    @property
    def params(self) -> Json:
        return self.message.get("params") or {}

    def reply(
        self,
        *pieces: Piece,
        status: int = 200,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        content_type = {} if type is None else {"content-type": type}
        return httpx2.Response(
            status, headers={**content_type, **(headers or {})}, stream=Stream(self, pieces)
        )

    def json(
        self, value: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        return self.reply(json.dumps(value), status=status, type="application/json", headers=headers)

    def answer(self, result: Json) -> Json:
        return {"jsonrpc": "2.0", "id": self.id, "result": result}

    def result(self, result: Json, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        return self.json(self.answer(result), headers=headers)

    def error(self, code: int, text: str = "no", status: int = 200, data: object = None) -> httpx2.Response:
        error = {"code": code, "message": text, **({} if data is None else {"data": data})}
        return self.json({"jsonrpc": "2.0", "id": self.id, "error": error}, status=status)

    def sse(self, *pieces: Piece) -> httpx2.Response:
        return self.reply(*pieces, type="text/event-stream")


def event(message: object, id: str | None = None, retry: int | str | None = None) -> bytes:
    """One server-sent event."""
    lines = [] if id is None else [f"id: {id}"]
    lines += [] if retry is None else [f"retry: {retry}"]
    data = message if isinstance(message, str) else json.dumps(message)
    return "\n".join([*lines, f"data: {data}", "", ""]).encode()


def notification(method: str, params: Json | None = None) -> Json:
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}


def progress(token: object, value: float, total: float | None = None, message: str | None = None) -> Json:
    params = {"progressToken": token, "progress": value, "total": total, "message": message}
    return notification("notifications/progress", {k: v for k, v in params.items() if v is not None})


def request(id: object, method: str, params: Json | None = None) -> Json:
    return {**notification(method, params), "id": id}


Handler: TypeAlias = Callable[[Seen], httpx2.Response | Awaitable[httpx2.Response]]


class Server(httpx2.AsyncBaseTransport):
    """Answers by `on[method]`; for what is not a request, by `on["GET"]`, `on["DELETE"]` and `on["answer"]`.

    Args:
        version: what it speaks.
        session_id: what it names its session, if it is a legacy server.
    """

    def __init__(self, version: str = "2026-07-28", session_id: str | None = "session-1") -> None:
        self.version = version
        self.session_id = session_id
        self.seen: list[Seen] = []
        self.on: dict[str, Handler] = {
            "server/discover": self._discover,
            "initialize": self._initialize,
            "GET": lambda seen: seen.reply(status=405),
            "DELETE": lambda seen: seen.reply(status=200),
        }

    def connect(self, **options: Any) -> Connector:
        """A connector to this server."""
        return open_connector(URL, http_client=self.client(), **options)

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=self, trust_env=False)

    def methods(self) -> list[str]:
        """What it was asked, in order: JSON-RPC methods, "answer" for answers, and HTTP verbs."""
        return [_key(seen) for seen in self.seen]

    def all(self, key: str) -> list[Seen]:
        return [seen for seen in self.seen if _key(seen) == key]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        seen = Seen(request.method, request.headers, json.loads(body) if body else None, trio.current_time())
        self.seen.append(seen)
        await trio.lowlevel.checkpoint()
        handler = self.on.get(_key(seen))
        if handler is None:
            if seen.message is not None and "method" in seen.message and "id" in seen.message:
                return seen.error(-32601, f"no method {seen.message['method']}")
            return seen.reply(status=202)
        reply = handler(seen)
        return reply if isinstance(reply, httpx2.Response) else await reply

    def _discover(self, seen: Seen) -> httpx2.Response:
        if not is_modern(self.version):
            return seen.error(-32601, "unknown method", status=400)
        return seen.result(
            {
                "resultType": "complete",
                "supportedVersions": [self.version],
                "capabilities": {"tools": {}},
                "instructions": "be kind",
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "memory", "version": "1"}},
            }
        )

    def _initialize(self, seen: Seen) -> httpx2.Response:
        headers = {} if self.session_id is None else {"mcp-session-id": self.session_id}
        return seen.result(
            {
                "protocolVersion": self.version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "memory", "version": "1"},
                "instructions": "be kind",
            },
            headers=headers,
        )


def _key(seen: Seen) -> str:
    if seen.message is None:
        return seen.verb
    return str(seen.message.get("method", "answer"))
