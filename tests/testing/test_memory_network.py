"""Hosts, ports and listeners in memory, and what works over them."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
import trio
import trio_websocket
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mcp.network import Network, dial
from trio_mcp.testing.memory_network import MemoryNetwork

from .memory_hosts import HOST, echo, pair, served

# Connecting


async def test_a_server_of_trios_own_serves_over_it() -> None:
    network = MemoryNetwork()
    assert isinstance(network, Network)
    async with served(network), await dial(network, HOST.upper(), 80, None) as stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


async def test_connecting_takes_a_round_trip(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.set_link(HOST, latency=0.25)
    await pair(network)
    assert trio.current_time() == 0.5


async def test_an_unknown_host_has_no_address() -> None:
    with pytest.raises(socket.gaierror):
        await MemoryNetwork().open_stream(HOST, 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", HOST])
async def test_a_port_that_nobody_listens_on_refuses_as_tcp_does(host: str) -> None:
    network = MemoryNetwork()
    network.link(HOST)
    with pytest.raises(OSError, match="all attempts to connect to .*:80 failed") as caught:
        await network.open_stream(host, 80)
    assert type(caught.value) is OSError
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert isinstance(caught.value.__cause__.exceptions[0], ConnectionRefusedError)


async def test_a_port_has_one_listener_at_a_time() -> None:
    network = MemoryNetwork()
    async with network.listen(HOST, 80):
        with pytest.raises(OSError, match=HOST) as caught:
            network.listen(HOST, 80)
        assert caught.value.errno == errno.EADDRINUSE
        network.listen(HOST, 81)
    network.listen(HOST, 80)


async def test_a_full_backlog_lets_connecting_hang(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = network.listen(HOST, 80, backlog=1)
    first = await network.open_stream(HOST, 80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.open_stream, HOST, 80)
        await wait_all_tasks_blocked()
        assert [c.number for c in network.connections] == [1]
        await listener.accept()
        await wait_all_tasks_blocked()
        assert [c.number for c in network.connections] == [1, 2]
        # A link that goes down while the backlog is full is down for who comes next.
        nursery.start_soon(network.open_stream, HOST, 80)
        await wait_all_tasks_blocked()
        network.link(HOST).drop()
        await listener.accept()
    assert [c.dropped for c in network.connections] == [True, True, True]
    await first.aclose()


async def test_a_listener_that_closes_resets_and_refuses_who_waits() -> None:
    network = MemoryNetwork()
    listener = network.listen(HOST, 80, backlog=1)
    waiting = await network.open_stream(HOST, 80)

    async def be_refused() -> None:
        with pytest.raises(OSError, match="failed"):
            await network.open_stream(HOST, 80)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_refused)
        await wait_all_tasks_blocked()
        await listener.aclose()
        await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await waiting.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_a_listener_that_closes_wakes_who_accepts() -> None:
    listener = MemoryNetwork().listen(HOST, 80)

    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        await listener.aclose()


# What tests see


async def test_live_connections_can_be_looked_at() -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    (connection,) = network.connections
    assert (connection.number, connection.host, connection.port) == (1, HOST, 80)
    assert (connection.client, connection.server) == (client, server)
    assert network.link(HOST, 80).connections == [connection]
    await client.aclose()
    assert connection.is_live
    await server.aclose()
    assert not connection.is_live
    assert network.connections == []


async def test_events_tell_what_happens() -> None:
    network = MemoryNetwork()
    events: list[str] = []
    network.on_event = events.append
    client, server = await pair(network)
    await client.send_all(bytes(120))
    await server.receive_some()
    await client.send_eof()
    await server.receive_some()
    await server.aclose()
    client.connection.drop()
    client.connection.heal()
    client.connection.close()
    client.connection.reset()
    with pytest.raises(OSError, match="failed"):
        await network.open_stream(HOST, 80)
    assert events == [
        "server.test:80 listens",
        "#1 connects to server.test:80",
        "server.test:80 stops listening",
        "#1 client sends 120 B",
        "#1 server receives 120 B",
        "#1 client sends EOF",
        "#1 server receives the end",
        "#1 server closes",
        "#1 dropped",
        "#1 healed",
        "#1 closed",
        "#1 reset",
        "server.test:80 refuses",
    ]


async def test_reprs_show_the_state() -> None:
    network = MemoryNetwork()
    listener = network.listen(HOST, 80)
    await network.open_stream(HOST, 80)
    assert repr(network) == "<MemoryNetwork: 1 listeners, 1 connections>"
    assert repr(listener) == "<MemoryListener server.test:80: 1 waiting>"
    await listener.aclose()
    assert repr(listener) == "<MemoryListener server.test:80: closed>"
    assert repr(network.link()) == "<Link to *: whole, 0.0 s>"
    assert repr(network.set_link(HOST, latency=1)) == "<Link to server.test: whole, 1 s>"
    network.link(HOST, 80).refuse()
    network.link(HOST, 80).drop()
    assert repr(network.link(HOST, 80)) == "<Link to server.test:80: dropped, refusing, 1 s>"


# What works over it


async def test_tls_works_over_it(autojump_clock: MockClock) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    network = MemoryNetwork()
    network.set_link(latency=0.1, jitter=0.1, bandwidth=1e6)
    data = bytes(200_000)
    received = bytearray()
    async with trio.open_nursery() as nursery:
        listener = trio.SSLListener(network.listen(HOST, 443), server_context, https_compatible=True)
        await nursery.start(trio.serve_listeners, echo, [listener])
        stream = await dial(network, HOST, 443, client_context)
        nursery.start_soon(stream.send_all, data)
        while len(received) < len(data):
            received += await stream.receive_some()
        await stream.aclose()
        nursery.cancel_scope.cancel()
    assert received == data


async def test_trio_websocket_works_over_it(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.set_link(latency=0.1)
    client, server = await pair(network)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, server)
            connection = await request.accept()
            await connection.send_message(await connection.get_message())

        nursery.start_soon(serve)
        # It takes any stream, whatever its annotation says.
        connection = await trio_websocket.wrap_client_stream(nursery, client, HOST, "/")  # type: ignore[arg-type]
        await connection.send_message("hello")
        assert await connection.get_message() == "hello"
        await connection.aclose()
