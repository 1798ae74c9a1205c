"""A user's auth flow: bounds on what it reads, and time for what it waits for. In memory, on virtual time."""

from __future__ import annotations

import gc
import gzip
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import httpx
import httpx2
import pytest
import trio
import trio.testing

import trio_mcp
from tests.http.site import Site, ask, hello, memory_site, tcp_site
from trio_mcp.auth import resolve_auth
from trio_mcp.errors import ConnectionLost, MessageTooLarge, ProtocolError
from trio_mcp.http.client_engine import ClientEngine
from trio_mcp.http.engine import Engine
from trio_mcp.http.pool import Pool
from trio_mcp.http.pool_engine import PoolEngine
from trio_mcp.http.setup import ssl_context
from trio_mcp.http.transport import TrioTransport
from trio_mcp.testing import HttpExchange, MemoryNetwork, ScriptedServer

URL = "http://server.test/"
LIMIT = 1000
MakeEngine = Callable[[httpx2.Auth], Engine]


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def site(network: MemoryNetwork, nursery: trio.Nursery) -> Site:
    return memory_site(network, nursery)


@pytest.fixture
def pool(network: MemoryNetwork) -> Pool:
    return Pool(network, lambda: ssl_context(True))


@pytest.fixture(params=["ours", "a client", "a client with an auth of its own"])
def engine(request: pytest.FixtureRequest, pool: Pool) -> MakeEngine:
    """Engines with a flow at work."""

    def make(auth: httpx2.Auth) -> Engine:
        if request.param == "ours":
            return PoolEngine(pool, auth, LIMIT)
        if request.param == "a client":
            return ClientEngine(httpx2.AsyncClient(transport=TrioTransport(pool)), auth, LIMIT)
        return ClientEngine(httpx2.AsyncClient(transport=TrioTransport(pool), auth=auth), None, LIMIT)

    return make


class Asking(httpx2.Auth):
    """Asks for a token at the same server, before each request."""

    requires_response_body = True

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        token = yield httpx2.Request("POST", request.url.join("/token"), content=b"one-time")
        request.headers["authorization"] = token.text
        yield request


class Patient(httpx2.Auth):
    """Waits for a human, before each request and after it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        await trio.sleep(self.seconds)
        yield request
        await trio.sleep(self.seconds)
        yield request


def at(path: str, answer: Any) -> Any:
    """Answers at `path` by `answer`, and by "hello" elsewhere."""

    async def handler(exchange: HttpExchange) -> None:
        await (answer if exchange.request.target == path else hello)(exchange)

    return handler


def giving(body: bytes, *headers: tuple[str, str], status: int = 200, pause: float = 0) -> Any:
    async def answer(exchange: HttpExchange) -> None:
        await exchange.start(status, [*headers])
        for start in range(0, len(body), 100):
            await trio.sleep(pause)
            await exchange.send(body[start : start + 100])

    return answer


async def test_a_flow_reads_what_is_within_the_bound(engine: MakeEngine, site: Site) -> None:
    for token in (b"t" * LIMIT, b"u" * LIMIT):
        coded = giving(gzip.compress(token), ("content-encoding", "gzip"))
        for answer in (giving(token), coded):
            site.handler = at("/token", answer)
            assert (await ask(engine(Asking()))).body == b"hello"
            assert site.requests[-1].headers["authorization"] == token.decode()


@pytest.mark.parametrize("path", ["/", "/token"])
@pytest.mark.parametrize("compressed", [False, True])
async def test_what_a_flow_reads_is_bounded(
    engine: MakeEngine,
    site: Site,
    network: MemoryNetwork,
    path: str,
    compressed: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    if compressed:
        site.handler = at(path, giving(gzip.compress(bytes(1 << 20)), ("content-encoding", "gzip")))
    else:

        async def endless(exchange: HttpExchange) -> None:
            await exchange.start(200)
            for _ in range(100):
                await exchange.send(b"x" * 100)
            await trio.sleep_forever()

        site.handler = at(path, endless)
    with trio.fail_after(9), pytest.raises(MessageTooLarge, match="more than 1000 bytes; max_message_size"):
        await ask(engine(Asking()))
    await trio.testing.wait_all_tasks_blocked()
    assert len(network.connections) <= 1  # that of the token, which is idle


async def test_what_is_too_large_is_let_go_by_any_client(nursery: trio.Nursery) -> None:
    site, port = await tcp_site(nursery)
    left = trio.Event()

    async def endless(exchange: HttpExchange) -> None:
        try:
            await exchange.start(401)
            while True:
                await exchange.send(b"x" * 4096)
        finally:
            left.set()

    site.handler = endless
    # Of what is left to the garbage collector, Trio warns, and that is an error here.
    async with httpx2.AsyncClient(trust_env=False) as client:
        with trio.fail_after(20), pytest.raises(MessageTooLarge):
            await ask(ClientEngine(client, Asking(), LIMIT), f"http://127.0.0.1:{port}/token")
        with trio.fail_after(20):
            await left.wait()
    gc.collect()


async def test_the_bound_is_that_of_the_connectors_messages() -> None:
    class Reading(httpx2.Auth):
        requires_response_body = True

    async with ScriptedServer() as server:
        server.on["tools/call"] = lambda call: call.reply("x" * 2000, status=401)
        async with server.connect(auth=Reading(), max_message_size=1000) as c:
            with pytest.raises(MessageTooLarge, match="more than 1000 bytes"):
                await c.call_tool("x")


async def test_layers_of_encoding_are_refused_in_a_flow_too(engine: MakeEngine, site: Site) -> None:
    twice = gzip.compress(gzip.compress(b"token"))
    site.handler = at("/token", giving(twice, ("content-encoding", "gzip, gzip")))
    with pytest.raises(ProtocolError, match="several layers"):
        await ask(engine(Asking()))


async def test_they_are_refused_and_let_go_without_a_flow(
    pool: Pool, site: Site, network: MemoryNetwork
) -> None:
    async def layered(exchange: HttpExchange) -> None:
        await exchange.start(200, [("content-encoding", "gzip, gzip")])
        await trio.sleep_forever()

    site.handler = layered
    with pytest.raises(ProtocolError, match="several layers"):
        await ask(ClientEngine(httpx2.AsyncClient(transport=TrioTransport(pool)), None, LIMIT))
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_what_comes_after_the_flow_is_as_it_was(engine: MakeEngine, site: Site) -> None:
    class Quiet(httpx2.Auth):
        pass

    data = bytes(10 * LIMIT)
    for headers, body in (([], data), ([("content-encoding", "gzip")], gzip.compress(data))):
        site.handler = giving(body, *headers)
        answer = await ask(engine(Quiet()))
        assert answer.body == data
        assert dict(headers).items() <= answer.fields.items()


# Time


async def test_a_flow_may_take_its_time(
    engine: MakeEngine, site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await ask(engine(Patient(1000)), silence=5)).body == b"hello"
    assert trio.current_time() == 2000


async def test_each_request_of_a_flow_has_its_own_silence(
    engine: MakeEngine, site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(exchange: HttpExchange) -> None:
        await trio.sleep(4)
        await giving(b"t" * 300, pause=4)(exchange)

    site.handler = slow
    assert (await ask(engine(Asking()), silence=5)).body == b"t" * 300
    assert trio.current_time() == 2 * (4 + 3 * 4)


async def never(exchange: HttpExchange) -> None:
    await trio.sleep_forever()


async def half(exchange: HttpExchange) -> None:
    await exchange.start(200)
    await exchange.send(b"x")
    await trio.sleep_forever()


@pytest.mark.parametrize("answer", [never, half])
async def test_a_silent_server_is_noticed_in_a_flow(
    engine: MakeEngine,
    site: Site,
    network: MemoryNetwork,
    autojump_clock: trio.testing.MockClock,
    answer: Any,
) -> None:
    site.handler = at("/token", answer)
    with trio.fail_after(100), pytest.raises(trio_mcp.Stalled, match="for 7 s"):
        await ask(engine(Asking()), silence=7)
    assert trio.current_time() == 7
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_what_a_flow_asks_for_itself_is_not_asked_twice(pool: Pool, site: Site, library: Any) -> None:
    class OneTime(library.Auth):  # type: ignore[misc]
        def auth_flow(self, request: Any) -> Any:
            yield library.Request("POST", URL + "token", content=b"one-time")
            yield request

    asked = 0

    async def dying(exchange: HttpExchange) -> None:
        nonlocal asked
        asked += 1
        await (exchange.cut() if asked == 2 else hello(exchange))

    auth = resolve_auth(OneTime())
    assert isinstance(auth, httpx2.Auth)
    engine = PoolEngine(pool, auth)
    site.handler = at("/token", dying)
    await ask(engine)
    with pytest.raises(ConnectionLost, match="without an answer"):
        await ask(engine)  # which may itself be sent twice
    assert asked == 2


async def test_a_transport_that_knows_no_time_is_watched_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def silent(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep(3)
        if request.url.path == "/token":
            return httpx2.Response(200, text="t")
        await trio.sleep_forever()
        raise AssertionError

    for auth, seconds in ((None, 7), (Asking(), 3 + 7)):
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(silent))
        before = trio.current_time()
        with trio.fail_after(100), pytest.raises(trio_mcp.Stalled, match="did not answer for 7 s"):
            await ask(ClientEngine(client, auth, LIMIT), silence=7)
        assert trio.current_time() - before == seconds


async def test_a_timeout_that_a_flow_sets_is_its_own(
    pool: Pool, site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    class Hasty(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            timeout = {"timeout": httpx2.Timeout(2).as_dict()}
            yield httpx2.Request("POST", URL + "token", extensions=timeout)
            yield request

    site.handler = at("/token", never)
    with trio.fail_after(100), pytest.raises(trio_mcp.Stalled):
        await ask(PoolEngine(pool, Hasty()))
    assert trio.current_time() == 2
