"""Tasks: tool calls that outlive their request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import mcp_types as types

from ..errors import InvalidArguments
from ..features.response_cache import CacheMode
from ..features.tasks import TaskHandle
from .base import at
from .tools import ToolMethods, call_params, checked

__all__ = ["TaskMethods"]


class TaskMethods(ToolMethods):
    """The methods about tasks: the extension of the modern era, and what 2025-11-25 had of them."""

    async def start_task(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
        ttl: float | None = None,
    ) -> TaskHandle:
        """Call a tool, and return as soon as the server has made a task of it.

        With the extension `io.modelcontextprotocol/tasks` (draft/tasks of ext-tasks), the server decides
        what becomes a task: `extensions={TASKS_EXTENSION: {}}` offers it. A server of 2025-11-25 makes a task
        if it declares tasks, and lists the tool as one that may be called so (2511/basic/utilities/tasks):
        call `list_tools` first. If there is no task, this returns when the tool has, with a handle that has
        ended.

        Cancelling the scope around this cancels the call, or the task if there is one already.

        Args:
            name: the tool's name.
            arguments: a JSON object; None is an empty one.
            meta: further `_meta` entries.
            ttl: seconds for which the server is asked to keep the task (2025-11-25 only).

        Raises:
            UnsupportedFeature: the version is a modern one, and the extension was not offered.
            ConnectorError: see `call_tool`.
        """
        if ttl is not None and (
            isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl < math.inf
        ):
            raise InvalidArguments(f"ttl must be a number of seconds above 0, not {ttl!r}")
        live = await self._reached()
        check = partial(checked, live, name)
        return await live.tasks.start(call_params(name, arguments), meta, ttl, check)

    def task(self, task_id: str) -> TaskHandle:
        """A handle for a task that was started earlier: on another connection, or by another program.

        The server is not asked before something is done with it; `MCPError` -32602 then tells that it does
        not know the task, or no longer. The result is not validated against the tool's output schema.

        Raises:
            UnsupportedFeature: the version is a modern one, and the extension was not offered.
        """
        if not isinstance(task_id, str) or not task_id:
            raise InvalidArguments(f"a task id is a str, not {type(task_id).__name__}")
        return self._live().tasks.attach(task_id)

    async def list_tasks(self) -> list[types.Task]:
        """All tasks that the server lets this client see, of all pages (2025-11-25 only).

        Raises:
            UnsupportedFeature: the negotiated version has no such method.
            MCPError: the server does not offer it.
        """
        return await self._all_pages(self._tasks_page, lambda page: page.tasks, "bypass")

    async def _tasks_page(self, cursor: str | None, cache: CacheMode) -> types.ListTasksResult:
        return await self.request("tasks/list", at(cursor), types.ListTasksResult)
