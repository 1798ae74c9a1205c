"""Where streams come from: dialling, TLS on top, and letting go."""

from __future__ import annotations

import gc
import os
import socket
import ssl
import warnings
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.http.site import client_tls, server_tls
from trio_mcp.errors import ConfigurationError
from trio_mcp.network import Network, TcpNetwork, close_at_once, dial, is_readable
from trio_mcp.testing import MemoryNetwork, MemoryStream

HOST = "server.test"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def tcp_listener(nursery: trio.Nursery, handler: Any) -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handler, [listener])
    port: int = listener.socket.getsockname()[1]
    return port


async def memory_pair(network: MemoryNetwork) -> tuple[MemoryStream, MemoryStream]:
    async with network.listen(HOST, 80) as listener:
        client = await network.open_stream(HOST, 80)
        return client, await listener.accept()


async def tcp_pair(nursery: trio.Nursery) -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return client, await listener.accept()


async def secure(
    authority: trustme.CA, client: trio.abc.Stream, server: trio.abc.Stream
) -> tuple[trio.SSLStream[Any], trio.SSLStream[Any]]:
    """TLS over a pair of streams, with the handshake made."""
    ours = trio.SSLStream(client, client_tls(authority), server_hostname=HOST, https_compatible=True)
    theirs = trio.SSLStream(server, server_tls(authority, HOST), server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        nursery.start_soon(theirs.do_handshake)
    return ours, theirs


# Dialling


async def test_both_networks_are_networks() -> None:
    assert isinstance(TcpNetwork(), Network)
    assert isinstance(MemoryNetwork(), Network)
    assert not isinstance(object(), Network)


async def test_without_tls_the_networks_own_stream_comes_back() -> None:
    network = MemoryNetwork()
    async with network.listen(HOST, 80):
        stream = await dial(network, HOST, 80, None)
        assert type(stream) is MemoryStream
        await stream.aclose()


async def test_the_operating_systems_network_opens_a_socket(nursery: trio.Nursery) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hi")
        await stream.aclose()

    port = await tcp_listener(nursery, greet)
    async with await dial(TcpNetwork(), "127.0.0.1", port, None) as stream:
        assert type(stream) is trio.SocketStream
        assert [bytes(piece) async for piece in stream] == [b"hi"]


async def test_a_port_where_nobody_listens_is_an_oserror() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(OSError, match="all attempts to connect") as caught:
        await dial(TcpNetwork(), "127.0.0.1", port, None)
    assert not isinstance(caught.value, ssl.SSLError)


async def test_with_tls_the_handshake_is_made_already(authority: trustme.CA, nursery: trio.Nursery) -> None:
    network = MemoryNetwork()
    context = server_tls(authority, HOST)

    async def serve(stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await secured.send_all(b"secret")
        await secured.aclose()

    nursery.start_soon(trio.serve_listeners, serve, [network.listen(HOST, 443)])
    stream = await dial(network, HOST, 443, client_tls(authority))
    assert isinstance(stream, trio.SSLStream)
    assert stream.getpeercert()["subjectAltName"] == (("DNS", HOST),)  # it raises before the handshake
    # The end comes without a farewell, and is one all the same.
    assert [bytes(piece) async for piece in stream] == [b"secret"]
    await stream.aclose()


# Failing to


class Keeping:
    """A network that keeps the streams that it opened."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.streams: list[Any] = []

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        self.streams.append(await self.network.open_stream(host, port))
        stream: trio.abc.Stream = self.streams[-1]
        return stream


async def assert_closed(network: Keeping) -> None:
    assert len(network.streams) == 1
    with pytest.raises(trio.ClosedResourceError):
        await network.streams[0].send_all(b"x")


async def test_a_handshake_that_fails_closes_the_stream(authority: trustme.CA, nursery: trio.Nursery) -> None:
    memory = MemoryNetwork()
    network = Keeping(memory)
    context = server_tls(authority, HOST)
    refused = trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with pytest.raises(trio.BrokenResourceError):
            await secured.do_handshake()
        await stream.aclose()
        refused.set()

    nursery.start_soon(trio.serve_listeners, serve, [memory.listen(HOST, 443)])
    with pytest.raises(trio.BrokenResourceError) as caught:
        await dial(network, HOST, 443, client_tls(trustme.CA()))
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    await assert_closed(network)
    await refused.wait()
    assert memory.connections == []


@pytest.mark.parametrize(
    ("host", "context", "error"),
    [
        (HOST, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLError),
        (f".{HOST}", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ConfigurationError),
    ],
)
async def test_tls_that_cannot_even_begin_closes_the_stream(
    host: str, context: ssl.SSLContext, error: type[Exception]
) -> None:
    memory = MemoryNetwork()
    network = Keeping(memory)
    async with memory.listen(host, 443):
        with trio.fail_after(20), pytest.raises(error):
            await dial(network, host, 443, context)
    await assert_closed(network)


async def tls_site(network: MemoryNetwork, host: str, nursery: trio.Nursery, context: ssl.SSLContext) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):
            await secured.receive_some()
        await stream.aclose()

    nursery.start_soon(trio.serve_listeners, serve, [network.listen(host, 443)])


async def test_a_protocol_that_is_not_spoken_is_told(authority: trustme.CA, nursery: trio.Nursery) -> None:
    memory = MemoryNetwork()
    network = Keeping(memory)
    server, ours = server_tls(authority, HOST), client_tls(authority)
    server.set_alpn_protocols(["h2", "http/1.1"])
    await tls_site(memory, HOST, nursery, server)
    ours.set_alpn_protocols(["h2", "http/1.1"])
    with pytest.raises(ConfigurationError, match="offers 'h2' by ALPN.*only HTTP/1.1"):
        await dial(network, HOST, 443, ours)
    await assert_closed(network)
    ours.set_alpn_protocols(["http/1.1"])
    await close_at_once(await dial(memory, HOST, 443, ours))


async def test_the_dot_of_a_whole_name_is_not_the_certificates(
    authority: trustme.CA, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork()
    await tls_site(network, f"{HOST}.", nursery, server_tls(authority, HOST))
    await close_at_once(await dial(network, f"{HOST}.", 443, client_tls(authority)))


async def test_a_handshake_that_is_cancelled_at_any_step_leaves_no_stream(
    authority: trustme.CA, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    network = MemoryNetwork()
    network.set_link(HOST, latency=0.5)
    context = server_tls(authority, HOST)

    async def serve(stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
            await secured.receive_some()
        except trio.BrokenResourceError:
            pass
        await stream.aclose()

    nursery.start_soon(trio.serve_listeners, serve, [network.listen(HOST, 443)])
    ends, trust = [], client_tls(authority)
    for tenths in range(40):
        before = trio.current_time()
        with trio.move_on_after(tenths / 10 + 0.01) as scope:
            stream = await dial(network, HOST, 443, trust)
            await close_at_once(stream)
        assert trio.current_time() - before <= tenths / 10 + 0.02  # nobody was waited for
        ends.append(scope.cancelled_caught)
        await trio.sleep(10)
        assert network.connections == []
    assert ends == sorted(ends, reverse=True)
    assert set(ends) == {True, False}


async def test_a_cancelled_handshake_leaves_no_socket_and_no_warning(nursery: trio.Nursery) -> None:
    said_hello, left = trio.Event(), trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            said_hello.set()
            while await stream.receive_some():
                pass
            left.set()

    port = await tcp_listener(nursery, silent)
    with trio.fail_after(20), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
        caught.clear()
        async with trio.open_nursery() as dialling:
            dialling.start_soon(dial, TcpNetwork(), "127.0.0.1", port, ssl.create_default_context())
            await said_hello.wait()
            dialling.cancel_scope.cancel()
        await left.wait()
        gc.collect()
    assert caught == []


# Letting go


async def test_closing_at_once_waits_for_nobody(
    authority: trustme.CA, autojump_clock: trio.testing.MockClock
) -> None:
    network = MemoryNetwork()
    for closes_at_once in (True, False):
        client, server = await memory_pair(network)
        polite = trio.SSLStream(client, client_tls(authority), server_hostname=HOST)
        theirs = trio.SSLStream(server, server_tls(authority, HOST), server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(polite.do_handshake)
            nursery.start_soon(theirs.do_handshake)
        await client.send_all(b"x" * 10)
        network.set_link(HOST, window=10)  # the farewell finds no room, and the peer reads nothing
        before = trio.current_time()
        with trio.move_on_after(5):
            await (close_at_once(polite) if closes_at_once else polite.aclose())
        assert trio.current_time() - before == (0 if closes_at_once else 5)
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")
        network.set_link(HOST, window=1 << 16)


async def test_a_cancelled_caller_closes_all_the_same() -> None:
    client, server = await memory_pair(MemoryNetwork())
    with trio.CancelScope() as scope:
        scope.cancel()
        await close_at_once(client)
        reached = True
    assert reached
    assert await server.receive_some() == b""


# Whether something waits


async def test_a_socket_can_tell(nursery: trio.Nursery) -> None:
    client, server = await tcp_pair(nursery)
    with trio.fail_after(20):
        assert not is_readable(client)
        await server.send_all(b"ab")
        await trio.lowlevel.wait_readable(client.socket)
        assert is_readable(client)
        assert await client.receive_some(1) == b"a"
        assert is_readable(client)
        assert await client.receive_some(1) == b"b"
        assert not is_readable(client)
        await server.aclose()
        await trio.lowlevel.wait_readable(client.socket)
        assert is_readable(client)  # the end
    await client.aclose()
    assert is_readable(client)  # reading would raise at once


async def test_tls_tells_what_its_socket_tells(authority: trustme.CA, nursery: trio.Nursery) -> None:
    with trio.fail_after(20):
        client, server = await tcp_pair(nursery)
        ours, theirs = await secure(authority, client, server)
        await theirs.send_all(b"ab")
        assert await ours.receive_some() == b"ab"  # with all that belongs to the handshake
        assert not is_readable(ours)
        await theirs.send_all(b"c")
        await trio.lowlevel.wait_readable(client.socket)
        assert is_readable(ours)
        await ours.aclose()
        await theirs.aclose()


class Held(trio.abc.Stream):
    """Sends all in one go, when it is told to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.held: bytes | None = None

    async def send_all(self, data: Any) -> None:
        if self.held is None:
            await self.stream.send_all(data)
        else:
            self.held += data

    async def release(self) -> None:
        data, self.held = self.held, None
        await self.stream.send_all(data or b"")

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_tls_tells_of_records_that_have_come_already(authority: trustme.CA) -> None:
    client, server = await memory_pair(MemoryNetwork())
    held = Held(server)
    ours, theirs = await secure(authority, client, held)
    held.held = b""
    for piece in (b"ab", b"cd"):  # two records in one segment
        await theirs.send_all(piece)
    await held.release()
    assert await ours.receive_some() == b"ab"
    assert not is_readable(client)
    assert is_readable(ours)
    assert await ours.receive_some(1) == b"c"
    assert is_readable(ours)  # half a record
    assert await ours.receive_some() == b"d"
    assert not is_readable(ours)


async def test_tls_that_cannot_tell_is_taken_for_readable(authority: trustme.CA) -> None:
    client, server = await memory_pair(MemoryNetwork())
    ours, _ = await secure(authority, client, server)
    assert not is_readable(ours)
    del ours._incoming  # as another version of Trio might have it
    assert is_readable(ours)


async def test_memory_can_tell_with_tls_and_without(authority: trustme.CA) -> None:
    client, server = await memory_pair(MemoryNetwork())
    assert not is_readable(client)
    ours, theirs = await secure(authority, client, server)
    await theirs.send_all(b"ab")
    assert await ours.receive_some() == b"ab"
    assert not is_readable(ours)
    await theirs.aclose()
    assert is_readable(ours)
    assert is_readable(client)


async def test_a_stream_that_cannot_tell_is_taken_for_quiet() -> None:
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"x")
    assert not is_readable(client)


@pytest.mark.parametrize("says", [True, False])
async def test_any_other_stream_is_asked_if_it_can_be(says: bool) -> None:
    client, _ = trio.testing.memory_stream_pair()
    client.is_readable = lambda: says  # type: ignore[attr-defined]
    assert is_readable(client) is says


@pytest.mark.skipif(os.name == "nt", reason="there is no poll()")
async def test_a_descriptor_beyond_what_select_can_take_is_no_trouble(nursery: trio.Nursery) -> None:
    import fcntl
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2048:
        pytest.skip("a process may have too few descriptors here")
    client, server = await tcp_pair(nursery)
    high = fcntl.fcntl(client.socket.fileno(), fcntl.F_DUPFD_CLOEXEC, 1500)
    async with client, server:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=high))) as stream:
            assert not is_readable(stream)
