"""The tasks of one connection: how they begin, and what is heard of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias, cast
from weakref import WeakValueDictionary

import mcp_types as types

from ...callbacks import Caller
from ...dispatcher import Dispatcher
from ...errors import UnsupportedFeature
from ...handling import Handling, typed
from ...protocol.versions import is_modern
from ...protocol.wire import JSONObject
from ...server_requests import ServerRequests
from .dialect import Dialect, Peer
from .extension import ExtensionTask, ExtensionTasks
from .handle import Check, TaskHandle
from .legacy import AugmentedCall, Creation, LegacyTasks, state_of
from .outcome import follow
from .state import TaskState
from .tracked import TrackedTask

__all__ = ["TASK_NOTIFICATIONS", "TaskResults", "Tasks"]

TASK_NOTIFICATIONS: Final = ("notifications/tasks", "notifications/tasks/status")
_UNRESOLVED: Final = {"task": ExtensionTask}
_Started: TypeAlias = "tuple[TrackedTask | None, types.CallToolResult | None]"


class Tasks:
    """Begins tasks and finds them again, in the way of the negotiated version.

    Args:
        peer: the connection.
        dispatcher: tells of progress.
        requests: answers the server's questions.
        caller: what a callback may call back into.
        offered: whether the tasks extension was offered to the server, to be handled here.
    """

    def __init__(
        self, peer: Peer, dispatcher: Dispatcher, requests: ServerRequests, caller: Caller, offered: bool
    ) -> None:
        self._peer = peer
        self._dispatcher = dispatcher
        self._offered = offered
        self._extension = ExtensionTasks(peer, requests, caller)
        self._legacy = LegacyTasks(peer)
        # Those that somebody holds: two handles of one task share what is known, and what was answered.
        self._tracked: WeakValueDictionary[str, TrackedTask] = WeakValueDictionary()

    def heed(self, notification: str, params: JSONObject) -> None:
        """Take a notification about a task as a hint."""
        task = self._tracked.get(params["taskId"])
        if task is not None:
            task.hint()

    def learn(self, tools: Iterable[types.Tool]) -> None:
        """Remember how listed tools may be called."""
        self._legacy.learn(tools)

    @property
    def _modern(self) -> bool:
        return is_modern(self._peer.session.negotiated.version)

    @property
    def _dialect(self) -> Dialect:
        if not self._modern:
            return self._legacy
        if not self._offered:
            raise UnsupportedFeature(
                "tasks were not offered to the server: open the connector with "
                "extensions={trio_mcp.TASKS_EXTENSION: {}}"
            ).locate(self._peer.identifier)
        return self._extension

    def track(self, dialect: Dialect, task_id: str, state: TaskState | None = None) -> TrackedTask:
        """What is known of a task, together with what the server says of it."""
        task = self._tracked.get(task_id)
        if task is None:
            task = self._tracked[task_id] = TrackedTask(task_id, dialect.look, state)
        elif state is not None:
            task.adopt(state)
        return task

    def attach(self, task_id: str) -> TaskHandle:
        """A handle for the task of that id."""
        dialect = self._dialect
        return TaskHandle(self._peer, dialect, self.track(dialect, task_id))

    def required(self, tool: str) -> Creation | None:
        """How to call a tool that can only be called as a task; None for another one."""
        if self._modern or self._legacy.support(tool) != "required":
            return None
        return Creation(self._legacy, self._peer, self._follow_legacy)

    async def _follow_legacy(self, task: types.Task) -> JSONObject:
        return await follow(self._legacy, self.track(self._legacy, task.task_id, state_of(task)))

    async def follow_extension(self, task: ExtensionTask) -> JSONObject:
        """The result of a call that the server made a task of."""
        return await follow(self._extension, self.track(self._extension, task.task_id, task.state()))

    async def start(
        self, params: JSONObject, meta: JSONObject | None, ttl: float | None, check: Check
    ) -> TaskHandle:
        """Call a tool as a task, where that can be had."""
        dialect = self._dialect
        tool = str(params["name"])
        if self._modern:
            task, answer = await self._start_extension(params, meta)
        elif self._legacy.support(tool) in ("optional", "required"):
            task, answer = await self._start_legacy(params, meta, ttl)
        else:
            task, answer = (
                None,
                await self._peer.request("tools/call", params, types.CallToolResult, meta=meta),
            )
        direct = None if answer is None else check(answer)
        return TaskHandle(self._peer, dialect, task, tool=tool, check=check, direct=direct)

    async def _start_extension(self, params: JSONObject, meta: JSONObject | None) -> _Started:
        kind = cast("type[types.CallToolResult | ExtensionTask]", types.CallToolResult)
        answer = await self._peer.request(
            "tools/call", params, kind, meta=meta, how=Handling(unresolved=_UNRESOLVED)
        )
        if isinstance(answer, ExtensionTask):
            return self.track(self._extension, answer.task_id, answer.state()), None
        return None, answer

    async def _start_legacy(self, params: JSONObject, meta: JSONObject | None, ttl: float | None) -> _Started:
        wanted = {} if ttl is None else {"ttl": round(1000 * ttl)}
        token = self._peer.session.next_id()
        kind = cast("type[types.CallToolResult | types.CreateTaskResult]", AugmentedCall)
        creation = Creation(self._legacy, self._peer)
        try:
            answer = await self._peer.request(
                "tools/call",
                {**params, "task": wanted},
                kind,
                meta={**(meta or {}), "progressToken": token},
                how=Handling(augmentation=creation),
            )
        except BaseException:
            creation.abandon()
            raise
        if isinstance(answer, types.CreateTaskResult):
            task = self.track(self._legacy, answer.task.task_id, state_of(answer.task))
            # It goes on to be reported under the token of the call.
            self._dispatcher.follow_progress(token, task)
            return task, None
        return None, answer


class TaskResults:
    """Makes of a task the result of the call that the server made it of; see `Resolver`."""

    methods: frozenset[str] = frozenset({"tools/call"})

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def resolve(
        self,
        result: JSONObject,
        again: Callable[[JSONObject], Awaitable[JSONObject]],
        method: str,
        params: JSONObject,
    ) -> JSONObject:
        """Wait for the task to end."""
        return await self._tasks.follow_extension(typed(result, ExtensionTask, _UNRESOLVED))
