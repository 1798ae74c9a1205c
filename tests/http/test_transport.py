"""The pool behind httpx2's interface, as a user of httpx2 would use it. In memory, on virtual time."""

from __future__ import annotations

import gzip
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

import trio_mcp
from tests.http.site import Site, memory_site
from trio_mcp.errors import ConfigurationError, ConnectError, ConnectionLost, ProtocolError, TransportError
from trio_mcp.http.pool import Pool
from trio_mcp.http.setup import ssl_context
from trio_mcp.http.transport import REPEATABLE, TrioTransport, as_response
from trio_mcp.testing import HttpExchange, MemoryNetwork

URL = "http://server.test/path?q=1"


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def site(network: MemoryNetwork, nursery: trio.Nursery) -> Site:
    return memory_site(network, nursery)


@pytest.fixture
def pool(network: MemoryNetwork) -> Pool:
    return Pool(network, lambda: ssl_context(True))


@pytest.fixture
async def client(pool: Pool) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=TrioTransport(pool))


# What is sent, and what comes back


async def test_a_get_is_answered(client: httpx2.AsyncClient, site: Site) -> None:
    response = await client.get(URL, headers={"x-mine": "1"})
    assert (response.status_code, response.reason_phrase, response.text) == (200, "OK", "hello")
    assert response.headers["content-type"] == "text/plain"
    (request,) = site.requests
    assert (request.method, request.target, request.body) == ("GET", "/path?q=1", b"")
    assert request.headers["x-mine"] == "1"
    assert not request.headers.keys() & {"content-length", "transfer-encoding", "connection"}


async def test_a_post_brings_its_body(client: httpx2.AsyncClient, site: Site) -> None:
    async def echo(exchange: HttpExchange) -> None:
        await exchange.respond(201, [("x", "1"), ("x", "2")], exchange.request.body)

    site.handler = echo
    response = await client.post(URL, json={"a": 1})
    assert (response.status_code, response.json()) == (201, {"a": 1})
    assert response.headers.get_list("x") == ["1", "2"]
    assert site.requests[0].headers["content-type"] == "application/json"


async def test_the_answer_to_head_has_headers_only(client: httpx2.AsyncClient, site: Site) -> None:
    for _ in range(2):
        response = await client.head(URL)
        assert (response.headers["content-length"], response.content) == ("5", b"")


async def test_a_connection_is_used_again(client: httpx2.AsyncClient, site: Site) -> None:
    for _ in range(3):
        await client.get(URL)
    assert site.connections == 1


async def pieces() -> AsyncIterator[bytes]:
    yield b"ab"
    yield b"cd"


@pytest.mark.parametrize(
    ("options", "body", "length"),
    [
        ({}, b"", None),
        ({"content": b""}, b"", "0"),
        ({"content": b"abcd"}, b"abcd", "4"),
        ({"content": pieces()}, b"abcd", "4"),
        ({"data": {"a": "1"}}, b"a=1", "3"),
        ({"content": b"abcd", "headers": {"Content-Length": "4"}}, b"abcd", "4"),
        ({"content": b"abcd", "headers": {"Content-Length": "99"}}, b"abcd", "4"),
        ({"content": b"abcd", "headers": {"Transfer-Encoding": "chunked"}}, b"abcd", "4"),
        ({"content": b"abcd", "headers": {"Connection": "close"}}, b"abcd", "4"),
    ],
)
async def test_a_body_is_framed_once(
    client: httpx2.AsyncClient, site: Site, options: dict[str, Any], body: bytes, length: str | None
) -> None:
    method = "POST" if body or length else "GET"
    assert (await client.request(method, URL, **options)).status_code == 200
    (request,) = site.requests
    assert request.body == body
    framing = [
        (name.lower(), value)
        for name, value in request.raw_headers
        if name.lower() in (b"content-length", b"transfer-encoding", b"connection")
    ]
    assert framing == ([] if length is None else [(b"content-length", length.encode())])


async def test_a_post_of_nothing_says_so(client: httpx2.AsyncClient, site: Site) -> None:
    await client.post(URL)
    assert site.requests[0].headers["content-length"] == "0"


async def test_what_the_client_decodes_is_decoded(client: httpx2.AsyncClient, site: Site) -> None:
    async def compressed(exchange: HttpExchange) -> None:
        await exchange.respond(200, [("content-encoding", "gzip")], gzip.compress(b"hello"))

    site.handler = compressed
    response = await client.get(URL)
    assert (response.content, site.requests[0].headers["accept-encoding"][:4]) == (b"hello", "gzip")


async def test_redirects_are_the_clients_business(
    client: httpx2.AsyncClient, site: Site, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    other = memory_site(network, nursery, "other.test")

    async def redirect(exchange: HttpExchange) -> None:
        await exchange.respond(302, [("location", "http://other.test/there")])

    site.handler = redirect
    response = await client.get(URL, follow_redirects=True)
    assert (str(response.url), response.text) == ("http://other.test/there", "hello")
    assert other.requests[0].headers["host"] == "other.test"


# Streams


async def test_a_stream_comes_as_it_comes(
    client: httpx2.AsyncClient, site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(exchange: HttpExchange) -> None:
        await exchange.start(200)
        for piece in (b"ab", b"cd"):
            await trio.sleep(2)
            await exchange.send(piece)

    site.handler = slow
    came = []
    async with client.stream("GET", URL) as response:
        assert trio.current_time() == 0
        async for piece in response.aiter_raw():
            came.append((trio.current_time(), piece))
    assert came == [(2, b"ab"), (4, b"cd")]
    await client.get(URL)
    assert site.connections == 1


async def test_a_stream_that_is_left_half_way_ends_its_connection(
    client: httpx2.AsyncClient, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    left: list[float] = []

    async def endless(exchange: HttpExchange) -> None:
        try:
            await exchange.start(200)
            await exchange.send(b"x")
            await trio.sleep_forever()
        finally:
            left.append(trio.current_time())

    site.handler = endless
    async with client.stream("GET", URL) as response:
        async with aclosing(response.aiter_raw()) as body:
            assert await anext(body) == b"x"
    await trio.testing.wait_all_tasks_blocked()
    assert left == [0]
    with trio.move_on_after(1) as scope:
        async with client.stream("GET", URL) as response:
            await response.aread()
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    assert left == [0, 1]
    assert network.connections == []


async def test_what_is_to_be_decoded_comes_in_bounded_pieces_with_pauses() -> None:
    class AtOnce:
        status = 200
        headers = ((b"content-encoding", b"gzip"),)

        def __init__(self) -> None:
            self.pieces = [b"a" * (1 << 15), b"b", b""]

        async def receive(self) -> bytes:
            return self.pieces.pop(0)

    response = as_response(AtOnce(), httpx2.Request("GET", URL))  # type: ignore[arg-type]
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    pieces = aiter(response.stream)
    assert await anext(pieces) == b"a" * (1 << 14)
    with trio.testing.assert_checkpoints():
        assert await anext(pieces) == b"a" * (1 << 14)
    assert [piece async for piece in pieces] == [b"b"]


async def test_one_that_is_left_unread_may_be_whole_already(client: httpx2.AsyncClient, site: Site) -> None:
    async with client.stream("GET", URL):
        pass
    await client.get(URL)
    assert site.connections == 1


# Errors


async def test_what_befalls_a_connection_is_httpx2s_error_with_ours_as_its_cause(
    client: httpx2.AsyncClient, site: Site, network: MemoryNetwork
) -> None:
    async def cut(exchange: HttpExchange) -> None:
        await exchange.cut()

    async def cut_later(exchange: HttpExchange) -> None:
        await exchange.start(200)
        await exchange.send(b"x")
        await exchange.cut()

    async def nonsense(exchange: HttpExchange) -> None:
        await exchange.send_raw(b"SSH-2.0\r\n\r\n")

    async def nonsense_later(exchange: HttpExchange) -> None:
        await exchange.start(200)
        await exchange.send_raw(b"zz\r\n")

    for handler, error, cause, text in (
        (cut, httpx2.ReadError, ConnectionLost, "closed the connection without an answer"),
        (cut_later, httpx2.ReadError, ConnectionLost, "in the middle of its response"),
        (nonsense, httpx2.RemoteProtocolError, ProtocolError, "broke HTTP"),
        (nonsense_later, httpx2.RemoteProtocolError, ProtocolError, "broke HTTP"),
    ):
        site.handler = handler
        with pytest.raises(error, match=text) as caught:
            await client.get(URL)
        assert type(caught.value) is error
        assert type(caught.value.__cause__) is cause
        assert caught.value.request.url == URL
    network.link("server.test").refuse()
    with pytest.raises(httpx2.ConnectError, match="Connection refused") as refused:
        await client.get(URL)
    assert type(refused.value.__cause__) is ConnectError


async def test_whatever_a_network_raises_is_an_error_of_the_transport() -> None:
    class Broken:
        async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise RuntimeError("x")

    transport = TrioTransport(Pool(Broken(), lambda: ssl_context(True)))
    async with httpx2.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx2.TransportError, match="the network failed: RuntimeError") as caught:
            await client.get(URL)
    assert type(caught.value) is httpx2.TransportError
    assert type(caught.value.__cause__) is TransportError


@pytest.mark.parametrize("url", ["ftp://server.test/", "ws://server.test/"])
async def test_a_scheme_that_is_not_http_is_refused(url: str) -> None:
    transport = TrioTransport(Pool(MemoryNetwork(), lambda: ssl_context(True)))
    with pytest.raises(httpx2.LocalProtocolError, match=f"its scheme is '{url.partition(':')[0]}'") as caught:
        await transport.handle_async_request(httpx2.Request("GET", url))
    assert isinstance(caught.value.__cause__, ConfigurationError)


@pytest.mark.parametrize("value", ["s3cret\r\nevil: 1", "s3cret\n", "\ts3cret", "s3cret\x00"])
async def test_a_header_that_would_break_http_is_refused_and_not_shown(
    client: httpx2.AsyncClient, site: Site, value: str
) -> None:
    with pytest.raises(httpx2.LocalProtocolError, match="'Authorization' breaks HTTP") as caught:
        await client.get(URL, headers={"Authorization": value})
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert site.connections == 0


async def test_a_body_that_fails_is_the_callers_own_error(client: httpx2.AsyncClient, site: Site) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await client.post(URL, content=body())
    assert site.connections == 0


# Time


async def never(exchange: HttpExchange) -> None:
    await trio.sleep_forever()


async def test_each_timeout_of_the_client_is_kept(
    client: httpx2.AsyncClient, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    async def falls_silent(exchange: HttpExchange) -> None:
        await exchange.start(200)
        await exchange.send(b"x")
        await trio.sleep_forever()

    async def took(seconds: float, error: type[Exception], cause: type[Exception], **options: Any) -> None:
        before = trio.current_time()
        with trio.fail_after(100), pytest.raises(error) as caught:
            await client.post(URL, timeout=httpx2.Timeout(1000, **options), content=b"x" * (1 << 17))
        assert type(caught.value) is error
        assert type(caught.value.__cause__) is cause
        assert isinstance(caught.value.__cause__, trio.TooSlowError)
        assert trio.current_time() - before == seconds

    link = network.link("server.test")
    link.hang()
    await took(2, httpx2.ConnectTimeout, trio_mcp.ConnectTimeout, connect=2)
    link.heal()
    site.handler = never
    listener = network.listen("full.test", 80)  # nobody takes anything
    with trio.fail_after(100), pytest.raises(httpx2.ReadTimeout, match="took nothing of the request for 3 s"):
        await client.post(
            "http://full.test/", content=b"x" * (1 << 17), timeout=httpx2.Timeout(1000, write=3)
        )
    await listener.aclose()
    await took(4, httpx2.ReadTimeout, trio_mcp.Stalled, read=4)
    site.handler = falls_silent
    await took(5, httpx2.ReadTimeout, trio_mcp.Stalled, read=5)
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_without_timeouts_nothing_is_given_up(
    pool: Pool, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(exchange: HttpExchange) -> None:
        await trio.sleep(100_000)
        await exchange.start(200)
        await trio.sleep(100_000)
        await exchange.send(b"at last")

    site.handler = slow
    network.set_link("server.test", latency=10_000)
    async with httpx2.AsyncClient(transport=TrioTransport(pool), timeout=None) as client:
        assert (await client.get(URL)).text == "at last"
    # And where a request was made without a client, it has no timeouts either.
    response = await TrioTransport(pool).handle_async_request(httpx2.Request("GET", URL))
    assert await response.aread() == b"at last"


# Sending twice


async def answers(client: httpx2.AsyncClient, site: Site, method: str, extensions: dict[str, Any]) -> bool:
    """Whether a request is answered that goes over a connection which dies with it."""
    asked = 0

    async def once(exchange: HttpExchange) -> None:
        nonlocal asked
        asked += 1
        await (exchange.cut() if asked == 2 else exchange.respond(200))

    site.handler = once
    await client.get(URL)
    try:
        await client.request(method, URL, extensions=extensions)
    except httpx2.ReadError:
        return False
    return True


@pytest.mark.parametrize(
    ("method", "twice"),
    [
        ("GET", True),
        ("HEAD", True),
        ("OPTIONS", True),
        ("PUT", True),
        ("DELETE", True),
        ("POST", False),
        ("PATCH", False),
        ("MKCOL", False),
    ],
)
async def test_what_may_be_sent_twice_is_known_by_its_method_unless_it_is_said(
    client: httpx2.AsyncClient, site: Site, network: MemoryNetwork, method: str, twice: bool
) -> None:
    for extensions, expected in (({}, twice), ({REPEATABLE: True}, True), ({REPEATABLE: False}, False)):
        assert await answers(client, site, method, extensions) is expected
        network.link("server.test").reset()


# The end


async def test_closing_the_client_closes_what_is_idle(
    client: httpx2.AsyncClient, pool: Pool, site: Site, network: MemoryNetwork
) -> None:
    async with client:
        await client.get(URL)
        assert repr(pool) == "<Pool 1 idle to server.test>"
    assert repr(pool) == "<Pool closed>"
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []
