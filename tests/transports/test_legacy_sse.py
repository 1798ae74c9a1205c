"""HTTP+SSE of 2024-11-05: one event stream for what the server says, a POST for each message to it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import mcp_types as types
import pytest
import trio
import trio.testing

from trio_mcp import (
    AccessDenied,
    ConfigurationError,
    ConnectionChange,
    ConnectionLost,
    ConnectTimeout,
    HTTPStatusError,
    MCPError,
    MessageTooLarge,
    ProtocolError,
    ReconnectPolicy,
    Stalled,
)
from trio_mcp.testing import HttpExchange
from trio_mcp.testing.messages import error, event, notification, progress, response

from .sse_server import DONE, SECRET, Posted, SseServer

SSE = [("content-type", "text/event-stream")]
QUICK = ReconnectPolicy(initial=1, maximum=4, jitter=0, attempts=2)


@pytest.fixture
def server(nursery: trio.Nursery) -> SseServer:
    return SseServer(nursery)


async def silent(posted: Posted) -> None:
    await posted.accept()


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


# The handshake and calls


async def test_messages_are_posted_to_the_endpoint_and_answers_come_over_the_stream(
    server: SseServer,
) -> None:
    async with server.connect(headers={"x-mine": "yes"}, auth="token") as c:
        assert text_of(await c.call_tool("x")) == "done"
        assert (c.transport, c.protocol_version, c.is_connected) == ("sse", "2024-11-05", True)
    assert server.methods() == ["initialize", "notifications/initialized", "tools/call"]
    (get,) = server.gets
    for headers in (get.headers, *(posted.headers for posted in server.posted)):
        assert (headers["x-mine"], headers["authorization"]) == ("yes", "Bearer token")
        assert "mcp-protocol-version" not in headers
    assert get.headers["accept"] == "text/event-stream"


async def test_nothing_modern_is_asked(server: SseServer) -> None:
    with pytest.raises(ConfigurationError, match="there is no 2026-07-28 over HTTP\\+SSE"):
        server.connect(protocol_version="2026-07-28")
    async with server.connect(protocol_version="2024-11-05") as c:
        assert c.protocol_version == "2024-11-05"
    assert server.methods()[0] == "initialize"


async def test_later_legacy_versions_are_spoken_with_their_header(server: SseServer) -> None:
    server.version = "2025-06-18"
    async with server.connect() as c:
        await c.call_tool("x")
    seen = [posted.headers.get("mcp-protocol-version") for posted in server.posted]
    assert seen == [None, "2025-06-18", "2025-06-18"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "messages?session_id={}",
        "/messages?session_id={}",
        "http://server.test/messages?session_id={}",
        "HTTP://SERVER.TEST:80/messages?session_id={}#x",
        "//me:pass@server.test/messages?session_id={}",
        "?session_id={}",
        "/messages/{}",
    ],
)
async def test_an_endpoint_of_the_same_origin_is_taken_in_every_form(
    server: SseServer, endpoint: str
) -> None:
    server.endpoint = endpoint
    server.headers = [("set-cookie", "node=a")]  # so that a client of httpx2's sends what follows
    async with server.connect() as c:
        await c.call_tool("x")
    for posted in server.posted:
        assert posted.headers["cookie"] == "node=a"
        assert "authorization" not in posted.headers


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        ("http://other.test/messages?session_id={}", "http://other.test"),
        ("//other.test/messages?session_id={}", "http://other.test"),
        ("https://server.test/messages?session_id={}", "https://server.test"),
        ("http://server.test:81/messages?session_id={}", "http://server.test:81"),
        ("http://server.test@other.test/{}", "http://other.test"),
        ("javascript:alert({})", "javascript://"),
    ],
)
async def test_an_endpoint_of_another_origin_gets_nothing(
    server: SseServer, endpoint: str, named: str
) -> None:
    server.endpoint = endpoint
    with pytest.raises(ProtocolError, match="an endpoint of another origin") as caught:
        async with server.connect(auth="token"):
            pass
    assert f"{named}," in str(caught.value)
    assert SECRET not in str(caught.value)
    assert not server.posted


@pytest.mark.parametrize("endpoint", ["http://server.test:99999/x", "http://[/x", "\xff\x00"])
async def test_an_endpoint_that_is_not_a_url_is_a_protocol_error(server: SseServer, endpoint: str) -> None:
    async def begin(exchange: HttpExchange) -> None:
        await exchange.start(200, SSE)
        await exchange.send(b"event: endpoint\ndata: " + endpoint.encode("latin-1") + b"\n\n")
        await trio.sleep_forever()

    server.on_get = begin
    with pytest.raises(ProtocolError, match="the server named an endpoint"):
        async with server.connect():
            pass


async def test_the_first_endpoint_counts_and_events_that_are_no_messages_are_dropped(
    server: SseServer,
) -> None:
    async def begin(exchange: HttpExchange) -> None:
        await exchange.start(200, SSE)
        await exchange.send(b": hello\r\n\r\nevent: ping\r\ndata: 1\r\n\r\n")
        server.streams.append(exchange)
        await exchange.send(b"event: endpoint\r\ndata: /messages?s=-1\r\n\r\n: x\r\n")
        await exchange.send(b"event: endpoint\r\ndata: http://other.test/\r\n\r\n")
        await exchange.send(b"event: ping\rdata: 2\r\rdata:\r\rdata: not JSON\r\r")
        await trio.sleep_forever()

    server.on_get = begin
    async with server.connect() as c:
        await c.call_tool("x")
        assert c.statistics().unknown_messages == 1
    assert {posted.exchange.request.target for posted in server.posted} == {"/messages?s=-1"}


# Opening that fails


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AccessDenied), (404, HTTPStatusError), (503, HTTPStatusError)]
)
async def test_a_stream_that_is_refused_is_told_by_its_status_at_once(
    server: SseServer, status: int, kind: type[HTTPStatusError]
) -> None:
    server.on_get = lambda exchange: exchange.respond(status, [("content-type", "text/plain")], b"why not")
    with pytest.raises(kind, match="why not") as caught:
        async with server.connect():
            pass
    assert caught.value.status_code == status
    assert str(caught.value).startswith("http://server.test/sse: ")
    assert len(server.gets) == 1


async def test_what_is_no_event_stream_is_a_protocol_error(server: SseServer) -> None:
    server.on_get = lambda exchange: exchange.respond(200, [("content-type", "text/html")], b"<p>")
    with pytest.raises(ProtocolError, match="text/html instead of an event stream: is this the URL"):
        async with server.connect():
            pass


@pytest.mark.parametrize("begins", [True, False])
async def test_a_server_that_names_no_endpoint_is_given_up(
    server: SseServer, autojump_clock: trio.testing.MockClock, begins: bool
) -> None:
    async def begin(exchange: HttpExchange) -> None:
        if begins:
            await exchange.start(200, SSE)
            while True:
                await exchange.send(b": still here\n\nevent: other\ndata: x\n\n")
                await trio.sleep(1)
        await trio.sleep_forever()

    server.on_get = begin
    with pytest.raises(ConnectTimeout, match="names an endpoint within 15 s, half of connect_timeout"):
        async with server.connect():
            pass
    assert trio.current_time() == 15


async def test_a_stream_that_ends_before_its_endpoint_is_a_lost_connection(server: SseServer) -> None:
    async def begin(exchange: HttpExchange) -> None:
        await exchange.start(200, SSE)

    server.on_get = begin
    with pytest.raises(ConnectionLost, match="ended its event stream"):
        async with server.connect():
            pass
    assert len(server.gets) == 1


async def test_a_stream_that_ends_within_the_handshake_fails_it(server: SseServer) -> None:
    async def leave(posted: Posted) -> None:
        await posted.accept()
        await posted.stream.finish()

    server.on["initialize"] = leave
    with pytest.raises(ConnectionLost, match="ended its event stream"):
        async with server.connect(reconnect=False):
            pass


async def test_a_handshake_that_is_not_answered_is_given_up(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["initialize"] = silent
    with pytest.raises(ConnectTimeout, match="no handshake within 30 s"):
        async with server.connect():
            pass
    assert "notifications/cancelled" not in server.methods()
    assert server.streams[0].disconnected.is_set()


# What a POST may be answered by


async def test_a_refused_post_fails_that_call_alone(server: SseServer) -> None:
    async def refuse(posted: Posted) -> None:
        if posted.message["params"]["name"] == "bad":
            await posted.exchange.respond(
                503, [("content-type", "text/plain"), ("retry-after", "7")], b"too busy"
            )
        else:
            await started.send(posted)
            await posted.accept()

    server.on["tools/call"] = refuse
    started, waiting = trio.open_memory_channel[Posted](1)
    async with server.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "good")
        posted = await waiting.receive()
        with pytest.raises(HTTPStatusError, match="HTTP 503: too busy; it asks to wait for 7 s") as caught:
            await c.call_tool("bad")
        assert (caught.value.status_code, caught.value.retry_after) == (503, 7)
        assert c.is_connected
        await posted.answer(DONE)
    assert len(server.streams) == 1


@pytest.mark.parametrize("id", [None, "own"])
async def test_a_json_rpc_error_in_a_refusal_is_the_answer(server: SseServer, id: str | None) -> None:
    async def refuse(posted: Posted) -> None:
        body = error(posted.message["id"] if id else None, -32600, "no")
        await posted.exchange.respond(
            400, [("content-type", "application/json")], event(body)[len("data: ") :].strip()
        )

    server.on["tools/call"] = refuse
    async with server.connect() as c:
        with pytest.raises(MCPError, match="no") as caught:
            await c.call_tool("x")
    assert (caught.value.code, caught.value.http_status) == (-32600, 400)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (response("id", DONE), "done"),
        (error("id", -32602, "wrong"), -32602),
        (error(None, -32700, "unread"), -32700),
    ],
)
async def test_an_answer_in_the_body_of_the_post_is_taken(
    server: SseServer, body: dict[str, object], outcome: str | int
) -> None:
    async def answer(posted: Posted) -> None:
        message = {**body, "id": body["id"] and posted.message["id"]}
        await posted.exchange.respond(
            200, [("content-type", "application/json")], event(message)[len("data: ") :].strip()
        )

    server.on["tools/call"] = answer
    async with server.connect() as c:
        if isinstance(outcome, str):
            assert text_of(await c.call_tool("x")) == outcome
        else:
            with pytest.raises(MCPError) as caught:
                await c.call_tool("x")
            assert caught.value.code == outcome
        assert c.statistics().unknown_messages == 0


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("application/json", b'{"status": "accepted"}'),
        ("application/json", b""),
        ("text/html", b"<p>fine"),
        ("text/event-stream", b"data: {}\n\n"),
    ],
)
async def test_any_other_body_of_a_success_says_nothing(server: SseServer, type: str, body: bytes) -> None:
    async def accept(posted: Posted) -> None:
        await posted.exchange.respond(200, [("content-type", type)], body)
        await posted.answer(DONE)

    server.on["tools/call"] = accept
    async with server.connect() as c:
        assert text_of(await c.call_tool("x")) == "done"


async def test_an_answer_that_overtakes_its_post_is_not_kept_waiting(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def answer_first(posted: Posted) -> None:
        await posted.answer(DONE)
        await trio.sleep_forever()

    server.on["tools/call"] = answer_first
    async with server.connect() as c:
        await c.call_tool("x")
        assert trio.current_time() == 0
        server.on["tools/call"] = SseServer._call.__get__(server)
        await c.call_tool("x")


async def test_a_server_that_answers_the_post_when_it_is_done_has_time_for_that(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(posted: Posted) -> None:
        await trio.sleep(60)
        await posted.accept()
        await posted.answer(DONE)

    server.on["tools/call"] = slow
    async with server.connect(timeout=5) as c:
        await c.call_tool("x")
    assert trio.current_time() == 60


async def test_a_notification_is_given_a_short_time_only(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["notifications/x"] = lambda posted: trio.sleep_forever()
    async with server.connect(timeout=5) as c:
        with pytest.raises(Stalled):
            await c.notify("notifications/x")
        assert trio.current_time() == 5
        await c.call_tool("x")


# The stream


async def test_answers_come_in_any_order_and_those_that_nobody_waits_for_are_counted(
    server: SseServer,
) -> None:
    held: list[Posted] = []

    async def hold(posted: Posted) -> None:
        await posted.accept()
        held.append(posted)
        if len(held) == 3:
            for each in reversed(held):
                text = {"type": "text", "text": each.message["params"]["name"]}
                await each.send(response("nobody's", {}))
                await each.answer({"content": [text]})

    server.on["tools/call"] = hold
    names: dict[str, str] = {}
    async with server.connect() as c:

        async def call(name: str) -> None:
            names[name] = text_of(await c.call_tool(name))

        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(call, name)
        assert c.statistics().unknown_messages == 3
    assert names == {"a": "a", "b": "b", "c": "c"}


async def test_progress_notifications_and_questions_come_over_the_stream(server: SseServer) -> None:
    async def work(posted: Posted) -> None:
        await posted.accept()
        token = posted.message["params"]["_meta"]["progressToken"]
        for step in (1, 2):
            await posted.send(progress(token, step))
        await posted.send(notification("notifications/tools/list_changed"))
        answers.append(await server.ask("roots/list"))
        answers.append(await server.ask("ping"))
        await posted.answer(DONE)

    server.on["tools/call"] = work
    answers: list[dict[str, object]] = []
    reported: list[float] = []
    heard: list[str] = []

    async def report(value: float, total: float | None, message: str | None) -> None:
        reported.append(value)

    async def hear(message: types.ServerNotification) -> None:
        heard.append(message.method)

    async with server.connect(roots=[], message_handler=hear) as c:
        await c.call_tool("x", progress_callback=report)
    assert reported == [1, 2]
    assert [each["result"] for each in answers] == [{"roots": []}, {}]
    assert heard.count("notifications/tools/list_changed") == 1


async def test_a_cancelled_call_returns_at_once_and_the_server_is_told(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = silent
    async with server.connect() as c:
        with trio.move_on_after(3):
            await c.call_tool("x")
        assert trio.current_time() == 3
    (cancelled,) = server.all("notifications/cancelled")
    assert cancelled.message["params"]["requestId"] == server.all("tools/call")[0].message["id"]


async def test_of_a_call_that_was_cancelled_before_it_was_sent_the_server_is_told_nothing(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.connect() as c:
        await trio.sleep(10)  # so that another connection is needed
        server.link.hang()
        with trio.move_on_after(1):
            await c.call_tool("x")
        server.link.heal()
        await trio.sleep(1)
    assert server.methods() == ["initialize", "notifications/initialized"]


async def test_requests_beyond_the_limit_wait_for_a_place_and_answers_do_not(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def ask(posted: Posted) -> None:
        if posted.message["params"]["name"] == "first":
            await server.ask("roots/list")  # while its POST has the only place
        await posted.accept()
        await posted.answer(DONE)

    async def roots(context: object) -> types.ListRootsResult:
        assert isinstance(await c.call_tool("from the callback"), types.CallToolResult)
        return types.ListRootsResult(roots=[])

    server.on["tools/call"] = ask
    async with server.connect(max_connections=1, list_roots_callback=roots) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.call_tool, "first")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(c.call_tool, "second")
    names = [posted.message["params"]["name"] for posted in server.all("tools/call")]
    assert names == ["first", "from the callback", "second"]


async def test_a_call_cancelled_in_the_queue_was_never_sent(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = lambda posted: trio.sleep_forever()
    async with server.connect(max_connections=1) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.call_tool, "first")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await c.call_tool("second")
            nursery.cancel_scope.cancel()
    assert len(server.all("tools/call")) == 1
    assert len(server.all("notifications/cancelled")) == 1  # the first one's


# A stream that is lost


def losing(kind: str) -> Callable[[Posted], Awaitable[None]]:
    async def lose(posted: Posted) -> None:
        await posted.accept()
        if kind == "ended":
            await posted.stream.finish()
        elif kind == "cut":
            await posted.stream.cut()
        else:
            await posted.send({"jsonrpc": "2.0", "padding": "x" * 2000})

    return lose


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("ended", ConnectionLost, "the server ended its event stream"),
        ("cut", ConnectionLost, "the connection broke|closed"),
        ("huge", MessageTooLarge, "more than 1000 bytes; max_message_size raises the limit"),
    ],
)
async def test_a_lost_stream_fails_the_calls_in_flight_and_is_opened_again_with_a_new_session(
    server: SseServer,
    autojump_clock: trio.testing.MockClock,
    kind: str,
    error: type[Exception],
    reason: str,
) -> None:
    tell, told = trio.open_memory_channel[ConnectionChange](9)
    call = server.on["tools/call"]
    server.on["tools/call"] = losing(kind)
    options = {"reconnect": QUICK, "max_message_size": 1000, "connection_callback": tell.send}
    async with server.connect(**options) as c:  # type: ignore[arg-type]
        with pytest.raises(error, match=reason):
            await c.call_tool("x")
        server.on["tools/call"] = call
        assert [(await told.receive()).connected, (await told.receive()).connected] == [False, True]
        await c.call_tool("x")
        assert trio.current_time() == 1
        statistics = c.statistics()
        assert (statistics.reconnects, statistics.reinitializations) == (1, 1)
    handshake = ["initialize", "notifications/initialized", "tools/call"]
    assert server.methods() == [*handshake, *handshake]
    targets = [posted.exchange.request.target for posted in server.posted]
    assert targets == [f"/messages?session_id={SECRET}-1"] * 3 + [f"/messages?session_id={SECRET}-2"] * 3


async def test_a_stream_that_is_lost_while_a_post_goes_on_ends_the_call(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def lose(posted: Posted) -> None:
        await posted.stream.finish()
        await trio.sleep_forever()

    server.on["tools/call"] = lose
    async with server.connect(reconnect=QUICK) as c:
        with pytest.raises(ConnectionLost, match="ended its event stream"):
            await c.call_tool("x")
        assert trio.current_time() == 0


async def test_silence_on_the_stream_is_a_loss(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def keep_alive_for_a_while(posted: Posted) -> None:
        await posted.accept()
        for _ in range(10):
            await trio.sleep(9)
            await posted.stream.send(b": alive\n\n")

    server.on["tools/call"] = keep_alive_for_a_while
    async with server.connect(sse_read_timeout=10, reconnect=False) as c:
        with pytest.raises(Stalled):
            await c.call_tool("x")
        assert trio.current_time() == 100
        assert not c.is_connected


async def test_without_reconnecting_later_calls_tell_why_there_is_no_connection(server: SseServer) -> None:
    server.on["tools/call"] = losing("ended")
    async with server.connect(reconnect=False) as c:
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="ended its event stream"):
                await c.call_tool("x")
        assert not c.is_connected
    assert len(server.gets) == 1


async def test_a_stream_that_cannot_be_opened_again_is_given_up_after_the_attempts(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = losing("ended")
    async with server.connect(reconnect=QUICK) as c:
        server.on_get = lambda exchange: exchange.respond(503)
        with pytest.raises(ConnectionLost):
            await c.call_tool("x")
        with pytest.raises(HTTPStatusError, match="HTTP 503"):
            await c.call_tool("x")
        assert trio.current_time() == 1 + 2
    assert len(server.gets) == 3


async def test_a_reopened_stream_that_names_no_endpoint_is_an_attempt_that_failed(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def mute(exchange: HttpExchange) -> None:
        server.on_get = server.open_stream
        await exchange.start(200, SSE)
        await trio.sleep_forever()

    call = server.on["tools/call"]
    server.on["tools/call"] = losing("ended")
    async with server.connect(reconnect=QUICK) as c:
        server.on_get = mute
        with pytest.raises(ConnectionLost):
            await c.call_tool("x")
        server.on["tools/call"] = call
        await c.call_tool("x")
        assert trio.current_time() == 1 + 15 + 2


async def test_a_closed_block_ends_the_stream_at_once(
    server: SseServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = silent
    async with server.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "x")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await server.streams[0].disconnected.wait()
    assert trio.current_time() == 0


# Secrets


async def test_the_endpoint_is_secret(server: SseServer, caplog: pytest.LogCaptureFixture) -> None:
    async def repeat(posted: Posted) -> None:
        target = posted.exchange.request.target
        if posted.message["params"]["name"] == "stream":
            await posted.accept()
            await posted.send(error(posted.message["id"], -32000, f"no session {target}", {"at": target}))
        else:
            await posted.exchange.respond(
                404, [("content-type", "text/plain"), ("x-session", target)], f"no {target}".encode()
            )

    caplog.set_level(logging.DEBUG)
    server.on["tools/call"] = repeat
    async with server.connect() as c:
        told = f"{c!r} {c.statistics()}"
        for name in ("stream", "post"):
            with pytest.raises((MCPError, HTTPStatusError)) as caught:
                await c.call_tool(name)
            told += f"{caught.value} {caught.value!r} {vars(caught.value)}"
        server.on["tools/call"] = losing("ended")
        with pytest.raises(ConnectionLost) as lost:
            await c.call_tool("x")
        told += f"{lost.value!r}"
    assert "[secret]" in told
    assert SECRET not in told
    assert SECRET not in caplog.text
