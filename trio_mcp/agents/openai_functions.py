"""What both of OpenAI's APIs have in common: a function, and a call of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mcp_types as types

from .calls import ToolCall, attribute, make_call
from .names import declared
from .schemas import input_schema, transform, with_items
from .strict import strict_schema, without_nulls

__all__ = ["call_of", "function"]


def function(name: str, tool: types.Tool, strict: bool) -> dict[str, Any]:
    """The declaration of a tool under a name, in strict mode if that is wanted and possible."""
    # `strict` is always said: the Responses API takes what says nothing for strict.
    if strict and (parameters := strict_schema(tool.input_schema)) is not None:
        return {**declared(name, tool), "parameters": parameters, "strict": True}
    schema, left = input_schema(tool.input_schema)
    return {**declared(name, tool, left), "parameters": transform(schema, with_items), "strict": False}


def call_of(call_id: str | None, called: object, functions: Mapping[str, types.Tool]) -> ToolCall:
    """The call of a function, from what has its `name` and `arguments`.

    In strict mode all properties are required, and null leaves one out: such nulls are taken out again,
    unless the tool's own schema takes them.
    """
    name = attribute(called, "name") or ""
    call = make_call(call_id, name, attribute(called, "arguments"), functions)
    if call.problem is not None:
        return call
    return replace(call, arguments=without_nulls(call.arguments, functions[name].input_schema))
