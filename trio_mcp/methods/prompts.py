"""Prompts, and the completion of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from pydantic import ValidationError

from ..errors import InvalidArguments
from ..features.response_cache import CacheMode
from ..protocol.envelope import dump
from ..protocol.validation import first_error
from .base import Requester, at

__all__ = ["PromptMethods"]


class PromptMethods(Requester):
    """The methods about prompts (26/server/prompts) and completion (26/server/utilities/completion)."""

    async def list_prompts(self, *, cache: CacheMode = "use") -> list[types.Prompt]:
        """All prompts, of all pages (26/server/prompts)."""
        return await self._all_pages(self.list_prompts_page, lambda page: page.prompts, cache)

    async def list_prompts_page(
        self, cursor: str | None = None, cache: CacheMode = "use"
    ) -> types.ListPromptsResult:
        """One page of prompts; see `list_tools_page`."""
        return await self._cached("prompts/list", at(cursor), types.ListPromptsResult, cache)

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
