"""Every method of the protocol as a typed coroutine, over `request` and `notify`.

What a server answers with an error raises `MCPError`; what else can go wrong stands in `errors.py`. A call's
deadline is the caller's: `with trio.fail_after(10): ...`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import mcp_types as types
import trio
from mcp_types import PaginatedResult
from pydantic import ValidationError

from .callbacks import ProgressCallback
from .errors import InvalidArguments, InvalidOutput, ProtocolError
from .features.output_schemas import OutputSchemas
from .protocol.envelope import dump
from .protocol.validation import first_error
from .protocol.versions import is_modern

__all__ = ["MAX_PAGES", "Methods"]

T = TypeVar("T")
Page = TypeVar("Page", bound=PaginatedResult)

MAX_PAGES: Final = 1000
"""Pages that listing everything takes at most."""


class Methods(ABC):
    """The client's methods of MCP."""

    _output_schemas: OutputSchemas | None

    @property
    @abstractmethod
    def protocol_version(self) -> str:
        """The negotiated protocol version, such as "2026-07-28"."""

    @abstractmethod
    def _set_log_level(self, level: types.LoggingLevel) -> None: ...

    @abstractmethod
    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        result_type: type[T],
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> T:
        """Send any request: the way to what has no method of its own here.

        Args:
            method: such as "tools/list".
            params: a JSON object, or None. The protocol's own `_meta` entries are added.
            result_type: what to validate the result as: a pydantic model, or any type that pydantic knows.
            progress_callback: awaited with `(progress, total, message)`, in order, and all of it before this
                returns. An exception that it raises comes out of this call.
            meta: further `_meta` entries.

        Raises:
            MCPError: the server answered with an error.
            TransportError: the exchange failed; see `errors.py` for its kinds.
            ProtocolError: the answer breaks the protocol, or is not a `result_type`.
            UsageError: what was asked cannot be sent.
        """

    @abstractmethod
    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send any notification.

        Raises:
            TransportError: it could not be delivered.
            UsageError: it cannot be sent.
        """

    # Tools

    async def list_tools(self) -> list[types.Tool]:
        """All tools, of all pages (26/server/tools).

        Raises:
            ProtocolError: the pages do not end, beside what `request` raises.
        """
        return await self._all_pages(self.list_tools_page, lambda page: page.tools)

    async def list_tools_page(self, cursor: str | None = None) -> types.ListToolsResult:
        """One page of tools: the first, or the one at the `next_cursor` of the page before."""
        page = await self.request("tools/list", _at(cursor), types.ListToolsResult)
        if self._output_schemas is not None:
            self._output_schemas.learn(page.tools)
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
        if not isinstance(arguments, Mapping | None):
            raise InvalidArguments(f"arguments must be a mapping of names to values, not {arguments!r:.50}")
        params = {"name": name, "arguments": dict(arguments or {})}
        result = await self.request(
            "tools/call", params, types.CallToolResult, progress_callback=progress_callback, meta=meta
        )
        if self._output_schemas is not None:
            try:
                self._output_schemas.check(name, result)
            except InvalidOutput as exc:
                raise self._located(exc, f"tools/call {name!r}") from exc.__cause__
        return result

    # Resources

    async def list_resources(self) -> list[types.Resource]:
        """All resources, of all pages (26/server/resources)."""
        return await self._all_pages(self.list_resources_page, lambda page: page.resources)

    async def list_resources_page(self, cursor: str | None = None) -> types.ListResourcesResult:
        """One page of resources; see `list_tools_page`."""
        return await self.request("resources/list", _at(cursor), types.ListResourcesResult)

    async def list_resource_templates(self) -> list[types.ResourceTemplate]:
        """All resource templates, of all pages (26/server/resources, "Resource Templates")."""
        return await self._all_pages(self.list_resource_templates_page, lambda page: page.resource_templates)

    async def list_resource_templates_page(
        self, cursor: str | None = None
    ) -> types.ListResourceTemplatesResult:
        """One page of resource templates; see `list_tools_page`."""
        return await self.request("resources/templates/list", _at(cursor), types.ListResourceTemplatesResult)

    async def read_resource(self, uri: str) -> types.ReadResourceResult:
        """The contents of a resource (26/server/resources, "Reading Resources")."""
        return await self.request("resources/read", {"uri": str(uri)}, types.ReadResourceResult)

    async def subscribe_resource(self, uri: str) -> None:
        """Ask for `notifications/resources/updated` when a resource changes; `message_handler` gets them.

        Legacy versions only (2511/server/resources, "Subscriptions").

        Raises:
            UnsupportedFeature: the negotiated version has no such method.
        """
        await self.request("resources/subscribe", {"uri": str(uri)}, types.EmptyResult)

    async def unsubscribe_resource(self, uri: str) -> None:
        """End a subscription; see `subscribe_resource`."""
        await self.request("resources/unsubscribe", {"uri": str(uri)}, types.EmptyResult)

    # Prompts and completion

    async def list_prompts(self) -> list[types.Prompt]:
        """All prompts, of all pages (26/server/prompts)."""
        return await self._all_pages(self.list_prompts_page, lambda page: page.prompts)

    async def list_prompts_page(self, cursor: str | None = None) -> types.ListPromptsResult:
        """One page of prompts; see `list_tools_page`."""
        return await self.request("prompts/list", _at(cursor), types.ListPromptsResult)

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None
    ) -> types.GetPromptResult:
        """A prompt, filled with its arguments (26/server/prompts, "Getting a Prompt")."""
        params: dict[str, Any] = {"name": name}
        if arguments is not None:
            params["arguments"] = dict(arguments)
        return await self.request("prompts/get", params, types.GetPromptResult)

    async def complete(
        self,
        ref: types.PromptReference | types.ResourceTemplateReference,
        argument: types.CompletionArgument | Mapping[str, str],
        context: types.CompletionContext | Mapping[str, str] | None = None,
    ) -> types.CompleteResult:
        """Suggestions for an argument of a prompt or a template (26/server/utilities/completion).

        Args:
            ref: which prompt or template.
            argument: the argument's name and what there is of its value: `{"name": …, "value": …}`.
            context: the arguments that are settled already, by name.
        """
        if isinstance(argument, Mapping):
            try:
                argument = types.CompletionArgument.model_validate(argument)
            except ValidationError as exc:
                raise InvalidArguments(f"argument: {first_error(exc)}") from exc
        params: dict[str, Any] = {"ref": dump(ref), "argument": dump(argument)}
        if isinstance(context, Mapping):
            context = types.CompletionContext(arguments=dict(context))
        if context is not None:
            params["context"] = dump(context)
        return await self.request("completion/complete", params, types.CompleteResult)

    # Utilities

    async def ping(self) -> None:
        """Ask the server for a sign of life. Legacy versions only (2511/basic/utilities/ping).

        Raises:
            UnsupportedFeature: the negotiated version has no such method.
        """
        await self.request("ping", None, types.EmptyResult)

    async def set_logging_level(self, level: types.LoggingLevel) -> None:
        """Have the server send log messages of `level` and above to `logging_callback`.

        A legacy server is told at once (2511/server/utilities/logging). A modern one is told by each request
        from now on, and sends what belongs to that request (26/server/utilities/logging).
        """
        if is_modern(self.protocol_version):
            self._set_log_level(level)
            await trio.lowlevel.checkpoint()
        else:
            await self.request("logging/setLevel", {"level": level}, types.EmptyResult)

    async def _all_pages(
        self, page_at: Callable[[str | None], Awaitable[Page]], items: Callable[[Page], list[T]]
    ) -> list[T]:
        # Only an absent cursor ends the list, and "" does not (26/server/utilities/pagination).
        found: list[T] = []
        seen: set[str] = set()
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await page_at(cursor)
            found += items(page)
            cursor = page.next_cursor
            if cursor is None:
                return found
            if cursor in seen:
                raise self._located(
                    ProtocolError(f"the server's pages repeat: it gave the cursor {cursor!r} twice")
                )
            seen.add(cursor)
        raise self._located(ProtocolError(f"the server's list has more than {MAX_PAGES} pages"))

    @abstractmethod
    def _located(self, error: ProtocolError, request: str | None = None) -> ProtocolError: ...


def _at(cursor: str | None) -> dict[str, Any] | None:
    return None if cursor is None else {"cursor": cursor}
