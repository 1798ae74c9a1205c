"""`TaskHandle`: what the user holds of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, final

import mcp_types as types
import trio
from mcp_types import INVALID_PARAMS

from ...errors import ConnectorError, MCPError
from ...handling import typed
from ...protocol.wire import JSONObject
from .dialect import Dialect, Peer
from .outcome import outcome
from .tracked import TrackedTask

__all__ = ["TaskHandle", "TaskUpdate", "TaskUpdates"]

Check = Callable[[types.CallToolResult], types.CallToolResult]


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """A task at some moment; see the attributes of `TaskHandle`."""

    status: types.TaskStatus
    status_message: str | None
    progress: tuple[float, float | None, str | None] | None


@final
class TaskHandle:
    """A tool call that the server carries out as a task. Made by `start_task` and `task` only.

        handle = await c.start_task("train", {"epochs": 100})
        save(handle.task_id)
        result = await handle.result()

    The task is the server's: it outlives the request, the connection and the program, for as long as the
    server keeps it. The handle works while its connection is open. As a block it ends the task: what is left
    before the task has ended cancels it at the server.

        async with await c.start_task("train") as handle:
            ...
    """

    def __init__(
        self,
        peer: Peer,
        dialect: Dialect,
        task: TrackedTask | None,
        *,
        tool: str | None = None,
        check: Check | None = None,
        direct: types.CallToolResult | None = None,
    ) -> None:
        self._peer = peer
        self._dialect = dialect
        self._task = task
        self._tool = tool
        self._check = check
        self._direct = direct

    def __repr__(self) -> str:
        tool = "" if self._tool is None else f" {self._tool!r}"
        return f"<TaskHandle{tool} {self.status or 'not asked for yet'}>"

    # What is known

    @property
    def task_id(self) -> str | None:
        """What to give to `Connector.task` later; None if the server answered at once, without a task.

        Treat it as a secret: for some servers, who knows it may use the task.
        """
        return None if self._task is None else self._task.task_id

    @property
    def status(self) -> types.TaskStatus | None:
        """The last known status: "working", "input_required", "completed", "failed" or "cancelled".

        It is kept up to date while somebody waits for the result or for updates. None for a task that was
        attached to by its id, until the server has been asked.
        """
        if self._task is None:
            return "completed"
        return None if self._task.state is None else self._task.state.status

    @property
    def status_message(self) -> str | None:
        """The server's words on the status, if it has any."""
        return None if self._task is None or self._task.state is None else self._task.state.message

    @property
    def progress(self) -> tuple[float, float | None, str | None] | None:
        """The last `(progress, total, message)` that was reported (2025-11-25 only), if any was."""
        return None if self._task is None else self._task.progress

    @property
    def ended(self) -> bool:
        """Whether the task is known to have been completed, to have failed or to have been cancelled."""
        return self._task is None or self._task.ended

    # What can be done

    async def refresh(self) -> types.TaskStatus:
        """Ask the server for the status, at once.

        Raises:
            MCPError: -32602 if the server does not know the task, or no longer.
            ConnectorError: see `Connector.request`.
        """
        if self._task is not None and not self._task.ended:
            try:
                await self._task.refresh()
            except ConnectorError as exc:
                self._locate(exc)
                raise
        else:
            await trio.lowlevel.checkpoint()
        assert self.status is not None
        return self.status

    async def result(self, *, cancel_on_exit: bool = True) -> types.CallToolResult:
        """Wait for the end of the task, and give its result; any number of times, and from any tasks.

        The server is asked in the interval that it wishes for, between 0.1 s and 10 minutes, and is given
        about a minute to come back if it cannot be reached. What it wants to know meanwhile is answered by
        the callbacks, as in any call.

        A tool's own failure is a result with `is_error`.

        Args:
            cancel_on_exit: cancelling the scope around this cancels the task at the server, unless another
                task of this program waits for the same result. False leaves the task alone: to wait for a
                while, or to let it survive the program.

        Raises:
            MCPError: the call ended with this error; or -32602, if the server does not know the task.
            TaskCancelled: the task was cancelled.
            InputRefused: the server needs an answer that a callback refused. The task goes on waiting for it.
            ConnectorError: see `Connector.call_tool`.
        """
        if self._task is None:
            await trio.lowlevel.checkpoint()
            assert self._direct is not None
            return self._direct
        task = self._task
        task.waiters += 1
        try:
            result = typed(await self._outcome(task), types.CallToolResult)
            return result if self._check is None else self._check(result)
        except trio.Cancelled:
            if cancel_on_exit and task.waiters == 1 and not task.ended:
                self._dialect.cancel_soon(task.task_id)
            raise
        except ConnectorError as exc:
            self._locate(exc)
            raise
        finally:
            task.waiters -= 1

    async def _outcome(self, task: TrackedTask) -> JSONObject:
        if task.state is not None and task.state.result is not None:
            await trio.lowlevel.checkpoint()
            return task.state.result
        with self._peer.session.call():
            return await outcome(self._dialect, task)

    async def cancel(self) -> None:
        """Ask the server to cancel the task. If that has ended, nothing happens.

        A server of 2025-11-25 has done it when this returns. For one with the extension it is a wish:
        `result` then raises `TaskCancelled`, or gives what the task brought in spite of it.

        Raises:
            MCPError: -32602 if the server does not know the task.
            UnsupportedFeature: the server, of 2025-11-25, does not offer it.
        """
        task = self._task
        if task is None or task.ended:
            await trio.lowlevel.checkpoint()
            return
        refusal: MCPError | None = None
        try:
            state = await self._dialect.cancel(task.task_id)
        except MCPError as exc:
            if exc.code != INVALID_PARAMS:
                raise
            refusal = exc
        except ConnectorError as exc:
            self._locate(exc)
            raise
        if refusal is not None:
            await task.refresh()  # has it ended by itself?
            if not task.ended:
                raise refusal
        elif state is not None:
            task.adopt(state)
        else:
            task.hint()

    def updates(self) -> TaskUpdates:
        """What becomes of the task, as an async iterator: what is known now, then each change, to the end.

            async for update in handle.updates():
                print(update.status, update.progress)

        It has no buffer: a slow reader gets the latest. It answers no questions of the server: `result` does.
        """
        return TaskUpdates(self)

    async def _next(self, last: TaskUpdate | None) -> TaskUpdate | None:
        """The update after `last`; None if there is none any more."""
        task = self._task
        if last is not None and self.ended and last.status == self.status:
            await trio.lowlevel.checkpoint()
            return None
        if task is not None and (task.state is None or self._update() == last):
            try:
                with self._peer.session.call():
                    await task.until(lambda: task.state is not None and self._update() != last)
            except ConnectorError as exc:
                self._locate(exc)
                raise
        else:
            await trio.lowlevel.checkpoint()
        return self._update()

    def _update(self) -> TaskUpdate:
        assert self.status is not None
        return TaskUpdate(self.status, self.status_message, self.progress)

    def _locate(self, error: ConnectorError) -> None:
        error.locate(self._peer.identifier, "task" if self._tool is None else f"task {self._tool!r}")

    # The block

    async def __aenter__(self) -> Self:
        return self  # no checkpoint: one that is cancelled here would leave the task behind

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None and not self._task.ended:
            self._dialect.cancel_soon(self._task.task_id)
        await trio.lowlevel.cancel_shielded_checkpoint()


@final
class TaskUpdates:
    """An async iterator; see `TaskHandle.updates`."""

    def __init__(self, handle: TaskHandle) -> None:
        self._handle = handle
        self._last: TaskUpdate | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskUpdate:
        update = await self._handle._next(self._last)
        if update is None:
            raise StopAsyncIteration
        self._last = update
        return update
