"""What a middleware is: hooks around everything that passes through a connector.

    class Timing(Middleware):
        async def on_call_tool(self, context, call_next):
            began = trio.current_time()
            try:
                return await call_next(context)
            finally:
                print(context.params.name, trio.current_time() - began)

A hook calls `call_next` to go on, with what it was given or with a copy that differs; more than once to try
again; not at all to answer by itself. What it returns is what the caller gets, and what it raises is raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import mcp_types as types

from ..callbacks import Caller
from ..negotiation import Negotiated

__all__ = ["CallNext", "Middleware", "MiddlewareContext"]

P = TypeVar("P")
R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class MiddlewareContext(Generic[P]):
    """What is on its way.

    Attributes:
        id: unique within the connector. It is not the JSON-RPC id, for what a caller asks once may be sent
            more than once.
        method: such as "tools/call".
        params: typed by the method: a pydantic model of `mcp_types` where there is a hook for the method,
            else a mapping or None. A change is sent.
        connector: the connection; a hook may call back into it.
        timestamp: when it began, in seconds of `trio.current_time()`.
        metadata: for what one hook wants to tell another.
        meta: the caller's further `_meta` entries, sent with the request, as is a change; of what the server
            has sent, its `_meta`.
        headers: sent with each HTTP request that comes of it, beside the connector's own. The protocol's
            headers cannot be set. What belongs to the connection as a whole (the GET stream of a legacy
            session, its end, answers to the server) has the connector's own alone.
    """

    id: str
    method: str
    params: P
    connector: Caller
    timestamp: float
    metadata: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


CallNext: TypeAlias = Callable[[MiddlewareContext[P]], Awaitable[R]]
"""Goes on with the context: to the next hook, and after the last one to the server."""


class Middleware:
    """The hooks, all of which do nothing here: override those that you need.

    `on_request` is around every request that the connector sends, the handshake included; within it, the hook
    of the request's own method. The first middleware of a connector is the outermost. An instance may serve
    several connectors. What is changed in a context stays changed if `call_next` is called again; `replace`
    of `dataclasses` makes a copy.

    Hooks run in their caller's task, and end with it: a caller that is cancelled cancels them, and closing
    the connection ends them, their caller getting `NotConnected`.
    """

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Any request. The result's type is that of the method."""
        return await call_next(context)

    async def on_initialize(
        self,
        context: MiddlewareContext[types.InitializeRequestParams],
        call_next: CallNext[types.InitializeRequestParams, Negotiated],
    ) -> Negotiated:
        """The handshake as a whole, by whichever of the two ways; again where a session is opened anew.

        Of a change in `context`, only that of `headers` and `meta` is heeded. The connector cannot be used
        before this is done. What a hook raises where a session is opened anew is the cause of a `UsageError`
        of each call that needed it.
        """
        return await call_next(context)

    async def on_call_tool(
        self,
        context: MiddlewareContext[types.CallToolRequestParams],
        call_next: CallNext[types.CallToolRequestParams, types.CallToolResult],
    ) -> types.CallToolResult:
        """`tools/call`, with all its input rounds, and with its task if the server makes one.

        Of `start_task` the result is what the server answers: a `CallToolResult`, or the task that it made.
        """
        return await call_next(context)

    async def on_list_tools(
        self,
        context: MiddlewareContext[types.PaginatedRequestParams],
        call_next: CallNext[types.PaginatedRequestParams, types.ListToolsResult],
    ) -> types.ListToolsResult:
        """One page of `tools/list`; what the cache answers does not come here."""
        return await call_next(context)

    async def on_list_resources(
        self,
        context: MiddlewareContext[types.PaginatedRequestParams],
        call_next: CallNext[types.PaginatedRequestParams, types.ListResourcesResult],
    ) -> types.ListResourcesResult:
        """One page of `resources/list`."""
        return await call_next(context)

    async def on_list_resource_templates(
        self,
        context: MiddlewareContext[types.PaginatedRequestParams],
        call_next: CallNext[types.PaginatedRequestParams, types.ListResourceTemplatesResult],
    ) -> types.ListResourceTemplatesResult:
        """One page of `resources/templates/list`."""
        return await call_next(context)

    async def on_read_resource(
        self,
        context: MiddlewareContext[types.ReadResourceRequestParams],
        call_next: CallNext[types.ReadResourceRequestParams, types.ReadResourceResult],
    ) -> types.ReadResourceResult:
        """`resources/read`."""
        return await call_next(context)

    async def on_list_prompts(
        self,
        context: MiddlewareContext[types.PaginatedRequestParams],
        call_next: CallNext[types.PaginatedRequestParams, types.ListPromptsResult],
    ) -> types.ListPromptsResult:
        """One page of `prompts/list`."""
        return await call_next(context)

    async def on_get_prompt(
        self,
        context: MiddlewareContext[types.GetPromptRequestParams],
        call_next: CallNext[types.GetPromptRequestParams, types.GetPromptResult],
    ) -> types.GetPromptResult:
        """`prompts/get`."""
        return await call_next(context)

    async def on_complete(
        self,
        context: MiddlewareContext[types.CompleteRequestParams],
        call_next: CallNext[types.CompleteRequestParams, types.CompleteResult],
    ) -> types.CompleteResult:
        """`completion/complete`."""
        return await call_next(context)

    async def on_notification(self, context: MiddlewareContext[Any], call_next: CallNext[Any, None]) -> None:
        """A notification of the server, on its way to `logging_callback` and `message_handler`.

        One after the other, in a task of the connection's: what this raises ends the block. What is not
        passed on is seen by no callback. The progress of a call, and what the connector itself does with a
        notification, do not wait for this. The params are a model, None, or an extension's mapping.
        """
        await call_next(context)

    async def on_server_request(
        self,
        context: MiddlewareContext[Any],
        call_next: CallNext[Any, types.Result | types.ErrorData],
    ) -> types.Result | types.ErrorData:
        """What the server asks, by a request or in an input round, on its way to the callback for it.

        The params are those of the method: `CreateMessageRequestParams`, `ElicitRequestFormParams` or
        `ElicitRequestURLParams`; None for "roots/list"; an extension's mapping. To raise `MCPError` is to
        answer with that error.
        """
        return await call_next(context)
