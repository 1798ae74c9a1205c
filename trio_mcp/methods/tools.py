"""Tools: listed and called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types

from ..callbacks import ProgressCallback
from ..connection import Connection
from ..errors import InvalidArguments, InvalidOutput
from ..features.response_cache import CacheMode
from .base import Requester, at

__all__ = ["ToolMethods", "call_params", "checked"]


class ToolMethods(Requester):
    """The methods about tools (26/server/tools)."""

    async def list_tools(self, *, cache: CacheMode = "use") -> list[types.Tool]:
        """All tools, of all pages (26/server/tools).

        Raises:
            ProtocolError: the pages do not end, beside what `request` raises.
        """
        return await self._all_pages(self.list_tools_page, lambda page: page.tools, cache)

    async def list_tools_page(
        self, cursor: str | None = None, cache: CacheMode = "use"
    ) -> types.ListToolsResult:
        """One page of tools: the first, or the one at the `next_cursor` of the page before."""
        page = await self._cached("tools/list", at(cursor), types.ListToolsResult, cache)
        schemas = self._live().output_schemas
        if schemas is not None:
            schemas.learn(page.tools)
        self._live().tasks.learn(page.tools)
        return page

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> types.CallToolResult:
        """Call a tool (26/server/tools, "Calling Tools").

        A tool's own failure is a result with `is_error`, for the model to see. A call is not sent a second
        time once the server can have seen it. If the tool was listed by this connector and has an output
        schema, the structured content is validated against it.

        A server may carry it out as a task, if the tasks extension is offered to it; one of 2025-11-25 does,
        if it listed the tool so. Then this waits for the task, and cancelling the scope around it cancels the
        task at the server. `start_task` gives a handle instead.

        Args:
            name: the tool's name.
            arguments: a JSON object; None is an empty one.
            progress_callback: see `request`.
            meta: further `_meta` entries.

        Raises:
            InvalidArguments: the arguments are not JSON.
            InvalidOutput: the structured content does not fit the output schema.
            ConnectorError: see `request`.
        """
        params: Mapping[str, Any] = call_params(name, arguments)
        live = self._live()
        creation = live.tasks.required(name)
        if creation is not None:
            params = {**params, "task": {}}
        result = await live.request(
            "tools/call",
            params,
            types.CallToolResult,
            progress_callback=progress_callback,
            meta=meta,
            augmentation=creation,
        )
        return checked(live, name, result)


def checked(connection: Connection, name: str, result: types.CallToolResult) -> types.CallToolResult:
    """`result` of the tool `name`, if its structured content fits the output schema that was listed.

    Raises:
        InvalidOutput: it does not.
    """
    if connection.output_schemas is not None:
        try:
            connection.output_schemas.check(name, result)
        except InvalidOutput as exc:
            raise exc.locate(connection.identifier, f"tools/call {name!r}") from exc.__cause__
    return result


def call_params(name: str, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """The params of a tool call.

    Raises:
        InvalidArguments: the arguments are not a mapping.
    """
    if not isinstance(arguments, Mapping | None):
        raise InvalidArguments(f"arguments must be a mapping of names to values, not {arguments!r:.50}")
    return {"name": name, "arguments": dict(arguments or {})}
