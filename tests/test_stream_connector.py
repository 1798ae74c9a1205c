"""MCP over a stream that is there already."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_mcp import (
    ConfigurationError,
    ConnectionLost,
    Connector,
    MessageTooLarge,
    NotConnected,
    ReconnectPolicy,
    Stalled,
    StreamConnector,
    wrap_stream,
)

from .transports.wires import DISCOVERED, LEGACY, MODERN, TEXT


class Peer:
    """A server at the other end of a stream, which answers calls by their name."""

    def __init__(self, version: str, stream: trio.abc.Stream) -> None:
        self.seen: list[str] = []
        self.ended = trio.Event()
        self._stream = stream
        self._version = version

    async def serve(self) -> None:
        unread = b""
        async for data in self._stream:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                self.seen.append(message["method"])
                result = self._answer(message)
                if result is not None:
                    answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
                    with suppress(trio.BrokenResourceError):  # nobody waits for it any more
                        await self._stream.send_all(json.dumps(answer).encode() + b"\n")
        self.ended.set()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        match message["method"]:
            case "server/discover" if self._version == MODERN:
                return DISCOVERED
            case "initialize":
                info = {"name": "s", "version": "1"}
                return {"protocolVersion": LEGACY, "serverInfo": info, "capabilities": {}}
            case "tools/call":
                return TEXT
        return None


def streams(nursery: trio.Nursery, version: str = MODERN) -> tuple[Any, Peer]:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(version, theirs)
    nursery.start_soon(peer.serve)
    return ours, peer


@pytest.mark.parametrize("version", [MODERN, LEGACY])
async def test_a_stream_is_spoken_over_and_closed_in_the_end(
    version: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stream, peer = streams(nursery, version)
    c = await wrap_stream(nursery, stream, protocol_version=version)
    assert (c.transport, c.protocol_version, c.public_identifier) == (
        "stream",
        version,
        "stream:StapledStream",
    )
    assert (await c.call_tool("x")).content
    await c.aclose()
    await peer.ended.wait()
    assert not c.is_connected
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")
    assert trio.current_time() == 0


async def test_it_is_a_block_as_well(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    stream, peer = streams(nursery)
    async with StreamConnector(stream) as c:
        assert isinstance(c, Connector)
        await c.call_tool("x")
    await peer.ended.wait()


async def test_cancelling_the_nursery_ends_it(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            stream, peer = streams(outer)
            await wrap_stream(nursery, stream)
            nursery.cancel_scope.cancel()
        await peer.ended.wait()
    assert trio.current_time() == 0


async def test_a_stream_that_ends_ends_the_calls_and_is_not_replaced(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(MODERN, theirs)
    async with trio.open_nursery() as serving:
        serving.start_soon(peer.serve)
        c = await wrap_stream(nursery, ours)
        serving.cancel_scope.cancel()
    await theirs.aclose()
    with pytest.raises(ConnectionLost, match="stream:StapledStream: the server closed the connection"):
        await c.call_tool("x")
    assert not c.is_connected
    await c.aclose()


async def test_where_the_handshake_fails_the_stream_is_closed(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionLost):
            await wrap_stream(nursery, ours)
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_cancelled_before_anything_was_sent_it_closes_the_stream(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with StreamConnector(ours):
            pass
    assert scope.cancelled_caught
    assert await theirs.receive_some() == b""


async def test_a_large_message_that_is_taken_slowly_is_no_stall(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    to_peer, from_us = trio.testing.memory_stream_one_way_pair()
    to_us, from_peer = trio.testing.memory_stream_one_way_pair()
    taken: list[int] = []

    async def take_slowly() -> None:
        await trio.sleep(3)
        taken.append(1)
        trio.testing.memory_stream_pump(to_peer, from_us)

    peer = Peer(MODERN, trio.StapledStream(to_us, from_us))
    nursery.start_soon(peer.serve)
    c = await wrap_stream(nursery, trio.StapledStream(to_peer, from_peer), timeout=5)
    to_peer.send_all_hook = take_slowly
    assert (await c.call_tool("x", {"text": "x" * 300_000})).content
    assert len(taken) == 5
    to_peer.send_all_hook = trio.sleep_forever
    with pytest.raises(Stalled):
        await c.call_tool("x")
    assert trio.current_time() == 20
    await c.aclose()


async def test_a_line_beyond_the_limit_is_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    stream, _ = streams(nursery)
    with pytest.raises(MessageTooLarge, match="more than 20 bytes"):
        await wrap_stream(nursery, stream, max_message_size=20)


@pytest.mark.parametrize("ends_by", ["error", "hang"])
async def test_a_stream_that_does_not_close_well_holds_nothing_up(
    ends_by: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Awkward(trio.abc.SendStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await ours.send_stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            ours.send_stream.close()
            if ends_by == "error":
                raise trio.BrokenResourceError
            await trio.sleep_forever()

    ours, _ = streams(nursery)
    c = await wrap_stream(nursery, trio.StapledStream(Awkward(), ours.receive_stream), goodbye_timeout=2)
    await c.aclose()
    assert trio.current_time() == (0 if ends_by == "error" else 2)


async def test_aclose_while_a_call_is_in_flight_ends_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stream, peer = streams(nursery)
    c = await wrap_stream(nursery, stream)
    peer._version = ""

    async def close() -> None:
        await trio.sleep(1)
        await c.aclose()

    nursery.start_soon(close)
    with pytest.raises(NotConnected):
        await c.request("x/never", None, dict)
    assert trio.current_time() == 1


async def test_what_cannot_be_is_refused_before_the_stream_is_touched(nursery: trio.Nursery) -> None:
    with pytest.raises(ConfigurationError, match="stream must be a trio.abc.Stream, not int"):
        StreamConnector(3)  # type: ignore[arg-type]
    stream, _ = streams(nursery)
    with pytest.raises(ConfigurationError):
        await wrap_stream(nursery, stream, timeout=0)
    with pytest.raises(TypeError):
        await wrap_stream(nursery, stream, reconnect=ReconnectPolicy())  # type: ignore[call-arg]
    await stream.send_all(b"")
    nursery.cancel_scope.cancel()
