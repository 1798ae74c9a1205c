"""HTTP as it comes over a real socket: odd but lawful responses are read, unlawful ones are typed errors."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

import trio_mcp

CRLF = "\r\n"
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
DONE = {"content": [{"type": "text", "text": "done"}]}


def answer(result: dict[str, Any], id: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()


def http(
    body: bytes, *headers: str, status: str = "HTTP/1.1 200 OK", type: str = "application/json"
) -> bytes:
    head = [status, f"content-type: {type}", *headers]
    if not any(h.startswith(("transfer-encoding", "content-length", "connection")) for h in headers):
        head.append(f"content-length: {len(body)}")
    return (CRLF.join(head) + CRLF * 2).encode() + body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


Send = Callable[[trio.SocketStream, bytes], Awaitable[None]]


async def at_once(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)


async def byte_by_byte(stream: trio.SocketStream, data: bytes) -> None:
    for n in range(len(data)):
        await stream.send_all(data[n : n + 1])
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serving(respond: Callable[[Any], bytes | None], send: Send = at_once) -> AsyncGenerator[str]:
    """A server that answers `tools/call` by the bytes that `respond` gives for its id, and then hangs up."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            while (received := await read_request(stream)) is not None:
                if received["method"] == "server/discover":
                    await stream.send_all(http(answer(DISCOVERED, received["id"])))
                    continue
                data = respond(received["id"])
                if data is None:
                    return
                try:
                    await send(stream, data)
                except trio.BrokenResourceError:
                    return
                return

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{port}/mcp"
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> Any:
    data = b""
    while b"\r\n\r\n" not in data or len(data) < length_of(data):
        more = await stream.receive_some()
        if not more:
            return None
        data += more
    return json.loads(data.partition(b"\r\n\r\n")[2])


def length_of(data: bytes) -> int:
    head, separator, _ = data.partition(b"\r\n\r\n")
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return len(head) + len(separator) + int(length.split(b":")[1])


GOOD: dict[str, Callable[[Any], bytes]] = {
    "plain": lambda id: http(answer(DONE, id)),
    "chunks": lambda id: http(
        chunked(answer(DONE, id)[:9], answer(DONE, id)[9:]), "transfer-encoding: chunked"
    ),
    "until the connection closes": lambda id: http(answer(DONE, id), "connection: close"),
    "HTTP/1.0": lambda id: http(answer(DONE, id), "connection: close", status="HTTP/1.0 200 OK"),
    "gzip": lambda id: http(gzip.compress(answer(DONE, id)), "content-encoding: gzip"),
    "deflate": lambda id: http(zlib.compress(answer(DONE, id)), "content-encoding: deflate"),
    "a compressed stream": lambda id: http(
        chunked(gzip.compress(b"data: " + answer(DONE, id) + b"\n\n")),
        "transfer-encoding: chunked",
        "content-encoding: gzip",
        type="text/event-stream",
    ),
    "1xx first": lambda id: b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + http(answer(DONE, id)),
    "many headers": lambda id: http(answer(DONE, id), *[f"x-{n}: {n}" for n in range(90)]),
}

BAD: dict[str, tuple[Callable[[Any], bytes | None], type[Exception]]] = {
    "a hang-up": (lambda id: None, trio_mcp.ConnectionLost),
    "no HTTP": (lambda id: b"SSH-2.0-OpenSSH\r\n\r\n", trio_mcp.ProtocolError),
    "a truncated body": (lambda id: http(b"{", "content-length: 99")[:-1] + b"{", trio_mcp.ConnectionLost),
    "a broken chunk": (
        lambda id: http(b"zz\r\n{}\r\n", "transfer-encoding: chunked"),
        trio_mcp.ProtocolError,
    ),
    "broken gzip": (
        lambda id: http(b"not gzip", "content-encoding: gzip", "connection: close"),
        trio_mcp.ProtocolError,
    ),
    "two lengths": (
        lambda id: http(answer(DONE, id), "content-length: 5", "content-length: 6"),
        trio_mcp.ProtocolError,
    ),
    "an endless header": (
        lambda id: b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        trio_mcp.ProtocolError,
    ),
}


async def call(url: str) -> str:
    with trio.fail_after(20):
        async with trio_mcp.open_connector(url) as c:
            result = await c.call_tool("x")
    return str(result.content[0].model_dump()["text"])


@pytest.mark.parametrize("send", [at_once, byte_by_byte])
@pytest.mark.parametrize("name", GOOD)
async def test_lawful_responses_are_read(name: str, send: Send) -> None:
    async with serving(GOOD[name], send) as url:
        assert await call(url) == "done"


@pytest.mark.parametrize("name", BAD)
async def test_unlawful_responses_fail_that_call_and_no_other(name: str) -> None:
    respond, error = BAD[name]
    broken = True
    async with serving(lambda id: respond(id) if broken else http(answer(DONE, id))) as url:
        with trio.fail_after(20):
            async with trio_mcp.open_connector(url) as c:
                with pytest.raises(error) as caught:
                    await c.call_tool("x")
                assert isinstance(caught.value, trio_mcp.ConnectorError)
                broken = False
                await c.call_tool("x")


async def test_many_calls_cancelled_together_leave_the_pool_usable() -> None:
    async with serving(lambda id: http(answer(DONE, id)) if id % 2 else b"HTTP/1.1 200 OK\r\n") as url:
        with trio.fail_after(20):
            async with trio_mcp.open_connector(url, max_connections=3) as c:
                for _ in range(5):
                    async with trio.open_nursery() as nursery:
                        for _ in range(20):
                            nursery.start_soon(quietly, c)
                        await trio.sleep(0)
                        nursery.cancel_scope.cancel()
                for _ in range(4):
                    await quietly(c)
                statistics = c.statistics()
    assert statistics.requests_in_flight == 0


async def quietly(c: trio_mcp.Connector) -> None:
    with suppress(trio_mcp.ConnectorError):
        await c.call_tool("x")
