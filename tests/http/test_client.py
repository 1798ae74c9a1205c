"""One exchange as the transports make it: redirects, what is left of a response, and what errors may show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from tests.http.site import Site, memory_site
from tests.protocol.strategies import repeatable
from trio_mcp.errors import AccessDenied, HTTPStatusError, MessageTooLarge
from trio_mcp.http import HttpClient, HttpResponse
from trio_mcp.http.pool import Pool
from trio_mcp.http.pool_engine import PoolEngine
from trio_mcp.http.setup import ssl_context
from trio_mcp.testing import HttpExchange, MemoryNetwork, ScriptedServer

URL = "http://server.test/mcp"


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def site(network: MemoryNetwork, nursery: trio.Nursery) -> Site:
    return memory_site(network, nursery)


@pytest.fixture
def client(network: MemoryNetwork, nursery: trio.Nursery) -> HttpClient:
    return HttpClient(
        PoolEngine(Pool(network, lambda: ssl_context(True)), None),
        headers={"user-agent": "me", "x-mine": "1"},
        timeout=5,
        max_size=100,
        spawn=nursery.start_soon,
    )


async def send(client: HttpClient, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return await client.send("POST", URL, headers or {}, b"payload", silence=60)


async def test_headers_of_a_request_are_stronger_than_those_of_all(client: HttpClient, site: Site) -> None:
    async with await send(client, {"x-mine": "2", "x-more": "3"}) as response:
        assert await response.read() == b"hello"
    sent = site.requests[0].headers
    assert (sent["user-agent"], sent["x-mine"], sent["x-more"]) == ("me", "2", "3")
    assert response.request_headers["x-mine"] == "2"


# Redirects


def to(location: str, status: int = 307, *, path: str = "/mcp") -> Any:
    """Redirects what asks for `path`, and answers all else."""

    async def handler(exchange: HttpExchange) -> None:
        if exchange.request.target == path:
            await exchange.respond(status, [("location", location)], b"moved")
        else:
            await exchange.respond(200, [], exchange.request.body)

    return handler


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("location", ["/there?q=1", "there?q=1", "http://SERVER.test:80/there?q=1#x", "?q=1"])
async def test_a_redirect_that_keeps_method_and_origin_is_followed(
    client: HttpClient, site: Site, status: int, location: str
) -> None:
    site.handler = to(location, status)
    async with await send(client) as response:
        assert (response.status, await response.read()) == (200, b"payload")
    assert [request.method for request in site.requests] == ["POST", "POST"]
    assert site.requests[1].target == ("/mcp?q=1" if location == "?q=1" else "/there?q=1")
    assert site.requests[1].headers["x-mine"] == "1"


@pytest.mark.parametrize(
    ("location", "status", "text"),
    [
        ("/there?key=s3cret", 301, "HTTP 301: a redirect to http://server.test/there, which is not followed"),
        ("/there", 302, "HTTP 302: a redirect to http://server.test/there, which"),
        ("/there", 303, "HTTP 303: a redirect to http://server.test/there, which"),
        ("https://server.test/mcp2", 308, "a redirect to https://server.test/mcp2, which"),
        ("http://server.test:8080/", 307, "a redirect to http://server.test:8080/, which"),
        ("//u:s3cret@other.test/a?key=s3cret#s3cret", 307, "a redirect to http://other.test/a, which"),
        ("ftp://server.test/", 307, "a redirect to ftp://server.test/, which"),
        ("http://server.test:x/", 307, "a redirect to something that is not a URL"),
        ("http://server.test:0/", 307, "a redirect to something that is not a URL"),
        ("http://server.test:99999/", 307, "a redirect to something that is not a URL"),
    ],
)
async def test_any_other_redirect_is_an_error_that_tells_where_to(
    client: HttpClient, site: Site, location: str, status: int, text: str
) -> None:
    site.handler = to(location, status)
    with pytest.raises(HTTPStatusError, match=text) as caught:
        await send(client)
    assert caught.value.status_code == status
    assert "s3cret" not in str(caught.value) + str(caught.value.headers)
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://other.test/s3cret-token/a", "a redirect to https://other.test/[secret]/a, which"),
        (
            "https://other.test/s3cret%2Dtoken",
            "a redirect to a URL that repeats a secret of the request, which",
        ),
        ("http://server.test:s3cret-token/", "a redirect to something that is not a URL"),
    ],
)
async def test_a_redirect_that_repeats_a_secret_is_told_without_it(
    client: HttpClient, site: Site, location: str, told: str
) -> None:
    site.handler = to(location)
    with pytest.raises(HTTPStatusError) as caught:
        await send(client, {"authorization": "Bearer s3cret-token"})
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)


async def test_the_body_of_a_redirect_is_not_waited_for(
    client: HttpClient, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    left = trio.Event()

    async def endless(exchange: HttpExchange) -> None:
        if exchange.request.target != "/mcp":
            await exchange.respond(200)
            return
        try:
            await exchange.start(307, [("location", "/there")])
            await trio.sleep_forever()
        finally:
            left.set()

    site.handler = endless
    async with await send(client) as response:
        assert response.status == 200
    await trio.testing.wait_all_tasks_blocked()
    assert (trio.current_time(), left.is_set(), len(network.connections)) == (0, True, 1)


async def test_a_redirect_to_what_is_not_ascii_is_read_as_utf_8(client: HttpClient, site: Site) -> None:
    for location in ("/café".encode().decode("latin-1"), "/caf%C3%A9"):
        site.handler = to(location)
        async with await send(client) as response:
            assert response.status == 200
        assert site.requests[-1].target == "/caf%C3%A9"


async def test_redirects_come_to_an_end(client: HttpClient, site: Site) -> None:
    site.handler = to("/mcp")
    with pytest.raises(HTTPStatusError, match="HTTP 307: more than 5 redirects, the last one to http://ser"):
        await send(client)
    assert len(site.requests) == 6


async def test_a_redirect_without_a_place_is_a_response(client: HttpClient, site: Site) -> None:
    async def bare(exchange: HttpExchange) -> None:
        await exchange.respond(307)

    site.handler = bare
    async with await send(client) as response:
        assert response.status == 307


visible = st.characters(
    min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f", exclude_categories=["Cc"]
)


@repeatable
@given(st.text(st.sampled_from("htps:/[]@?#%.a0\\é\xad;=&") | visible, min_size=1, max_size=20))
@example("//\u00ad")
@example("http://a@[::1%25]:1")
def test_wherever_a_redirect_leads_it_is_followed_or_told(location: str) -> None:
    async def main() -> None:
        network = MemoryNetwork()
        async with trio.open_nursery() as nursery:
            memory_site(network, nursery).handler = to(location)
            engine = PoolEngine(Pool(network, lambda: ssl_context(True)), None)
            client = HttpClient(engine, headers={}, timeout=5, max_size=100, spawn=nursery.start_soon)
            try:
                async with await send(client) as response:
                    assert response.status == 200
            except HTTPStatusError as exc:
                assert "redirect" in exc.message
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# What is left of a response


def in_pieces(*pieces: bytes, pause: float, then: float = 0) -> Any:
    async def handler(exchange: HttpExchange) -> None:
        await exchange.start(200)
        for piece in pieces:
            await exchange.send(piece)
            await trio.sleep(pause)
        await trio.sleep(then)

    return handler


async def leave_early(client: HttpClient) -> None:
    async with await send(client) as response:
        assert await response.receive() == b"first"
        assert not response.ended


async def test_a_short_rest_is_read_aside_so_that_the_connection_serves_again(
    client: HttpClient, site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.handler = in_pieces(b"first", b"rest", pause=0.1)
    await leave_early(client)
    assert trio.current_time() == 0
    await trio.sleep(1)
    await leave_early(client)
    assert site.connections == 1


@pytest.mark.parametrize(
    "handler",
    [
        in_pieces(b"first", pause=0.3),
        in_pieces(b"first", *[b"x"] * 9, pause=0.1),
        in_pieces(b"first", b"x" * (1 << 16), pause=0.01, then=0.1),
        in_pieces(b"first", pause=float("inf")),
    ],
)
async def test_a_rest_that_takes_long_is_not(
    client: HttpClient,
    site: Site,
    network: MemoryNetwork,
    autojump_clock: trio.testing.MockClock,
    handler: Any,
) -> None:
    site.handler = handler
    await leave_early(client)
    await trio.sleep(0.26)
    assert network.connections == []


async def test_a_rest_that_breaks_disturbs_nobody(
    client: HttpClient, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    async def cut(exchange: HttpExchange) -> None:
        await exchange.start(200)
        await exchange.send(b"first")
        await trio.sleep(0.1)
        await exchange.cut()

    site.handler = cut
    await leave_early(client)
    await trio.sleep(1)
    assert network.connections == []


async def test_few_rests_are_read_at_a_time(
    client: HttpClient, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    site.handler = in_pieces(b"first", pause=0.2)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(leave_early, client)
        await trio.testing.wait_all_tasks_blocked()
        assert len(network.connections) == 8
        await trio.sleep(1)
        assert len(network.connections) == 8  # idle now
    assert site.connections == 20 + 12


async def test_what_fails_or_is_cancelled_closes_its_connection_at_once(
    client: HttpClient, site: Site, network: MemoryNetwork, autojump_clock: trio.testing.MockClock
) -> None:
    site.handler = in_pieces(b"first", pause=0.1)
    with pytest.raises(KeyError):
        async with await send(client):
            raise KeyError
    with trio.move_on_after(0):
        async with await send(client):
            await trio.sleep_forever()
    async with await send(client) as response:
        await response.abandon()
        assert response.ended
    assert trio.current_time() == 0
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_a_body_has_a_limit(client: HttpClient, site: Site) -> None:
    for size, fits in ((100, True), (101, False)):
        site.handler = in_pieces(b"x" * 60, b"x" * (size - 60), pause=0)
        async with await send(client) as response:
            if fits:
                assert await response.read() == b"x" * 100
            else:
                with pytest.raises(MessageTooLarge, match="more than 100 bytes; max_message_size raises"):
                    await response.read()


# What is shown


@pytest.mark.parametrize(
    ("value", "type"),
    [("Text/Event-Stream; charset=utf-8", "text/event-stream"), (" a/b ;", "a/b"), ("", ""), (None, "")],
)
async def test_a_content_type_is_compared_by_its_name(
    client: HttpClient, site: Site, value: str | None, type: str
) -> None:
    async def handler(exchange: HttpExchange) -> None:
        await exchange.respond(200, [] if value is None else [("Content-Type", value)])

    site.handler = handler
    async with await send(client) as response:
        assert response.content_type == type


async def test_headers_are_shown_without_secrets(client: HttpClient, site: Site) -> None:
    async def echo(exchange: HttpExchange) -> None:
        shown = [("X-Seen", exchange.request.headers["authorization"]), ("Retry-After", "3")]
        hidden = [("Set-Cookie", "a=s3cret-cookie"), ("Mcp-Session-Id", "s3cret-session")]
        await exchange.respond(503, [*shown, *hidden, ("Location", "//me:s3cret@a.test/x?s3cret#s3cret")])

    site.handler = echo
    async with await send(client, {"authorization": "Bearer s3cret-token"}) as response:
        headers = response.public_headers()
    assert headers == {
        "x-seen": "Bearer [secret]",
        "retry-after": "3",
        "location": "//a.test/x",
        "content-length": "0",
    }


def response_to(headers: Mapping[str, str], url: str = "http://a.test/") -> HttpResponse:
    class Nothing:
        status, fields, ended = 200, httpx2.Headers(), True

    return HttpResponse(Nothing(), headers, 0, lambda response: False, url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "text", "shown"),
    [
        (
            {"Authorization": "Bearer abcdef"},
            "got abcdef, or Bearer abcdef",
            "got [secret], or Bearer [secret]",
        ),
        ({"cookie": "a=abcdef; b=ghijkl"}, "abcdef, ghijkl", "[secret], [secret]"),
        ({"x-api-key": "abcdef"}, "abcdef", "[secret]"),
        ({"mcp-session-id": "abcdef"}, "abcdef", "[secret]"),
        ({"x-monkey": "abcdef", "mcp-name": "secret"}, "abcdef secret", "abcdef secret"),
        ({"x-token": "abc"}, "abc", "abc"),  # as it would be found in any text
    ],
)
def test_what_a_request_kept_secret_is_taken_out(headers: Mapping[str, str], text: str, shown: str) -> None:
    assert response_to(headers).redact(text) == shown


@pytest.mark.parametrize(
    ("query", "text", "shown"),
    [
        ("?api_key=abcdef&b=ghijkl#mnopqr", "abcdef, ghijkl, mnopqr", "[secret], [secret], mnopqr"),
        ("?abcdef", "abcdef", "[secret]"),
        ("?a=abc%2Fdef+g", "abc%2Fdef+g abc/def+g abc/def g", "[secret] [secret] [secret]"),
        ("?key=abcdef==", "abcdef==", "[secret]"),
        ("?version=1", "version 1", "version 1"),
    ],
)
def test_what_a_query_may_keep_secret_is_taken_out(query: str, text: str, shown: str) -> None:
    assert response_to({}, f"http://server.test/abcdef{query}").redact(text) == shown
    response = response_to({})
    response.keep_secret(f"http://server.test/abcdef{query}")
    assert response.redact(text) == shown


async def test_a_query_that_a_server_repeats_is_not_shown() -> None:
    async with ScriptedServer(url="http://server.test/mcp?api_key=s3cret-key") as server:
        server.on["tools/call"] = lambda call: call.reply("no: s3cret-key", status=403, type="text/plain")
        async with server.connect() as c:
            with pytest.raises(AccessDenied, match=r"no: \[secret\]") as caught:
                await c.call_tool("x")
    assert "s3cret" not in str(caught.value)


def test_an_excerpt_is_one_short_line() -> None:
    response = response_to({})
    assert response.excerpt(" a\n\tb ") == "a b"
    assert response.excerpt("x" * 200) == "x" * 200
    assert response.excerpt("x" * 201) == "x" * 200 + "…"
