"""Anthropic's Messages API (https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview).

message = await client.messages.create(
    model=…, max_tokens=…, messages=messages, tools=anthropic_messages.declarations(tools)
)
messages.append({"role": "assistant", "content": message.content})
calls = anthropic_messages.tool_calls(message, tools)
… # results: pairs of a call and its result
messages += anthropic_messages.result_messages(results)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import mcp_types as types

from .calls import ToolCall, attribute, has_attribute, make_call
from .contents import Media, contents, joined, take
from .names import declared, function_names
from .schemas import input_schema

__all__ = ["declarations", "result_messages", "tool_calls"]

_IMAGES: Final = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_FILES: Final = frozenset(("application/pdf",))
_CUT_OFF: Final = frozenset(("max_tokens", "model_context_window_exceeded"))


def declarations(tools: Iterable[types.Tool]) -> list[dict[str, Any]]:
    """The tools for the parameter `tools` of a request.

    Raises:
        ConfigurationError: two different tools have the same name.
    """
    return [_declared(name, tool) for name, tool in function_names(tools).items()]


def _declared(name: str, tool: types.Tool) -> dict[str, Any]:
    schema, left = input_schema(tool.input_schema)
    return {**declared(name, tool, left), "input_schema": schema}


def tool_calls(answer: object, tools: Iterable[types.Tool]) -> list[ToolCall]:
    """The calls of tools in a model's answer.

    Where the answer was cut off, its last block may be half a call that looks whole: that is not called.

    Args:
        answer: a message, as a mapping or as the SDK's object.
        tools: those that were declared.

    Raises:
        TypeError: it is no answer of this API.
    """
    if not has_attribute(answer, "content"):
        raise TypeError(f"no answer of the Messages API: {type(answer).__name__} without content")
    functions = function_names(tools)
    blocks = attribute(answer, "content")
    blocks = blocks if isinstance(blocks, list | tuple) else []  # a text may stand for itself
    stopped = attribute(answer, "stop_reason")
    text = f"Nothing was called: the answer was cut off ({stopped}). Ask again, for less at a time."
    return [
        make_call(
            attribute(block, "id"),
            attribute(block, "name") or "",
            attribute(block, "input"),
            functions,
            cut_off=text if stopped in _CUT_OFF and block is blocks[-1] else None,
        )
        for block in blocks
        if attribute(block, "type") == "tool_use"
    ]


def result_messages(results: Iterable[tuple[ToolCall, types.CallToolResult]]) -> list[dict[str, Any]]:
    """The results of all calls of one answer, as the one message that must follow it; none without results.

    Texts, images and PDF files; of an error, texts only.
    """
    blocks = [
        {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": _content(result),
            "is_error": result.is_error,
        }
        for call, result in results
    ]
    return [{"role": "user", "content": blocks}] if blocks else []


def _content(result: types.CallToolResult) -> list[dict[str, Any]]:
    parts = contents(result)
    # The API refuses an error with anything but texts, and a text that is empty or white space.
    taken = [joined(parts)] if result.is_error else take(parts, _IMAGES | _FILES)
    return [_block(part) for part in taken]


def _block(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    source = {"type": "base64", "media_type": part.mime_type, "data": part.data}
    return {"type": "image" if part.mime_type in _IMAGES else "document", "source": source}
