"""Tools that a modern server carries out as tasks, called as if they were none."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
import trio
from trio.testing import MockClock

import trio_mcp
from tests.conftest import Serve
from trio_mcp import TASKS_EXTENSION, MCPError, ProtocolError, RequestContext, TaskCancelled
from trio_mcp.features.extensions import Extension
from trio_mcp.middleware import CallNext, Middleware, MiddlewareContext
from trio_mcp.testing import CUT, Call
from trio_mcp.testing.call import Answer, Piece
from trio_mcp.testing.messages import Json, notification

from .scripts import DONE, EXTENSIONS, FORM, asking, completed, modern, task, times


async def accept(context: RequestContext, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


# The result


async def test_a_task_of_a_day_is_a_call_that_takes_a_day(serve: Serve, autojump_clock: MockClock) -> None:
    hours = [task(pollIntervalMs=600_000)] * 6 * 24
    server = modern(serve, *hours, completed(), created=task(pollIntervalMs=600_000))
    async with server.connect(extensions=EXTENSIONS) as c:
        result = await c.call_tool("slow")
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text == "done"
    assert times(server, "tasks/get")[-1] == 24 * 3600 + 600
    get = server.all("tasks/get")[0]
    assert get.headers["mcp-name"] == "id-1"
    declared = get.params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert declared == {"extensions": {TASKS_EXTENSION: {}}}


async def test_a_task_may_have_ended_when_it_is_made(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, created=completed())
    async with server.connect(extensions=EXTENSIONS) as c:
        assert not (await c.call_tool("slow")).is_error
    assert server.all("tasks/get") == []


async def test_a_tools_own_failure_is_a_result(serve: Serve, autojump_clock: MockClock) -> None:
    failed = task("completed", result={"content": [], "isError": True})
    async with modern(serve, failed).connect(extensions=EXTENSIONS) as c:
        assert (await c.call_tool("slow")).is_error


async def test_a_failed_task_raises_its_error(serve: Serve, autojump_clock: MockClock) -> None:
    failed = task("failed", error={"code": -32603, "message": "rate limit", "data": [1]})
    server = modern(serve, failed)
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(MCPError, match="rate limit") as caught:
            await c.call_tool("slow")
    assert (caught.value.code, caught.value.data) == (-32603, [1])
    assert server.all("tasks/cancel") == []


async def test_a_task_that_the_server_cancelled_is_an_error_of_its_own(
    serve: Serve, autojump_clock: MockClock
) -> None:
    cancelled = task("cancelled", statusMessage="maintenance")
    server = modern(serve, cancelled)
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(TaskCancelled, match="tools/call 'slow' on .*: maintenance"):
            await c.call_tool("slow")
    assert server.all("tasks/cancel") == []


async def test_the_result_of_a_task_is_validated_against_the_tools_schema(
    serve: Serve, autojump_clock: MockClock
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    tool = {"name": "slow", "inputSchema": {"type": "object"}, "outputSchema": schema}
    server = modern(serve, task("completed", result={**DONE, "structuredContent": {"n": "x"}}))
    server.on["tools/list"] = lambda call: {"resultType": "complete", "tools": [tool]}
    async with server.connect(extensions=EXTENSIONS) as c:
        await c.list_tools()
        with pytest.raises(trio_mcp.InvalidOutput):
            await c.call_tool("slow")
        handle = await c.start_task("slow")
        with pytest.raises(trio_mcp.InvalidOutput):
            await handle.result()


async def test_an_answer_without_a_task_is_taken_as_ever(serve: Serve, autojump_clock: MockClock) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: call.text("at once")
    async with server.connect(extensions=EXTENSIONS) as c:
        await c.call_tool("x")


async def test_middleware_sees_one_call_with_its_result_and_each_look(
    serve: Serve, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    class Watching(Middleware):
        async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
            seen.append(context.method)
            return await call_next(context)

        async def on_call_tool(self, context: Any, call_next: Any) -> types.CallToolResult:
            result = await call_next(context)
            assert isinstance(result, types.CallToolResult)
            seen.append("result")
            return result

    async with modern(serve, task(), completed()).connect(
        extensions=EXTENSIONS, middleware=[Watching()]
    ) as c:
        await c.call_tool("slow")
    assert seen == ["initialize", "tools/call", "tasks/get", "tasks/get", "result"]


# When to look


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [(5000, 5), (None, 1), (0, 0.1), (-1, 0.1), (1e12, 600), (250, 0.25)],
)
async def test_the_servers_interval_is_kept_within_bounds(
    serve: Serve, autojump_clock: MockClock, wanted: float | None, seconds: float
) -> None:
    working = task(pollIntervalMs=wanted)
    server = modern(serve, working, completed(), created=working)
    async with server.connect(extensions=EXTENSIONS) as c:
        await c.call_tool("slow")
    assert times(server, "tasks/get") == [seconds, 2 * seconds]


async def test_a_notification_is_a_hint_to_look_at_once(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, completed(), created=task(pollIntervalMs=600_000))
    server.on["server/other"] = lambda call: call.sse(
        notification("notifications/tasks", {"taskId": "id-2"}),
        notification("notifications/tasks", {"taskId": ["no id"]}),
        notification("notifications/tasks", {"taskId": "id-1"}),
        notification("notifications/tasks", {"taskId": "id-1"}),
        call.response({}),
    )
    async with server.connect(extensions=EXTENSIONS) as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "slow")
        await trio.sleep(30)
        await c.request("server/other", None, dict[str, Any])
    assert times(server, "tasks/get") == [30]
    assert c.statistics().unknown_messages == 1


async def test_a_flood_of_hints_is_no_flood_of_looks(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task(pollIntervalMs=60_000), completed())
    flood: list[Piece] = [0.01, notification("notifications/tasks", {"taskId": "id-1"})] * 1000

    server.on["server/other"] = lambda call: call.sse(*flood, call.response({}))
    async with server.connect(extensions=EXTENSIONS) as c:
        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                server.on["tasks/get"] = lambda call: {"resultType": "complete", **task()}
                nursery.start_soon(c.call_tool, "slow")
                await c.request("server/other", None, dict[str, Any])
        assert 50 <= len(server.all("tasks/get")) <= 101


# Questions


async def test_each_question_is_answered_once_by_the_callbacks(
    serve: Serve, autojump_clock: MockClock
) -> None:
    asked: list[RequestContext] = []

    async def note(context: RequestContext, params: Any) -> types.ElicitResult:
        asked.append(context)
        return await accept(context, params)

    server = modern(serve, asking(a=FORM), asking(a=FORM, b=FORM), asking(a=FORM), task(), completed())
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=note) as c:
        await c.call_tool("slow")
    assert [(context.request_id, context.related_task) for context in asked] == [("a", "id-1"), ("b", "id-1")]
    first, second = server.all("tasks/update")
    answer = {"action": "accept", "content": {"name": "Ada"}}
    assert first.params["inputResponses"] == {"a": answer}
    assert second.params["inputResponses"] == {"b": answer}
    assert first.params["taskId"] == first.headers["mcp-name"] == "id-1"


async def test_the_task_is_looked_at_while_a_question_is_open(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """... and one that the server no longer asks is withdrawn, at the latest when the task has ended."""
    withdrawn: list[float] = []

    async def think(context: RequestContext, params: Any) -> types.ElicitResult:
        try:
            await trio.sleep_forever()
        finally:
            withdrawn.append(trio.current_time())
        raise AssertionError

    server = modern(
        serve, asking(a=FORM), asking(a=FORM, b=FORM), asking(b=FORM), asking(b=FORM), completed()
    )
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=think) as c:
        began = trio.current_time()
        await c.call_tool("slow")
    assert [each - began for each in withdrawn] == [15, 25]
    assert server.all("tasks/update") == []


async def test_an_answer_brings_a_look_at_once(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, asking(a=FORM), completed())
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=accept) as c:
        await c.call_tool("slow")
    assert times(server, "tasks/get") == [5, 5.1]


async def test_a_refused_question_ends_the_call_and_the_task(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, asking(a=FORM))
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(trio_mcp.InputRefused, match="elicitation/create"):
            await c.call_tool("slow")
    assert len(server.all("tasks/cancel")) == 1


async def test_a_callback_that_fails_ends_the_call_with_its_exception_and_the_task(
    serve: Serve, autojump_clock: MockClock
) -> None:
    error = LookupError("nobody home")

    async def fail(context: RequestContext, params: Any) -> types.ElicitResult:
        raise error

    server = modern(serve, asking(a=FORM))
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=fail) as c:
        with pytest.raises(LookupError) as caught:
            await c.call_tool("slow")
    assert caught.value is error
    assert len(server.all("tasks/cancel")) == 1


async def test_questions_without_end_are_an_error(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve)

    def get(call: Call) -> Answer:
        first = 100 * len(server.all("tasks/get"))
        questions = {f"q{number}": FORM for number in range(first, first + 100)}
        return {"resultType": "complete", **asking(**questions)}

    server.on["tasks/get"] = get
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=accept) as c:
        with pytest.raises(ProtocolError, match="more than 1000 questions"):
            await c.call_tool("slow")


async def test_an_answer_is_not_lost_with_a_connection(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, asking(a=FORM), asking(a=FORM), asking(a=FORM), completed())
    server.on["tasks/update"] = lambda call: (
        call.sse(CUT) if len(server.all("tasks/update")) == 1 else {"resultType": "complete"}
    )
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=accept) as c:
        await c.call_tool("slow")
    first, second = server.all("tasks/update")
    assert first.params["inputResponses"] == second.params["inputResponses"]


async def test_questions_may_come_before_there_is_a_task(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, completed())
    make = server.on["tools/call"]
    server.on["tools/call"] = lambda call: (
        make(call) if "inputResponses" in call.params else call.input_required({"a": FORM})
    )
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=accept) as c:
        await c.call_tool("slow")
        assert (await c.start_task("slow")).task_id == "id-1"


# Leaving


async def test_middleware_sees_the_task_being_cancelled(serve: Serve, autojump_clock: MockClock) -> None:
    class Tenant(Middleware):
        async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
            context.headers["x-tenant"] = "7"
            return await call_next(context)

    server = modern(serve, task())
    with trio.move_on_after(12):
        async with server.connect(extensions=EXTENSIONS, middleware=[Tenant()]) as c:
            await c.call_tool("slow")
    assert server.all("tasks/cancel")[0].headers["x-tenant"] == "7"


async def test_a_server_that_refuses_to_cancel_was_told_all_the_same(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    server.on["tasks/cancel"] = lambda call: MCPError(-32602, "already completed")
    async with server.connect(extensions=EXTENSIONS) as c:
        with trio.move_on_after(12):
            await c.call_tool("slow")
        await trio.sleep(1)
        assert len(server.all("tasks/cancel")) == 1
        assert c.statistics().undelivered == 0


async def test_cancelling_the_call_cancels_the_task_and_does_not_wait_for_it(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    cancels = server.calls("tasks/cancel")  # which nobody answers
    async with server.connect(extensions=EXTENSIONS) as c:
        began = trio.current_time()
        with trio.move_on_after(12) as scope:
            await c.call_tool("slow")
        assert scope.cancelled_caught
        assert trio.current_time() - began == 12
        cancel = await cancels.receive()
        assert cancel.params["taskId"] == cancel.headers["mcp-name"] == "id-1"
        await trio.sleep(60)
        assert cancel.closed.is_set()  # there is a bound
        assert c.statistics().undelivered == 1
    assert "notifications/cancelled" not in server.methods()


async def test_cancelling_while_the_task_is_looked_at_cancels_it_too(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve)
    looks = server.calls("tasks/get")
    async with server.connect(extensions=EXTENSIONS) as c:
        with trio.move_on_after(12):
            await c.call_tool("slow")
        look = await looks.receive()
        await trio.sleep(1)
        assert look.closed.is_set()
        assert len(server.all("tasks/cancel")) == 1


async def test_cancelling_before_there_is_a_task_is_cancelling_the_call(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve)
    calls = server.calls("tools/call")
    async with server.connect(extensions=EXTENSIONS) as c:
        with trio.move_on_after(12):
            await c.call_tool("slow")
        assert (await calls.receive()).closed.is_set()
    assert server.methods() == ["server/discover", "tools/call"]


async def test_cancelling_the_whole_block_still_cancels_the_task(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    with trio.move_on_after(12):
        async with server.connect(extensions=EXTENSIONS) as c:
            await c.call_tool("slow")
    assert len(server.all("tasks/cancel")) == 1


async def test_closing_the_connector_ends_a_call_between_two_looks_and_cancels_its_task(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task(), created=task(pollIntervalMs=600_000))
    async with server.connect(extensions=EXTENSIONS) as c, trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(trio_mcp.NotConnected):
                await c.call_tool("slow")

        nursery.start_soon(call)
        await trio.sleep(12)
        await c.aclose()
        assert trio.current_time() < 13
    assert len(server.all("tasks/cancel")) == 1


async def test_cancelling_does_not_queue_behind_calls(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task())
    server.on["server/other"] = lambda call: call.sse(3600, call.response({}))
    async with server.connect(extensions=EXTENSIONS, max_connections=1) as c, trio.open_nursery() as nursery:
        with trio.move_on_after(4):
            nursery.start_soon(c.request, "server/other", None, dict[str, Any])
            async with c.task("id-1"):
                await trio.sleep_forever()
        await trio.sleep(1)
        assert len(server.all("tasks/cancel")) == 1
        nursery.cancel_scope.cancel()


async def test_many_tasks_are_cancelled_at_once(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task())
    ids = iter(range(1000))
    server.on["tools/call"] = lambda call: {"resultType": "task", **task(), "taskId": f"id-{next(ids)}"}
    async with server.connect(extensions=EXTENSIONS) as c:
        with trio.move_on_after(2):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(c.call_tool, "slow")
        await trio.sleep(1)
        assert len({call.params["taskId"] for call in server.all("tasks/cancel")}) == 100


# Outages


async def test_an_outage_between_two_looks_is_survived(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task(), task(), completed())
    async with server.connect(extensions=EXTENSIONS) as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "slow")
        await trio.sleep(7)
        await server.restart(downtime=20)
    assert server.all("tasks/cancel") == []
    assert times(server, "tasks/get") == [5, 41, 46]


async def test_an_answer_that_did_not_arrive_is_asked_for_again(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, asking(a=FORM), completed())
    asked: list[str | int] = []

    async def note(context: RequestContext, params: Any) -> types.ElicitResult:
        asked.append(context.request_id)
        return await accept(context, params)

    async with server.connect(extensions=EXTENSIONS, elicitation_callback=note) as c:
        handle = await c.start_task("slow")
        server.on["tasks/update"] = lambda call: MCPError(-32603, "try again")
        with pytest.raises(MCPError, match="try again"):
            await handle.result()
        server.on["tasks/update"] = lambda call: {"resultType": "complete"}
        await handle.result()
    assert asked == ["a", "a"]


@pytest.mark.parametrize("status", [503, 429])
async def test_a_server_that_asks_to_wait_is_given_time(
    serve: Serve, autojump_clock: MockClock, status: int
) -> None:
    server = modern(serve)

    def get(call: Call) -> Answer:
        if len(server.all("tasks/get")) == 1:
            return call.reply(status=status, headers={"retry-after": "30"})
        return {"resultType": "complete", **completed()}

    server.on["tasks/get"] = get
    async with server.connect(extensions=EXTENSIONS) as c:
        await c.call_tool("slow")
    assert times(server, "tasks/get") == [5, 35]


async def test_an_outage_that_does_not_end_ends_the_call(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve)
    server.on["tasks/get"] = lambda call: call.reply(status=500)
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.call_tool("slow")
        assert trio.current_time() < 5 + 64
        assert len(server.all("tasks/get")) == 7
    assert len(server.all("tasks/cancel")) == 1


async def test_a_refusal_is_no_outage(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve)
    server.on["tasks/get"] = lambda call: call.reply(status=403)
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(trio_mcp.AccessDenied):
            await c.call_tool("slow")
    assert len(server.all("tasks/get")) == 1


async def test_a_task_that_is_gone_is_the_servers_error(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, MCPError(-32602, "Task has expired"))
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(MCPError, match="expired"):
            await c.call_tool("slow")
    assert server.all("tasks/cancel") == []


# Servers that misbehave


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (task("paused"), "not valid at status"),
        ({"status": "working"}, "not valid at taskId"),
        (task(pollIntervalMs="soon"), "not valid at pollIntervalMs"),
        (task("completed"), "has no result"),
        (task("completed", result=[]), "not valid at result"),
        (task("completed", result={"resultType": "task", **task()}), "result of type 'task'"),
        (task("completed", result={"no": "content"}), "not valid at content"),
        (task("failed", statusMessage="why not"), "no proper error: why not"),
        (task("failed", error={"code": "x", "message": 1}), "no proper error: no reason given"),
        (task("input_required"), "asks for input, but not in the way"),
        (task("input_required", inputRequests={"a": 1}), "asks for input, but not in the way"),
    ],
)
async def test_nonsense_is_a_protocol_error_of_that_call(
    serve: Serve, autojump_clock: MockClock, state: Json, message: str
) -> None:
    server = modern(serve, state)
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(ProtocolError, match=message) as caught:
            await c.call_tool("slow")
        assert "id-1" not in str(caught.value)  # which may be a secret
        assert c.is_connected
        server.on["tools/call"] = lambda call: call.text("fine")
        await c.call_tool("other")


async def test_a_task_that_asks_for_nothing_is_looked_at_again(
    serve: Serve, autojump_clock: MockClock
) -> None:
    async with modern(serve, asking(), completed()).connect(extensions=EXTENSIONS) as c:
        await c.call_tool("slow")


async def test_a_task_without_end_ends_with_its_callers_deadline(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(trio.TooSlowError), trio.fail_after(3600):
            await c.call_tool("slow")
    assert len(server.all("tasks/get")) == 719


@pytest.mark.parametrize("task_id", ["a\r\nb: c", "é ✓", " ", "=?base64?eA==?=", "x" * 5000])
async def test_a_task_id_may_be_any_text(serve: Serve, autojump_clock: MockClock, task_id: str) -> None:
    strange = {"taskId": task_id}
    server = modern(serve, {**completed(), **strange}, created={**task(), **strange})
    async with server.connect(extensions=EXTENSIONS) as c:
        await c.call_tool("slow")
    assert server.all("tasks/get")[0].params["taskId"] == task_id


@pytest.mark.parametrize("kind", ["complete", "task"])
async def test_both_types_of_the_answer_to_a_look_are_understood(
    serve: Serve, autojump_clock: MockClock, kind: str
) -> None:
    """The extension's text says "complete", and its examples "task"."""
    async with modern(serve, {**completed(), "resultType": kind}).connect(extensions=EXTENSIONS) as c:
        await c.call_tool("slow")


async def test_no_other_request_may_become_a_task(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve)
    server.on["prompts/get"] = server.on["tools/call"]
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(ProtocolError, match="type 'task'"):
            await c.get_prompt("x")


async def test_a_task_that_was_not_offered_is_a_protocol_error(
    serve: Serve, autojump_clock: MockClock
) -> None:
    async with modern(serve).connect() as c:
        with pytest.raises(ProtocolError, match="type 'task'"):
            await c.call_tool("slow")


async def test_an_extension_of_the_users_own_takes_the_place_of_ours(
    serve: Serve, autojump_clock: MockClock
) -> None:
    async def resolve(context: Any, result: Any) -> Json:
        assert result["taskId"] == "id-1"
        return {"content": []}

    own = Extension(results={"task": resolve})
    async with modern(serve).connect(extensions={TASKS_EXTENSION: own}) as c:
        assert (await c.call_tool("slow")).content == []
        with pytest.raises(trio_mcp.UnsupportedFeature, match="TASKS_EXTENSION"):
            await c.start_task("slow")
