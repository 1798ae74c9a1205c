"""Streamable HTTP of 2026-07-28: one exchange for each request, and every way in which it can go wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import CUT, HANG, RESET, Call, Reply, ScriptedServer
from trio_mcp.testing.messages import event, notification, progress, request

URL = "http://server.test/mcp"
DONE = {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}


@pytest.fixture
def server(serve: Serve) -> ScriptedServer:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.result(DONE)
    return server


async def call(server: ScriptedServer, **options: Any) -> str:
    async with server.connect(**options) as c:
        result = await c.call_tool("x")
    (block,) = result.content
    return str(getattr(block, "text"))  # noqa: B009


async def test_every_request_carries_the_envelope_and_mirrors_it_in_headers(server: ScriptedServer) -> None:
    async with server.connect() as c:
        await c.call_tool("näme", {"a": 1}, meta={"traceparent": "00-1"})
    seen = server.seen[-1]
    assert seen.message["params"]["name"] == "näme"
    meta = seen.params["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["traceparent"] == "00-1"
    assert seen.headers["mcp-protocol-version"] == "2026-07-28"
    assert seen.headers["mcp-method"] == "tools/call"
    assert seen.headers["mcp-name"] == "=?base64?bsOkbWU=?="
    assert seen.headers["accept"] == "application/json, text/event-stream"
    assert seen.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in seen.headers


async def test_the_callers_meta_cannot_override_the_envelope(server: ScriptedServer) -> None:
    async with server.connect() as c:
        await c.call_tool("x", meta={"io.modelcontextprotocol/protocolVersion": "1999-01-01"})
    assert server.seen[-1].params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


@pytest.mark.parametrize(
    "reply",
    [
        lambda seen: seen.result(DONE),
        lambda seen: seen.reply(
            b"\xef\xbb\xbf", _json(seen.response(DONE)), type="Application/JSON; charset=latin-1"
        ),
        lambda seen: seen.sse(seen.response(DONE)),
        lambda seen: seen.sse(
            ": hello\n\n", event("", id="1"), notification("x/unknown"), seen.response(DONE)
        ),
        lambda seen: seen.sse(*[piece for b in event(seen.response(DONE)) for piece in (bytes([b]), 0.01)]),
        lambda seen: seen.sse(
            "event: other\ndata: {}\n\n", seen.response(DONE), "data: {nonsense after it\n\n"
        ),
        lambda seen: seen.json({**seen.response(DONE), "id": float(seen.id)}),
        lambda seen: seen.sse(seen.response(DONE), CUT),
        lambda seen: seen.sse(seen.response(DONE), 0.01, RESET),
    ],
)
async def test_an_answer_is_read_from_json_and_from_a_stream(
    server: ScriptedServer,
    reply: Callable[[Call], Reply],
    autojump_clock: trio.testing.MockClock,
) -> None:
    server.on["tools/call"] = reply
    assert await call(server) == "done"


def _json(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


async def illegal_chunk(seen: Call) -> Any:
    await seen.send(notification("x"))
    await seen._exchange.send_raw(b"zz\r\n")
    return seen.reply(HANG)


BROKEN: dict[str, tuple[Callable[[Call], Any], type[Exception], str]] = {
    "202": (lambda s: s.reply(status=202), trio_mcp.ProtocolError, "HTTP 202 with no content type"),
    "204": (lambda s: s.reply(status=204), trio_mcp.ProtocolError, "HTTP 204"),
    "html": (lambda s: s.reply("<p>", type="text/html"), trio_mcp.ProtocolError, "text/html"),
    "not JSON": (lambda s: s.reply("{", type="application/json"), trio_mcp.ProtocolError, "not JSON"),
    "empty": (lambda s: s.reply(type="application/json"), trio_mcp.ProtocolError, "not JSON"),
    "bad UTF-8": (lambda s: s.reply(b'"\xff"', type="application/json"), trio_mcp.ProtocolError, "not JSON"),
    "a batch": (lambda s: s.json([s.response(DONE)]), trio_mcp.ProtocolError, "not a JSON-RPC"),
    "wrong id": (
        lambda s: s.json({**s.response(DONE), "id": 99}),
        trio_mcp.ProtocolError,
        "answered request 99 where",
    ),
    "id as text": (lambda s: s.json({**s.response(DONE), "id": str(s.id)}), trio_mcp.ProtocolError, "where"),
    "wrong id on a stream": (
        lambda s: s.sse({**s.response(DONE), "id": 99}, HANG),
        trio_mcp.ProtocolError,
        "answered request 99 where",
    ),
    "only a notification": (
        lambda s: s.json(notification("notifications/message")),
        trio_mcp.ProtocolError,
        "holds no answer",
    ),
    "result and error": (
        lambda s: s.json({**s.response(DONE), "error": {"code": 1, "message": ""}}),
        trio_mcp.ProtocolError,
        "either a result or an error",
    ),
    "malformed event": (lambda s: s.sse("data: {\n\n", HANG), trio_mcp.ProtocolError, "not JSON"),
    "stream without answer": (
        lambda s: s.sse(notification("x")),
        trio_mcp.ConnectionLost,
        "ended before the answer",
    ),
    "stream with ids is not resumed": (
        lambda s: s.sse(event("", id="1")),
        trio_mcp.ConnectionLost,
        "ended before",
    ),
    "reset": (
        lambda s: s.sse(notification("x"), 0.01, RESET),
        trio_mcp.ConnectionLost,
        "reset by peer",
    ),
    "broken HTTP": (
        illegal_chunk,
        trio_mcp.ProtocolError,
        "broke HTTP: Invalid character in chunk size",
    ),
    "broken gzip": (
        lambda s: s.reply(b"no gzip", type="application/json", headers={"content-encoding": "gzip"}),
        trio_mcp.ProtocolError,
        "content encoding",
    ),
    "error": (lambda s: s.error(-32602, "no such tool"), trio_mcp.MCPError, r"no such tool \(error -32602\)"),
    "error without id": (
        lambda s: s.json({"jsonrpc": "2.0", "id": None, "error": {"code": 5, "message": "eh"}}),
        trio_mcp.MCPError,
        "eh",
    ),
    "error on a stream": (
        lambda s: s.sse({"jsonrpc": "2.0", "id": s.id, "error": {"code": 5, "message": "eh"}}),
        trio_mcp.MCPError,
        "eh",
    ),
    "unknown result type": (
        lambda s: s.result({"resultType": "surprise"}),
        trio_mcp.ProtocolError,
        "type 'surprise'",
    ),
    "invalid result": (
        lambda s: s.result({"content": 5}),
        trio_mcp.ProtocolError,
        "not valid at content",
    ),
    "400 with text": (
        lambda s: s.reply("too  bad", status=400, type="text/plain"),
        trio_mcp.HTTPStatusError,
        "HTTP 400: too bad",
    ),
    "500 html": (
        lambda s: s.reply("<p>oops", status=500, type="text/html"),
        trio_mcp.HTTPStatusError,
        "HTTP 500$",
    ),
    "404 without a session": (lambda s: s.reply(status=404), trio_mcp.HTTPStatusError, "HTTP 404"),
    "another's error": (
        lambda s: s.json({"jsonrpc": "2.0", "id": 99, "error": {"code": 5, "message": "eh"}}, status=400),
        trio_mcp.HTTPStatusError,
        "HTTP 400",
    ),
    "error page that breaks off": (
        lambda s: s.reply("half", 0.01, RESET, status=502, type="text/plain"),
        trio_mcp.HTTPStatusError,
        "HTTP 502",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_fails_that_call_alone_and_at_once(
    server: ScriptedServer, name: str, autojump_clock: trio.testing.MockClock
) -> None:
    reply, error, text = BROKEN[name]
    async with server.connect() as c:
        server.on["tools/call"] = reply
        with trio.fail_after(1), pytest.raises(error, match=text) as caught:
            await c.call_tool("x")
        assert isinstance(caught.value, trio_mcp.ConnectorError)
        assert caught.value.server == URL
        assert caught.value.request == "tools/call 'x'"
        server.on["tools/call"] = lambda seen: seen.result(DONE)
        await c.call_tool("x")
        assert c.statistics().requests_failed == 1
        assert c.statistics().requests_in_flight == 0


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_an_error_in_the_body_of_an_error_status_is_the_servers_answer(
    server: ScriptedServer, status: int
) -> None:
    server.on["tools/call"] = lambda seen: seen.error(-32601, "Method not found", status, {"x": 1})
    with pytest.raises(trio_mcp.MCPError) as caught:
        await call(server)
    assert (caught.value.code, caught.value.data, caught.value.http_status) == (-32601, {"x": 1}, status)
    assert isinstance(caught.value.__cause__, trio_mcp.HTTPStatusError)


async def test_an_http_error_tells_what_a_program_needs_to_react(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda seen: seen.reply(
        status=503, headers={"Retry-After": "7", "Set-Cookie": "s=1", "X-Other": "y"}
    )
    with pytest.raises(trio_mcp.HTTPStatusError) as caught:
        await call(server)
    assert caught.value.status_code == 503
    assert caught.value.retry_after == 7
    assert caught.value.headers["x-other"] == "y"
    assert "set-cookie" not in caught.value.headers


async def test_denied_access_names_the_challenge_and_what_to_do(server: ScriptedServer) -> None:
    challenge = 'Bearer resource_metadata="https://x/y"'
    server.on["tools/call"] = lambda seen: seen.json({"error": "x"}, 401, {"WWW-Authenticate": challenge})
    with pytest.raises(
        trio_mcp.AuthorizationError, match=r"wants credentials, or other ones than these \(auth=\)"
    ) as caught:
        await call(server)
    assert isinstance(caught.value, trio_mcp.AccessDenied)
    assert caught.value.www_authenticate == challenge


async def test_a_token_that_the_server_repeats_is_not_shown(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_mcp")
    server.on["tools/call"] = lambda seen: seen.reply(
        f"bad token {seen.headers['authorization']} " + "x" * 300, status=403, type="text/plain"
    )
    with pytest.raises(trio_mcp.AccessDenied, match=r"bad token Bearer \[secret\] x+…") as caught:
        await call(server, auth="s3cr3t")
    assert "s3cr3t" not in repr(caught.value) + str(vars(caught.value)) + caplog.text


@pytest.mark.parametrize("status", [200, 400])
async def test_a_secret_that_the_server_repeats_in_its_error_is_not_shown(
    server: ScriptedServer, status: int
) -> None:
    server.on["tools/call"] = lambda seen: seen.error(
        -32600, f"bad {seen.headers['authorization']}", status, {"key": seen.headers["x-api-key"], "n": 1}
    )
    with pytest.raises(trio_mcp.MCPError, match=r"bad Bearer \[secret\]") as caught:
        await call(server, auth="token-s3cr3t", headers={"X-Api-Key": "key-s3cr3t", "X-Team": "a"})
    assert caught.value.data == {"key": "[secret]", "n": 1}
    assert "s3cr3t" not in repr(caught.value) + repr(caught.value.__cause__)


async def test_redacting_an_error_leaves_the_rest_of_it_as_it_is(server: ScriptedServer) -> None:
    data = {"id": 1234567, "list": ['ab"cd"ef', None, True], "cookie": "TOPSECRET"}
    server.on["tools/call"] = lambda seen: seen.error(-1, "x", 400, data)
    headers = {
        "X-Api-Key": "123456",
        "Token": 'ab"cd"ef',
        "Cookie": "a=b; sid=TOPSECRET",
        "X-Session-Mode": "params",
    }
    with pytest.raises(trio_mcp.MCPError) as caught:
        await call(server, headers=headers)
    assert caught.value.data == {"id": 1234567, "list": ["[secret]", None, True], "cookie": "[secret]"}


async def test_a_token_too_short_to_be_a_secret_does_not_blot_out_the_text(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda seen: seen.reply("an apple a day", status=400, type="text/plain")
    with pytest.raises(trio_mcp.HTTPStatusError, match="an apple a day"):
        await call(server, auth="a")


async def test_the_headers_of_an_error_show_no_secret(server: ScriptedServer) -> None:
    async with server.connect(auth="token-s3cr3t") as c:
        server.on["tools/call"] = lambda seen: seen.reply(
            status=302,
            headers={
                "location": "http://x.test/?code=s3cr3t",
                "www-authenticate": seen.headers["authorization"],
            },
        )
        with pytest.raises(trio_mcp.HTTPStatusError) as caught:
            await c.call_tool("x")
    assert caught.value.headers["location"] == "http://x.test/"
    assert "s3cr3t" not in repr(caught.value)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_address_that_is_no_endpoint_is_doubted(server: ScriptedServer, status: int) -> None:
    server.on["server/discover"] = server.on["initialize"] = lambda seen: seen.reply(status=status)
    with pytest.raises(trio_mcp.HTTPStatusError, match="is this the URL of an MCP endpoint"):
        await call(server)


async def test_streams_that_stay_open_after_their_answer_do_not_pile_up(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(seen.response(DONE), HANG)
    async with server.connect() as c:
        for _ in range(50):
            await c.call_tool("x")
        assert sum(not seen.closed.is_set() for seen in server.all("tools/call")) <= 8


async def test_an_error_page_that_drips_is_not_waited_for(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = lambda seen: seen.reply("half", HANG, status=500, type="text/plain")
    with pytest.raises(trio_mcp.HTTPStatusError):
        await call(server, timeout=5)
    assert trio.current_time() == pytest.approx(5)


# Cancelling, deadlines, silence


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_cancelled_call_returns_at_once_and_the_server_sees_its_stream_closed(
    server: ScriptedServer, streaming: bool, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(progress(1, 1), HANG) if streaming else seen.json(None)
    if not streaming:
        server.on["tools/call"] = lambda seen: trio.sleep_forever()
    async with server.connect() as c:
        with trio.move_on_after(0.5) as scope:
            await c.call_tool("x")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(0.5)
        assert c.statistics().requests_cancelled == 1
        if streaming:
            await server.seen[-1].closed.wait()
            assert not server.seen[-1].sent
        server.on["tools/call"] = lambda seen: seen.result(DONE)
        await c.call_tool("x")
    assert "notifications/cancelled" not in server.methods()


async def test_a_slow_tool_is_not_a_timeout_but_silence_is(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(20, seen.response(DONE))
    assert await call(server, timeout=5, sse_read_timeout=30) == "done"
    server.on["tools/call"] = lambda seen: seen.sse(20, ": alive\n\n", 20, seen.response(DONE))
    assert await call(server, timeout=5, sse_read_timeout=30) == "done"
    server.on["tools/call"] = lambda seen: seen.sse(40, seen.response(DONE))
    with pytest.raises(trio_mcp.Stalled, match="silent for 30 s") as caught:
        await call(server, timeout=5, sse_read_timeout=30)
    assert isinstance(caught.value, trio.TooSlowError)
    server.on["tools/call"] = lambda seen: trio.sleep_forever()
    with pytest.raises(trio_mcp.Stalled, match="did not answer for 30 s"):
        await call(server, timeout=5, sse_read_timeout=30)


async def test_after_the_answer_a_stream_that_stays_open_is_not_waited_for(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(seen.response(DONE), HANG)
    async with server.connect() as c:
        await c.call_tool("x")
        assert trio.current_time() == 0
        await server.seen[-1].closed.wait()
        assert trio.current_time() == pytest.approx(0.25)
        await c.call_tool("x")
        left = trio.current_time()
    assert trio.current_time() == left
    assert server.seen[-1].closed.is_set()


async def test_after_the_answer_a_flood_is_not_read(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(seen.response(DONE), *[b":" * 9999] * 100, HANG)
    async with server.connect() as c:
        await c.call_tool("x")
        await server.seen[-1].closed.wait()
        assert trio.current_time() < 1


# Sizes


@pytest.mark.parametrize("streaming", [False, True])
async def test_one_limit_holds_for_bodies_and_events_and_its_error_names_it(
    server: ScriptedServer, streaming: bool
) -> None:
    big = {**DONE, "content": [{"type": "text", "text": "x" * 2000}]}
    server.on["tools/call"] = lambda s: s.sse(s.response(big)) if streaming else s.result(big)
    async with server.connect(max_message_size=3000) as c:
        await c.call_tool("x")
    with pytest.raises(trio_mcp.MessageTooLarge, match="1000 bytes; max_message_size"):
        await call(server, max_message_size=1000)


# Redirects


async def test_a_redirect_that_keeps_method_and_origin_is_followed(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda seen: (
        seen.result(DONE)
        if len(server.all("tools/call")) > 1
        else seen.reply(status=307, headers={"location": "/mcp?moved=1"})
    )
    assert await call(server) == "done"
    assert [seen.target for seen in server.all("tools/call")] == ["/mcp", "/mcp?moved=1"]


@pytest.mark.parametrize(
    ("status", "location", "text"),
    [
        (307, "http://elsewhere.test/mcp?key=1", r"redirect to http://elsewhere.test/mcp, which"),
        (308, "https://server.test/mcp", "https://server.test/mcp"),
        (301, "/mcp/", "http://server.test/mcp/"),
        (302, "/mcp/", "use that URL"),
        (303, "/mcp/", "not followed"),
        (307, "/mcp", "more than 5 redirects"),
        (307, "http://host:port", "not a URL"),
        (307, "http://server.test:99999/", "not a URL"),
    ],
)
async def test_any_other_redirect_is_an_error_that_names_the_target(
    server: ScriptedServer, status: int, location: str, text: str
) -> None:
    async with server.connect(auth="s3cr3t") as c:
        server.on["tools/call"] = lambda seen: seen.reply(status=status, headers={"location": location})
        with pytest.raises(trio_mcp.HTTPStatusError, match=text) as caught:
            await c.call_tool("x")
    assert caught.value.status_code == status


# Many at a time


async def test_calls_beyond_the_limit_queue_and_none_dies_of_it(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_flight: list[int] = []

    async def slowly(seen: Call) -> Reply:
        in_flight.append(sum(not s.closed.is_set() for s in server.all("tools/call")))
        await trio.sleep(10)
        return seen.result(DONE)

    server.on["tools/call"] = slowly
    async with server.connect(max_connections=5, timeout=1) as c, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(c.call_tool, "x")
    assert max(in_flight) <= 5
    assert trio.current_time() == pytest.approx(60)


async def test_requests_of_a_modern_server_are_dropped_and_counted(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(request(1, "ping"), seen.response(DONE))
    async with server.connect() as c:
        await c.call_tool("x")
        assert c.statistics().unknown_messages == 1
    assert "answer" not in server.methods()


async def test_notifications_are_posted_with_their_headers_and_a_refusal_is_an_error(
    server: ScriptedServer,
) -> None:
    async with server.connect() as c:
        await c.notify("notifications/custom", {"a": 1})
        assert server.seen[-1].message == {
            "jsonrpc": "2.0",
            "method": "notifications/custom",
            "params": {"a": 1},
        }
        assert server.seen[-1].headers["mcp-method"] == "notifications/custom"
        assert server.seen[-1].headers["mcp-protocol-version"] == "2026-07-28"
        server.on["notifications/custom"] = lambda seen: seen.reply(status=400)
        with pytest.raises(trio_mcp.HTTPStatusError) as caught:
            await c.notify("notifications/custom")
        assert caught.value.request == "notifications/custom"


@pytest.mark.parametrize(
    "arguments",
    [{"a": float("nan")}, {"a": "\ud800"}, {"a": object()}, {"a": {1, 2}}, {"a": b"x"}],
)
async def test_arguments_that_are_not_json_are_told_before_anything_is_sent(
    server: ScriptedServer,
    arguments: dict[str, Any],
) -> None:
    async with server.connect() as c:
        sent = len(server.seen)
        with pytest.raises(trio_mcp.InvalidArguments):
            await c.call_tool("x", arguments)
        assert len(server.seen) == sent
        await c.call_tool("x")
