"""Whose HTTP client does the work, and what its failures become."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import trio
import trio.testing
import trustme

import trio_mcp
from tests.support.server import HANG, URL, Seen, Server, event
from trio_mcp.http import HttpResponse
from trio_mcp.http.client_engine import ClientReply
from trio_mcp.http.setup import open_engine, ssl_context

DONE = {"content": [{"type": "text", "text": "done"}]}


class Bridge(httpx.AsyncBaseTransport):
    """Our server in memory, behind the other library's interface."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        ours = httpx2.Request(request.method, str(request.url), headers=request.headers.raw, content=content)
        try:
            response = await self.server.handle_async_request(ours)
        except httpx2.ConnectError as exc:
            raise httpx.ConnectError(str(exc)) from exc
        return httpx.Response(response.status_code, headers=response.headers.raw, stream=Body(response))


class Body(httpx.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self.response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.response.aiter_raw():
                yield chunk
        except httpx2.ReadError as exc:
            raise httpx.ReadError(str(exc)) from exc

    async def aclose(self) -> None:
        await self.response.aclose()


async def test_a_clients_own_auth_and_headers_are_used_and_it_stays_open() -> None:
    for library, transport in ((httpx2, lambda s: s), (httpx, Bridge)):
        server = Server()
        server.on["tools/call"] = lambda seen: seen.sse(seen.answer(DONE))
        client = library.AsyncClient(
            transport=transport(server), auth=("me", "pw"), headers={"x-mine": "1"}, trust_env=False
        )
        async with trio_mcp.open_connector(URL, http_client=client) as c:
            await c.call_tool("x")
        for seen in server.seen:
            assert seen.headers["authorization"].startswith("Basic ")
            assert seen.headers["x-mine"] == "1"
            assert seen.headers["host"] == "server.test"
        assert not client.is_closed
        await client.aclose()


async def test_an_httpx_auth_goes_with_either_client() -> None:
    for auth in (httpx.BasicAuth("me", "pw"), httpx2.BasicAuth("me", "pw")):
        for wrap in (Bridge, None):
            server = Server()
            client: Any = httpx.AsyncClient(transport=Bridge(server)) if wrap else server.client()
            async with trio_mcp.open_connector(URL, http_client=client, auth=auth):
                pass
            assert server.seen[0].headers["authorization"] == "Basic bWU6cHc="


async def test_the_failures_of_an_httpx_client_are_translated_like_the_others() -> None:
    server = Server()
    async with trio_mcp.open_connector(URL, http_client=httpx.AsyncClient(transport=Bridge(server))) as c:
        server.on["tools/call"] = lambda seen: seen.sse(httpx2.ReadError("reset"))
        with pytest.raises(trio_mcp.ConnectionLost, match="reset"):
            await c.call_tool("x")

        def refuse(seen: Seen) -> httpx2.Response:
            raise httpx2.ConnectError("refused")

        server.on["tools/call"] = refuse
        with pytest.raises(trio_mcp.ConnectError, match="refused"):
            await c.call_tool("x")


async def test_an_httpx_clients_stream_is_closed_when_the_call_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    server.on["tools/call"] = lambda seen: seen.sse(event({"jsonrpc": "2.0", "method": "x"}), HANG)
    async with trio_mcp.open_connector(URL, http_client=httpx.AsyncClient(transport=Bridge(server))) as c:
        with trio.move_on_after(1):
            await c.call_tool("x")
        assert server.seen[-1].closed.is_set()


FAILURES: list[tuple[Exception, type[Exception], str]] = [
    (httpx2.ConnectTimeout("t"), trio_mcp.ConnectTimeout, "no connection within 7 s"),
    (httpx2.PoolTimeout("t"), trio_mcp.ConnectTimeout, "no connection within 7 s"),
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
    server = Server()

    def fail(seen: Seen) -> httpx2.Response:
        raise failure

    server.on["server/discover"] = fail
    with pytest.raises(error, match=text) as caught:
        async with server.connect(timeout=7):
            pass
    assert caught.value.__cause__ is failure


async def test_an_illegal_header_is_told_without_what_it_holds() -> None:
    server = Server()

    def fail(seen: Seen) -> httpx2.Response:
        raise httpx2.LocalProtocolError("Illegal header value b'Bearer s3cr3t'")

    server.on["server/discover"] = fail
    with pytest.raises(trio_mcp.ConfigurationError, match="perhaps in a header") as caught:
        async with server.connect():
            pass
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


async def test_the_programs_own_trouble_is_no_reason() -> None:
    server = Server()
    async with server.connect() as c:
        server.on["tools/call"] = lambda seen: seen.sse(httpx2.ReadError("reset by peer"))
        with pytest.raises(trio_mcp.ConnectionLost, match="broke: reset by peer") as caught:
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

    def fail(seen: Seen) -> httpx2.Response:
        raise RuntimeError("engine trouble")

    server = Server()
    server.on["server/discover"] = fail
    error = trio_mcp.AuthorizationError if with_auth else trio_mcp.TransportError
    with pytest.raises(error, match="failed: RuntimeError") as caught:
        async with server.connect(auth=Broken() if with_auth else None):
            pass
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_closed_client_is_told_so(library: Any) -> None:
    client = library.AsyncClient()
    await client.aclose()
    with pytest.raises(trio_mcp.UsageError, match="http_client is closed"):
        async with trio_mcp.open_connector(URL, http_client=client):
            pass


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
    server = Server()

    def fail(seen: Seen) -> httpx2.Response:
        group = ExceptionGroup("many", [OSError(111, "Connection refused")])
        raise httpx2.ConnectError("all attempts to connect failed") from group

    server.on["server/discover"] = fail
    with pytest.raises(trio_mcp.ConnectError, match="Connection refused"):
        async with server.connect():
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
    assert await response.read() == b"ab"
    assert response.ended
    await response.abandon()
