"""`http(s)://` is Streamable HTTP, and HTTP+SSE on the answers that tell of a server of 2024-11-05."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from trio_mcp import (
    AccessDenied,
    ConfigurationError,
    ConnectionLost,
    ConnectorError,
    ConnectTimeout,
    HTTPStatusError,
    MCPError,
    ProtocolError,
    VersionMismatch,
)
from trio_mcp.middleware import MiddlewareContext
from trio_mcp.testing import HttpExchange
from trio_mcp.testing.messages import error

from .sse_server import SseServer

JSON = [("content-type", "application/json")]


@pytest.fixture
def server(nursery: trio.Nursery) -> SseServer:
    return SseServer(nursery)


def method_of(exchange: HttpExchange) -> str:
    return str(json.loads(exchange.request.body)["method"])


def answers(
    server: SseServer, status: int, body: bytes = b"", headers: list[tuple[str, str]] | None = None
) -> list[str]:
    """Have each POST to the URL itself answered so; the methods that came will be in the list."""
    seen: list[str] = []

    async def answer(exchange: HttpExchange) -> None:
        seen.append(method_of(exchange))
        await exchange.respond(status, headers or [], body)

    server.on_post = answer
    return seen


# When


@pytest.mark.parametrize("version", ["auto", "2024-11-05", "2025-11-25"])
@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_refused_initialize_leads_to_http_sse(server: SseServer, status: int, version: str) -> None:
    server.version = "2024-11-05" if version == "auto" else version
    seen = answers(server, status)
    async with server.connect(transport="auto", protocol_version=version) as c:
        assert (c.transport, c.protocol_version) == ("sse", server.version)
        await c.call_tool("x")
        await c.notify("notifications/x")
        assert c.is_connected
    assert seen == (["server/discover", "initialize"] if version == "auto" else ["initialize"])
    assert server.methods() == ["initialize", "notifications/initialized", "tools/call", "notifications/x"]


async def test_a_legacy_error_in_the_body_leads_there_too(server: SseServer) -> None:
    answers(server, 405, json.dumps(error(None, -32000, "Method not allowed.")).encode(), JSON)
    async with server.connect(transport="auto") as c:
        assert c.transport == "sse"


@pytest.mark.parametrize("status", [401, 403, 402, 406, 408, 410, 415, 429, 500, 501, 502, 503])
async def test_no_other_status_does(server: SseServer, status: int) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        await exchange.respond(404 if method_of(exchange) == "server/discover" else status)

    server.on_post = refuse
    with pytest.raises(HTTPStatusError, match=f"HTTP {status}") as caught:
        async with server.connect(transport="auto"):
            pass
    assert "HTTP+SSE" not in str(caught.value)
    assert not server.gets


@pytest.mark.parametrize("code", [-32020, -32021, -32022])
async def test_an_error_that_only_a_modern_server_knows_does_not(server: SseServer, code: int) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        if method_of(exchange) == "server/discover":
            await exchange.respond(400)
        else:
            await exchange.respond(400, JSON, json.dumps(error(None, code)).encode())

    server.on_post = refuse
    with pytest.raises(MCPError) as caught:
        async with server.connect(transport="auto"):
            pass
    assert caught.value.code == code
    assert not server.gets


async def test_a_json_rpc_error_with_a_success_does_not(server: SseServer) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        id = json.loads(exchange.request.body)["id"]
        await exchange.respond(200, JSON, json.dumps(error(id, -32600)).encode())

    server.on_post = refuse
    with pytest.raises(MCPError):
        async with server.connect(transport="auto"):
            pass
    assert not server.gets


async def test_a_broken_connection_does_not(server: SseServer) -> None:
    async def cut(exchange: HttpExchange) -> None:
        await (exchange.respond(404) if method_of(exchange) == "server/discover" else exchange.cut())

    server.on_post = cut
    with pytest.raises(ConnectionLost):
        async with server.connect(transport="auto"):
            pass
    assert not server.gets


async def test_a_server_that_does_not_answer_does_not(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on_post = lambda exchange: trio.sleep_forever()
    with pytest.raises(ConnectTimeout, match="no handshake within 30 s"):
        async with server.connect(transport="auto"):
            pass
    assert not server.gets


async def test_an_error_of_the_users_own_code_does_not(server: SseServer) -> None:
    response = httpx2.Response(404, request=httpx2.Request("GET", "http://token.test"))
    own = httpx2.HTTPStatusError("no token", request=response.request, response=response)

    class Auth(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Any:
            raise own
            yield

    with pytest.raises(ConnectorError, match="auth failed") as caught:
        async with server.connect(transport="auto", auth=Auth()):
            pass
    assert caught.value.__cause__ is own
    assert not server.gets


async def test_an_explicit_transport_is_the_only_one(server: SseServer) -> None:
    with pytest.raises(HTTPStatusError, match="HTTP 405"):
        async with server.connect(transport="streamable-http"):
            pass
    assert not server.gets
    with pytest.raises(HTTPStatusError, match="HTTP 405"):
        async with server.connect(transport="auto", protocol_version="2026-07-28"):
            pass
    assert not server.gets
    with pytest.raises(ConfigurationError, match='transport must be "auto", "streamable-http" or "sse"'):
        server.connect(transport="websocket")  # type: ignore[arg-type]


# If both ways fail


@pytest.mark.parametrize(
    ("status", "type", "told"),
    [
        (404, "text/plain", "HTTP 404"),
        (405, "text/plain", "HTTP 405"),
        (406, "text/plain", "HTTP 406"),
        (200, "text/html", "the server answered HTTP 200 with text/html instead of an event stream"),
    ],
)
async def test_where_there_is_no_event_stream_either_the_first_answer_is_the_error(
    server: SseServer, status: int, type: str, told: str
) -> None:
    answers(server, 404)
    server.on_get = lambda exchange: exchange.respond(status, [("content-type", type)])
    with pytest.raises(HTTPStatusError) as caught:
        async with server.connect(transport="auto"):
            pass
    assert str(caught.value).startswith(
        "http://server.test/sse: HTTP 404; is this the URL of an MCP endpoint?; "
        f"HTTP+SSE was tried as well: {told}"
    )
    assert isinstance(caught.value.__cause__, HTTPStatusError | ProtocolError)
    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AccessDenied), (503, HTTPStatusError), (429, HTTPStatusError)]
)
async def test_what_says_nothing_about_the_transport_is_the_error(
    server: SseServer, status: int, kind: type[HTTPStatusError]
) -> None:
    answers(server, 405)
    server.on_get = lambda exchange: exchange.respond(status)
    with pytest.raises(
        kind, match="; HTTP\\+SSE was tried as Streamable HTTP was refused: HTTP 405"
    ) as caught:
        async with server.connect(transport="auto"):
            pass
    assert caught.value.status_code == status
    assert isinstance(caught.value.__cause__, HTTPStatusError)
    assert caught.value.__cause__.status_code == 405


async def test_what_goes_wrong_behind_the_event_stream_is_the_error(server: SseServer) -> None:
    answers(server, 405)
    server.on["initialize"] = lambda posted: posted.exchange.respond(404)
    with pytest.raises(
        HTTPStatusError, match="HTTP 404; HTTP\\+SSE was tried as Streamable HTTP was refused"
    ):
        async with server.connect(transport="auto"):
            pass
    server.version = "1999-01-01"
    server.on["initialize"] = SseServer._initialize.__get__(server)
    with pytest.raises(VersionMismatch, match="the server speaks 1999-01-01"):
        async with server.connect(transport="auto"):
            pass


async def test_the_whole_is_bounded(server: SseServer, autojump_clock: trio.testing.MockClock) -> None:
    answers(server, 405)

    async def mute(exchange: HttpExchange) -> None:
        await exchange.start(200, [("content-type", "text/event-stream")])
        await trio.sleep_forever()

    server.on_get = mute
    with pytest.raises(ConnectTimeout, match="names an endpoint within 15 s.*was refused: HTTP 405"):
        async with server.connect(transport="auto"):
            pass
    assert trio.current_time() == 15


# Afterwards


async def test_middleware_sees_one_handshake(server: SseServer) -> None:
    seen: list[str] = []

    async def note(context: MiddlewareContext[Any], call_next: Any) -> Any:
        seen.append(context.method)
        context.headers["x-traced"] = "yes"
        return await call_next(context)

    async with server.connect(transport="auto", middleware=[note]):
        pass
    assert seen == ["initialize"]
    assert server.all("initialize")[0].headers["x-traced"] == "yes"


async def test_calls_wait_while_its_stream_is_opened_again(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.connect(transport="auto") as c:
        await server.streams[-1].cut()
        await trio.sleep(0.5)
        assert not c.is_connected
        await c.call_tool("x")
        assert c.is_connected
        assert c.statistics().reconnects == 1
    assert server.methods().count("initialize") == 2


async def test_a_session_that_is_refused_later_is_no_reason_to_change_the_transport(
    server: SseServer,
) -> None:
    lost = False

    async def streamable(exchange: HttpExchange) -> None:
        if exchange.request.method == "DELETE":
            await exchange.respond(405)
            return
        message = json.loads(exchange.request.body)
        if lost or message["method"] == "server/discover":
            await exchange.respond(404)
        elif "id" not in message:
            await exchange.respond(202)
        else:
            result = {"protocolVersion": "2025-11-25", "capabilities": {}}
            result["serverInfo"] = {"name": "x", "version": "1"}
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            await exchange.respond(200, [*JSON, ("mcp-session-id", "one")], body)

    server.on_post = streamable
    server.on_get = lambda exchange: exchange.respond(405)
    async with server.connect(transport="auto") as c:
        assert c.transport == "streamable-http"
        lost = True
        server.on_get = server.open_stream
        with pytest.raises(ConnectorError, match="a new one was refused: HTTP 404"):
            await c.call_tool("x")
        assert c.transport == "streamable-http"
    assert not server.streams
