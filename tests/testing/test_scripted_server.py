"""The scripted server: what it answers, how a script breaks it, and what it remembers."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing
import trustme
from pydantic import FileUrl

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import CUT, HANG, RESET, Call, MemoryNetwork, MemoryStream, Reply, ScriptedServer
from trio_mcp.testing.messages import Json, error, event, notification, progress, request, response

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ERAS = [MODERN, LEGACY]
DONE = {"content": [{"type": "text", "text": "done"}]}
CHANGED = "notifications/tools/list_changed"


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


class Reports:
    """A progress callback that remembers what came, and when."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    async def __call__(self, *report: Any) -> None:
        self.seen.append((trio.current_time(), *report))


# Both eras


async def test_a_modern_client_needs_one_request_to_know_it() -> None:
    async with ScriptedServer(instructions="be kind") as server:
        async with server.connect() as c:
            assert c.protocol_version == MODERN
            assert c.server_info == types.Implementation(name="scripted", version="1")
            assert c.server_capabilities == types.ServerCapabilities(tools=types.ToolsCapability())
            assert c.instructions == "be kind"
        assert server.methods() == ["server/discover"]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY])
async def test_a_legacy_client_gets_a_session_and_ends_it(version: str) -> None:
    async with ScriptedServer(version, session_id="mine", capabilities={"prompts": {}}) as server:
        async with server.connect() as c:
            assert c.protocol_version == version
            assert c.server_info == types.Implementation(name="scripted", version="1")
            assert c.server_capabilities == types.ServerCapabilities(prompts=types.PromptsCapability())
            assert c.instructions is None
        methods = ["server/discover", "initialize", "notifications/initialized", "GET", "DELETE"]
        assert server.methods() == methods
        assert [call.headers.get("mcp-session-id") for call in server.seen] == [None, None, *["mine"] * 3]


async def test_without_sessions_there_is_none_to_end() -> None:
    async with ScriptedServer(LEGACY, session_id=None) as server:
        async with server.connect():
            pass
        await server.restart()
        assert server.session_id is None
        async with server.connect():
            pass
        assert not any("mcp-session-id" in call.headers for call in server.seen)
        assert server.all("DELETE") == []


# Answers


async def later(call: Call) -> Json:
    await trio.lowlevel.checkpoint()
    return DONE


async def after_a_piece(call: Call, answer: Any) -> Any:
    await call.send(notification(CHANGED))
    return answer


@pytest.mark.parametrize("version", ERAS)
@pytest.mark.parametrize(
    "handler",
    [
        lambda call: DONE,
        lambda call: call.result(DONE),
        lambda call: call.result(DONE, headers={"x-other": "1"}),
        lambda call: call.text("done"),
        lambda call: call.json(call.response(DONE)),
        lambda call: call.sse(call.response(DONE)),
        lambda call: call.sse(notification(CHANGED), ": a comment\n\n", event(call.response(DONE), id="1")),
        lambda call: call.sse(call.response(DONE), HANG),
        lambda call: call.sse(call.response(DONE), CUT),
        later,
        lambda call: after_a_piece(call, DONE),
        lambda call: after_a_piece(call, call.text("done")),
        lambda call: after_a_piece(call, call.sse(call.response(DONE))),
        lambda call: after_a_piece(call, call.reply(event(call.response(DONE)), type="application/json")),
    ],
)
async def test_a_call_may_be_answered_in_many_ways(version: str, handler: Callable[[Call], Any]) -> None:
    async with ScriptedServer(version) as server:
        server.on["tools/call"] = handler
        async with server.connect() as c:
            assert text_of(await c.call_tool("x")) == "done"


def raises(call: Call) -> Reply:
    raise trio_mcp.MCPError(-5, "not now", {"wait": 3})


async def raises_later(call: Call) -> Reply:
    await trio.lowlevel.checkpoint()
    return raises(call)


@pytest.mark.parametrize("version", ERAS)
@pytest.mark.parametrize(
    "handler",
    [
        raises,
        raises_later,
        lambda call: trio_mcp.MCPError(-5, "not now", {"wait": 3}),
        lambda call: call.error(-5, "not now", data={"wait": 3}),
        lambda call: after_a_piece(call, trio_mcp.MCPError(-5, "not now", {"wait": 3})),
        lambda call: after_a_piece(call, call.error(-5, "not now", data={"wait": 3})),
    ],
)
async def test_a_call_may_be_answered_by_an_error(version: str, handler: Callable[[Call], Any]) -> None:
    async with ScriptedServer(version) as server:
        server.on["tools/call"] = handler
        async with server.connect() as c:
            with pytest.raises(trio_mcp.MCPError, match="not now") as caught:
                await c.call_tool("x")
    assert (caught.value.code, caught.value.data, caught.value.http_status) == (-5, {"wait": 3}, None)


async def test_any_status_and_any_headers_can_be_sent(serve: Serve) -> None:
    server = serve()
    async with server.connect() as c:
        server.on["tools/call"] = lambda call: call.reply(
            "come ", b"back", status=503, type="text/plain", headers={"retry-after": "7"}
        )
        with pytest.raises(trio_mcp.HTTPStatusError, match="HTTP 503: come back") as caught:
            await c.call_tool("x")
        assert caught.value.retry_after == 7
        server.on["tools/call"] = lambda call: call.error(-5, status=400)
        with pytest.raises(trio_mcp.MCPError, match="no") as refused:
            await c.call_tool("x")
        assert (refused.value.code, refused.value.http_status) == (-5, 400)


async def test_what_has_no_handler_is_an_unknown_method_or_is_taken_silently(serve: Serve) -> None:
    server = serve(LEGACY)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.MCPError, match="no method tools/list") as caught:
            await c.list_tools()
        assert caught.value.code == -32601
        await c.notify("notifications/x", {"a": 1})
        assert server.seen[-1].params == {"a": 1}
        server.on["notifications/x"] = lambda call: call.reply(status=400)
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.notify("notifications/x")


async def test_a_stream_may_end_without_an_answer(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: after_a_piece(call, None)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.ConnectionLost, match="ended before the answer"):
            await c.call_tool("x")
        assert server.seen[-1].sent


async def test_a_number_is_a_pause(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: call.sse(
        call.progress(1), 20, call.progress(2, 4, "half"), 0.5, call.response(DONE)
    )
    reports = Reports()
    async with server.connect() as c:
        await c.call_tool("x", progress_callback=reports)
        assert trio.current_time() == pytest.approx(20.5)
    assert reports.seen == [(0, 1, None, None), (20, 2, 4, "half")]


async def test_progress_that_nobody_wants_cannot_be_reported() -> None:
    with pytest.raises(ValueError, match="give it a progress_callback"):
        async with ScriptedServer() as server:
            server.on["tools/call"] = lambda call: call.sse(call.progress(1), call.response(DONE))
            async with server.connect() as c:
                await c.call_tool("x")


async def test_calls_can_be_taken_and_answered_by_hand(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    calls = server.calls("tools/call")
    results: dict[str, str] = {}
    reports = Reports()

    async def use(name: str) -> None:
        results[name] = text_of(await c.call_tool(name, progress_callback=reports))

    async with server.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(use, "a")
        first = await calls.receive()
        nursery.start_soon(use, "b")
        second = await calls.receive()
        assert [first.params["name"], second.params["name"]] == ["a", "b"]
        await first.send(first.progress(1))
        await trio.sleep(30)
        second.answer(second.text("two"))
        await trio.sleep(30)
        assert results == {"b": "two"}
        assert (first.sent, second.sent) == (False, True)
        first.answer({"content": [{"type": "text", "text": "one"}]})
    assert results == {"b": "two", "a": "one"}
    assert reports.seen == [(0, 1, None, None)]


# Breaks


async def test_behind_hang_nothing_comes_until_the_client_leaves(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: call.sse(notification(CHANGED), HANG, call.response(DONE))
    async with server.connect() as c:
        with trio.move_on_after(60):
            await c.call_tool("x")
        (call,) = server.all("tools/call")
        await call.closed.wait()
        assert trio.current_time() == pytest.approx(60)
        assert not call.sent


@pytest.mark.parametrize("version", ERAS)
@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((CUT,), "closed the connection in the middle of its response"),
        ((notification(CHANGED), CUT, "never sent"), "closed the connection in the middle of its response"),
        ((RESET,), "reset by peer"),
        ((notification(CHANGED), 1, RESET, "never sent"), "reset by peer"),
    ],
)
async def test_a_response_may_break_off(
    serve: Serve, version: str, pieces: Any, text: str, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve(version)
    async with server.connect() as c:
        server.on["tools/call"] = lambda call: call.sse(*pieces)
        with pytest.raises(trio_mcp.ConnectionLost, match=text):
            await c.call_tool("x")
        (call,) = server.all("tools/call")
        assert call.closed.is_set()
        assert not call.sent
        server.on["tools/call"] = lambda call: DONE
        await c.call_tool("x")
        assert server.seen[-1].sent
        assert server.seen[-1].closed.is_set()


async def test_a_handler_that_still_sends_when_its_client_has_left_is_no_failure() -> None:
    async def talk(call: Call) -> None:
        while True:
            await call.send(notification(CHANGED))

    async with ScriptedServer() as server:
        server.on["tools/call"] = talk
        async with server.connect(max_message_size=1000) as c:
            server.link.reset_after(5000, to="client")
            server.link.reset()
            with pytest.raises(trio_mcp.ConnectionLost):
                await c.call_tool("x")
        await server.seen[-1].closed.wait()


# The server asks


@pytest.mark.parametrize("version", ["2025-03-26", LEGACY])
async def test_a_handler_asks_over_its_calls_stream(serve: Serve, version: str) -> None:
    answers: list[Json] = []

    async def ask(call: Call) -> Reply:
        answers.append(await call.ask("roots/list"))
        answers.append(await call.ask("sampling/createMessage", {"messages": [], "maxTokens": 1}))
        return call.text("done")

    server = serve(version)
    server.on["tools/call"] = ask
    async with server.connect(roots=[]) as c:
        assert text_of(await c.call_tool("x")) == "done"
    assert answers[0] == response("ask-1", {"roots": []})
    assert (answers[1]["id"], answers[1]["error"]["code"]) == ("ask-2", -32601)
    assert [call.message for call in server.all("answer")] == answers


async def test_questions_and_notifications_go_over_the_get_stream(serve: Serve) -> None:
    handled: list[str] = []

    async def handle(message: Any) -> None:
        handled.append(message.method)

    server = serve(LEGACY)
    server.listen()
    answers: list[Json] = []

    async def ask(method: str) -> None:
        answers.append(await server.ask(method))

    async with server.connect(roots=[], message_handler=handle):
        await server.notify(CHANGED)
        await server.notify("notifications/resources/updated", {"uri": "x://y"})
        await ask("roots/list")
        await ask("ping")
        await trio.testing.wait_all_tasks_blocked()
    assert answers == [response("ask-1", {"roots": []}), response("ask-2", {})]
    assert handled == [CHANGED, "notifications/resources/updated"]
    (get,) = server.all("GET")
    assert (get.method, get.message, get.params, get.progress_token) == ("GET", None, {}, None)


async def test_questions_that_overlap_get_their_own_answers(serve: Serve) -> None:
    server = serve(LEGACY)
    answers: dict[str, Json] = {}
    turns = [trio.Event() for _ in range(4)]

    async def ask(call: Call) -> Reply:
        name = call.params["name"]
        answers[name] = await call.ask("sampling/createMessage", {"messages": [], "maxTokens": len(name)})
        turns[len(name) - 1].set()
        return call.text(name)

    async def sample(context: Any, params: Any) -> types.CreateMessageResult:
        await turns[params.max_tokens].wait()  # the first one asked is the last one answered
        content = types.TextContent(type="text", text="x" * params.max_tokens)
        return types.CreateMessageResult(role="assistant", content=content, model="m")

    server.on["tools/call"] = ask
    async with server.connect(sampling_callback=sample) as c, trio.open_nursery() as nursery:
        for name in ("a", "bb", "ccc"):
            nursery.start_soon(c.call_tool, name)
            await trio.testing.wait_all_tasks_blocked()
        turns[3].set()
    assert [answers[name]["result"]["content"]["text"] for name in answers] == ["xxx", "xx", "x"]
    assert {name: answer["id"] for name, answer in answers.items()} == {
        "a": "ask-1",
        "bb": "ask-2",
        "ccc": "ask-3",
    }


@pytest.mark.parametrize("version", ERAS)
async def test_nothing_can_be_sent_without_a_stream(serve: Serve, version: str) -> None:
    server = serve(version)
    async with server.connect():
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match=r"call listen\(\) before it connects"):
            await server.notify(CHANGED)
        with pytest.raises(RuntimeError, match="no GET stream open"):
            await server.ask("ping")


async def test_a_script_sees_answers_too(serve: Serve) -> None:
    server = serve(LEGACY)
    server.on["answer"] = lambda call: call.reply(status=202)
    server.on["GET"] = lambda call: call.sse(request("mine", "ping"), request(2, "no/such"), HANG)
    async with server.connect():
        await trio.testing.wait_all_tasks_blocked()
    answers = {call.id: call for call in server.all("answer")}
    assert answers["mine"].message == response("mine", {})
    assert answers[2].message["error"]["code"] == -32601
    assert answers[2].params == {}


async def test_two_clients_have_sessions_of_their_own_and_both_are_notified(serve: Serve) -> None:
    told: list[str] = []

    def listener(name: str) -> Any:
        async def handle(message: Any) -> None:
            told.append(name)

        return handle

    async def ask_which() -> Json:
        return await server.ask("roots/list")

    server = serve(LEGACY)
    server.listen()
    roots = [types.Root(uri=FileUrl("file:///b"))]
    async with server.connect(roots=[], message_handler=listener("a")):
        async with server.connect(roots=roots, message_handler=listener("b")):
            await server.notify(CHANGED)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(told) == ["a", "b"]
            assert server.session_id == "session-2"
            (root,) = (await ask_which())["result"]["roots"]
            assert root["uri"] == "file:///b"
        assert server.all("DELETE")[0].headers["mcp-session-id"] == "session-2"
        told.clear()
        await server.notify(CHANGED)
        await trio.testing.wait_all_tasks_blocked()
        assert told == ["a"]


async def test_of_two_streams_of_one_session_the_latest_is_used(serve: Serve) -> None:
    server = serve(LEGACY)
    server.listen()

    async def open_stream() -> MemoryStream:
        stream = await server.network.open_stream("server.test", 80)
        await stream.send_all(b"GET /mcp HTTP/1.1\r\nhost: server.test\r\nmcp-session-id: s\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await stream.receive_some()
        return stream

    async with await open_stream() as old, await open_stream() as new:
        await server.notify(CHANGED)
        assert CHANGED.encode() in await new.receive_some()
        assert not old.is_readable()


async def test_tasks_may_send_side_by_side(serve: Serve) -> None:
    handled: list[str] = []
    reports = Reports()

    async def handle(message: Any) -> None:
        handled.append(message.method)

    async def tool(call: Call) -> Reply:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call.send, call.progress(1))
        return call.text("done")

    server = serve(LEGACY)
    server.listen()
    server.on["tools/call"] = tool
    async with server.connect(roots=[], message_handler=handle) as c:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(server.notify, CHANGED)
                nursery.start_soon(server.ask, "ping")
        assert text_of(await c.call_tool("x", progress_callback=reports)) == "done"
        assert [report[1] for report in reports.seen] == [1, 1, 1]
    assert handled.count(CHANGED) == 3


# Restarts


async def test_a_restart_breaks_connections_and_forgets_the_session(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve(LEGACY)
    server.listen()
    calls = server.calls("tools/call")
    async with server.connect() as c, trio.open_nursery() as nursery:

        async def lose() -> None:
            with pytest.raises(trio_mcp.ConnectionLost, match="reset by peer"):
                await c.call_tool("x")

        nursery.start_soon(lose)
        lost = await calls.receive()
        await server.restart()
        assert server.session_id == "session-2"
        await lost.closed.wait()
        server.on["tools/call"] = lambda call: DONE
        await c.call_tool("x")
        assert trio.current_time() == 0
        assert c.statistics().reinitializations == 1
        await server.notify(CHANGED)
        await server.restart()
        assert server.session_id == "session-3"
        await c.call_tool("x")
    sessions = [call.headers.get("mcp-session-id") for call in server.all("tools/call")]
    assert sessions == ["session-1", "session-1", "session-2", "session-2", "session-3"]
    assert server.all("DELETE")[0].headers["mcp-session-id"] == "session-3"


async def test_a_restart_may_take_its_time(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: DONE
    async with server.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(server.restart, 10)
        await trio.sleep(9.9)
        with pytest.raises(trio_mcp.ConnectError, match="refused"):
            await c.call_tool("x")
        await trio.sleep(0.2)
        await c.call_tool("x")
    assert len(server.all("tools/call")) == 1


async def test_no_session_is_named_as_one_before(serve: Serve) -> None:
    server = serve(LEGACY, session_id="session-2")
    server.on["tools/call"] = lambda call: DONE
    async with server.connect() as c:
        for name in ("session-3", "session-4"):
            await server.restart()
            assert server.session_id == name
            await c.call_tool("x")
            assert server.seen[-1].headers["mcp-session-id"] == name


async def test_calls_of_a_session_before_are_told_so_whatever_the_script_says(serve: Serve) -> None:
    server = serve(LEGACY)
    server.on["notifications/x"] = lambda call: call.reply(status=202)
    async with server.connect() as c:
        await server.restart()
        server.on["initialize"] = lambda call: call.reply(status=503)
        with pytest.raises(trio_mcp.HTTPStatusError, match="a new one was refused: HTTP 503"):
            await c.notify("notifications/x")


# Addresses and TLS


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and that of a client which trusts it."""
    authority = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.test").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    return theirs, ours


@pytest.mark.parametrize("version", ERAS)
async def test_it_speaks_tls(serve: Serve, version: str, autojump_clock: trio.testing.MockClock) -> None:
    theirs, ours = contexts()
    server = serve(version, url="https://server.test/mcp", tls=theirs)
    server.on["tools/call"] = lambda call: call.text(call.headers["host"])
    async with server.connect(verify=ours) as c:
        assert text_of(await c.call_tool("x")) == "server.test"
        (connection,) = server.link.connections
        assert connection.address == "server.test:443"
        for piece, text in ((CUT, "closed the connection"), (RESET, "reset by peer")):
            server.on["tools/call"] = lambda call, piece=piece: call.sse(1, piece)  # type: ignore[misc]
            with pytest.raises(trio_mcp.ConnectionLost, match=text):
                await c.call_tool("x")


async def test_a_client_that_does_not_trust_it_sends_nothing_and_does_no_harm(serve: Serve) -> None:
    theirs, ours = contexts()
    server = serve(url="https://server.test:8443/mcp", tls=theirs)
    with pytest.raises(trio_mcp.ConnectError, match="certificate verify failed"):
        async with server.connect(verify=contexts()[1]):
            pass
    assert server.seen == []
    async with server.connect(verify=ours):
        (connection,) = server.link.connections
        assert connection.address == "server.test:8443"
    assert server.methods() == ["server/discover"]


async def test_a_handshake_under_way_ends_with_the_block() -> None:
    theirs, _ = contexts()
    async with ScriptedServer(url="https://server.test/mcp", tls=theirs) as server:
        stream = await server.network.open_stream("server.test", 443)
        await trio.testing.wait_all_tasks_blocked()
    assert await stream.receive_some() == b""


async def test_servers_may_share_a_network(serve: Serve) -> None:
    network = MemoryNetwork()
    one = serve(network=network, url="http://one.test/mcp")
    two = serve(LEGACY, network=network, url="http://one.test:8080/mcp")
    for server in (one, two):
        server.on["tools/call"] = lambda call: call.text(call.headers["host"])
        assert server.network is network
    async with one.connect() as first, two.connect() as second:
        assert text_of(await first.call_tool("x")) == "one.test"
        assert text_of(await second.call_tool("x")) == "one.test:8080"
        two.link.reset()
        assert len(one.link.connections) == 1
        assert two.link.connections == []
    with pytest.raises(OSError, match="in use"):
        ScriptedServer(network=network, url="http://one.test/other")


@pytest.mark.parametrize(("url", "tls"), [("https://x/mcp", False), ("http://x/mcp", True), ("x/mcp", False)])
async def test_tls_and_the_scheme_go_together(url: str, tls: bool) -> None:
    with pytest.raises(ValueError, match="or with https:// if there is tls: not"):
        ScriptedServer(url=url, tls=contexts()[0] if tls else None)


async def test_a_host_is_needed() -> None:
    async with ScriptedServer(url="http:///mcp") as server:
        with pytest.raises(trio_mcp.ConfigurationError, match="no host"):
            server.connect()


async def test_the_way_to_it_can_be_slow(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = serve()
    server.link.latency = 1.5
    async with server.connect():
        assert trio.current_time() == pytest.approx(6)  # to connect, and to be asked
    assert server.seen[0].time == pytest.approx(4.5)


@pytest.mark.parametrize("opened", ["by the server", "by its URL"])
async def test_when_a_connector_comes_back_follows_the_networks_generator(
    autojump_clock: trio.testing.MockClock, opened: str
) -> None:
    async def times(network: MemoryNetwork | None = None, **options: Any) -> list[float]:
        async with ScriptedServer(LEGACY, network=network) as server:
            server.on["GET"] = lambda call: call.reply(status=503)
            began = trio.current_time()
            opener = (
                server.connect(**options)
                if opened == "by the server"
                else trio_mcp.open_connector(server.url, network=server.network, **options)
            )
            async with opener:
                await trio.sleep(100)
            return [round(call.time - began, 6) for call in server.all("GET")]

    first = await times()
    assert len(first) == 7
    assert await times() == first
    assert await times(MemoryNetwork(random.Random(0))) == first
    assert await times(MemoryNetwork(random.Random(1))) != first
    assert await times(rng=random.Random(1)) == await times(MemoryNetwork(random.Random(1)))


async def test_it_can_be_reached_by_any_network_of_its_kind(serve: Serve) -> None:
    server = serve()
    with pytest.raises(trio_mcp.ConnectError, match="Name or service not known"):
        async with server.connect(network=MemoryNetwork()):
            pass
    async with trio_mcp.open_connector(server.url, network=server.network) as c:
        assert c.is_connected


# The block, and the record


async def test_what_a_handler_raises_comes_out_of_the_block_as_it_is() -> None:
    failure = LookupError("no such script")
    failure.__context__ = cause = KeyError("script")

    def fail(call: Call) -> Reply:
        raise failure

    with pytest.raises(LookupError) as caught:
        async with ScriptedServer() as server:
            server.on["tools/call"] = fail
            async with server.connect() as c:
                await c.call_tool("x")
    assert caught.value is failure
    assert caught.value.__context__ is cause
    (note,) = failure.__notes__
    assert note.startswith("also failed: HTTPStatusError(")


async def test_a_handler_that_fails_ends_what_the_body_does_elsewhere() -> None:
    failure = LookupError("no such script")

    def fail(call: Call) -> Reply:
        raise failure

    with pytest.raises(LookupError) as caught:
        async with ScriptedServer() as server:
            server.on["notifications/x"] = fail
            async with server.connect() as c, trio.open_nursery() as nursery:
                nursery.start_soon(c.notify, "notifications/x")
                await trio.sleep_forever()
    assert caught.value is failure


@pytest.mark.parametrize("error", [KeyError("mine"), StopAsyncIteration(), KeyboardInterrupt()])
async def test_what_the_body_raises_comes_out_of_the_block_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with ScriptedServer():
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert not hasattr(error, "__notes__")


async def test_a_block_that_is_cancelled_is_plain_cancellation() -> None:
    with trio.CancelScope() as scope:
        async with ScriptedServer() as server, server.connect():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_after_the_block_connections_are_closed_and_further_ones_refused() -> None:
    async with ScriptedServer() as server:
        stream = await server.network.open_stream("server.test", 80)
        await trio.testing.wait_all_tasks_blocked()
    assert await stream.receive_some() == b""
    with pytest.raises(OSError, match="failed"):
        await server.network.open_stream("server.test", 80)


async def test_connections_wait_until_it_runs(nursery: trio.Nursery) -> None:
    server = ScriptedServer()

    async def use() -> None:
        async with server.connect():
            nursery.cancel_scope.cancel()

    nursery.start_soon(use)
    await trio.testing.wait_all_tasks_blocked()
    assert server.seen == []
    await server.run()


async def test_every_call_is_remembered(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = serve(LEGACY)
    server.on["tools/call"] = lambda call: DONE
    async with server.connect(headers={"X-Team": "a"}) as c:
        await trio.sleep(5)
        await c.call_tool("x", progress_callback=Reports())
    assert repr(server) == "<ScriptedServer http://server.test/mcp 2025-11-25: 6 calls seen>"
    (call,) = server.all("tools/call")
    assert call is server.seen[4]
    assert (call.verb, call.method, call.time) == ("POST", "tools/call", 5)
    assert call.headers["x-team"] == "a"
    assert call.message == {**request(call.id, "tools/call"), "params": call.params}
    assert call.progress_token is not None
    assert call.params["_meta"] == {"progressToken": call.progress_token}
    assert repr(call).startswith("Call(verb='POST', target='/mcp', message={")
    assert repr(call).endswith("time=5.0, sent=True)")
    (delete,) = server.all("DELETE")
    assert (delete.verb, delete.message) == ("DELETE", None)


# Messages


def test_messages_are_plain_objects() -> None:
    assert notification("m") == {"jsonrpc": "2.0", "method": "m"}
    assert notification("m", {}) == {"jsonrpc": "2.0", "method": "m", "params": {}}
    assert request(1, "m") == {"jsonrpc": "2.0", "id": 1, "method": "m"}
    assert request("a", "m", {"b": 2}) == {"jsonrpc": "2.0", "id": "a", "method": "m", "params": {"b": 2}}
    assert response(1, {"a": 2}) == {"jsonrpc": "2.0", "id": 1, "result": {"a": 2}}
    assert error(None, -1) == {"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "no"}}
    assert error(1, -1, "x", [])["error"] == {"code": -1, "message": "x", "data": []}
    assert progress("t", 0)["params"] == {"progressToken": "t", "progress": 0}
    assert progress(1, 0.5, 2, "half") == notification(
        "notifications/progress", {"progressToken": 1, "progress": 0.5, "total": 2, "message": "half"}
    )


def test_an_event_is_a_few_lines() -> None:
    assert event({"a": "é"}) == b'data: {"a": "\\u00e9"}\n\n'
    assert event("é") == "data: é\n\n".encode()
    assert event("", id="") == b"id: \ndata: \n\n"
    assert event("x", id="1", retry=20) == b"id: 1\nretry: 20\ndata: x\n\n"
    assert event("x", retry="soon") == b"retry: soon\ndata: x\n\n"
