"""The streams of a memory network behave as TCP's do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
from trio.testing import (
    MockClock,
    assert_checkpoints,
    check_half_closeable_stream,
    check_two_way_stream,
    wait_all_tasks_blocked,
)

from trio_mcp.network import is_readable
from trio_mcp.testing.memory_network import MemoryNetwork
from trio_mcp.testing.memory_stream import Connection, MemoryStream

from .memory_hosts import bounded, pair

Maker: TypeAlias = Callable[[], Awaitable[tuple[MemoryStream, MemoryStream]]]


def slow() -> MemoryNetwork:
    network = MemoryNetwork()
    network.set_link(latency=0.05, jitter=0.01, bandwidth=1e6)
    return network


async def fast_pair() -> tuple[MemoryStream, MemoryStream]:
    return await pair(MemoryNetwork())


async def slow_pair() -> tuple[MemoryStream, MemoryStream]:
    return await pair(slow())


def clogged(make: Maker) -> Maker:
    async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
        client, server = await make()
        await client.send_all(bytes(65536))
        await server.send_all(bytes(65536))
        return client, server

    return make_clogged


@pytest.mark.parametrize("make", [fast_pair, slow_pair])
async def test_a_pair_passes_trios_own_checks_of_streams(autojump_clock: MockClock, make: Maker) -> None:
    with bounded(steps=1_000_000):
        await check_two_way_stream(make, None)
        await check_half_closeable_stream(make, clogged(make))


async def test_without_latency_data_is_there_at_once(autojump_clock: MockClock) -> None:
    client, server = await pair(MemoryNetwork())
    await client.send_all(b"hello")
    assert await server.receive_some() == b"hello"
    assert trio.current_time() == 0


async def test_what_was_sent_is_not_changed_when_the_senders_buffer_is() -> None:
    client, server = await pair(MemoryNetwork())
    buffer = bytearray(b"hello")
    await client.send_all(buffer)
    buffer[:] = b"HELLO"
    assert await server.receive_some() == b"hello"


async def test_pieces_are_read_together_and_cut_to_size() -> None:
    client, server = await pair(MemoryNetwork())
    for piece in (b"abc", b"def", b"ghi"):
        await client.send_all(piece)
    assert await server.receive_some(4) == b"abcd"
    assert await server.receive_some(2) == b"ef"
    assert await server.receive_some() == b"ghi"


async def test_at_most_64_kib_come_at_once() -> None:
    network = MemoryNetwork()
    network.set_link(window=100_000)
    client, server = await pair(network)
    await client.send_all(bytes(100_000))
    assert len(await server.receive_some()) == 65536


async def test_a_peer_that_never_reads_stalls_the_sender(autojump_clock: MockClock) -> None:
    client, server = await pair(MemoryNetwork())
    with trio.move_on_after(1000) as scope:
        await client.send_all(bytes(65537))
    assert scope.cancelled_caught
    received = 0
    with trio.move_on_after(1):
        while True:
            received += len(await server.receive_some())
    assert received == 65536


async def test_a_sender_goes_on_as_its_peer_reads(autojump_clock: MockClock) -> None:
    client, server = await pair(MemoryNetwork())
    data = bytes(range(256)) * 1000
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, data)
        while len(received) < len(data):
            received += await server.receive_some(1000)
    assert received == data


async def test_the_end_comes_behind_the_bytes_in_flight(autojump_clock: MockClock) -> None:
    client, server = await pair(slow())
    await client.send_all(b"last words")
    await client.aclose()
    assert await server.receive_some() == b"last words"
    assert await server.receive_some() == b""
    assert await server.receive_some() == b""


async def test_a_closed_peer_breaks_sending_once_that_has_arrived(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.set_link(latency=1)
    client, server = await pair(network)
    await server.aclose()
    began = trio.current_time()
    await client.send_all(b"too early to know")
    with pytest.raises(trio.BrokenResourceError) as caught:
        await client.send_all(bytes(100_000))
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    assert trio.current_time() == began + 1
    with pytest.raises(trio.BrokenResourceError):
        await client.wait_send_all_might_not_block()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_eof()


async def test_a_sender_that_waits_learns_that_its_peer_has_closed(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.set_link(latency=1)
    client, server = await pair(network)

    async def close() -> None:
        await trio.sleep(5)
        await server.aclose()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(bytes(100_000))
    assert trio.current_time() == began + 6


@pytest.mark.parametrize("size", [0, 1])
async def test_an_own_end_closes_sending(size: int) -> None:
    client, server = await pair(MemoryNetwork())
    await client.send_eof()
    await client.send_eof()
    with pytest.raises(trio.ClosedResourceError, match="after sending EOF"):
        await client.send_all(bytes(size))
    assert await server.receive_some() == b""
    await server.send_all(b"still there")
    assert await client.receive_some() == b"still there"
    await client.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await client.send_eof()


async def test_closing_wakes_the_own_tasks(autojump_clock: MockClock) -> None:
    client, _ = await pair(slow())

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(bytes(100_000))

    with bounded():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await client.aclose()


async def test_two_tasks_cannot_do_the_same() -> None:
    client, _ = await pair(MemoryNetwork())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.receive_some)
        nursery.start_soon(client.send_all, bytes(100_000))
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="receiving"):
            await client.receive_some()
        with pytest.raises(trio.BusyResourceError, match="sending"):
            await client.send_all(b"")
        nursery.cancel_scope.cancel()


async def test_errors_are_checkpoints_too() -> None:
    client, _ = await pair(MemoryNetwork())
    await client.aclose()
    for call in (client.receive_some, client.send_eof, client.wait_send_all_might_not_block):
        with assert_checkpoints():
            with pytest.raises(trio.ClosedResourceError):
                await call()


async def test_an_idle_stream_tells_whether_something_waits_to_be_read(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.set_link(latency=1)
    client, server = await pair(network)
    assert not is_readable(client)
    await server.send_all(b"x")
    assert not is_readable(client)
    await trio.sleep(1)
    assert is_readable(client)
    await client.receive_some()
    assert not is_readable(client)
    await server.send_eof()
    await trio.sleep(1)
    assert is_readable(client)
    server.connection.reset()
    assert is_readable(server)


def state(stream: MemoryStream) -> str:
    return repr(stream).partition(": ")[2].rstrip(">")


async def test_a_repr_shows_the_state() -> None:
    client, server = await pair(MemoryNetwork())
    assert repr(client) == ("<MemoryStream #1 client of server.test:80: open, 0 B incoming, 0 B outgoing>")
    await client.send_all(b"12345")
    assert state(server) == "open, 5 B incoming, 0 B outgoing"
    await client.send_eof()
    assert state(client) == "half-closed (EOF sent), 0 B incoming, 5 B outgoing"
    await server.receive_some()
    assert state(server) == "half-closed (EOF received), 0 B incoming, 0 B outgoing"
    await server.send_eof()
    assert is_readable(client)
    assert state(client) == "half-closed (EOF sent and received), 0 B incoming, 0 B outgoing"
    await client.aclose()
    assert is_readable(server)
    assert state(client) == "closed, 0 B incoming, 0 B outgoing"
    assert state(server) == "closed by the peer, 0 B incoming, 0 B outgoing"


async def test_a_connections_repr_shows_its_state() -> None:
    client, _ = await pair(MemoryNetwork())
    connection: Connection = client.connection
    assert repr(connection) == "<Connection #1 to server.test:80: live>"
    connection.drop()
    assert repr(connection) == "<Connection #1 to server.test:80: dropped>"
    connection.reset()
    assert state(client) == "reset, 0 B incoming, 0 B outgoing"
    assert repr(connection) == "<Connection #1 to server.test:80: over>"
