"""A server that breaks on purpose and keeps a ledger, as a child process.

    python -m tests.soak.server SEED ERA CALLS_BETWEEN_RESTARTS

It prints its port, and ends when its standard input does. Calls of the tool `work` carry a `nonce`; it writes
each that it carries out into its ledger, which a GET of `/ledger` gives. By chance, it resets the connection
before it has read the call up or after it has carried it out, breaks its answer off, refuses it, or takes its
time. Every so many calls it restarts: all connections are reset, sessions are forgotten, and for a moment
nobody listens; the ledger stays.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any, Final

from mcp_types import PROTOCOL_VERSION_META_KEY

from tests.benchmarks.machine import allow_many_files
from tests.benchmarks.server import LEGACY, MODERN, answer, error, response, result, text_result, tool

FAULTS: Final = {
    "reset before": 0.01,
    "reset after": 0.01,
    "break off": 0.005,
    "refuse": 0.005,
    "slow": 0.02,
}
"""What befalls a call, and how likely it is."""
SLOW_SECONDS: Final = 0.02
DOWN_SECONDS: Final = 0.05


class Books:
    """What outlives connections and restarts."""

    def __init__(self, seed: int, era: str, between: int) -> None:
        self.modern: Final = era == "modern"
        self.ledger: Counter[int] = Counter()
        self.generation = 1
        self.restarts = 0
        self.faults: Counter[str] = Counter()
        self.peers: set[Peer] = set()
        self.restart = asyncio.Event()
        self._rng = random.Random(seed)
        self._between = between
        self._calls = 0

    def draw(self) -> str | None:
        """What befalls the next call."""
        self._calls += 1
        if self._between and self._calls % self._between == 0:
            self.restart.set()
        drawn = self._rng.random()
        for name, chance in FAULTS.items():
            if drawn < chance:
                self.faults[name] += 1
                return name
            drawn -= chance
        return None


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._unread = bytearray()
        self._busy: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._books.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._books.peers.discard(self)
        if self._busy is not None:
            self._busy.cancel()

    def reset(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            lines = bytes(self._unread[:end]).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            size = end + 4 + int(headers.get("content-length", 0))
            if len(self._unread) < size:
                return
            body = bytes(self._unread[end + 4 : size])
            del self._unread[:size]
            self._serve(lines[0].split(" "), headers, body)

    def _serve(self, line: list[str], headers: dict[str, str], body: bytes) -> None:
        verb, target, _ = line
        if target == "/ledger":
            told = {
                "ledger": self._books.ledger,
                "restarts": self._books.restarts,
                "faults": self._books.faults,
            }
            self._transport.write(response("200 OK", json.dumps(told).encode()))
            return
        session = headers.get("mcp-session-id")
        if session is not None and session != self._session:
            self._transport.write(response("404 Not Found"))
        elif verb == "POST":
            self._answer(json.loads(body))
        elif verb == "DELETE":
            self._transport.write(response("200 OK"))
        else:
            self._transport.write(response("405 Method Not Allowed"))

    @property
    def _session(self) -> str:
        return f"session-{self._books.generation}"

    def _answer(self, message: dict[str, Any]) -> None:
        id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
        if id is None or method is None:
            self._transport.write(response("202 Accepted"))
            return
        modern = PROTOCOL_VERSION_META_KEY in (params.get("_meta") or {})
        fresh = {"ttlMs": 60_000, "cacheScope": "public"} if modern else {}
        match method:
            case "tools/call":
                self._call(id, modern, params)
            case "server/discover" if self._books.modern:
                found = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, **fresh}
                self._transport.write(response("200 OK", answer(id, result(modern, found))))
            case "initialize" if not self._books.modern:
                info = {"name": "soak", "version": "1"}
                found = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": info}
                head = f"Mcp-Session-Id: {self._session}\r\n"
                self._transport.write(response("200 OK", answer(id, result(False, found)), head))
            case "tools/list":
                listed = {"tools": [tool("work")], **fresh}
                self._transport.write(response("200 OK", answer(id, result(modern, listed))))
            case _:
                status = "404 Not Found" if modern else "200 OK"
                self._transport.write(response(status, error(id, -32601, f"no method {method}")))

    def _call(self, id: object, modern: bool, params: dict[str, Any]) -> None:
        books, nonce = self._books, int(params["arguments"]["nonce"])
        reply = response("200 OK", answer(id, text_result(modern, str(nonce))))
        match books.draw():
            case "reset before":
                self.reset()
            case "refuse":
                self._transport.write(response("503 Service Unavailable", headers="Retry-After: 1\r\n"))
            case "reset after":
                books.ledger[nonce] += 1
                self.reset()
            case "break off":
                books.ledger[nonce] += 1
                self._transport.write(reply[: len(reply) // 2])
                self._transport.close()
            case "slow":
                books.ledger[nonce] += 1
                self._busy = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._transport.write, reply)
            case _:
                books.ledger[nonce] += 1
                self._transport.write(reply)


async def serve(books: Books) -> None:
    loop, port, ended = asyncio.get_running_loop(), 0, asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    while not ended.is_set():
        books.restart.clear()
        server = await loop.create_server(
            lambda: Peer(books), "127.0.0.1", port, backlog=4096, reuse_address=True
        )
        if not port:
            port = server.sockets[0].getsockname()[1]
            print(port, flush=True)
        waits = [asyncio.create_task(books.restart.wait()), asyncio.create_task(ended.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        for peer in list(books.peers):
            peer.reset()
        books.generation += 1
        books.restarts += 1
        await asyncio.sleep(DOWN_SECONDS)


async def main() -> None:
    await serve(Books(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(main())
