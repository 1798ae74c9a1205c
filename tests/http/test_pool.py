"""Connections: kept, replaced, and never wedged. HTTP over a network in memory, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import trio_mcp
from trio_mcp.errors import ConfigurationError, ConnectError, ConnectionLost, ProtocolError, TransportError
from trio_mcp.http.connection import Origin
from trio_mcp.http.exchange import Exchange
from trio_mcp.http.http11 import encode_request
from trio_mcp.http.pool import Pool
from trio_mcp.http.setup import ssl_context
from trio_mcp.testing import HttpExchange, MemoryNetwork, ScriptedServer, serve_http

ORIGIN = Origin("server.test", 80, False)
BIG = 1 << 20
Handler = Callable[[HttpExchange], Awaitable[None]]


async def hello(exchange: HttpExchange) -> None:
    await exchange.respond(200, body=b"hello")


class Server:
    """Answers by `handler`, and counts connections."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self.handler: Handler = hello
        self.connections = 0
        self.requests = 0
        self._listener = network.listen("server.test", 80)
        nursery.start_soon(trio.serve_listeners, self._serve, [self._listener])

    async def _serve(self, stream: Any) -> None:
        self.connections += 1
        await serve_http(stream, self._handle, cancel_on_disconnect=True)

    async def _handle(self, exchange: HttpExchange) -> None:
        self.requests += 1
        await self.handler(exchange)

    @property
    def open(self) -> int:
        return len(self.network.connections)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def server(network: MemoryNetwork, nursery: trio.Nursery) -> Server:
    return Server(network, nursery)


@pytest.fixture
def pool(network: MemoryNetwork) -> Pool:
    return Pool(network, lambda: ssl_context(True))


async def ask(
    pool: Pool, body: bytes = b"{}", *, repeatable: bool = True, silence: float = 60, timeout: float = 5
) -> Exchange:
    return await pool.exchange(
        ORIGIN,
        b"POST",
        encode_request(b"POST / HTTP/1.1\r\n", [b"host: x\r\n"], body),
        connect_timeout=timeout,
        send_timeout=timeout,
        silence=silence,
        repeatable=repeatable,
    )


async def read(exchange: Exchange) -> bytes:
    body = b""
    while data := await exchange.receive():
        body += data
    return body


# Keeping


async def test_a_connection_is_used_again(pool: Pool, server: Server) -> None:
    for _ in range(3):
        assert await read(await ask(pool)) == b"hello"
    assert server.connections == 1


async def test_a_connection_comes_back_when_its_response_is_whole_read_or_not(
    pool: Pool, server: Server
) -> None:
    exchange = await ask(pool)
    assert exchange.ended
    assert repr(pool) == "<Pool 1 idle to server.test>"
    await ask(pool)
    assert server.connections == 1
    assert await read(exchange) == b"hello"


async def test_a_connection_is_kept_for_four_seconds(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    await ask(pool)
    await trio.sleep(4)
    await ask(pool)
    assert server.connections == 1
    await trio.sleep(4.1)
    await ask(pool)
    assert (server.connections, server.open) == (2, 1)


async def test_what_a_rush_has_left_is_closed_with_the_next_exchanges(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask, pool)
    assert server.open == 20
    for _ in range(3):
        await trio.sleep(2)
        await ask(pool)
    await trio.sleep(0)
    assert server.open == 1


async def test_no_more_are_kept_than_the_limit(network: MemoryNetwork, server: Server) -> None:
    pool = Pool(network, lambda: ssl_context(True), max_idle=3)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, pool)
    assert repr(pool) == "<Pool 3 idle to server.test>"


async def test_a_closed_pool_keeps_nothing(pool: Pool, server: Server) -> None:
    async def slow(exchange: HttpExchange) -> None:
        await exchange.start(200, [("content-length", "4")])
        await exchange.send(b"ab")
        await trio.testing.wait_all_tasks_blocked()
        await exchange.finish(b"cd")

    server.handler = slow
    exchange = await ask(pool)
    assert repr(pool) == "<Pool empty>"
    await pool.aclose()
    assert await read(exchange) == b"abcd"
    await trio.testing.wait_all_tasks_blocked()
    assert (repr(pool), server.open) == ("<Pool closed>", 0)


async def test_a_connection_that_says_close_is_closed(pool: Pool, server: Server) -> None:
    async def once(exchange: HttpExchange) -> None:
        await exchange.respond(200, [("connection", "close")], b"bye")

    server.handler = once
    for _ in range(2):
        assert await read(await ask(pool)) == b"bye"
    assert server.connections == 2


# Stale ones


async def test_a_connection_that_was_closed_while_idle_is_not_used(pool: Pool, server: Server) -> None:
    await ask(pool)
    (connection,) = server.network.connections
    connection.close()
    assert await read(await ask(pool, repeatable=False)) == b"hello"
    assert (server.connections, server.requests) == (2, 2)


async def test_one_that_spoke_without_being_asked_is_not_used(pool: Pool, server: Server) -> None:
    async def chatty(exchange: HttpExchange) -> None:
        await exchange.respond(200, body=b"hello")
        await exchange.send_raw(b"HTTP/1.1 408 Timeout\r\n\r\n")

    server.handler = chatty
    await ask(pool)
    server.handler = hello
    await trio.testing.wait_all_tasks_blocked()
    exchange = await ask(pool, repeatable=False)
    assert (exchange.status, server.connections) == (200, 2)


def dying_once(server: Server, end: Callable[[HttpExchange], Awaitable[None]]) -> Handler:
    """Answers, but for the second request, whose connection ends by `end`."""

    async def handler(exchange: HttpExchange) -> None:
        await (end(exchange) if server.requests == 2 else hello(exchange))

    return handler


async def cut(exchange: HttpExchange) -> None:
    await exchange.cut()


async def test_a_stale_connection_is_replaced_once_if_the_request_may_go_twice(
    pool: Pool, server: Server
) -> None:
    server.handler = dying_once(server, cut)
    await ask(pool)
    assert await read(await ask(pool, repeatable=True)) == b"hello"
    assert (server.connections, server.requests) == (2, 3)


async def test_it_is_not_replaced_twice(pool: Pool, server: Server) -> None:
    await ask(pool)
    server.handler = cut
    with pytest.raises(ConnectionLost, match="closed the connection without an answer"):
        await ask(pool, repeatable=True)
    assert (server.connections, server.requests) == (2, 3)


async def test_a_request_that_may_not_go_twice_is_not_sent_again_once_it_was_sent(
    pool: Pool, server: Server
) -> None:
    server.handler = dying_once(server, cut)
    await ask(pool)
    with pytest.raises(ConnectionLost, match="without an answer"):
        await ask(pool, repeatable=False)
    assert server.requests == 2


async def test_a_new_connection_that_dies_is_not_replaced(pool: Pool, server: Server) -> None:
    server.handler = cut
    with pytest.raises(ConnectionLost):
        await ask(pool, repeatable=True)
    assert server.requests == 1


async def test_a_response_that_has_begun_is_not_asked_for_again(pool: Pool, server: Server) -> None:
    async def half(exchange: HttpExchange) -> None:
        await exchange.send_raw(b"HTTP/1.1 2")
        await exchange.cut()

    server.handler = dying_once(server, half)
    await ask(pool)
    with pytest.raises(ConnectionLost, match="in the middle of its response"):
        await ask(pool, repeatable=True)
    assert server.requests == 2


class Blunt(trio.abc.Stream):
    """A stream that cannot tell whether something is to be read, and fails to send once."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.failing = False
        self.closing = trio.Event()

    async def send_all(self, data: Any) -> None:
        if self.failing:
            await self.stream.aclose()
            raise trio.BrokenResourceError from OSError("broken pipe")
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.closing.set()
        for _ in range(5):
            await trio.lowlevel.cancel_shielded_checkpoint()
        await self.stream.aclose()


class BluntNetwork:
    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.streams: list[Blunt] = []

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        self.streams.append(Blunt(await self.network.open_stream(host, port)))
        return self.streams[-1]


async def test_a_request_that_could_not_be_sent_goes_over_another_connection(server: Server) -> None:
    network = BluntNetwork(server.network)
    pool = Pool(network, lambda: ssl_context(True))
    await ask(pool)
    network.streams[0].failing = True
    assert await read(await ask(pool, repeatable=False)) == b"hello"
    assert server.requests == 2


async def test_a_connection_may_be_taken_while_expired_ones_are_being_closed(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async def echo(exchange: HttpExchange) -> None:
        await trio.sleep({b"slow": 10, b"taken": 1}.get(exchange.request.body, 0))
        await exchange.respond(200, body=exchange.request.body)

    server.handler = echo
    network = BluntNetwork(server.network)
    pool = Pool(network, lambda: ssl_context(True))
    bodies = []

    async def take() -> None:
        await network.streams[1].closing.wait()
        bodies.append(await read(await ask(pool, b"taken")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, pool, b"slow")
        await trio.sleep(1)
        await ask(pool)
        nursery.start_soon(take)
    assert (bodies, server.connections) == ([b"taken"], 2)


async def test_a_connection_that_is_being_closed_is_not_taken(server: Server) -> None:
    network = BluntNetwork(server.network)
    pool = Pool(network, lambda: ssl_context(True))
    await ask(pool)

    async def take() -> None:
        await network.streams[0].closing.wait()
        assert await read(await ask(pool)) == b"hello"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await pool.aclose()
    assert server.connections == 2


# Failing


async def test_what_befalls_a_connection_is_told(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    link = server.network.link("server.test")
    link.refuse()
    with pytest.raises(ConnectError, match=r"could not connect: \[Errno 111\] Connection refused"):
        await ask(pool)
    link.heal()
    link.hang()
    before = trio.current_time()
    with pytest.raises(trio_mcp.ConnectTimeout, match="no connection within 5 s"):
        await ask(pool)
    assert trio.current_time() - before == 5
    link.heal()

    async def reset(exchange: HttpExchange) -> None:
        link.reset()
        await trio.sleep_forever()

    server.handler = reset
    with pytest.raises(ConnectionLost, match="Connection reset by peer"):
        await ask(pool)

    async def silent(exchange: HttpExchange) -> None:
        await trio.sleep_forever()

    server.handler = silent
    before = trio.current_time()
    with pytest.raises(trio_mcp.Stalled, match=r"did not answer for 60 s \(sse_read_timeout=\)"):
        await ask(pool)
    assert trio.current_time() - before == 60
    await trio.testing.wait_all_tasks_blocked()
    assert server.open == 0


async def test_a_server_that_takes_nothing_is_told(
    network: MemoryNetwork, pool: Pool, autojump_clock: trio.testing.MockClock
) -> None:
    network.listen("server.test", 80)
    for size in (1 << 16, BIG):  # one that is sent at once, and one in pieces
        network.set_link("server.test", window=10)
        before = trio.current_time()
        with pytest.raises(trio_mcp.Stalled, match=r"took nothing of the request for 5 s \(timeout=\)"):
            await ask(pool, b"x" * (size - 100))
        assert trio.current_time() - before == 5


async def test_a_slow_upload_is_no_stall(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    server.network.set_link("server.test", bandwidth=20_000)
    before = trio.current_time()
    assert await read(await ask(pool, b"x" * BIG)) == b"hello"
    assert trio.current_time() - before > 40  # with a timeout of 5 s


async def test_an_early_refusal_of_a_large_request_is_its_answer(pool: Pool, network: MemoryNetwork) -> None:
    listener = network.listen("server.test", 80)

    async def refuse(close: bool) -> None:
        stream = await listener.accept()
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        if close:
            await stream.aclose()
        else:
            await trio.sleep_forever()

    for close in (True, False):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse, close)
            exchange = await ask(pool, b"x" * BIG)
            assert (exchange.status, await read(exchange)) == (413, b"no")
            assert not exchange.sent
            nursery.cancel_scope.cancel()
    assert repr(pool) == "<Pool empty>"  # half a request has gone over it


@pytest.mark.parametrize("reads_on", [True, False])
async def test_an_early_success_that_is_whole_is_the_answer(
    pool: Pool, network: MemoryNetwork, reads_on: bool, autojump_clock: trio.testing.MockClock
) -> None:
    listener = network.listen("server.test", 80)

    async def serve() -> None:
        stream = await listener.accept()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        while reads_on and await stream.receive_some():
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with trio.fail_after(1):
            assert await read(await ask(pool, b"x" * BIG)) == b"ok"
        nursery.cancel_scope.cancel()
    assert repr(pool) == "<Pool empty>"  # half a request has gone over it


@pytest.mark.parametrize("size", [10, BIG])
@pytest.mark.parametrize(
    "signs", [[b"HTTP/1.1 102 Processing\r\n\r\n"] * 3, [b"HTTP", b"/1.1 20", b"0 OK\r"]]
)
async def test_each_sign_of_life_before_the_headers_ends_a_silence(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock, size: int, signs: list[bytes]
) -> None:
    async def slow(exchange: HttpExchange) -> None:
        for sign in signs:
            await trio.sleep(50)
            await exchange.send_raw(sign)
        await trio.sleep(50 if final else float("inf"))
        rest = b"HTTP/1.1 200 OK\r\n" if signs[0] != b"HTTP" else b"\n"
        await exchange.send_raw(rest + b"content-length: 2\r\n\r\nok")

    server.handler, final = slow, True
    assert await read(await ask(pool, b"x" * size)) == b"ok"
    assert trio.current_time() == 4 * 50
    final = False
    with trio.fail_after(1000), pytest.raises(trio_mcp.Stalled, match="did not answer for 60 s"):
        await ask(pool, b"x" * size)
    assert trio.current_time() == 4 * 50 + 3 * 50 + 60


async def test_signs_of_life_do_not_hurry_a_slow_upload(
    pool: Pool, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    listener = network.listen("server.test", 80)

    async def serve() -> None:
        stream, received = await listener.accept(), 0
        while received < BIG:
            if not received:
                await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")
            received += len(await stream.receive_some())
            await trio.sleep(4.5 if received < BIG / 2 else 0)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        assert await read(await ask(pool, b"x" * BIG, silence=4)) == b"ok"


async def test_an_early_success_waits_for_the_rest_of_the_request(pool: Pool, network: MemoryNetwork) -> None:
    listener = network.listen("server.test", 80)
    received = 0

    async def serve() -> None:
        nonlocal received
        stream = await listener.accept()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
        while received <= BIG:
            received += len(await stream.receive_some())
        await stream.send_all(b"k")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        assert await read(await ask(pool, b"x" * BIG)) == b"ok"
        assert received > BIG
        nursery.cancel_scope.cancel()
    assert repr(pool) == "<Pool 1 idle to server.test>"


async def test_a_large_request_that_is_lost_fails_as_one_error(pool: Pool, server: Server) -> None:
    server.network.link("server.test").reset_after(100_000, to="server")
    with pytest.raises(ConnectionLost, match="reset"):
        await ask(pool, b"x" * BIG)
    server.network.link("server.test").heal()
    assert await read(await ask(pool, b"x" * BIG)) == b"hello"


async def test_what_is_not_http_is_told_and_its_connection_closed(pool: Pool, server: Server) -> None:
    async def nonsense(exchange: HttpExchange) -> None:
        await exchange.send_raw(b"SSH-2.0\r\n\r\n")

    server.handler = nonsense
    with pytest.raises(ProtocolError, match="broke HTTP"):
        await ask(pool)
    await trio.testing.wait_all_tasks_blocked()
    assert server.open == 0


@pytest.mark.parametrize(
    ("raised", "error", "text"),
    [
        (RuntimeError("x"), TransportError, "the network failed: RuntimeError"),
        (UnicodeError("label too long"), ConfigurationError, "not a usable URL: label too long"),
        (ConfigurationError("mine"), ConfigurationError, "mine"),
        (trio.BrokenResourceError("tls"), ConnectError, "could not connect: tls"),
    ],
)
async def test_whatever_a_network_raises_is_typed(
    raised: Exception, error: type[Exception], text: str
) -> None:
    class Broken:
        async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise raised

    with pytest.raises(error, match=text):
        await ask(Pool(Broken(), lambda: ssl_context(True)))


async def test_the_programs_own_trouble_is_no_reason(pool: Pool, server: Server) -> None:
    server.network.link("server.test").refuse()
    with pytest.raises(ConnectError) as caught:
        try:
            raise KeyError("password=hunter2")
        except KeyError:
            await ask(pool)
    assert "hunter2" not in str(caught.value)


# Leaving


async def test_leaving_half_way_closes_the_connection_and_waits_for_nobody(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async def endless(exchange: HttpExchange) -> None:
        await exchange.start(200)
        while True:
            await exchange.send(b"x" * 1000)
            await trio.sleep(1)

    server.handler = endless
    exchange = await ask(pool)
    assert await exchange.receive()
    before = trio.current_time()
    await exchange.close()
    await exchange.close()
    assert trio.current_time() == before
    assert exchange.ended
    await trio.testing.wait_all_tasks_blocked()
    assert server.open == 0


async def test_a_cancelled_exchange_closes_its_connection_at_every_step(
    pool: Pool, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(exchange: HttpExchange) -> None:
        await trio.sleep(1)
        await exchange.start(200, [("content-length", "2")])
        await trio.sleep(1)
        await exchange.send(b"a")
        await trio.sleep(1)
        await exchange.finish(b"b")

    server.handler = slow
    server.network.set_link("server.test", latency=0.5)
    ends = []
    for tenths in range(60):
        with trio.move_on_after(tenths / 10 + 0.01) as scope:
            exchange = await ask(pool)
            try:
                await read(exchange)
            except BaseException:
                await exchange.close()
                raise
        ends.append(scope.cancelled_caught)
        await trio.sleep(10)  # what was idle is too old now
        await pool.aclose()
        await trio.sleep(10)
        assert server.open == 0
        pool._closed = False
    assert ends == sorted(ends, reverse=True)
    assert set(ends) == {True, False}


async def test_one_place_and_many_cancelled_calls_never_wedge_the_pool(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # One slot, callers that are cancelled while they queue, connect, send, wait and read: at every step.
    async def tool(call: Any) -> Any:
        await trio.sleep(1)
        await call.send(0.5)
        return {"content": []}

    async with ScriptedServer() as server:
        server.on["tools/call"] = tool
        server.link.latency = 0.25
        async with server.connect(max_connections=1) as c:

            async def one(patience: float) -> None:
                with trio.move_on_after(patience):
                    await c.call_tool("x")

            for step in range(40):
                async with trio.open_nursery() as nursery:
                    for n in range(5):
                        nursery.start_soon(one, step / 10 + n / 100)
                with trio.fail_after(10):
                    await c.call_tool("x")
            assert c.statistics().requests_in_flight == 0
            assert c.statistics().requests_cancelled > 100
        await trio.sleep(1)
        assert server.network.connections == []


async def test_callers_beyond_the_limit_queue_in_their_order(autojump_clock: trio.testing.MockClock) -> None:
    async def tool(call: Any) -> Any:
        await trio.sleep(1)
        return {"content": []}

    async with ScriptedServer() as server:
        server.on["tools/call"] = tool
        async with server.connect(max_connections=2) as c, trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(c.call_tool, f"tool {n}")
                await trio.testing.wait_all_tasks_blocked()
    calls = server.all("tools/call")
    assert [call.time for call in calls] == [n // 2 for n in range(10)]
    # Two at a time have no order among them.
    came = [call.params["name"] for call in calls]
    assert [set(came[n : n + 2]) for n in range(0, 10, 2)] == [
        {f"tool {n}", f"tool {n + 1}"} for n in range(0, 10, 2)
    ]


async def test_a_long_stream_takes_no_place_from_a_short_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ScriptedServer("2025-11-25") as server:
        server.listen()
        server.on["tools/call"] = lambda call: call.text("done")
        async with server.connect(max_connections=1) as c:
            assert "GET" in server.methods()
            with trio.fail_after(1):
                for _ in range(3):
                    await c.call_tool("x")


async def test_no_connection_is_opened_twice_over_for_a_queue(pool: Pool, server: Server) -> None:
    async def one() -> None:
        with suppress(ConnectionLost):
            await read(await ask(pool))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(one)
    assert server.connections <= 30
    before = server.connections
    async with trio.open_nursery() as nursery:
        for _ in range(before):
            nursery.start_soon(one)
    assert server.connections == before
