"""Tasks of 2025-11-25, which called them experimental (2511/basic/utilities/tasks)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any, Final, TypeAlias

import mcp_types as types
import trio
from pydantic import Discriminator, Tag

from ...errors import TransportError, UnsupportedFeature
from ...handling import typed
from ...protocol.wire import JSONObject, Request, Response
from .dialect import Dialect, Peer, task_params
from .state import TaskState, interval
from .tracked import TrackedTask

__all__ = ["AugmentedCall", "Creation", "LegacyTasks", "state_of"]

_LATE: Final = 30.0
"""Seconds that a task which is being made when its caller leaves may take to get an id."""


def state_of(task: types.Task) -> TaskState:
    """What the server says of a task."""
    return TaskState(status=task.status, message=task.status_message, interval=interval(task.poll_interval))


def _kind(answer: Any) -> str:
    return "task" if isinstance(answer, Mapping) and isinstance(answer.get("task"), Mapping) else "result"


AugmentedCall: TypeAlias = Annotated[
    Annotated[types.CallToolResult, Tag("result")] | Annotated[types.CreateTaskResult, Tag("task")],
    Discriminator(_kind),
]
"""What a tool call that asks for a task brings: the task; or its result, from a server that made none."""


class LegacyTasks(Dialect):
    """The way of 2025-11-25: the client asks for a task, where server and tool allow it."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer)
        self._support: dict[str, str | None] = {}

    def learn(self, tools: Iterable[types.Tool]) -> None:
        """Remember which tools may be, or must be, called as tasks."""
        for tool in tools:
            self._support[tool.name] = tool.execution.task_support if tool.execution else None

    def support(self, tool: str) -> str | None:
        """What is known of a tool: "optional", "required", or anything else for no tasks."""
        declared = self._declared
        if declared is None or declared.requests is None or declared.requests.tools is None:
            return None
        return self._support.get(tool) if declared.requests.tools.call is not None else None

    @property
    def _declared(self) -> types.ServerTasksCapability | None:
        return self._peer.session.negotiated.capabilities.tasks

    async def look(self, task_id: str) -> TaskState:
        """`tasks/get`."""
        return state_of(await self._peer.request("tasks/get", task_params(task_id), types.GetTaskResult))

    async def fetch(self, task_id: str) -> JSONObject:
        """`tasks/result`, which blocks until the task has ended."""
        return await self._peer.request("tasks/result", task_params(task_id), dict[str, Any])

    async def cancel(self, task_id: str) -> TaskState | None:
        """`tasks/cancel`; the server has stopped the task when it answers."""
        if not self._cancels:
            raise UnsupportedFeature("the server does not offer to cancel tasks")
        cancelled = await self._peer.request("tasks/cancel", task_params(task_id), types.CancelTaskResult)
        return state_of(cancelled)

    def cancel_soon(self, task_id: str) -> None:
        """The same as an errand, if the server offers it."""
        if self._cancels:
            super().cancel_soon(task_id)

    @property
    def _cancels(self) -> bool:
        return self._declared is not None and self._declared.cancel is not None

    async def attend(self, task: TrackedTask) -> None:
        """While input is required, hold `tasks/result` open: the server asks by requests beside it."""
        while True:
            if task.state is not None and task.state.status == "input_required":
                try:
                    result = await self.fetch(task.task_id)
                except TransportError:
                    pass  # the next look tells whether there is still something to be asked
                else:
                    status: types.TaskStatus = "failed" if result.get("isError") else "completed"
                    task.adopt(TaskState(status=status, result=result))
                    return
            await task.changed.wait()


class Creation:
    """Sends the request that asks for a task, see `Augmentation`.

    A task is cancelled by its own id, and never by its request's (2511/basic/utilities/cancellation). So the
    request goes on as an errand when its caller leaves: as soon as the id is known, the task is cancelled.

    Args:
        tasks: cancels it.
        peer: the connection.
        follow: makes the result of the task; None leaves the task to the caller.
    """

    def __init__(
        self,
        tasks: LegacyTasks,
        peer: Peer,
        follow: Callable[[types.Task], Awaitable[JSONObject]] | None = None,
    ) -> None:
        self._tasks = tasks
        self._peer = peer
        self._follow = follow
        self.task_id: str | None = None

    def abandon(self) -> None:
        """Nobody has learned of the task: cancel it, if there is one."""
        if self.task_id is not None:
            self._tasks.cancel_soon(self.task_id)

    async def send(self, exchange: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """Have the request sent, and wait for its answer."""
        made = _Made()
        self.task_id = None
        self._peer.supervisor.errands.start_soon(self._make, exchange, request, made)
        try:
            await made.done.wait()
        except trio.Cancelled:
            made.left = True
            made.scope.deadline = trio.current_time() + _LATE
            raise
        if made.error is not None:
            raise made.error
        assert made.response is not None
        return made.response

    async def _make(
        self, exchange: Callable[[Request], Awaitable[Response]], request: Request, made: _Made
    ) -> None:
        with made.scope:
            try:
                made.response = await exchange(request)
            except Exception as exc:
                made.error = exc
            finally:
                made.done.set()
        match made.response:
            case Response(result={"task": {"taskId": str(task_id)}}):
                self.task_id = task_id
        if made.left:
            self.abandon()

    async def resolve(self, result: JSONObject) -> JSONObject:
        """The result of the call as it is to be typed."""
        if self._follow is None or _kind(result) == "result":
            return result
        return await self._follow(typed(result, types.CreateTaskResult).task)


class _Made:
    """How far the making of a task is."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.scope = trio.CancelScope()
        self.left = False
        self.response: Response | None = None
        self.error: Exception | None = None
