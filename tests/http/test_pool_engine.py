"""The engine of our own: its direct way, and the way beside it for what needs an httpx2 client.

Nobody above can tell which of the two a request went. In memory, on virtual time.
"""

from __future__ import annotations

import gc
import gzip
import importlib
import tracemalloc
import weakref
import zlib
from collections.abc import Callable, Generator
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

import trio_mcp
from tests.http.site import Site, ask, hello, memory_site, read
from trio_mcp.errors import (
    AccessDenied,
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    MessageTooLarge,
    ProtocolError,
)
from trio_mcp.http import HttpResponse
from trio_mcp.http.engine import Engine, HttpRequest
from trio_mcp.http.pool import Pool
from trio_mcp.http.pool_engine import PoolEngine
from trio_mcp.http.setup import ssl_context
from trio_mcp.testing import HttpExchange, MemoryNetwork, Reply, ScriptedServer

URL = "http://server.test/"


class Quiet(httpx2.Auth):
    """A flow that adds nothing."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        yield request


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def site(network: MemoryNetwork, nursery: trio.Nursery) -> Site:
    return memory_site(network, nursery)


@pytest.fixture
def pool(network: MemoryNetwork) -> Pool:
    return Pool(network, lambda: ssl_context(True))


@pytest.fixture(params=["direct", "beside"])
def engine(request: pytest.FixtureRequest, pool: Pool) -> PoolEngine:
    """One that goes either way."""
    return PoolEngine(pool, Quiet() if request.param == "beside" else None)


async def request_to(engine: Engine, url: str = URL, **changes: Any) -> Any:
    options: dict[str, Any] = {
        "method": "POST",
        "headers": {},
        "body": b"{}",
        "timeout": 5,
        "silence": 60,
        "repeatable": False,
    }
    reply, _ = await engine.send(HttpRequest(url=url, **(options | changes)))
    return reply


# Both ways are one


OWN = {"user-agent": "me", "accept": "text/plain", "content-type": "application/json"}


async def test_the_same_headers_are_sent_and_each_of_them_once(engine: PoolEngine, site: Site) -> None:
    answer = await ask(engine, URL + "path?q=1", OWN, b"{}")
    (request,) = site.requests
    assert (request.method, request.target, request.body) == ("POST", "/path?q=1", b"{}")
    assert sorted(name.decode().lower() for name, _ in request.raw_headers) == sorted(
        ["host", "accept-encoding", "user-agent", "accept", "content-type", "content-length"]
    )
    assert request.headers["host"] == "server.test"
    assert {"gzip", "deflate"} <= {each.strip() for each in request.headers["accept-encoding"].split(",")}
    for name in ("user-agent", "accept", "content-type"):
        assert request.headers[name] == OWN[name] == answer.sent[name]
    assert answer.sent["host"] == "server.test"


async def test_the_users_host_and_encodings_are_stronger(engine: PoolEngine, site: Site) -> None:
    await ask(engine, URL, {"host": "virtual.test", "accept-encoding": "identity"})
    (request,) = site.requests
    assert [value for name, value in request.raw_headers if name.lower() == b"host"] == [b"virtual.test"]
    assert request.headers["accept-encoding"] == "identity"


async def test_a_port_of_its_own_is_named(engine: PoolEngine, network: MemoryNetwork, nursery: Any) -> None:
    site = Site(network.listen("server.test", 8080), nursery)
    await ask(engine, "http://user:pw@SERVER.test:8080/#there")
    assert (site.requests[0].headers["host"], site.requests[0].target) == ("server.test:8080", "/")


async def test_without_a_body_there_is_no_length(engine: PoolEngine, site: Site) -> None:
    await ask(engine, method="GET")
    await ask(engine, method="DELETE")
    for request in site.requests:
        assert not request.headers.keys() & {"content-length", "transfer-encoding"}


async def test_the_same_comes_back(engine: PoolEngine, site: Site) -> None:
    async def answer(exchange: HttpExchange) -> None:
        await exchange.respond(404, [("X-Two", "1"), ("x-two", "2"), ("Content-Type", "a/b")], b"gone")

    site.handler = answer
    came = await ask(engine)
    assert (came.status, came.body) == (404, b"gone")
    assert (came.fields["x-two"], came.fields["content-type"]) == ("1, 2", "a/b")


async def test_a_redirect_is_no_business_of_an_engine(engine: PoolEngine, site: Site) -> None:
    async def redirect(exchange: HttpExchange) -> None:
        await exchange.respond(307, [("location", "/there")])

    site.handler = redirect
    assert (await ask(engine)).status == 307
    assert len(site.requests) == 1


async def test_connections_are_shared_by_both_ways(pool: Pool, site: Site) -> None:
    for auth in (None, Quiet(), None, Quiet()):
        await ask(PoolEngine(pool, auth))
    assert site.connections == 1


async def test_whether_a_request_may_go_twice_is_heeded(engine: PoolEngine, site: Site) -> None:
    asked = 0

    async def dying_once(exchange: HttpExchange) -> None:
        nonlocal asked
        asked += 1
        await (exchange.cut() if asked in (2, 4) else hello(exchange))

    site.handler = dying_once
    await ask(engine)
    await read(await request_to(engine, repeatable=True))
    assert asked == 3
    with pytest.raises(ConnectionLost):
        await request_to(engine, repeatable=False)
    assert asked == 4


async def cut(exchange: HttpExchange) -> None:
    await exchange.cut()


async def cut_later(exchange: HttpExchange) -> None:
    await exchange.start(200)
    await exchange.send(b"x")
    await exchange.cut()


async def nonsense(exchange: HttpExchange) -> None:
    await exchange.send_raw(b"SSH-2.0\r\n\r\n")


async def silent(exchange: HttpExchange) -> None:
    await trio.sleep_forever()


async def silent_later(exchange: HttpExchange) -> None:
    await exchange.start(200)
    await exchange.send(b"x")
    await trio.sleep_forever()


FAILURES: list[tuple[Callable[[HttpExchange], Any], type[Exception], str]] = [
    (cut, ConnectionLost, "the server closed the connection without an answer"),
    (cut_later, ConnectionLost, "the server closed the connection in the middle of its response"),
    (nonsense, ProtocolError, "the server broke HTTP: Expected HTTP/"),
    (silent, trio_mcp.Stalled, r"the server did not answer for 60 s \(sse_read_timeout=\)"),
    (silent_later, trio_mcp.Stalled, "the server fell silent for 60 s in the middle of its response"),
]


@pytest.mark.parametrize(("handler", "error", "text"), FAILURES)
async def test_failures_are_the_same(
    engine: PoolEngine,
    site: Site,
    network: MemoryNetwork,
    autojump_clock: trio.testing.MockClock,
    handler: Any,
    error: type[Exception],
    text: str,
) -> None:
    site.handler = handler
    with pytest.raises(error, match=text) as caught:
        await ask(engine)
    assert type(caught.value) is error
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []
    site.handler = hello
    assert (await ask(engine)).body == b"hello"


async def test_not_to_be_reached_is_the_same(
    engine: PoolEngine, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    link = network.link("server.test")
    link.refuse()
    with pytest.raises(ConnectError, match=r"could not connect: \[Errno \d+\] Connection refused"):
        await ask(engine)
    link.heal()
    link.hang()
    with pytest.raises(trio_mcp.ConnectTimeout, match="no connection within 5 s"):
        await ask(engine)
    assert trio.current_time() == 5


async def test_a_scheme_that_is_not_http_is_refused(engine: PoolEngine) -> None:
    with pytest.raises(ConfigurationError, match="the request cannot be sent: its scheme is 'ftp'"):
        await ask(engine, "ftp://server.test/")


async def test_whatever_a_network_raises_is_the_same() -> None:
    class Broken:
        async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise RuntimeError("x")

    for auth in (None, Quiet()):
        with pytest.raises(trio_mcp.TransportError, match="the network failed: RuntimeError") as caught:
            await ask(PoolEngine(Pool(Broken(), lambda: ssl_context(True)), auth))
        assert type(caught.value) is trio_mcp.TransportError
        assert isinstance(caught.value.__cause__, RuntimeError)


async def test_leaving_half_way_ends_the_connection_and_waits_for_nobody(
    engine: PoolEngine, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    site.handler = silent_later
    reply = await request_to(engine)
    assert await reply.receive() == b"x"
    assert not reply.ended
    await reply.close()
    await reply.close()
    assert (reply.ended, trio.current_time()) == (True, 0)
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_cancelling_at_any_step_ends_the_connection(
    engine: PoolEngine, pool: Pool, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(exchange: HttpExchange) -> None:
        await trio.sleep(1)
        await exchange.start(200, [("content-length", "2")])
        await trio.sleep(1)
        await exchange.send(b"a")
        await trio.sleep(1)
        await exchange.finish(b"b")

    site.handler = slow
    network.set_link("server.test", latency=0.5)
    ends = []
    for tenths in range(0, 60, 3):
        with trio.move_on_after(tenths / 10 + 0.01) as scope:
            reply = await request_to(engine)
            await read(reply)
        ends.append(scope.cancelled_caught)
        if not scope.cancelled_caught:
            assert repr(pool) == "<Pool 1 idle to server.test>"
            await pool.aclose()
            pool._closed = False
        await trio.sleep(10)
        assert network.connections == []
    assert ends == sorted(ends, reverse=True)
    assert set(ends) == {True, False}


# Auth flows


class TokenFlow(httpx2.Auth):
    """Gets a token where it is sent to, when it is refused."""

    requires_response_body = True

    def __init__(self) -> None:
        self.token = "none"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["authorization"] = f"Bearer {self.token}"
        response = yield request
        if response.status_code == 401:
            token = yield httpx2.Request("POST", response.json()["where"], data={"grant": "x"})
            self.token = token.text
            request.headers["authorization"] = f"Bearer {self.token}"
            yield request


async def test_an_auth_flow_makes_requests_of_its_own(
    pool: Pool, site: Site, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    async def guarded(exchange: HttpExchange) -> None:
        if exchange.request.headers["authorization"] == "Bearer s3cret-token":
            await exchange.respond(200, body=b"welcome")
        else:
            await exchange.respond(401, body=b'{"where": "http://auth.test/token"}')

    async def give(exchange: HttpExchange) -> None:
        await exchange.respond(200, body=b"s3cret-token")

    site.handler = guarded
    auth_site = memory_site(network, nursery, "auth.test")
    auth_site.handler = give
    engine = PoolEngine(pool, TokenFlow())
    for _ in range(2):
        answer = await ask(engine, body=b"payload")
        assert answer.body == b"welcome"
        assert answer.sent["authorization"] == "Bearer s3cret-token"  # those of the last request
    assert [request.body for request in site.requests] == [b"payload"] * 3
    assert [request.headers["host"] for request in auth_site.requests] == ["auth.test"]
    assert (auth_site.requests[0].body, site.connections, auth_site.connections) == (b"grant=x", 1, 1)


async def test_a_flow_that_fails_is_an_authorization_error(pool: Pool, site: Site) -> None:
    class Failing(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            yield request
            raise KeyError("s3cret")

    with pytest.raises(AuthorizationError, match="auth failed: KeyError") as caught:
        await ask(PoolEngine(pool, Failing()))
    assert "s3cret" not in str(caught.value)


# Cookies


def with_cookies(*cookies: str) -> Any:
    async def handler(exchange: HttpExchange) -> None:
        await exchange.respond(200, [("set-cookie", cookie) for cookie in cookies], b"hello")

    return handler


async def test_cookies_are_sent_back(engine: PoolEngine, site: Site) -> None:
    site.handler = with_cookies("a=1; Path=/", "b=2; Domain=elsewhere.test", "c=3; Path=/deep", "d=4; Secure")
    answer = await ask(engine)
    assert answer.body == b"hello"
    assert "cookie" not in answer.sent
    site.handler = hello
    answer = await ask(engine)
    assert site.requests[1].headers["cookie"] == answer.sent["cookie"] == "a=1"
    await ask(engine, URL + "deep/er")
    assert sorted(site.requests[2].headers["cookie"].split("; ")) == ["a=1", "c=3"]


async def test_cookies_follow_the_answers(engine: PoolEngine, site: Site) -> None:
    seen = []
    for cookie in ("a=1", "a=2", "a=2; Max-Age=0", "b=3"):
        site.handler = with_cookies(cookie)
        await ask(engine)
        seen.append(site.requests[-1].headers.get("cookie"))
    assert seen == [None, "a=1", "a=2", None]


async def test_cookies_do_not_pile_up(engine: PoolEngine, site: Site) -> None:
    for start in range(0, 100, 10):
        site.handler = with_cookies(*(f"c{number}={start}" for number in range(start, start + 10)))
        await ask(engine)
    site.handler = with_cookies("c7=new", "large=" + "x" * 5000)
    await ask(engine)
    await ask(engine)
    sent = dict(each.split("=") for each in site.requests[-1].headers["cookie"].split("; "))
    assert sent == {f"c{number}": str(number // 10 * 10) for number in range(50)} | {"c7": "new"}


async def test_cookies_stay_with_their_host_and_their_engine(
    engine: PoolEngine, pool: Pool, site: Site, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    other = memory_site(network, nursery, "other.test")
    site.handler = with_cookies("a=1")
    await ask(engine)
    await ask(engine, "http://other.test/")
    await ask(PoolEngine(pool, None))
    assert "cookie" not in other.requests[0].headers
    assert "cookie" not in site.requests[1].headers


@pytest.mark.parametrize("cookie", ["a=\xff", "\xff=a", "a=\xc3\xa9; Path=/"])
async def test_a_cookie_that_cannot_be_sent_back_disturbs_nothing(
    engine: PoolEngine, site: Site, cookie: str
) -> None:
    site.handler = with_cookies(cookie, "good=1")
    for _ in range(3):
        assert (await ask(engine)).body == b"hello"
    assert site.requests[-1].headers["cookie"] == "good=1"


async def test_a_cookie_that_cannot_be_read_disturbs_nothing(engine: PoolEngine, site: Site) -> None:
    site.handler = with_cookies(f"a=b; Max-Age={'9' * 400}")  # the standard library warns of it
    for _ in range(2):
        assert (await ask(engine)).body == b"hello"
    assert "cookie" not in site.requests[-1].headers


async def test_cookies_that_fail_end_their_exchange(
    pool: Pool, site: Site, network: MemoryNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(exchange: HttpExchange) -> None:
        await exchange.start(200, [("set-cookie", "a=b")])
        await trio.sleep_forever()

    def fail(cookies: httpx2.Cookies, response: httpx2.Response) -> None:
        raise KeyError("odd")

    site.handler = endless
    monkeypatch.setattr(httpx2.Cookies, "extract_cookies", fail)
    with pytest.raises(KeyError, match="odd"):
        await ask(PoolEngine(pool, None))
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_a_cookie_that_a_server_repeats_is_not_shown(autojump_clock: trio.testing.MockClock) -> None:
    async with ScriptedServer() as server:
        server.on["tools/call"] = lambda call: call.reply(
            f"you are {call.headers.get('cookie')}",
            status=403,
            type="text/plain",
            headers={"set-cookie": "session=abcdef123456", "x-seen": call.headers.get("cookie", "nothing")},
        )
        async with server.connect() as c:
            with pytest.raises(AccessDenied, match="you are None"):
                await c.call_tool("x")
            with pytest.raises(AccessDenied, match=r"you are .*\[secret\]") as caught:
                await c.call_tool("x")
    assert server.seen[-1].headers["cookie"] == "session=abcdef123456"
    assert "abcdef123456" not in str(caught.value)
    assert "abcdef123456" not in str(caught.value.headers)
    assert "set-cookie" not in caught.value.headers


async def test_an_authorization_that_a_server_repeats_is_not_shown() -> None:
    for auth in (None, Quiet()):
        async with ScriptedServer() as server:
            server.on["tools/call"] = lambda call: call.reply(
                f"no: {call.headers['authorization']}", status=403, type="text/plain"
            )
            async with server.connect(auth=auth, headers={"authorization": "Bearer s3cret-token"}) as c:
                with pytest.raises(AccessDenied, match=r"no: .*\[secret\]") as caught:
                    await c.call_tool("x")
        assert "s3cret" not in str(caught.value)


# Content encodings


def zstd(data: bytes) -> bytes:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return bytes(importlib.import_module(name).compress(data))
        except ImportError:
            continue
    pytest.skip("httpx2 has no zstd here")


def brotli(data: bytes) -> bytes:
    for name in ("brotli", "brotlicffi"):
        try:
            return bytes(importlib.import_module(name).compress(data))
        except ImportError:
            continue
    pytest.skip("httpx2 has no brotli here")


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "identity": ("identity", bytes),
    "identity and gzip": ("identity, GZIP", gzip.compress),
    "br": ("br", brotli),
    "zstd": ("zstd", zstd),
}


RAW = ("raw deflate", True)


def encoded(coding: str, data: bytes, *, piecewise: bool = False) -> Any:
    async def handler(exchange: HttpExchange) -> None:
        if not piecewise:
            await exchange.respond(200, [("content-encoding", coding)], data)
            return
        await exchange.start(200, [("content-encoding", coding)])
        for n in range(len(data)):
            await exchange.send(data[n : n + 1])
            await trio.testing.wait_all_tasks_blocked()

    return handler


@pytest.mark.parametrize(
    ("name", "piecewise"),
    # httpx2 takes raw deflate for broken if its first piece is a single byte.
    [(name, piecewise) for name in ENCODINGS for piecewise in (False, True) if (name, piecewise) != RAW],
)
async def test_what_is_encoded_comes_decoded(
    engine: PoolEngine, site: Site, name: str, piecewise: bool
) -> None:
    coding, encode = ENCODINGS[name]
    data = b"hello, " * 20
    site.handler = encoded(coding, encode(data), piecewise=piecewise)
    assert (await ask(engine)).body == data
    assert (await ask(engine, method="GET")).body == data
    assert site.connections == 1


async def test_an_encoding_of_nothing_is_nothing(engine: PoolEngine, site: Site) -> None:
    for coding in ("gzip", "deflate"):
        site.handler = encoded(coding, b"")
        assert (await ask(engine)).body == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_broken_encoding_is_an_error_of_the_server(
    engine: PoolEngine, site: Site, network: MemoryNetwork, coding: str
) -> None:
    site.handler = encoded(coding, b"this is none" * 20)
    with pytest.raises(ProtocolError, match="the server's content encoding is broken"):
        await ask(engine)
    site.handler = hello
    assert (await ask(engine)).body == b"hello"


@pytest.mark.parametrize("coding", ["gzip, gzip", "deflate,GZip", "gzip, unheard-of"])
async def test_layers_of_encodings_are_refused(
    engine: PoolEngine, site: Site, network: MemoryNetwork, coding: str
) -> None:
    async def layered(exchange: HttpExchange) -> None:
        await exchange.start(200, [("content-encoding", coding)])
        await trio.sleep_forever()

    site.handler = layered
    with pytest.raises(ProtocolError, match="content encoding has several layers"):
        await ask(engine)
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


BOMB = gzip.compress(bytes(1 << 24), 9)


async def test_a_bomb_is_defused(engine: PoolEngine, site: Site, network: MemoryNetwork) -> None:
    assert len(BOMB) < 1 << 14 < 1 << 24
    site.handler = encoded("gzip", BOMB)
    tracemalloc.start()
    try:
        reply = await request_to(engine)
        response = HttpResponse(reply, {}, max_size=1 << 20, linger=lambda _: False)
        with pytest.raises(MessageTooLarge, match="more than 1048576 bytes"):
            async with response:
                await response.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20  # of 16 MiB
    assert response.ended


async def test_what_a_bomb_brings_is_handed_on_in_small_pieces(engine: PoolEngine, site: Site) -> None:
    # A mebibyte of line feeds alone is a third of a second of work for who reads events.
    site.handler = encoded("gzip", gzip.compress(b"\n" * (1 << 20), 9))
    reply = await request_to(engine)
    sizes = []
    while piece := await reply.receive():
        sizes.append(len(piece))
    assert sum(sizes) == 1 << 20
    assert max(sizes) == 1 << 16
    assert reply.ended


def always(reply: Reply) -> Callable[[object], Reply]:
    return lambda call: reply


async def test_a_whole_call_is_not_blown_up_by_a_bomb() -> None:
    async with ScriptedServer() as server:
        async with server.connect(max_message_size=1 << 20) as c:
            for type in ("application/json", "text/event-stream"):
                headers = {"content-type": type, "content-encoding": "gzip"}
                server.on["tools/call"] = always(Reply(200, headers, (BOMB,)))
                with pytest.raises(MessageTooLarge):
                    await c.call_tool("x")
            server.on["tools/call"] = lambda call: call.text("done")
            assert (await c.call_tool("x")).content


# What is remembered


class Secret(str):
    """A text whose end can be observed."""


async def test_nothing_that_was_sent_outlives_the_engine(pool: Pool, site: Site) -> None:
    secret, url = Secret("Bearer s3cret"), Secret(URL + "?key=s3cret")
    alive = [weakref.ref(secret), weakref.ref(url)]
    engine = PoolEngine(pool, None)
    headers = {"authorization": secret}
    await ask(engine, url, headers=headers)
    assert site.requests[0].headers["authorization"] == "Bearer s3cret"
    assert site.requests[0].target == "/?key=s3cret"
    del secret, headers, url
    gc.collect()
    assert all(each() is not None for each in alive)  # they are prepared for the next time
    del engine
    gc.collect()
    assert all(each() is None for each in alive)


@pytest.mark.parametrize("value", ["s3cret\r\nevil: 1", "s3cret\n", " s3cret"])
async def test_a_header_that_would_break_http_is_refused_and_not_shown(
    engine: PoolEngine, site: Site, value: str
) -> None:
    with pytest.raises(ConfigurationError, match="the request cannot be sent") as caught:
        await ask(engine, headers={"x-key": value})
    assert "s3cret" not in repr(caught.value)
    assert site.connections == 0
    assert (await ask(engine, headers={"x-key": "fine"})).status == 200
