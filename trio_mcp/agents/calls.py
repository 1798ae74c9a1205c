"""What a model asks for: the calls in its answer, as it should have meant them.

Models name tools that do not exist, and write arguments that are not JSON. Neither is a reason to end a run:
such a call comes with a `problem`, which is a result like a tool's, and tells the model what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import mcp_types as types
from pydantic_core import from_json

from ..nearest import nearest_names

__all__ = ["ModelAPI", "ToolCall", "attribute", "error_result", "has_attribute", "make_call"]

_MAX_QUOTED: Final = 200


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for.

    Attributes:
        id: what the provider calls this call by; None where it has no name for it (Gemini, at times).
        function: the function's name, as the model was told it.
        name: the tool's own name, to call it by; the function's, if there is no such tool.
        arguments: a JSON object; empty, if they could not be read.
        problem: why there is nothing to call, for the model to hear in place of a result; None if all is
            well.
    """

    id: str | None
    function: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    problem: types.CallToolResult | None = None


class ModelAPI(Protocol):
    """What the module of each provider's API has."""

    def declarations(self, tools: Iterable[types.Tool], /) -> list[dict[str, Any]]:
        """The tools, as a request declares them."""
        ...

    def tool_calls(self, answer: object, tools: Iterable[types.Tool], /) -> list[ToolCall]:
        """The calls that an answer asks for."""
        ...

    def result_messages(
        self, results: Iterable[tuple[ToolCall, types.CallToolResult]], /
    ) -> list[dict[str, Any]]:
        """The results of all calls of one answer, as messages that follow it in the next request."""
        ...


def error_result(text: str) -> types.CallToolResult:
    """A result that is an error, and says so in one text."""
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def make_call(
    call_id: str | None,
    function: str,
    arguments: Any,
    functions: Mapping[str, types.Tool],
    cut_off: str | None = None,
) -> ToolCall:
    """The call of `function`, if there is such a one and its arguments are an object.

    Args:
        call_id: the provider's name for the call.
        function: the name that the model used.
        arguments: an object or the JSON of one; None or an empty text is an empty object.
        functions: the tools, by the names that the model knows.
        cut_off: why the call may not be whole, if it may not.
    """
    tool = functions.get(function)
    if tool is None:
        return ToolCall(call_id, function, function, problem=_no_such_tool(function, functions))
    if cut_off is not None:
        return ToolCall(call_id, function, tool.name, problem=error_result(cut_off))
    if isinstance(arguments, str) and arguments.strip():
        try:
            arguments = from_json(arguments, allow_inf_nan=False)
        except ValueError as exc:
            text = f"Nothing was called: the arguments of {function} are not valid JSON: {exc}. They began: "
            problem = error_result(text + _quoted(arguments))
            return ToolCall(call_id, function, tool.name, problem=problem)
    elif arguments is None or isinstance(arguments, str):
        arguments = {}
    if not isinstance(arguments, Mapping):
        text = f"Nothing was called: the arguments of {function} must be a JSON object, and were "
        problem = error_result(text + _quoted(repr(arguments)))
        return ToolCall(call_id, function, tool.name, problem=problem)
    return ToolCall(call_id, function, tool.name, dict(arguments))


def _no_such_tool(function: str, functions: Mapping[str, types.Tool]) -> types.CallToolResult:
    near = nearest_names(function, functions)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(functions) or 'none'}"
    return error_result(f"Nothing was called: there is no tool {_quoted(function)}; {_quoted(hint, 2000)}")


def _quoted(text: str, most: int = _MAX_QUOTED) -> str:
    return text if len(text) <= most else text[:most] + "…"


# Answers are read by name alone, be they JSON from the wire or an SDK's objects of whatever version: that
# needs no SDK, and copies nothing.


def attribute(value: object, *names: str) -> Any:
    """The first of `names` that a mapping or an object has, and which is not None there; else None."""
    for name in names:
        found = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if found is not None:
            return found
    return None


def has_attribute(value: object, *names: str) -> bool:
    """Whether a mapping or an object has one of `names`, whatever is there."""
    if isinstance(value, Mapping):
        return any(name in value for name in names)
    return any(hasattr(value, name) for name in names)
