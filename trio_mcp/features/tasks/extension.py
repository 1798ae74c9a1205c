"""Tasks of the modern era: the extension `io.modelcontextprotocol/tasks` (SEP-2663, draft/tasks)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import mcp_types as types
import trio

from ...callbacks import Caller, in_callback
from ...errors import ProtocolError
from ...handling import Handling
from ...protocol.wire import JSONObject
from ...server_requests import ServerRequests
from ...supervision import open_flat_nursery
from ..input_rounds import answer_question, questions_of
from .dialect import Dialect, Peer, task_params
from .patience import persevere
from .state import TaskState, interval
from .tracked import TrackedTask

__all__ = ["ExtensionTask", "ExtensionTasks"]

_MAX_QUESTIONS: Final = 1000


class ExtensionTask(types.Result):
    """A task in the extension's flat form, with what its status brings along."""

    task_id: str
    status: types.TaskStatus
    status_message: str | None = None
    created_at: str | None = None
    last_updated_at: str | None = None
    ttl_ms: float | None = None
    poll_interval_ms: float | None = None
    result: dict[str, Any] | None = None
    error: Any = None
    input_requests: Any = None
    result_type: str = "complete"

    def state(self) -> TaskState:
        """What this says of the task.

        Raises:
            ProtocolError: what belongs to the status is missing.
        """
        error: tuple[int, str, object] | None = None
        questions: Mapping[str, Any] = {}
        match self.status:
            case "completed" if self.result is None:
                raise ProtocolError("the server's task is completed, but has no result")
            case "completed":
                kind = (self.result or {}).get("resultType", "complete")
                if kind != "complete":
                    raise ProtocolError(f"the server's task has a result of type {kind!r}")
            case "failed":
                error = _error(self.error, self.status_message)
            case "input_required":
                questions = questions_of({"inputRequests": self.input_requests})
        return TaskState(
            status=self.status,
            message=self.status_message,
            interval=interval(self.poll_interval_ms),
            result=self.result if self.status == "completed" else None,
            error=error,
            questions=questions,
        )


def _error(error: Any, message: str | None) -> tuple[int, str, object]:
    match error:
        case {"code": int(code), "message": str(text)}:
            return code, text, error.get("data")
    raise ProtocolError(f"the server's task failed, with no proper error: {message or 'no reason given'}")


"""What a tool call brings: its result, or a task."""


class ExtensionTasks(Dialect):
    """The extension's way.

    Args:
        peer: the connection.
        requests: answers the server's questions.
        caller: what a callback may call back into.
    """

    def __init__(self, peer: Peer, requests: ServerRequests, caller: Caller) -> None:
        super().__init__(peer)
        self._requests = requests
        self._caller = caller

    async def look(self, task_id: str) -> TaskState:
        """`tasks/get`, whose result brings whatever there is."""
        # Its type must be "complete"; the extension's own examples have "task".
        found = await self._peer.request(
            "tasks/get", task_params(task_id), ExtensionTask, how=Handling(unresolved={"task": ExtensionTask})
        )
        return found.state()

    async def fetch(self, task_id: str) -> JSONObject:
        """Not needed: `look` has brought it."""
        raise AssertionError  # pragma: no cover

    async def cancel(self, task_id: str) -> TaskState | None:
        """`tasks/cancel`: an intent, which the server acknowledges and may or may not follow."""
        await self._peer.request("tasks/cancel", task_params(task_id), types.EmptyResult)
        return None

    async def attend(self, task: TrackedTask) -> None:
        """Answer each question once, when it is first seen; one that is no longer asked is withdrawn.

        Raises:
            InputRefused: a question was refused, or the client never offered to answer it.
            Exception: what a callback raised.
        """
        asking: dict[str, trio.CancelScope] = {}
        async with open_flat_nursery() as nursery:
            while True:
                questions = {} if task.state is None else task.state.questions
                for key in asking.keys() - questions.keys():
                    asking[key].cancel(reason="the server no longer asks")
                for key in questions.keys() - asking.keys() - task.answered:
                    if len(task.answered) + len(asking) >= _MAX_QUESTIONS:
                        raise ProtocolError(f"the server's task asks more than {_MAX_QUESTIONS} questions")
                    asking[key] = trio.CancelScope()
                    nursery.start_soon(self._ask, task, key, questions[key], asking)
                await task.changed.wait()

    async def _ask(
        self, task: TrackedTask, key: str, question: Any, asking: dict[str, trio.CancelScope]
    ) -> None:
        in_callback.set(True)
        with asking[key] as scope:
            answer = await answer_question(self._requests, self._caller, key, question, task.task_id)
        del asking[key]
        if scope.cancelled_caught:
            return
        task.answered.add(key)
        params = task_params(task.task_id, inputResponses={key: answer})
        # A server ignores what it has been told already, so this may be said twice.
        try:
            await persevere(partial(self._peer.request, "tasks/update", params, types.EmptyResult))
        except BaseException:
            task.answered.discard(key)
            raise
        task.hint()
