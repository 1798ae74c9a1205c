"""OpenAI's Responses API (https://developers.openai.com/api/docs/guides/function-calling).

response = await client.responses.create(
    model=…, input=items, tools=openai_responses.declarations(tools)
)
items += response.output
calls = openai_responses.tool_calls(response, tools)
… # results: pairs of a call and its result
items += openai_responses.result_messages(results)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import mcp_types as types

from .calls import ToolCall, attribute, error_result, has_attribute
from .contents import Media, contents, take
from .names import function_names
from .openai_functions import call_of, function

__all__ = ["declarations", "result_messages", "tool_calls"]

_IMAGES: Final = frozenset(("image/png", "image/jpeg", "image/webp", "image/gif"))
_FILES: Final = frozenset(("application/pdf",))
_CUT_OFF: Final = (
    "Nothing was called: the call was cut off before it was whole. Ask again, for less at a time."
)


def declarations(tools: Iterable[types.Tool], *, strict: bool = False) -> list[dict[str, Any]]:
    """The tools for the parameter `tools` of a request.

    Args:
        tools: of a connector or a group.
        strict: whether to declare those tools as strict whose schemas can be said so.

    Raises:
        ConfigurationError: two different tools have the same name.
    """
    named = function_names(tools).items()
    return [{"type": "function", **function(name, tool, strict)} for name, tool in named]


def tool_calls(answer: object, tools: Iterable[types.Tool]) -> list[ToolCall]:
    """The calls of functions in a model's answer.

    Args:
        answer: a response, as a mapping or as the SDK's object.
        tools: those that were declared.

    Raises:
        TypeError: it is no answer of this API.
    """
    if not has_attribute(answer, "output"):
        raise TypeError(f"no answer of the Responses API: {type(answer).__name__} without output")
    functions = function_names(tools)
    found = []
    for item in attribute(answer, "output") or []:
        if attribute(item, "type") == "function_call":
            call = call_of(attribute(item, "call_id"), item, functions)
            if attribute(item, "status") == "incomplete" and call.problem is None:
                call = replace(call, problem=error_result(_CUT_OFF))
            found.append(call)
    return found


def result_messages(results: Iterable[tuple[ToolCall, types.CallToolResult]]) -> list[dict[str, Any]]:
    """The results of all calls of one answer, as the items that follow it: texts, images and PDF files."""
    return [
        {"type": "function_call_output", "call_id": call.id, "output": _output(result)}
        for call, result in results
    ]


def _output(result: types.CallToolResult) -> str | list[dict[str, Any]]:
    parts = take(contents(result), _IMAGES | _FILES)
    if result.is_error:
        parts = ["Error:", *parts]
    texts = [part for part in parts if isinstance(part, str)]
    return "\n\n".join(texts) if len(texts) == len(parts) else [_item(part) for part in parts]


def _item(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    url = f"data:{part.mime_type};base64,{part.data}"
    if part.mime_type in _IMAGES:
        return {"type": "input_image", "image_url": url}
    return {"type": "input_file", "filename": part.file_name, "file_data": url}
