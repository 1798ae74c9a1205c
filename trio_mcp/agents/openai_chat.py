"""OpenAI's Chat Completions API (https://developers.openai.com/api/docs/guides/function-calling).

    completion = await client.chat.completions.create(
        model=…, messages=messages, tools=openai_chat.declarations(tools)
    )
    messages.append(completion.choices[0].message)
    calls = openai_chat.tool_calls(completion, tools)
    … # results: pairs of a call and its result
    messages += openai_chat.result_messages(results)

The shape is what many other providers and servers of models take as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mcp_types as types

from .calls import ToolCall, attribute, has_attribute
from .contents import contents, joined
from .names import function_names
from .openai_functions import call_of, function

__all__ = ["declarations", "result_messages", "tool_calls"]


def declarations(tools: Iterable[types.Tool], *, strict: bool = False) -> list[dict[str, Any]]:
    """The tools for the parameter `tools` of a request.

    Args:
        tools: of a connector or a group.
        strict: whether to declare those tools as strict whose schemas can be said so.

    Raises:
        ConfigurationError: two different tools have the same name.
    """
    named = function_names(tools).items()
    return [{"type": "function", "function": function(name, tool, strict)} for name, tool in named]


def tool_calls(answer: object, tools: Iterable[types.Tool]) -> list[ToolCall]:
    """The calls of functions in a model's answer.

    Args:
        answer: a chat completion or its message, as a mapping or as the SDK's object.
        tools: those that were declared.

    Raises:
        TypeError: it is no answer of this API.
    """
    if (choices := attribute(answer, "choices")) is not None:
        answer = attribute(choices[0], "message") if choices else {"role": "assistant"}
    if not has_attribute(answer, "tool_calls", "content", "role"):
        raise TypeError(f"no answer of the Chat Completions API, without choices: {type(answer).__name__}")
    functions = function_names(tools)
    return [
        call_of(attribute(each, "id"), attribute(each, "function"), functions)
        for each in attribute(answer, "tool_calls") or []
        if attribute(each, "function") is not None  # others are custom tools of the program's own
    ]


def result_messages(results: Iterable[tuple[ToolCall, types.CallToolResult]]) -> list[dict[str, Any]]:
    """The results of all calls of one answer as the messages that follow it: the API takes texts only."""
    return [{"role": "tool", "tool_call_id": call.id, "content": _text(result)} for call, result in results]


def _text(result: types.CallToolResult) -> str:
    text = joined(contents(result))
    return f"Error: {text}" if result.is_error else text
