"""Whose HTTP client does the work, and what its failures become."""

from __future__ import annotations

import gzip
import json
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import trio
import trio.testing
import trustme

import trio_mcp
from tests.conftest import Serve
from tests.http.site import tcp_site
from trio_mcp.http import HttpResponse
from trio_mcp.http.client_engine import ClientReply
from trio_mcp.http.engine import HttpRequest
from trio_mcp.http.pool import Pool
from trio_mcp.http.setup import open_engine, ssl_context
from trio_mcp.http.transport import TrioTransport
from trio_mcp.testing import HANG, RESET, HttpExchange, ScriptedServer
from trio_mcp.testing.messages import Json, event, response

URL = "http://server.test/mcp"
DONE = {"content": [{"type": "text", "text": "done"}]}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {}}


class Bridge(httpx.AsyncBaseTransport):
    """An httpx2 transport behind the other library's interface."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        theirs = httpx2.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            content=await request.aread(),
            extensions=request.extensions,
        )
        try:
            reply = await self.transport.handle_async_request(theirs)
        except httpx2.ConnectError as exc:
            raise httpx.ConnectError(str(exc)) from None
        return httpx.Response(reply.status_code, headers=reply.headers.raw, stream=Body(reply))


class Body(httpx.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self.response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.response.aiter_raw():
                yield chunk
        except httpx2.ReadError as exc:
            raise httpx.ReadError(str(exc)) from None

    async def aclose(self) -> None:
        await self.response.aclose()


def pool_to(server: ScriptedServer) -> Pool:
    return Pool(server.network, lambda: ssl_context(True))


def client_of(library: Any, server: ScriptedServer, **options: Any) -> Any:
    """A client of `library` that reaches `server`."""
    transport = TrioTransport(pool_to(server))
    return library.AsyncClient(
        transport=transport if library is httpx2 else Bridge(transport), trust_env=False, **options
    )


def client_that_raises(failure: Exception) -> httpx2.AsyncClient:
    """A client whose transport raises `failure`."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        raise failure

    return httpx2.AsyncClient(transport=httpx2.MockTransport(handle), trust_env=False)


def client_that_gives(
    stream: Callable[[Json], httpx2.AsyncByteStream], type: str = "text/event-stream"
) -> httpx2.AsyncClient:
    """A client whose calls of tools are answered by a stream of somebody's own making."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        message = json.loads(request.content)
        if message["method"] == "server/discover":
            return httpx2.Response(200, json=response(message["id"], DISCOVERED))
        return httpx2.Response(200, headers={"content-type": type}, stream=stream(message))

    return httpx2.AsyncClient(transport=httpx2.MockTransport(handle), trust_env=False)


class Odd(httpx2.AsyncByteStream):
    """A stream of somebody's own making."""

    def __init__(self, *pieces: bytes, then: Exception | None = None, close: Any = None) -> None:
        self.pieces, self.then, self.close = pieces, then, close

    async def __aiter__(self) -> Any:
        for piece in self.pieces:
            yield piece
        if self.then is not None:
            raise self.then
        await trio.sleep_forever()

    async def aclose(self) -> None:
        if self.close is not None:
            await self.close()


# The user's own client


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_a_clients_own_auth_and_headers_are_used_and_it_stays_open(serve: Serve, library: Any) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(seen.response(DONE))
    client = client_of(library, server, auth=("me", "pw"), headers={"x-mine": "1"})
    async with trio_mcp.open_connector(URL, http_client=client) as c:
        await c.call_tool("x")
    assert server.methods() == ["server/discover", "tools/call"]
    for seen in server.seen:
        assert seen.headers["authorization"].startswith("Basic ")
        assert seen.headers["x-mine"] == "1"
        assert seen.headers["host"] == "server.test"
    assert not client.is_closed
    await client.aclose()


@pytest.mark.parametrize("auth", [httpx.BasicAuth("me", "pw"), httpx2.BasicAuth("me", "pw")])
@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_an_httpx_auth_goes_with_either_client(serve: Serve, library: Any, auth: Any) -> None:
    server = serve()
    async with trio_mcp.open_connector(URL, http_client=client_of(library, server), auth=auth):
        pass
    assert server.seen[0].headers["authorization"] == "Basic bWU6cHc="


async def test_a_user_and_a_password_of_the_url_go_with_a_client_too(serve: Serve) -> None:
    server = serve()
    url = "http://user:secret@server.test/mcp"
    async with trio_mcp.open_connector(url, http_client=client_of(httpx2, server), verify=None):
        pass
    assert server.seen[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_what_a_client_sends_of_its_own_is_not_shown_if_a_server_repeats_it(
    serve: Serve, library: Any
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.reply(
        f"no: {seen.headers['authorization']}", status=403, type="text/plain"
    )
    client = client_of(library, server, headers={"authorization": "Bearer s3cret-token"})
    async with trio_mcp.open_connector(URL, http_client=client) as c:
        with pytest.raises(trio_mcp.AccessDenied, match=r"no: Bearer \[secret\]") as caught:
            await c.call_tool("x")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_a_client_whose_hooks_raise_hides_no_status(serve: Serve, library: Any, reads: bool) -> None:
    async def hook(response: Any) -> None:
        if reads:
            await response.aread()
        response.raise_for_status()

    server = serve("2025-11-25")
    answers = [(401, {}), (503, {"retry-after": "7", "content-encoding": "gzip"}), (404, {})]
    server.on["tools/call"] = lambda seen: seen.reply(
        gzip.compress(b"busy") if status == 503 else b"", status=status, headers=headers, type="text/plain"
    )
    client = client_of(library, server, event_hooks={"response": [hook]})
    async with trio_mcp.open_connector(URL, http_client=client) as c:
        status, headers = answers[0]
        with pytest.raises(trio_mcp.AccessDenied, match="HTTP 401"):
            await c.call_tool("x")
        status, headers = answers[1]
        with pytest.raises(
            trio_mcp.HTTPStatusError, match="HTTP 503: busy" if reads else "HTTP 503"
        ) as caught:
            await c.call_tool("x")
        assert caught.value.retry_after == 7
        status, headers = answers[2]
        with pytest.raises(trio_mcp.SessionExpired):
            await c.call_tool("x")
        assert c.statistics().reinitializations == 1


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_a_hook_that_raises_for_another_request_is_a_failure_of_the_client(
    serve: Serve, library: Any
) -> None:
    class Flow(library.Auth):  # type: ignore[misc]
        def auth_flow(self, request: Any) -> Any:
            yield library.Request("POST", "http://server.test/token")
            yield request

    async def hook(response: Any) -> None:
        response.raise_for_status()

    server = serve()
    client = client_of(library, server, event_hooks={"response": [hook]}, auth=Flow())
    with pytest.raises(trio_mcp.TransportError, match="failed: HTTPStatusError") as caught:
        async with trio_mcp.open_connector(URL, http_client=client):
            pass
    assert not isinstance(caught.value, trio_mcp.HTTPStatusError)


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_the_failures_of_a_client_are_translated(
    serve: Serve, library: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    async with trio_mcp.open_connector(URL, http_client=client_of(library, server)) as c:
        server.on["tools/call"] = lambda seen: seen.sse(0.01, RESET)
        with pytest.raises(trio_mcp.ConnectionLost, match="reset by peer"):
            await c.call_tool("x")
        server.link.refuse()
        with pytest.raises(trio_mcp.ConnectError, match="Connection refused"):
            await c.call_tool("x")


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_a_clients_stream_is_closed_when_the_call_is_cancelled(
    serve: Serve, library: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse({"jsonrpc": "2.0", "method": "x"}, HANG)
    async with trio_mcp.open_connector(URL, http_client=client_of(library, server)) as c:
        with trio.move_on_after(1):
            await c.call_tool("x")
        await server.seen[-1].closed.wait()
        assert trio.current_time() == pytest.approx(1)
        assert not server.seen[-1].sent


@pytest.mark.parametrize("close", ["fails", "lingers"])
async def test_letting_go_of_an_odd_stream_neither_waits_nor_raises(
    close: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def fails() -> None:
        raise OSError("aclose failed")

    async def lingers() -> None:
        await trio.sleep(5)

    how = fails if close == "fails" else lingers
    client = client_that_gives(lambda message: Odd(b": hello\n\n", close=how))
    async with trio_mcp.open_connector(URL, http_client=client) as c:
        with trio.move_on_after(0.2) as scope:
            await c.call_tool("x")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(0.2)
        assert c.statistics().requests_cancelled == 1


async def test_an_odd_stream_that_fails_after_the_answer_harms_nobody() -> None:
    client = client_that_gives(
        lambda message: Odd(event(response(message["id"], DONE)), then=ValueError("odd"))
    )
    async with trio_mcp.open_connector(URL, http_client=client) as c:
        await c.call_tool("x")
        await trio.testing.wait_all_tasks_blocked()
        assert c.is_connected


async def test_a_stream_that_never_waits_is_let_go_all_the_same() -> None:
    class Endless(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b"{"

    client = client_that_gives(lambda message: Endless(), "application/json")
    with pytest.raises(trio_mcp.MessageTooLarge):
        async with trio_mcp.open_connector(URL, http_client=client, max_message_size=100) as c:
            await c.call_tool("x")


@pytest.mark.parametrize(
    ("failure", "error", "text"),
    [
        (httpx2.ReadError("reset by peer"), trio_mcp.ConnectionLost, "broke: reset by peer"),
        (
            httpx2.RemoteProtocolError("illegal chunk header"),
            trio_mcp.ProtocolError,
            "broke HTTP: illegal chunk header",
        ),
    ],
)
async def test_a_body_that_breaks_off_has_its_type_too(
    failure: Exception, error: type[Exception], text: str
) -> None:
    client = client_that_gives(lambda message: Odd(b": hello\n\n", then=failure))
    async with trio_mcp.open_connector(URL, http_client=client) as c:
        with pytest.raises(error, match=text):
            await c.call_tool("x")


async def test_a_body_of_the_other_library_that_was_closed_is_lost() -> None:
    class Closed(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"
            raise httpx.StreamClosed

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Closed()))
    async with open_engine(httpx2.URL(URL), http_client=httpx.AsyncClient(transport=transport)) as engine:
        reply, _ = await engine.send(HttpRequest("GET", URL, {}, None, 5, 60, True))
        assert await reply.receive() == b"x"
        with pytest.raises(trio_mcp.ConnectionLost, match="the connection broke"):
            await reply.receive()
        await reply.close()


async def test_a_session_id_that_breaks_http_is_not_sent_back(serve: Serve) -> None:
    class Lenient(TrioTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if "mcp-session-id" in response.headers:
                response.headers["mcp-session-id"] = "bad\x7f"
            return response

    server = serve("2025-11-25")
    client = httpx2.AsyncClient(transport=Lenient(pool_to(server)), trust_env=False)
    async with trio_mcp.open_connector(URL, http_client=client):
        pass
    assert server.methods() == ["server/discover", "initialize", "notifications/initialized", "GET"]
    assert all("mcp-session-id" not in seen.headers for seen in server.seen)


FAILURES: list[tuple[Exception, type[Exception], str]] = [
    (httpx2.ConnectTimeout("t"), trio_mcp.ConnectTimeout, "no connection within 7 s"),
    (httpx2.PoolTimeout("t"), trio_mcp.ConnectTimeout, "http_client had no connection free for 7 s.*limits"),
    (httpx2.WriteTimeout("t"), trio_mcp.Stalled, "for 7 s"),
    (httpx2.ReadTimeout("t"), trio_mcp.Stalled, "for 7 s"),
    (httpx2.ConnectError("name not known"), trio_mcp.ConnectError, "could not connect: name not known"),
    (httpx2.ProxyError("407"), trio_mcp.ConnectError, "could not connect: 407"),
    (httpx2.ReadError(""), trio_mcp.ConnectionLost, "the connection broke: ReadError"),
    (httpx2.WriteError("broken pipe"), trio_mcp.ConnectionLost, "broken pipe"),
    (httpx2.RemoteProtocolError("Server disconnected early"), trio_mcp.ConnectionLost, "disconnected"),
    (httpx2.RemoteProtocolError("illegal status line"), trio_mcp.ProtocolError, "broke HTTP"),
    (httpx2.UnsupportedProtocol("x"), trio_mcp.ConfigurationError, "cannot be sent"),
    (httpx2.DecodingError("x"), trio_mcp.ProtocolError, "content encoding"),
    (httpx2.StreamClosed(), trio_mcp.ConnectionLost, "the connection broke"),
    (httpx2.InvalidURL("no"), trio_mcp.ConfigurationError, "not a usable URL"),
]


@pytest.mark.parametrize(("failure", "error", "text"), FAILURES)
async def test_each_failure_of_the_engine_has_its_type(
    failure: Exception, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        async with trio_mcp.open_connector(URL, http_client=client_that_raises(failure), timeout=7):
            pass
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize("library", [httpx2, httpx])
async def test_a_client_that_has_too_few_connections_is_told_so(library: Any, nursery: trio.Nursery) -> None:
    site, port = await tcp_site(nursery)

    async def hang(exchange: HttpExchange) -> None:
        await exchange.start(200)
        await trio.sleep_forever()

    site.handler = hang
    url = f"http://127.0.0.1:{port}/"
    async with library.AsyncClient(limits=library.Limits(max_connections=1), trust_env=False) as client:
        async with open_engine(httpx2.URL(url), http_client=client) as engine:
            first, _ = await engine.send(HttpRequest("GET", url, {}, None, 5, 60, True))
            with (
                trio.fail_after(20),
                pytest.raises(trio_mcp.ConnectTimeout, match="no connection free for 0.01 s"),
            ):
                await engine.send(HttpRequest("GET", url, {}, None, 0.01, 60, True))
            await first.close()


async def test_an_illegal_header_is_told_without_what_it_holds() -> None:
    failure = httpx2.LocalProtocolError("Illegal header value b'Bearer s3cr3t'")
    with pytest.raises(trio_mcp.ConfigurationError, match="perhaps in a header") as caught:
        async with trio_mcp.open_connector(URL, http_client=client_that_raises(failure)):
            pass
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


async def test_the_programs_own_trouble_is_no_reason(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.reply(RESET)
    client = client_that_gives(lambda message: Odd(then=httpx2.ReadError("reset by peer")))
    for connector, text in (
        (server.connect(), r"broke: \[Errno \d+\] Connection reset by peer$"),
        (trio_mcp.open_connector(URL, http_client=client), "broke: reset by peer$"),
    ):
        async with connector as c:
            with pytest.raises(trio_mcp.ConnectionLost, match=text) as caught:
                try:
                    raise KeyError("password=hunter2")
                except KeyError:
                    await c.call_tool("x")
            assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("with_auth", [False, True])
async def test_whatever_else_the_client_or_the_auth_raises_is_typed(with_auth: bool) -> None:
    class Broken(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Any:
            raise RuntimeError("no token")
            yield request

    client = client_that_raises(RuntimeError("engine trouble"))
    error = trio_mcp.AuthorizationError if with_auth else trio_mcp.TransportError
    with pytest.raises(error, match="failed: RuntimeError") as caught:
        async with trio_mcp.open_connector(URL, http_client=client, auth=Broken() if with_auth else None):
            pass
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_closed_client_is_told_so(library: Any) -> None:
    client = library.AsyncClient()
    await client.aclose()
    with pytest.raises(trio_mcp.UsageError, match="http_client is closed"):
        async with trio_mcp.open_connector(URL, http_client=client):
            pass


@pytest.mark.parametrize("way", ["option", "environment"])
@pytest.mark.parametrize(
    "proxy",
    [
        "ftp://user:s3cret@127.0.0.1:1",
        "http://user:s3cret/x@127.0.0.1:1",
        "http://user:s3cret#x@127.0.0.1:1",
        "http://user:s3cret\x01@127.0.0.1:1",
        "http://user:s3cret@[::1",
        "http://user:pw@s3cret@127.0.0.1:x",
        "user:s3cret@127.0.0.1:1",
    ],
)
async def test_the_url_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch, proxy: str, way: str) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy if way == "environment" else "")
    option = proxy if way == "option" else None
    with pytest.raises((trio_mcp.ConfigurationError, trio_mcp.ConnectError)) as caught:
        async with trio_mcp.open_connector(URL, proxy=option):
            pass
    assert "s3cret" not in str(caught.value)
    assert f"{caught.value.__cause__}{caught.value.__cause__!r}".find("s3cret") < 0
    if way == "option":
        assert "the proxy cannot be used: its URL (proxy=, or HTTPS_PROXY" in str(caught.value)
        assert caught.value.__suppress_context__


async def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in ("socks5://127.0.0.1:9", "nonsense"):
        with pytest.raises(trio_mcp.ConfigurationError, match="the proxy cannot be used"):
            async with trio_mcp.open_connector(URL, proxy=option):
                pass
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(trio_mcp.ConfigurationError, match="the proxy cannot be used"):
        async with trio_mcp.open_connector(URL):
            pass


def test_certificates_of_the_system_that_cannot_be_read_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    with pytest.raises(trio_mcp.ConfigurationError, match="SSL_CERT_FILE"):
        ssl_context(True)


async def test_the_innermost_reason_is_the_one_that_is_told() -> None:
    failure = httpx2.ConnectError("all attempts to connect failed")
    failure.__cause__ = ExceptionGroup("many", [OSError(111, "Connection refused")])
    with pytest.raises(trio_mcp.ConnectError, match="Connection refused"):
        async with trio_mcp.open_connector(URL, http_client=client_that_raises(failure)):
            pass


async def test_verify_is_what_it_says(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    context = ssl.create_default_context()
    system = ssl_context(True)
    assert isinstance(system, ssl.SSLContext)
    assert system.verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(True) is system  # reading the trust store takes long, and is done once
    assert ssl_context(False).verify_mode is ssl.CERT_NONE
    assert ssl_context(context) is context
    for file in (ca, str(ca)):
        trusted = ssl_context(file)
        assert isinstance(trusted, ssl.SSLContext)
        assert len(trusted.get_ca_certs()) == 1
    for bad in (tmp_path / "none.pem", Path(__file__)):
        with pytest.raises(trio_mcp.ConfigurationError, match="verify: cannot read certificates"):
            async with open_engine(httpx2.URL(URL), verify=bad):
                pass


class OfPieces:
    """As much of a response as `HttpResponse` needs."""

    status_code = 200
    headers = httpx2.Headers()

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for piece in (b"", b"a", b"", b"b"):
            yield piece

    async def aclose(self) -> None:
        raise AssertionError("read to its end, it needs no closing")


async def test_an_empty_piece_is_not_the_end_of_a_body() -> None:
    reply = ClientReply(OfPieces(), silence=1)  # type: ignore[arg-type]
    response = HttpResponse(reply, {}, max_size=9, linger=lambda response: False)
    with trio.testing.assert_checkpoints():
        assert await response.read() == b"ab"
    assert response.ended
    await response.abandon()
