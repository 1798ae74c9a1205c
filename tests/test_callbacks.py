"""The user's callbacks: who is called, with what, in which order, and what a failure of theirs does."""

from __future__ import annotations

import gzip
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.protocol.wire import Notification
from trio_mcp.testing import HANG, Call, Reply, ScriptedServer
from trio_mcp.testing.call import Piece
from trio_mcp.testing.messages import Json, event, notification, progress, request

LEGACY = "2025-11-25"
DONE = {"content": [{"type": "text", "text": "done"}]}
SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}
FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {"name": {"default": "Bob"}}}}


def asking(serve: Serve, *pieces: Piece, version: str = LEGACY) -> ScriptedServer:
    """A server that sends `pieces` on its GET stream."""
    server = serve(version)
    server.on["tools/call"] = lambda seen: seen.result(DONE)
    server.on["GET"] = lambda seen: seen.sse(*pieces, HANG)
    return server


async def answers(server: ScriptedServer, **callbacks: Any) -> list[Json]:
    """What the client answers to what the server asks."""
    async with server.connect(**callbacks):
        await trio.testing.wait_all_tasks_blocked()
    return [seen.message for seen in server.all("answer")]


async def accept(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={})


async def sample(context: trio_mcp.RequestContext, params: Any) -> types.CreateMessageResult:
    text = types.TextContent(type="text", text=f"{params.max_tokens} tokens")
    return types.CreateMessageResult(role="assistant", content=text, model="m")


async def test_a_request_of_the_server_is_answered_by_its_callback(serve: Serve) -> None:
    contexts: list[trio_mcp.RequestContext] = []

    async def elicit(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
        contexts.append(context)
        return await accept(context, params)

    server = asking(
        serve,
        request("e", "elicitation/create", {**FORM, "_meta": {"k": 1}}),
        request("s", "sampling/createMessage", SAMPLE),
        request("r", "roots/list"),
        request("p", "ping"),
    )
    roots = [types.Root(uri="file:///tmp")]  # type: ignore[arg-type]
    found = {
        a["id"]: a["result"]
        for a in await answers(server, elicitation_callback=elicit, sampling_callback=sample, roots=roots)
    }
    assert found["e"] == {"action": "accept", "content": {"name": "Bob"}}
    assert found["s"]["content"]["text"] == "5 tokens"
    assert found["r"] == {"roots": [{"uri": "file:///tmp"}]}
    assert found["p"] == {}
    assert contexts[0].request_id == "e"
    assert contexts[0].meta == {"k": 1}


async def test_without_callbacks_nothing_is_declared_and_requests_are_refused(serve: Serve) -> None:
    server = asking(
        serve,
        request(1, "elicitation/create", FORM),
        request(2, "sampling/createMessage", SAMPLE),
        request(3, "roots/list"),
        request(4, "unheard/of"),
    )
    assert [a["error"]["code"] for a in await answers(server)] == [-32601] * 4
    assert server.all("initialize")[0].params["capabilities"] == {}


async def test_what_is_given_is_declared(serve: Serve) -> None:
    server = asking(serve)
    await answers(server, elicitation_callback=accept, sampling_callback=sample, roots=[])
    assert server.all("initialize")[0].params["capabilities"] == {
        "elicitation": {"form": {}, "url": {}},
        "sampling": {},
        "roots": {"listChanged": True},
    }
    modern = serve()
    await answers(modern, elicitation_callback=accept, roots=[])
    declared = modern.seen[0].params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert declared == {"elicitation": {"form": {}, "url": {}}, "roots": {}}


class SdkError(Exception):
    """As `mcp.shared.exceptions.MCPError` is built."""

    def __init__(self) -> None:
        self.error = types.ErrorData(code=-1, message="user said no")


@pytest.mark.parametrize("how", ["raise", "return", "sdk"])
async def test_a_callback_answers_with_an_error(serve: Serve, how: str) -> None:
    async def refuse(context: Any, params: Any) -> Any:
        if how == "return":
            return types.ErrorData(code=-1, message="user said no")
        raise trio_mcp.MCPError(-1, "user said no") if how == "raise" else SdkError()

    server = asking(serve, request(1, "sampling/createMessage", SAMPLE))
    assert await answers(server, sampling_callback=refuse) == [
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "user said no"}}
    ]


async def test_a_callback_that_returns_nonsense_is_the_programs_mistake(serve: Serve) -> None:
    async def forgot(context: Any, params: Any) -> Any:
        return None

    server = asking(serve, request(1, "sampling/createMessage", SAMPLE))
    with pytest.raises(trio_mcp.UsageError, match="sampling_callback returned NoneType"):
        async with server.connect(sampling_callback=forgot):
            await trio.sleep_forever()


async def test_a_callback_may_call_back_into_the_connector(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def elicit(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
        await context.session.call_tool("y")
        return await accept(context, params)

    release = trio.Event()

    def call(seen: Call) -> Any:
        if seen.params["name"] == "y":
            return seen.result(DONE)
        return waiting(seen)

    async def waiting(seen: Call) -> Reply:
        await release.wait()
        return seen.result(DONE)

    def answered(seen: Call) -> Reply:
        release.set()
        return seen.reply(status=202)

    server = asking(serve)
    server.on["tools/call"] = call
    server.on["answer"] = answered
    # One place for requests, taken by the call that the callback belongs to: it must not wait for it.
    server.on["GET"] = lambda seen: seen.sse(5, request(1, "elicitation/create", FORM), HANG)
    with trio.fail_after(60):
        async with server.connect(elicitation_callback=elicit, max_connections=1) as c:
            await c.call_tool("x")


async def test_a_request_that_the_server_cancels_is_ended_and_not_answered(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    ended: list[str] = []

    async def stuck(context: Any, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(context.request_id)

    server = asking(
        serve,
        request("a", "sampling/createMessage", SAMPLE),
        0.1,
        notification("notifications/cancelled", {"requestId": "a"}),
        notification("notifications/cancelled", {"requestId": "unknown"}),
        request("b", "ping"),
    )
    async with server.connect(sampling_callback=stuck):
        await trio.sleep(1)
    assert ended == ["a"]
    assert [seen.message["id"] for seen in server.all("answer")] == ["b"]


async def test_requests_run_concurrently_up_to_a_limit_and_a_flood_is_dropped(serve: Serve) -> None:
    running = 0
    most = 0

    async def slow(context: Any, params: Any) -> types.CreateMessageResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep_forever()
        raise AssertionError

    server = asking(
        serve, *[request(n, "sampling/createMessage", SAMPLE) for n in range(1500)], request(0, "ping")
    )
    async with server.connect(sampling_callback=slow) as c:
        await trio.testing.wait_all_tasks_blocked()
        statistics = c.statistics()
    assert most == 100
    assert statistics.server_requests == 1000
    assert statistics.unanswerable_requests == 501


# Notifications


async def test_notifications_go_to_their_callbacks_in_order(serve: Serve) -> None:
    server = serve()
    messages = [
        notification("notifications/message", {"level": "info", "data": 1}),
        notification("notifications/tools/list_changed"),
        notification("notifications/resources/updated", {"uri": "x://y"}),
        progress("nobody", 1),
        notification("notifications/message", {"level": "error", "data": 2}),
    ]
    server.on["tools/call"] = lambda seen: seen.sse(*messages, seen.response(DONE))
    logs: list[Any] = []
    handled: list[str] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        logs.append((params.level, params.data))

    async def handle(message: types.ServerNotification) -> None:
        handled.append(message.method)

    async with server.connect(logging_callback=log, message_handler=handle) as c:
        await c.call_tool("x")
    assert logs == [("info", 1), ("error", 2)]
    assert handled == [m["method"] for m in messages]


@pytest.mark.parametrize(
    "bad",
    [
        notification("notifications/unheard/of"),
        notification("notifications/message", {"level": "loud"}),
        notification("notifications/cancelled", {}),
        notification("notifications/cancelled", {"requestId": []}),
        notification("notifications/progress", {}),
        progress([], 1),  # type: ignore[arg-type]
        progress("nobody", 1),
    ],
)
async def test_unknown_and_malformed_notifications_are_counted_and_dropped(serve: Serve, bad: Json) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(bad, seen.response(DONE))

    async def handle(message: object) -> None:
        pass

    async with server.connect(message_handler=handle, logging_callback=handle) as c:
        await c.call_tool("x")
        assert c.statistics().unknown_messages == 1
        assert c.statistics().notifications == 1


async def test_without_callbacks_notifications_cost_nothing(serve: Serve) -> None:
    server = serve()
    log = notification("notifications/message", {"level": "info", "data": 1})
    server.on["tools/call"] = lambda seen: seen.sse(log, seen.response(DONE))
    async with server.connect() as c:
        await c.call_tool("x")
        assert c.statistics().notifications == 1
        assert c.statistics().unknown_messages == 0


async def test_a_slow_callback_stalls_no_call_and_forgets_the_oldest(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = serve()
    logs = [notification("notifications/message", {"level": "info", "data": n}) for n in range(1500)]
    server.on["tools/call"] = lambda seen: seen.sse(*logs, seen.response(DONE))
    seen: list[Any] = []
    go = trio.Event()

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        await go.wait()
        seen.append(params.data)

    async with server.connect(logging_callback=log) as c:
        await c.call_tool("x")
        assert trio.current_time() == 0
        assert c.statistics().notifications_dropped == 499
        go.set()
    assert seen == [0, *range(500, 1500)]


async def test_a_notification_callback_that_fails_ends_the_block_with_its_exception(serve: Serve) -> None:
    server = asking(serve, notification("notifications/message", {"level": "info", "data": 1}))
    error = ZeroDivisionError()

    async def fail(params: object) -> None:
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        async with server.connect(logging_callback=fail):
            await trio.sleep_forever()
    assert caught.value is error


# Progress


def reporting(serve: Serve, *values: Any) -> ScriptedServer:
    server = serve()

    def call(seen: Call) -> Reply:
        reports = [seen.progress(v) if isinstance(v, int | float) else v(seen.progress_token) for v in values]
        return seen.sse(*reports, seen.response(DONE))

    server.on["tools/call"] = call
    return server


async def test_progress_comes_in_order_and_all_of_it_before_the_call_returns(serve: Serve) -> None:
    seen: list[float] = []

    async def slow(value: float, total: float | None, message: str | None) -> None:
        for _ in range(int(value) % 3):
            await trio.lowlevel.checkpoint()
        seen.append(value)

    async with reporting(serve, *range(100)).connect() as c:
        await c.call_tool("x", progress_callback=slow)
        assert seen == list(range(100))


INFINITE = (
    'data: {"jsonrpc":"2.0","method":"notifications/progress",'
    '"params":{"progressToken":%d,"progress":1e999}}\n\n'
)


@pytest.mark.parametrize("pauses", [0, 1])
async def test_a_burst_of_progress_in_one_piece_is_not_lost(serve: Serve, pauses: int) -> None:
    server = serve()

    def call(seen: Call) -> Reply:
        burst = b"".join(event(seen.progress(n)) for n in range(10_000)) + event(seen.response(DONE))
        # A connection brings 64 KiB at a time, but these may hold all of it.
        return seen.reply(
            gzip.compress(burst), type="text/event-stream", headers={"content-encoding": "gzip"}
        )

    server.on["tools/call"] = call
    seen: list[float] = []

    async def report(value: float, total: float | None, message: str | None) -> None:
        for _ in range(pauses):
            await trio.lowlevel.checkpoint()
        seen.append(value)

    async with server.connect() as c:
        await c.call_tool("x", progress_callback=report)
        assert c.statistics().notifications_dropped == 0
    assert seen == list(range(10_000))


async def test_progress_brings_total_and_message(serve: Serve) -> None:
    seen: list[Any] = []

    async def report(*args: Any) -> None:
        seen.append(args)

    server = reporting(
        serve,
        lambda token: progress(token, 0.5, 2, "half"),
        lambda token: notification("notifications/progress", {"progressToken": token, "progress": "much"}),
        lambda token: notification(
            "notifications/progress", {"progressToken": token, "progress": 1, "total": "x"}
        ),
        lambda token: notification(
            "notifications/progress", {"progressToken": token, "progress": 1, "message": 5}
        ),
        lambda token: notification("notifications/progress", {"progressToken": token, "progress": 10**400}),
        lambda token: INFINITE % token,
    )
    async with server.connect() as c:
        await c.call_tool("x", progress_callback=report)
        assert c.statistics().unknown_messages == 5
    assert seen == [(0.5, 2.0, "half")]


async def test_without_a_progress_callback_no_token_is_sent(serve: Serve) -> None:
    server = reporting(serve)
    async with server.connect() as c:
        await c.call_tool("x")
    assert "progressToken" not in server.seen[-1].params["_meta"]


async def test_a_progress_callback_that_fails_fails_its_call_and_closes_its_stream(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(seen.progress(1), HANG)
    error = LookupError("bar is broken")

    async def fail(*args: Any) -> None:
        raise error

    async with server.connect() as c:
        with pytest.raises(LookupError) as caught:
            await c.call_tool("x", progress_callback=fail)
        assert caught.value is error
        await server.seen[-1].closed.wait()
        assert c.is_connected


async def test_cancelling_a_call_ends_its_progress_callback(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(seen.progress(1), HANG)

    async def stuck(*args: Any) -> None:
        await trio.sleep_forever()

    async with server.connect() as c:
        with trio.move_on_after(1) as scope:
            await c.call_tool("x", progress_callback=stuck)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(1)


# Roots


async def test_changing_the_roots_tells_a_legacy_server_and_changes_the_answer(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = asking(serve, 1, request(1, "roots/list"))
    new = [types.Root(uri="file:///new", name="n")]  # type: ignore[arg-type]
    async with server.connect(roots=[]) as c:
        assert c.get_roots() == []
        await c.set_roots(new)
        assert c.get_roots() == new
        assert "notifications/roots/list_changed" in server.methods()
        await trio.sleep(2)
    assert server.all("answer")[0].message["result"] == {"roots": [{"uri": "file:///new", "name": "n"}]}


async def test_changing_the_roots_of_a_modern_connection_sends_nothing(serve: Serve) -> None:
    server = serve()
    async with server.connect(roots=[]) as c:
        await c.set_roots([])
    assert server.methods() == ["server/discover"]


async def test_roots_that_were_not_declared_cannot_be_set(serve: Serve) -> None:
    async with serve().connect() as c:
        with pytest.raises(trio_mcp.UnsupportedFeature, match=r"roots=\[\]"):
            await c.set_roots([])


async def test_a_callback_for_roots_comes_before_the_list(serve: Serve) -> None:
    async def roots(context: trio_mcp.RequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///cb")])  # type: ignore[arg-type]

    server = asking(serve, request(1, "roots/list"))
    (answer,) = await answers(server, roots=[], list_roots_callback=roots)
    assert answer["result"]["roots"] == [{"uri": "file:///cb"}]


async def test_a_flood_of_pings_that_is_not_taken_is_dropped_and_counted(serve: Serve) -> None:
    server = asking(serve, *[request(n, "ping") for n in range(1500)])
    server.on["answer"] = lambda seen: trio.sleep_forever()
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        assert c.statistics().unanswerable_requests == 500
        assert len(server.all("answer")) == 32
        for _ in range(5):  # and a cancelled call adds none to them
            with trio.move_on_after(0):
                await c.call_tool("x")


async def test_what_cannot_even_be_queued_is_counted_as_undelivered(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = asking(serve, *[request(n, "ping") for n in range(1000)])
    server.on["answer"] = server.on["tools/call"] = lambda seen: trio.sleep_forever()
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.1):
            await c.call_tool("x")
        assert c.statistics().undelivered == 1


async def test_an_answer_that_cannot_be_delivered_is_counted(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = asking(serve, request(1, "ping"))
    server.on["answer"] = lambda seen: seen.reply(status=500)
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        assert c.statistics().undelivered == 1
    assert "not delivered" in caplog.text


async def test_what_is_to_be_delivered_when_the_end_has_come_is_counted(serve: Serve) -> None:
    async with serve(LEGACY).connect() as c:
        transport = c._live().session.transport
    transport.deliver(Notification("notifications/late"))
    assert c.statistics().undelivered == 1
