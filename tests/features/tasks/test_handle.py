"""Handles of tasks: what they know, several waiters, cancelling, and finding a task again."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
import trio
from trio.testing import MockClock

import trio_mcp
from tests.conftest import Serve
from trio_mcp import InvalidArguments, MCPError, RequestContext, TaskCancelled, TaskHandle, TaskUpdate
from trio_mcp.testing import HANG, Call
from trio_mcp.testing.call import Answer

from .scripts import EXTENSIONS, FORM, LEGACY, asking, completed, goes_through, legacy, modern, task, times

FAILED = task("failed", error={"code": -1, "message": "no"})


async def test_a_handle_knows_the_status_and_brings_the_result(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task(statusMessage="step 1"), completed(), created=task(statusMessage="begun"))
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow", {"a": 1}, meta={"x/y": 1})
        assert (handle.task_id, handle.status, handle.status_message) == ("id-1", "working", "begun")
        assert repr(handle) == "<TaskHandle 'slow' working>"
        assert await handle.refresh() == "working"
        assert handle.status_message == "step 1"
        assert not handle.ended
        result = await handle.result()
        assert handle.ended
        assert handle.status == "completed"
        assert handle.progress is None
        looks = len(server.all("tasks/get"))
        assert await handle.refresh() == "completed"
        assert await handle.result() == result
        await handle.cancel()
        assert len(server.all("tasks/get")) == looks
    assert await handle.result() == result  # what is known needs no connection
    call = server.all("tools/call")[0]
    assert call.params["arguments"] == {"a": 1}
    assert call.params["_meta"]["x/y"] == 1
    assert "task" not in call.params
    assert server.all("tasks/cancel") == []


async def test_a_call_that_is_answered_at_once_has_a_handle_that_has_ended(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: call.text("at once")
    async with server.connect(extensions=EXTENSIONS) as c:
        async with await c.start_task("quick") as handle:
            assert handle.ended
            assert (handle.task_id, handle.status, handle.status_message) == (None, "completed", None)
            assert handle.progress is None
            assert await handle.refresh() == "completed"
            await handle.cancel()
            assert [update.status async for update in handle.updates()] == ["completed"]
            assert await handle.result() is await handle.result()
    assert server.methods() == ["server/discover", "tools/call"]


async def test_several_tasks_wait_for_one_result_and_one_looks_for_all(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, asking(a=FORM), task(), completed())
    asked: list[Any] = []

    async def answer(context: RequestContext, params: Any) -> types.ElicitResult:
        asked.append(params)
        return types.ElicitResult(action="decline")

    async with server.connect(extensions=EXTENSIONS, elicitation_callback=answer) as c:
        handle = await c.start_task("slow")
        results: list[types.CallToolResult] = []

        async def wait() -> None:
            results.append(await handle.result())

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(wait)
    assert len(results) == 10
    assert len(asked) == len(server.all("tasks/update")) == 1
    assert len(server.all("tasks/get")) == 3


async def test_cancelling_around_the_result_cancels_the_task(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task())
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        with trio.move_on_after(12):
            await handle.result()
        await trio.sleep(1)
        assert len(server.all("tasks/cancel")) == 1


async def test_the_task_may_be_left_alone(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task())
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        with trio.move_on_after(12):
            await handle.result(cancel_on_exit=False)
    assert server.all("tasks/cancel") == []


async def test_when_the_last_waiter_leaves_the_task_is_cancelled_once(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        with trio.move_on_after(12):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(handle.result)
        await trio.sleep(1)
        assert len(server.all("tasks/cancel")) == 1


async def test_a_waiter_that_leaves_disturbs_no_other(serve: Serve, autojump_clock: MockClock) -> None:
    """The one that looks and asks leaves; another one goes on with both."""
    server = modern(serve, asking(a=FORM), asking(a=FORM), asking(a=FORM), completed())

    async def answer(context: RequestContext, params: Any) -> types.ElicitResult:
        await trio.sleep(5)
        return types.ElicitResult(action="decline")

    async with server.connect(extensions=EXTENSIONS, elicitation_callback=answer) as c:
        handle = await c.start_task("slow")

        async def leave() -> None:
            with trio.move_on_after(7):
                await handle.result()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            await trio.sleep(1)
            await handle.result()
    assert server.all("tasks/cancel") == []
    assert len(server.all("tasks/update")) == 1


async def test_an_error_reaches_every_waiter(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, MCPError(-32602, "unknown task"))
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")

        async def wait() -> None:
            with pytest.raises(MCPError, match="unknown task"):
                await handle.result()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)


async def test_a_task_is_found_again_by_its_id(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task(), completed())
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        with trio.move_on_after(7):
            await handle.result(cancel_on_exit=False)
        task_id = handle.task_id
        assert task_id
    with pytest.raises(trio_mcp.NotConnected):
        await handle.result()
    async with server.connect(extensions=EXTENSIONS) as c:
        again = c.task(task_id)
        assert (again.status, again.status_message, again.progress, again.ended) == (None, None, None, False)
        assert repr(again) == "<TaskHandle not asked for yet>"
        began = trio.current_time()
        await again.result()
        assert trio.current_time() == began  # it is looked at, at once
        assert c.task(task_id).status == "completed"  # two handles of one task share what is known


async def test_a_task_that_is_not_found_again_is_an_error(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, MCPError(-32602, "unknown task"))
    async with server.connect(extensions=EXTENSIONS) as c:
        for ask in (c.task("no").refresh, c.task("no").result):
            with pytest.raises(MCPError, match="unknown task") as caught:
                await ask()
            assert caught.value.code == -32602
    with pytest.raises(trio_mcp.NotConnected):
        c.task("no")


async def test_a_task_of_which_nobody_has_a_handle_is_forgotten(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        assert c.task("id-1").status == "working"
        del handle
        assert c.task("id-1").status is None


async def test_cancelling_by_hand_is_seen_by_who_waits(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, task(pollIntervalMs=600_000), created=task(pollIntervalMs=600_000))

    def cancel(call: Call) -> Answer:
        goes_through(server, {"resultType": "complete", **task("cancelled", statusMessage="as you wish")})
        return {"resultType": "complete"}

    server.on["tasks/cancel"] = cancel
    async with server.connect(extensions=EXTENSIONS) as c, trio.open_nursery() as nursery:
        handle = await c.start_task("slow")

        async def wait() -> None:
            with pytest.raises(TaskCancelled, match="task 'slow' on .*: as you wish"):
                await handle.result()

        nursery.start_soon(wait)
        await trio.sleep(2)
        await handle.cancel()
    assert times(server, "tasks/get") == [2]
    assert len(server.all("tasks/cancel")) == 1


async def test_cancelling_what_has_ended_meanwhile_is_no_error(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, completed())
    server.on["tasks/cancel"] = lambda call: MCPError(-32602, "already completed")
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        await handle.cancel()
        assert handle.ended


@pytest.mark.parametrize("code", [-32602, -32603])
async def test_cancelling_what_cannot_be_cancelled_is_the_servers_error(
    serve: Serve, autojump_clock: MockClock, code: int
) -> None:
    server = modern(serve, task())
    server.on["tasks/cancel"] = lambda call: MCPError(code, "never")
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        with pytest.raises(MCPError, match="never"):
            await handle.cancel()


async def test_leaving_the_block_of_a_handle_early_cancels_the_task(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task())
    error = KeyError("x")
    async with server.connect(extensions=EXTENSIONS) as c:
        with pytest.raises(KeyError) as caught:
            async with await c.start_task("slow") as handle:
                assert handle.status == "working"
                raise error
        assert caught.value is error
        await trio.sleep(1)
        assert len(server.all("tasks/cancel")) == 1
        goes_through(server, {"resultType": "complete", **completed()})
        async with await c.start_task("slow") as handle:
            await handle.result()
    assert len(server.all("tasks/cancel")) == 1


async def test_closing_the_connector_ends_the_wait_and_leaves_the_task(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task(), created=task(pollIntervalMs=600_000))
    async with server.connect(extensions=EXTENSIONS) as c, trio.open_nursery() as nursery:
        handle = await c.start_task("slow")

        async def wait() -> None:
            with pytest.raises(trio_mcp.NotConnected):
                await handle.result()
            assert trio.current_time() == 2

        async def follow() -> None:
            with pytest.raises(trio_mcp.NotConnected):
                async for _ in handle.updates():
                    pass
            assert trio.current_time() == 2

        nursery.start_soon(wait)
        nursery.start_soon(follow)
        await trio.sleep(2)
        await c.aclose()
    assert server.all("tasks/cancel") == []


# Updates


async def test_updates_come_as_they_are_heard_of_and_end_with_the_task(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve, task(), task(statusMessage="half"), task(statusMessage="half"), asking(), FAILED)
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        updates = [(round(trio.current_time()), update) async for update in handle.updates()]
        with pytest.raises(MCPError):
            await handle.result()
    assert updates == [
        (0, TaskUpdate("working", None, None)),
        (10, TaskUpdate("working", "half", None)),
        (20, TaskUpdate("input_required", None, None)),
        (25, TaskUpdate("failed", None, None)),
    ]


async def test_updates_of_a_task_that_was_found_again_begin_with_a_look(
    serve: Serve, autojump_clock: MockClock
) -> None:
    async with modern(serve, task(), completed()).connect(extensions=EXTENSIONS) as c:
        statuses = [update.status async for update in c.task("id-1").updates()]
    assert statuses == ["working", "completed"]


async def test_a_slow_reader_gets_the_latest_update(serve: Serve, autojump_clock: MockClock) -> None:
    server = modern(serve, *(task(statusMessage=str(step)) for step in range(9)), completed())
    async with server.connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        seen: list[str | None] = []

        async def read() -> None:
            async for update in handle.updates():
                seen.append(update.status_message or update.status)
                await trio.sleep(22)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await handle.result()
    assert seen == ["working", "3", "7", "completed"]


async def test_updates_answer_no_questions(serve: Serve, autojump_clock: MockClock) -> None:
    async def answer(context: RequestContext, params: Any) -> types.ElicitResult:
        raise AssertionError

    server = modern(serve, asking(a=FORM), completed())
    async with server.connect(extensions=EXTENSIONS, elicitation_callback=answer) as c:
        handle = await c.start_task("slow")
        assert [update.status async for update in handle.updates()][1:] == ["input_required", "completed"]


# Mistakes, and checkpoints


async def test_a_modern_server_must_be_offered_the_extension_first(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.UnsupportedFeature, match="TASKS_EXTENSION"):
            await c.start_task("slow")
        with pytest.raises(trio_mcp.UnsupportedFeature, match="TASKS_EXTENSION"):
            c.task("id-1")
        with pytest.raises(trio_mcp.UnsupportedFeature, match="tasks/list"):
            await c.list_tasks()
    assert server.methods() == ["server/discover"]


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "x", True])
async def test_a_ttl_is_a_time(serve: Serve, autojump_clock: MockClock, ttl: Any) -> None:
    async with modern(serve).connect(extensions=EXTENSIONS) as c:
        with pytest.raises(InvalidArguments, match="ttl"):
            await c.start_task("slow", ttl=ttl)


@pytest.mark.parametrize("task_id", ["", None, 1])
async def test_a_task_id_is_a_text(serve: Serve, autojump_clock: MockClock, task_id: Any) -> None:
    async with modern(serve).connect(extensions=EXTENSIONS) as c:
        with pytest.raises(InvalidArguments, match="task id"):
            c.task(task_id)


async def test_arguments_are_a_mapping(serve: Serve, autojump_clock: MockClock) -> None:
    async with modern(serve).connect(extensions=EXTENSIONS) as c:
        with pytest.raises(InvalidArguments):
            await c.start_task("slow", ["x"])  # type: ignore[arg-type]


async def test_everything_about_a_handle_is_a_checkpoint(serve: Serve, autojump_clock: MockClock) -> None:
    async with modern(serve, created=completed()).connect(extensions=EXTENSIONS) as c:
        handle = await c.start_task("slow")
        updates = handle.updates()
        for step in (handle.refresh, handle.result, handle.cancel, updates.__anext__):
            with trio.testing.assert_checkpoints():
                await step()
        with trio.testing.assert_checkpoints(), pytest.raises(StopAsyncIteration):
            await updates.__anext__()


# Restarts


async def test_a_restart_of_a_legacy_server_is_survived_by_the_handle(
    serve: Serve, autojump_clock: MockClock
) -> None:
    """The session is renewed, and the task looked at in the new one."""
    server = legacy(serve, *[{**task(), "ttl": None}] * 3, {**task("completed"), "ttl": None})
    async with server.connect(protocol_version=LEGACY) as c:
        await c.list_tools()
        handle = await c.start_task("slow")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.result)
            await trio.sleep(2)
            await server.restart(downtime=10)
        assert c.statistics().reinitializations == 1
        assert handle.status == "completed"


async def test_a_look_that_is_lost_does_not_hold_up_who_cancels(
    serve: Serve, autojump_clock: MockClock
) -> None:
    server = modern(serve)
    server.on["tasks/get"] = lambda call: call.sse(HANG)
    async with server.connect(extensions=EXTENSIONS) as c:
        handle: TaskHandle = await c.start_task("slow")
        with trio.move_on_after(30):
            await handle.result()
        assert trio.current_time() == 30
