"""The tasks extension on a server of the official SDK, which has the seams for it and no tasks of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
import pytest
import trio
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError as SdkError
from trio.testing import MockClock

from trio_mcp import (
    TASKS_EXTENSION,
    Connector,
    MCPError,
    RequestContext,
    TaskCancelled,
    open_connector,
)
from trio_mcp.testing import MemoryNetwork, serve_asgi

QUESTION = {
    "method": "elicitation/create",
    "params": {
        "message": "who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


class TaskParams(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


@dataclass
class Job:
    """A tool call that goes on by itself, after a question."""

    name: str
    ready: float
    answers: dict[str, Any] = field(default_factory=dict)
    cancelled: bool = False

    def state(self) -> dict[str, Any]:
        if self.cancelled:
            return {"status": "cancelled", "statusMessage": "as asked"}
        if trio.current_time() < self.ready:
            return {"status": "working"}
        if "who" not in self.answers and self.name == "greet":
            return {"status": "input_required", "inputRequests": {"who": QUESTION}}
        name = self.answers.get("who", {}).get("content", {}).get("name", "nobody")
        return {"status": "completed", "result": {"content": [{"type": "text", "text": f"hello {name}"}]}}


class TasksOnTheServer(Extension):
    identifier = TASKS_EXTENSION

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.ids = itertools.count()

    def methods(self) -> Sequence[MethodBinding]:
        handlers = {"tasks/get": self.get, "tasks/update": self.update, "tasks/cancel": self.cancel}
        return [MethodBinding(method, TaskParams, handler) for method, handler in handlers.items()]

    async def intercept_tool_call(
        self, params: types.CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        if params.name == "plain":
            return await call_next(ctx)
        task_id = f"task-{next(self.ids)}"
        self.jobs[task_id] = Job(params.name, ready=trio.current_time() + 24 * 3600)
        return {**self.shown(task_id), "resultType": "task"}

    def shown(self, task_id: str) -> dict[str, Any]:
        stamp = "2026-01-01T00:00:00Z"
        stamps = {"createdAt": stamp, "lastUpdatedAt": stamp}
        intervals = {"ttlMs": None, "pollIntervalMs": 60_000}
        return {"taskId": task_id, **stamps, **intervals, **self.jobs[task_id].state()}

    def find(self, params: TaskParams) -> Job:
        try:
            return self.jobs[params.task_id]
        except KeyError:
            raise SdkError(-32602, "unknown task") from None

    async def get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        self.find(params)
        return self.shown(params.task_id)

    async def update(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        self.find(params).answers.update(params.input_responses or {})
        return {}

    async def cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        self.find(params).cancelled = True
        return {}


@asynccontextmanager
async def served(network: MemoryNetwork) -> AsyncGenerator[TasksOnTheServer]:
    tasks = TasksOnTheServer()
    server = MCPServer("tasks", extensions=[tasks], log_level="CRITICAL")

    @server.tool()
    async def plain() -> str:
        return "at once"

    @server.tool()
    async def greet() -> str:
        raise AssertionError

    async with serve_asgi(server.streamable_http_app(), network.listen("127.0.0.1", 8000)):
        yield tasks


def connector(network: MemoryNetwork) -> Connector:
    async def answer(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert context.related_task == "task-0"
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    return open_connector(
        "http://127.0.0.1:8000/mcp",
        network=network,
        extensions={TASKS_EXTENSION: {}},
        elicitation_callback=answer,
    )


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def test_a_call_takes_a_day_and_asks_a_question(
    mcp_network: MemoryNetwork, autojump_clock: MockClock
) -> None:
    async with served(mcp_network), connector(mcp_network) as c:
        extensions = c.server_capabilities.extensions
        assert extensions is not None
        assert TASKS_EXTENSION in extensions
        assert text_of(await c.call_tool("plain")) == "at once"
        assert text_of(await c.call_tool("greet")) == "hello Ada"
        assert trio.current_time() == pytest.approx(24 * 3600, abs=60)


async def test_a_task_is_found_again_on_another_connection(
    mcp_network: MemoryNetwork, autojump_clock: MockClock
) -> None:
    async with served(mcp_network):
        async with connector(mcp_network) as c:
            assert (await c.start_task("plain")).ended
            task_id = (await c.start_task("greet")).task_id
            assert task_id
        async with connector(mcp_network) as c:
            handle = c.task(task_id)
            assert await handle.refresh() == "working"
            assert text_of(await handle.result()) == "hello Ada"
            with pytest.raises(MCPError, match="unknown task") as caught:
                await c.task("task-9").result()
            assert caught.value.code == -32602


async def test_what_is_cancelled_here_is_cancelled_there(
    mcp_network: MemoryNetwork, autojump_clock: MockClock
) -> None:
    async with served(mcp_network) as tasks, connector(mcp_network) as c:
        with trio.move_on_after(3600):
            await c.call_tool("greet")
        await trio.sleep(1)
        assert tasks.jobs["task-0"].cancelled
        handle = await c.start_task("greet")
        await handle.cancel()
        assert tasks.jobs["task-1"].cancelled
        with pytest.raises(TaskCancelled, match="as asked"):
            await handle.result()
