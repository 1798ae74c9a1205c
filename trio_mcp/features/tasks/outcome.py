"""Waiting for the end of a task, and what comes of it."""

from __future__ import annotations

from ...errors import MCPError, TaskCancelled
from ...protocol.wire import JSONObject
from ...supervision import open_flat_nursery
from .dialect import Dialect
from .patience import persevere
from .tracked import TrackedTask

__all__ = ["follow", "outcome"]


async def outcome(dialect: Dialect, task: TrackedTask) -> JSONObject:
    """Wait for the end of a task, give the server what it asks for meanwhile, and give the raw result.

    Raises:
        MCPError: the call ended with this error, or the server does not know the task.
        TaskCancelled: the task was cancelled.
        ConnectorError: see `persevere`.
    """
    if not task.ended:

        async def attend() -> None:
            async with task.attending:
                await dialect.attend(task)

        async with open_flat_nursery() as nursery:
            nursery.start_soon(attend)
            await task.until(lambda: task.ended)
            nursery.cancel_scope.cancel(reason="the task has ended")
    async with task.fetching:
        assert task.state is not None
        state = task.state
        if state.error is not None:
            code, message, data = state.error
            raise MCPError(code, message, data)
        if state.status == "cancelled":
            raise TaskCancelled(f"the task was cancelled: {state.message or 'the server does not say why'}")
        if state.result is not None:
            return state.result

        async def fetch() -> JSONObject:
            return await dialect.fetch(task.task_id)

        result = await persevere(fetch)
        task.keep(result)
        return result


async def follow(dialect: Dialect, task: TrackedTask) -> JSONObject:
    """The outcome of a task that nobody else knows of: left before its end, it is cancelled at the server."""
    try:
        return await outcome(dialect, task)
    except MCPError:
        raise
    except BaseException:
        if not task.ended:
            dialect.cancel_soon(task.task_id)
        raise
