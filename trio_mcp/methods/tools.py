"""Tools: listed and called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, overload

import mcp_types as types

from ..callbacks import ProgressCallback
from ..connection import Connection
from ..errors import ConnectorError, InvalidArguments, InvalidOutput, MCPError, ToolFailed
from ..features.response_cache import CacheMode
from ..features.typed_results import result_adapter, typed_result
from .base import Requester, at, handling

__all__ = ["ToolMethods", "call_params", "checked"]

T = TypeVar("T")


class ToolMethods(Requester):
    """The methods about tools (26/server/tools)."""

    async def list_tools(self, *, cache: CacheMode = "use") -> list[types.Tool]:
        """All tools, of all pages (26/server/tools), but those whose `x-mcp-header` is not lawful.

        Over modern Streamable HTTP, such a tool must not be used (26/basic/transports/streamable-http); why
        it is left out is logged, and `statistics().tools_dropped` counts it.

        Raises:
            ProtocolError: the pages do not end, beside what `request` raises.
        """
        return await self._all_pages(self.list_tools_page, lambda page: page.tools, cache)

    async def list_tools_page(
        self, cursor: str | None = None, cache: CacheMode = "use"
    ) -> types.ListToolsResult:
        """One page of tools: the first, or the one at the `next_cursor` of the page before."""
        live = await self._reached()
        page = await self._cached("tools/list", at(cursor), types.ListToolsResult, cache)
        return live.learn(page)

    @overload
    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        result_type: None = None,
    ) -> types.CallToolResult: ...

    @overload
    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        result_type: type[T],
    ) -> T: ...

    @overload
    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        result_type: object,
    ) -> Any: ...

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        result_type: Any = None,
    ) -> Any:
        """Call a tool (26/server/tools, "Calling Tools").

        A tool's own failure is a result with `is_error`, for the model to see. A call is not sent a second
        time once the server can have seen it, but where the server says that it has refused it: because its
        headers do not match (26/basic/transports/streamable-http), when the tools are listed anew first; or
        because the user must go to a URL first (2511/client/elicitation), when the elicitation callback has
        accepted that. If the tool was listed by this connector and has an output schema, the structured
        content is validated against it.

        A server may carry it out as a task, if the tasks extension is offered to it; one of 2025-11-25 does,
        if it listed the tool so. Then this waits for the task, and cancelling the scope around it cancels the
        task at the server. `start_task` gives a handle instead.

        Args:
            name: the tool's name.
            arguments: a JSON object; None is an empty one.
            progress_callback: see `request`.
            meta: further `_meta` entries.
            result_type: what to make of the structured content, and to return: a pydantic model, a dataclass,
                a TypedDict, or any type that pydantic can validate, such as `int` or `list[Model]`. Text is
                never read as JSON. How `{"result": ...}` is dealt with, by which many servers send what is no
                object, stands in docs/tools.md. None gives the `CallToolResult`.

        Raises:
            InvalidArguments: the arguments are not JSON, or `result_type` is no type.
            InvalidOutput: the structured content does not fit the output schema or the `result_type`, or
                there is none to make that of.
            ToolFailed: the tool failed, and a `result_type` is wanted.
            ConnectorError: see `request`.
        """
        adapter = None if result_type is None else result_adapter(result_type)
        params: Mapping[str, Any] = call_params(name, arguments)
        live = await self._reached()
        creation = live.tasks.required(name)
        how = handling(progress_callback)
        if creation is not None:
            params = {**params, "task": {}}
            how = replace(how, augmentation=creation)
        call = partial(
            live.request,
            "tools/call",
            params,
            types.CallToolResult,
            meta=meta,
            how=how,
        )
        try:
            result = await call()
        except MCPError as exc:
            if exc.code != types.HEADER_MISMATCH or not live.mirrors_arguments:
                raise
            # The server refused it unread: what was known of the tool's headers is old.
            try:
                await self.list_tools(cache="refresh")
            except ConnectorError:
                raise exc  # noqa: B904 - the listing's error is its context
            result = await call()
        checked(live, name, result)
        if adapter is None:
            return result
        try:
            return typed_result(result, adapter)
        except (InvalidOutput, ToolFailed) as exc:
            raise self._located(exc, f"tools/call {name!r}") from exc.__cause__


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
