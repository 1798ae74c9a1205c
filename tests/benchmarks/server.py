"""A cheap MCP server, as a child process: it prints its port, then answers there with what it has ready.

It speaks HTTP/1.1 by hand and does as little as it can, so that what is measured is the client. Both eras
of the protocol are answered: `server/discover` (26/server/discover) and `initialize`
(2511/basic/lifecycle). It ends when its standard input does, so it never outlives the runner.

The tools:

- `echo`: a small JSON answer.
- `big`: a JSON answer of 1 MB.
- `progress`: an SSE response with 100 progress notifications, each in an HTTP chunk of its own, and the
  answer. All of it is written at once: a client that is slow finds as much to read as one that is fast.
- `hold`: answers when no further `hold` has come for a while, and says how many it held at that time.
- `silent`: never answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from mcp_types import PROTOCOL_VERSION_META_KEY, SERVER_INFO_META_KEY

from .machine import allow_many_files
from .works import BIG_BYTES, ECHO_TEXT, PROGRESS_COUNT

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
QUIET_SECONDS: Final = 0.25
"""How long `hold` waits for further calls: longer than a client needs to open a thousand connections."""

JSONObject: TypeAlias = dict[str, Any]

_TOOLS: Final = ("echo", "big", "progress", "hold", "silent")
_SERVER_INFO: Final = {"name": "benchmark", "version": "1.0"}
_SESSION: Final = "Mcp-Session-Id: benchmark\r\n"


def big_text() -> str:
    """Text as tools return it: JSON records, whose quotes are escaped when the text is put into JSON."""
    line = (
        '{"id": %06d, "name": "record", "tags": ["one", "two"], "note": "plain words, as in most answers"}\n'
    )
    return "".join(line % number for number in range(BIG_BYTES // len(json.dumps(line))))


def result(modern: bool, fields: Mapping[str, Any]) -> bytes:
    """A result as JSON, with what a modern one carries besides."""
    extra = {"resultType": "complete", "_meta": {SERVER_INFO_META_KEY: _SERVER_INFO}} if modern else {}
    return json.dumps({**extra, **fields}).encode()


def text_result(modern: bool, text: str) -> bytes:
    return result(modern, {"content": [{"type": "text", "text": text}]})


def tool(name: str) -> JSONObject:
    return {"name": name, "description": f"The tool {name}.", "inputSchema": {"type": "object"}}


_LISTING: Final = {"tools": [tool(name) for name in _TOOLS]}
_FRESH: Final = {"ttlMs": 60_000, "cacheScope": "public"}
_TEXTS: Final = {"echo": ECHO_TEXT, "big": big_text(), "progress": "done"}
_CALLS: Final = {
    (modern, name): text_result(modern, text) for modern in (True, False) for name, text in _TEXTS.items()
}
_RESULTS: Final = {
    (True, "server/discover"): result(
        True, {"supportedVersions": [MODERN, LEGACY], "capabilities": {"tools": {}}, **_FRESH}
    ),
    (False, "initialize"): result(
        False, {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": _SERVER_INFO}
    ),
    (True, "tools/list"): result(True, {**_LISTING, **_FRESH}),
    (False, "tools/list"): result(False, _LISTING),
    (False, "ping"): b"{}",
}


def response(status: str, body: bytes = b"", headers: str = "") -> bytes:
    kind = "Content-Type: application/json\r\n" if body else ""
    head = f"HTTP/1.1 {status}\r\n{kind}{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer(request_id: object, result: bytes) -> bytes:
    """The JSON-RPC answer: the result is spliced in as it is."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(request_id).encode(), result)


def error(request_id: object, code: int, message: str) -> bytes:
    failure = {"code": code, "message": message}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": failure}).encode()


def progress_response(request_id: object, token: object, result: bytes) -> bytes:
    """An SSE response, as chunks."""
    start, end = (
        f'{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{json.dumps(token)},'
        '"progress":',
        f',"total":{PROGRESS_COUNT},"message":"still at work"}}}}',
    )
    messages = [f"{start}{step}{end}".encode() for step in range(1, PROGRESS_COUNT + 1)]
    messages.append(answer(request_id, result))
    events = [b"event: message\r\ndata: %b\r\n\r\n" % message for message in messages]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\n\r\n"


class Held:
    """The calls of `hold` that wait for their answer."""

    def __init__(self) -> None:
        self._release: list[Callable[[int], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, release: Callable[[int], None]) -> None:
        """Have `release` called with the number of calls that are held when all have come."""
        self._release.append(release)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._release_all)

    def _release_all(self) -> None:
        released, self._release = self._release, []
        for release in released:
            release(len(released))


class Peer(asyncio.Protocol):
    """One connection: requests one after the other, each with a body of a stated length."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._unread = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._unread[:end]).decode("latin-1")
            begin = end + 4
            length = _content_length(head)
            if length is None:
                self._transport.write(response("411 Length Required", headers="Connection: close\r\n"))
                self._transport.close()
                return
            if len(self._unread) < begin + length:
                return
            body = bytes(self._unread[begin : begin + length])
            del self._unread[: begin + length]
            self._serve(head.partition(" ")[0], body)

    def _serve(self, method: str, body: bytes) -> None:
        if method == "DELETE":
            self._transport.write(response("200 OK"))
        elif method != "POST":
            self._transport.write(response("405 Method Not Allowed", headers="Allow: POST, DELETE\r\n"))
        else:
            try:
                message = json.loads(body)
                self._answer(message, message.get("params") or {})
            except (ValueError, AttributeError):
                self._transport.write(response("400 Bad Request", error(None, -32700, "not a message")))

    def _answer(self, message: JSONObject, params: JSONObject) -> None:
        request_id, method = message.get("id"), message.get("method")
        if request_id is None or method is None:  # a notification, or the answer to a request
            self._transport.write(response("202 Accepted"))
            return
        meta = params.get("_meta") or {}
        modern = PROTOCOL_VERSION_META_KEY in meta
        if method == "tools/call":
            self._call(request_id, modern, params.get("name"), meta)
        elif (ready := _RESULTS.get((modern, method))) is not None:
            headers = _SESSION if method == "initialize" else ""
            self._transport.write(response("200 OK", answer(request_id, ready), headers))
        else:
            status = "404 Not Found" if modern else "200 OK"
            self._transport.write(response(status, error(request_id, -32601, f"no method {method}")))

    def _call(self, request_id: object, modern: bool, name: object, meta: JSONObject) -> None:
        def release(count: int) -> None:
            self._transport.write(response("200 OK", answer(request_id, text_result(modern, str(count)))))

        if name == "silent":
            return
        if name == "hold":
            self._held.add(release)
        elif not isinstance(name, str) or (modern, name) not in _CALLS:
            self._transport.write(response("200 OK", error(request_id, -32602, f"no tool {name!r}")))
        elif name == "progress":
            token = meta.get("progressToken")
            self._transport.write(progress_response(request_id, token, _CALLS[modern, name]))
        else:
            self._transport.write(response("200 OK", answer(request_id, _CALLS[modern, name])))


def _content_length(head: str) -> int | None:
    """The length of the body; None where it is told in another way."""
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        match name.lower():
            case "content-length":
                return int(value)
            case "transfer-encoding":
                return None
    return 0


async def serve() -> None:
    loop, held = asyncio.get_running_loop(), Held()
    server = await loop.create_server(lambda: Peer(held), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    end = asyncio.Event()
    loop.add_reader(sys.stdin, end.set)
    await end.wait()


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(serve())
