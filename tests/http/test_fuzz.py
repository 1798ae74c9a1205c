"""Responses with random damage: out comes a result or one typed error, soon, and the next call succeeds."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import trio_mcp
from tests.http.site import Site, memory_site
from tests.protocol.strategies import repeatable
from trio_mcp.testing import HttpExchange, MemoryNetwork

URL = "http://server.test/mcp"
SILENCE = 10
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
DONE = {"content": [{"type": "text", "text": "done"}]}

# A whole response

Build = Callable[[bytes], bytes]


def head(*lines: str) -> bytes:
    common = [
        "HTTP/1.1 200 OK",
        "Server: x",
        "Set-Cookie: a=1; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT",
    ]
    return "\r\n".join([*common, *lines, "", ""]).encode()


def with_length(body: bytes, *lines: str, type: str = "application/json") -> bytes:
    return head(f"content-type: {type}", f"content-length: {len(body)}", *lines) + body


def in_chunks(*pieces: bytes, lines: tuple[str, ...] = (), type: str = "application/json") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return head(f"content-type: {type}", "transfer-encoding: chunked", *lines) + body


def events(message: bytes) -> list[bytes]:
    return [b": hello\n\n", b"id: 1\nevent: message\nretry: 10\ndata: ", message, b"\n\n"]


BUILDS: Final[dict[str, Build]] = {
    "a length": with_length,
    "chunks": lambda message: in_chunks(message[:9], message[9:]),
    "gzip": lambda message: with_length(gzip.compress(message, mtime=0), "content-encoding: gzip"),
    "an interim response": lambda message: b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + with_length(message),
    "events": lambda message: in_chunks(*events(message), type="text/event-stream"),
    "events in gzip": lambda message: in_chunks(
        gzip.compress(b"".join(events(message)), mtime=0),
        lines=("content-encoding: gzip",),
        type="text/event-stream",
    ),
    "until the end": lambda message: head("content-type: application/json") + message,
}

# Damage

FRAGMENTS: Final = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\x00",
    b"\xff",
    b"0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    b"\r\ncontent-length: 3",
    b"\r\ntransfer-encoding: chunked",
    b"\r\ncontent-encoding: deflate",
    b"\r\nconnection: close",
    b"\r\nlocation: /mcp",
    b"\r\nset-cookie: b=\xff",
    b"data: {}\n\n",
    b"}",
    b"9" * 20,
    b"x" * 70_000,
]
Damage = tuple[str, int, int, bytes]
damages: Final[st.SearchStrategy[list[Damage]]] = st.lists(
    st.tuples(
        st.sampled_from(["cut off", "take out", "put in", "put over", "repeat", "status"]),
        st.integers(0, 1 << 16),
        st.integers(1, 40),
        st.sampled_from(FRAGMENTS) | st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data: bytes, damage: list[Damage]) -> bytes:
    for kind, place, size, fragment in damage:
        start = place % (len(data) + 1)
        part = data[start : start + size]
        match kind:
            case "cut off":
                data = data[:start]
            case "take out":
                data = data[:start] + data[start + size :]
            case "put in":
                data = data[:start] + fragment + data[start:]
            case "put over":
                data = data[:start] + fragment + data[start + len(fragment) :]
            case "repeat":
                data = data[:start] + part + data[start:]
            case "status":
                data = data.replace(b" 200 ", b" %d " % (100 + place % 500), 1)
    return data


# A server that does it once


class Case(NamedTuple):
    build: str
    damage: list[Damage]
    piece: int  # bytes at a time; 0 for all at once
    end: str


cases: Final[st.SearchStrategy[Case]] = st.builds(
    Case,
    st.sampled_from(sorted(BUILDS)),
    damages,
    st.sampled_from([0, 0, 1, 7, 100]),
    st.sampled_from(["hangs up", "waits for more"]),
)


class Damaging:
    """Answers `method` once by damaged bytes, and all else as it should be."""

    def __init__(self, site: Site, method: str, case: Case) -> None:
        self.method, self.case = method, case
        self.armed = True
        site.handler = self.answer

    async def answer(self, exchange: HttpExchange) -> None:
        message = json.loads(exchange.request.body)
        result = DISCOVERED if message["method"] == "server/discover" else DONE
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        if not (self.armed and message["method"] == self.method):
            await exchange.respond(200, [("content-type", "application/json")], body)
            return
        self.armed = False
        data = damaged(BUILDS[self.case.build](body), self.case.damage)
        step = max(self.case.piece, len(data) // 500, 1) if self.case.piece else max(len(data), 1)
        for start in range(0, max(len(data), 1), step):  # nothing at all is sent, too
            await exchange.send_raw(data[start : start + step])
        if self.case.end == "hangs up":
            await exchange.cut()


def run(main: Callable[[MemoryNetwork, Site], Any]) -> Any:
    async def with_site() -> Any:
        network = MemoryNetwork()
        async with trio.open_nursery() as nursery:
            result = await main(network, memory_site(network, nursery))
            nursery.cancel_scope.cancel()
        return result

    return trio.run(with_site, clock=trio.testing.MockClock(autojump_threshold=0))


def connector(network: MemoryNetwork) -> trio_mcp.Connector:
    return trio_mcp.open_connector(URL, network=network, timeout=5, sse_read_timeout=SILENCE)


async def call(c: trio_mcp.Connector) -> None:
    result = await c.call_tool("x")
    assert result.model_dump()["content"][0]["text"] == "done"


def what_a_call_comes_to(case: Case) -> str:
    async def main(network: MemoryNetwork, site: Site) -> str:
        Damaging(site, "tools/call", case)
        async with connector(network) as c:
            outcome = "a result"
            try:
                await c.call_tool("x")
            except trio_mcp.ConnectorError as exc:
                assert not isinstance(exc, trio_mcp.InternalError)
                outcome = type(exc).__name__
            # The answer, and what an error's body says.
            assert trio.current_time() <= SILENCE + 5
            await trio.testing.wait_all_tasks_blocked()  # what comes too late is not mixed up with the next
            before = trio.current_time()
            await call(c)
            assert trio.current_time() == before
        return outcome

    return str(run(main))


def what_connecting_comes_to(case: Case) -> str:
    async def main(network: MemoryNetwork, site: Site) -> str:
        Damaging(site, "server/discover", case)
        outcome = "a result"
        try:
            async with connector(network) as c:
                await c.call_tool("x")
        except trio_mcp.ConnectorError as exc:
            assert not isinstance(exc, trio_mcp.InternalError)
            outcome = type(exc).__name__
        assert trio.current_time() <= 30 + 1  # the deadline of the handshake, and a goodbye
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        async with connector(network) as c:
            await call(c)
        assert trio.current_time() == before
        await trio.sleep(1)
        assert network.connections == []
        return outcome

    return str(run(main))


def all_outcomes(run_case: Callable[[Case], str]) -> Counter[str]:
    outcomes: Counter[str] = Counter()

    @settings(repeatable, max_examples=250)
    @given(cases)
    def each(case: Case) -> None:
        outcomes[run_case(case)] += 1

    each()
    return outcomes


def test_a_call_that_is_answered_by_damage_fails_alone_and_soon() -> None:
    outcomes = all_outcomes(what_a_call_comes_to)
    # The damage is neither too small nor too great to tell anything.
    assert outcomes.keys() >= {"a result", "ProtocolError", "ConnectionLost", "Stalled", "HTTPStatusError"}


def test_connecting_to_damage_fails_soon_and_leaves_nothing_behind() -> None:
    outcomes = all_outcomes(what_connecting_comes_to)
    assert outcomes.keys() >= {"a result", "ProtocolError", "ConnectionLost", "HTTPStatusError"}


def test_undamaged_every_response_is_a_result() -> None:
    for build in BUILDS:
        for piece in (0, 1, 7):
            case = Case(build, [], piece, "hangs up" if build == "until the end" else "waits for more")
            assert what_a_call_comes_to(case) == what_connecting_comes_to(case) == "a result"
