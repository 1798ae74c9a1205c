"""Tasks of 2025-11-25: asked for by the client, where server and tool allow it."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
import trio
from trio.testing import MockClock

import trio_mcp
from tests.conftest import Serve
from trio_mcp import MCPError, ProtocolError, RequestContext, TaskCancelled
from trio_mcp.middleware import CallNext, Middleware, MiddlewareContext
from trio_mcp.testing import CUT, HANG, Call, ScriptedServer
from trio_mcp.testing.call import Answer
from trio_mcp.testing.messages import Json, notification, progress

from .scripts import DONE, LEGACY, TASKS_CAPABILITY, legacy, legacy_task, times

FORM: Json = {
    "message": "who?",
    "requestedSchema": {"type": "object"},
    "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "id-1"}},
}


def texts(result: types.CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, types.TextContent)]


# What becomes a task


async def test_a_tool_that_must_be_a_task_is_called_as_one(serve: Serve, autojump_clock: MockClock) -> None:
    hours = [legacy_task(pollInterval=600_000)] * 6 * 24
    server = legacy(serve, *hours, legacy_task("completed"))
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        assert texts(await c.call_tool("slow", {"a": 1})) == ["done"]
    (call,) = server.all("tools/call")
    assert call.params == {"name": "slow", "arguments": {"a": 1}, "task": {}}
    assert times(server, "tasks/get")[-1] == 24 * 3600 + 5
    (result,) = server.all("tasks/result")
    assert result.params == {"taskId": "id-1"}


@pytest.mark.parametrize(
    ("support", "capability", "listed", "by_call_tool", "by_start_task"),
    [
        ("required", TASKS_CAPABILITY, True, True, True),
        ("optional", TASKS_CAPABILITY, True, False, True),
        ("forbidden", TASKS_CAPABILITY, True, False, False),
        (None, TASKS_CAPABILITY, True, False, False),
        ("required", TASKS_CAPABILITY, False, False, False),
        ("required", {"cancel": {}}, True, False, False),
        ("required", {"requests": {}}, True, False, False),
        ("required", {"requests": {"tools": {}}}, True, False, False),
        ("required", None, True, False, False),
    ],
)
async def test_a_task_is_asked_for_where_it_is_declared_only(
    serve: Serve,
    autojump_clock: MockClock,
    support: str | None,
    capability: Json | None,
    listed: bool,
    by_call_tool: bool,
    by_start_task: bool,
) -> None:
    server = legacy(serve, legacy_task("completed"), support=support)
    server.capabilities = {"tools": {}} if capability is None else {"tools": {}, "tasks": capability}
    async with server.connect(protocol_version=LEGACY) as c:
        if listed:
            await c.list_tools()
        await c.call_tool("slow")
        handle = await c.start_task("slow")
        assert (handle.task_id is not None) == by_start_task
        assert texts(await handle.result()) == ["done"]
    assert ["task" in call.params for call in server.all("tools/call")] == [by_call_tool, by_start_task]


async def test_a_server_may_answer_without_a_task_all_the_same(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve)
    server.on["tools/call"] = lambda call: DONE
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        assert texts(await c.call_tool("slow")) == ["done"]
        assert (await c.start_task("slow")).ended


async def test_the_time_to_keep_a_task_is_asked_for_in_milliseconds(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task("completed"))
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow", meta={"x/y": 1}, ttl=90.5)
    call = server.all("tools/call")[0]
    assert call.params["task"] == {"ttl": 90500}
    assert call.params["_meta"]["x/y"] == 1
    assert handle.status == "working"


async def test_middleware_sees_one_call_with_its_result(serve: Serve, autojump_clock: MockClock) -> None:
    results: list[Any] = []

    class Watching(Middleware):
        async def on_call_tool(
            self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
        ) -> types.CallToolResult:
            results.append(await call_next(context))
            return results[-1]  # type: ignore[no-any-return]

    server = legacy(serve, legacy_task("completed"))
    async with server.connect(protocol_version=LEGACY, middleware=[Watching()]) as c:
        await c.list_tools()
        await c.call_tool("slow")
    assert [type(each) for each in results] == [types.CallToolResult]


async def test_all_pages_of_tasks_are_listed(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve)
    server.on["tasks/list"] = lambda call: (
        {"tasks": [legacy_task("working")]}
        if call.params.get("cursor") == ""
        else {"tasks": [legacy_task("failed")], "nextCursor": ""}
    )
    async with server.connect(protocol_version=LEGACY) as c:
        assert [each.status for each in await c.list_tasks()] == ["failed", "working"]


# How it ends


async def test_a_tools_own_failure_is_a_failed_task_with_a_result(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task("failed"), result={**DONE, "isError": True})
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        first, second = await handle.result(), await handle.result()
        assert handle.status == "failed"
    assert first.is_error
    assert first == second
    assert len(server.all("tasks/result")) == 1


async def test_the_calls_error_is_raised(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task("failed"))
    server.on["tasks/result"] = lambda call: MCPError(-32603, "rate limit")
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with pytest.raises(MCPError, match="rate limit"):
            await c.call_tool("slow")


async def test_a_cancelled_task_is_an_error_of_its_own(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task("cancelled"))
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with pytest.raises(TaskCancelled):
            await c.call_tool("slow")
    assert server.all("tasks/result") == []


async def test_a_result_is_fetched_once_for_all_who_wait(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task("completed"))
    server.on["tasks/result"] = lambda call: call.sse(3, call.response(DONE))
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.result)
            nursery.start_soon(handle.result)
    assert len(server.all("tasks/result")) == 1


async def test_a_result_that_was_lost_is_fetched_again(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task("completed"))
    server.on["tasks/result"] = lambda call: (
        call.sse(CUT) if len(server.all("tasks/result")) == 1 else dict(DONE)
    )
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        assert texts(await c.call_tool("slow")) == ["done"]


# Questions


def asks(server: ScriptedServer) -> list[Json]:
    """`tasks/result` asks one question, and then has the result; gives the answers' messages."""
    answers: list[Json] = []

    async def result(call: Call) -> Answer:
        answers.append(await call.ask("elicitation/create", FORM))
        return call.response(DONE)["result"]  # type: ignore[no-any-return]

    server.on["tasks/result"] = result
    return answers


async def test_the_server_asks_beside_the_result_that_is_awaited_early(
    serve: Serve, autojump_clock: MockClock
) -> None:
    asked: list[RequestContext] = []

    async def answer(context: RequestContext, params: Any) -> types.ElicitResult:
        asked.append(context)
        await trio.sleep(20)
        return types.ElicitResult(action="accept", content={})

    server = legacy(serve, legacy_task(), legacy_task("input_required"))
    answers = asks(server)
    async with server.connect(protocol_version=LEGACY, elicitation_callback=answer) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        assert texts(await handle.result()) == ["done"]
        assert handle.status == "completed"
    assert [context.related_task for context in asked] == ["id-1"]
    assert answers[0]["result"] == {"action": "accept", "content": {}, "_meta": FORM["_meta"]}
    # The status is looked at all the while.
    assert times(server, "tasks/get")[:5] == [5, 10, 15, 20, 25]
    assert times(server, "tasks/get")[5:] in ([], [30])
    assert len(server.all("tasks/result")) == 1


@pytest.mark.parametrize("meta", [None, 1, {}, {"io.modelcontextprotocol/related-task": {"taskId": 1}}])
async def test_a_request_that_belongs_to_no_task_says_so(
    serve: Serve, autojump_clock: MockClock, meta: Any
) -> None:
    asked: list[RequestContext] = []

    async def answer(context: RequestContext, params: Any) -> types.ElicitResult:
        asked.append(context)
        return types.ElicitResult(action="decline")

    server = serve(LEGACY)
    answers: list[Json] = []

    async def call_tool(call: Call) -> Answer:
        params = {key: value for key, value in FORM.items() if key != "_meta"}
        answers.append(
            await call.ask("elicitation/create", params if meta is None else {**params, "_meta": meta})
        )
        return DONE

    server.on["tools/call"] = call_tool
    async with server.connect(protocol_version=LEGACY, elicitation_callback=answer) as c:
        await c.call_tool("x")
    if meta != 1:
        assert [context.related_task for context in asked] == [None]
        assert "_meta" not in answers[0]["result"]


async def test_a_result_that_is_lost_while_it_is_awaited_early_is_awaited_again(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task("input_required"), legacy_task("input_required"), legacy_task())
    server.on["tasks/result"] = lambda call: (
        call.sse(CUT)
        if len(server.all("tasks/result")) == 1
        else call.sse(30, call.response({**DONE, "isError": True}))
    )
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        assert (await handle.result()).is_error
        assert handle.status == "failed"
    assert times(server, "tasks/result") == [5, 10]


async def test_an_early_result_that_is_an_error_is_the_calls_error(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task("input_required"))
    server.on["tasks/result"] = lambda call: MCPError(-1, "user said no")
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with pytest.raises(MCPError, match="user said no"):
            await c.call_tool("slow")


async def test_a_task_that_ends_beside_a_result_that_does_not_come_is_asked_for_it_again(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task("input_required"), legacy_task("completed"))
    server.on["tasks/result"] = lambda call: (
        call.sse(HANG) if len(server.all("tasks/result")) == 1 else dict(DONE)
    )
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        assert texts(await c.call_tool("slow")) == ["done"]
    assert times(server, "tasks/result") == [5, 10]


# Hints and progress


async def test_a_status_notification_is_a_hint_to_look_at_once(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task("completed"))
    server.listen()
    server.on["tools/call"] = lambda call: {"task": legacy_task(pollInterval=600_000)}
    async with server.connect(protocol_version=LEGACY) as c, trio.open_nursery() as nursery:
        await c.list_tools()
        nursery.start_soon(c.call_tool, "slow")
        await trio.sleep(30)
        await server.notify("notifications/tasks/status", legacy_task("completed"))
    assert times(server, "tasks/get") == [30]


async def test_progress_goes_on_under_the_token_of_the_call(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task(), legacy_task(), legacy_task("completed"))
    server.listen()
    reported: list[Any] = []

    async def report(*progress: Any) -> None:
        reported.append(progress)

    async with server.connect(protocol_version=LEGACY) as c, trio.open_nursery() as nursery:
        await c.list_tools()

        async def call() -> None:
            await c.call_tool("slow", progress_callback=report)

        nursery.start_soon(call)
        await trio.sleep(7)
        token = server.all("tools/call")[0].progress_token
        assert token is not None
        await server.notify("notifications/progress", progress(token, 1, 2)["params"])
    assert reported == [(1, 2, None)]


async def test_a_handle_has_the_latest_progress_while_somebody_holds_it(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve, legacy_task(), legacy_task("completed"))
    server.listen()
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        token = server.all("tools/call")[0].progress_token
        assert token is not None

        async def report(value: float) -> None:
            await server.notify("notifications/progress", progress(token, value, 2, "step")["params"])
            await trio.sleep(1)

        await report(1)
        assert handle.progress == (1, 2, "step")
        updates = handle.updates()
        await updates.__anext__()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report, 2)
            began = trio.current_time()
            assert (await updates.__anext__()).progress == (2, 2, "step")
            assert trio.current_time() == began
        await handle.result()
        del handle, updates
        await report(2)
        assert c.statistics().unknown_messages == 1


# Cancelling


async def test_cancelling_the_call_cancels_the_task(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task())
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with trio.move_on_after(12):
            await c.call_tool("slow")
        await trio.sleep(1)
        assert [call.params["taskId"] for call in server.all("tasks/cancel")] == ["id-1"]
    assert "notifications/cancelled" not in server.methods()


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("close", [True, False])
async def test_leaving_before_the_task_has_an_id_cancels_it_as_soon_as_it_has(
    serve: Serve, autojump_clock: MockClock, start: bool, close: bool
) -> None:
    """... and not the request, nor does leaving wait for that."""
    server = legacy(serve, legacy_task())
    server.on["tools/call"] = lambda call: call.sse(5, call.response({"task": legacy_task()}))
    options: Any = {"protocol_version": LEGACY, "goodbye_timeout": 9}
    async with server.connect(**options) as c:
        await c.list_tools()
        began = trio.current_time()
        with trio.move_on_after(2):
            await (c.start_task("slow") if start else c.call_tool("slow"))
        assert trio.current_time() - began == 2
        if not close:
            await trio.sleep(5)
    assert len(server.all("tasks/cancel")) == 1
    assert "notifications/cancelled" not in server.methods()


@pytest.mark.parametrize("late", [MCPError(-1, "no"), DONE, {"task": {"taskId": 1}}])
async def test_leaving_what_makes_no_task_in_the_end_is_all_there_is(
    serve: Serve, autojump_clock: MockClock, late: Any
) -> None:
    server = legacy(serve)

    async def call_tool(call: Call) -> Answer:
        await trio.sleep(5)
        return late  # type: ignore[no-any-return]

    server.on["tools/call"] = call_tool
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with trio.move_on_after(2):
            await c.call_tool("slow")
        await trio.sleep(10)
        assert c.is_connected
    assert server.all("tasks/cancel") == []


async def test_a_task_that_is_never_made_is_not_waited_for_without_end(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = legacy(serve)
    calls = server.calls("tools/call")
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with trio.move_on_after(2):
            await c.call_tool("slow")
        call = await calls.receive()
        await trio.sleep(29)
        assert not call.closed.is_set()
        await trio.sleep(2)
        assert call.closed.is_set()


async def test_a_hook_that_leaves_with_a_task_behind_has_it_cancelled(
    serve: Serve, autojump_clock: MockClock
) -> None:
    class Failing(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> types.CallToolResult:
            await call_next(context)
            raise KeyError("x")

    server = legacy(serve)
    async with server.connect(protocol_version=LEGACY, middleware=[Failing()]) as c:
        await c.list_tools()
        with pytest.raises(KeyError):
            await c.start_task("slow")
        server.on["tools/call"] = lambda call: DONE
        with pytest.raises(KeyError):
            await c.start_task("slow")
        await trio.sleep(1)
    assert len(server.all("tasks/cancel")) == 1


async def test_a_call_that_fails_fails_as_ever(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve)
    server.on["tools/call"] = lambda call: MCPError(-32602, "no such tool")
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with pytest.raises(MCPError, match="no such tool"):
            await c.call_tool("slow")
        with pytest.raises(MCPError, match="no such tool"):
            await c.start_task("slow")


async def test_cancelling_by_hand_is_done_when_it_returns(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task())
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        await handle.cancel()
        assert handle.status == "cancelled"
        with pytest.raises(TaskCancelled):
            await handle.result()


async def test_a_server_that_cannot_cancel_is_not_asked_to(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve, legacy_task())
    server.capabilities = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        with pytest.raises(trio_mcp.UnsupportedFeature, match="cancel tasks"):
            await handle.cancel()
        with trio.move_on_after(12):
            await handle.result()
    assert server.all("tasks/cancel") == []


# Servers that misbehave


@pytest.mark.parametrize(
    ("created", "message"),
    [
        ({"task": {"taskId": "id-1"}}, "not valid at task.status"),
        ({"task": legacy_task("paused")}, "not valid at task.status"),
        ({"task": None}, "not valid at .*content"),
    ],
)
async def test_nonsense_is_a_protocol_error_of_that_call(
    serve: Serve, autojump_clock: MockClock, created: Json, message: str
) -> None:
    server = legacy(serve)
    server.on["tools/call"] = lambda call: created
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        with pytest.raises(ProtocolError, match=message):
            await c.call_tool("slow")
        with pytest.raises(ProtocolError, match=message.replace("task.", "task.*")):
            await c.start_task("slow")


async def test_the_escape_hatch_has_tasks_as_they_come(serve: Serve, autojump_clock: MockClock) -> None:
    server = legacy(serve)
    async with server.connect(protocol_version=LEGACY) as c:
        params = {"name": "slow", "arguments": {}, "task": {}}
        made = await c.request("tools/call", params, types.CreateTaskResult)
        assert made.task.task_id == "id-1"


async def test_a_notification_about_an_unknown_task_is_harmless(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = serve(LEGACY)
    server.on["tools/call"] = lambda call: call.sse(
        notification("notifications/tasks/status", legacy_task()), call.response(DONE)
    )
    async with server.connect(protocol_version=LEGACY) as c:
        await c.call_tool("x")
        assert c.statistics().unknown_messages == 0
