"""Google's Gemini API, generateContent (https://ai.google.dev/gemini-api/docs/function-calling).

    response = await client.aio.models.generate_content(
        model=…, contents=contents, config={"tools": [{"function_declarations": gemini.declarations(tools)}]}
    )
    contents.append(response.candidates[0].content)
    calls = gemini.tool_calls(response, tools)
    … # results: pairs of a call and its result
    contents += gemini.result_messages(results)

Keys are those of the REST API (`parametersJsonSchema`), which the SDK takes as well as its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import mcp_types as types

from .calls import ToolCall, attribute, has_attribute, make_call
from .contents import Media, contents, is_said, take
from .names import declared, function_names
from .schemas import Schema, alone, described, input_schema, single, transform, with_items

__all__ = ["declarations", "result_messages", "tool_calls"]

_KEYWORDS: Final = frozenset(
    [
        "$id",
        "$defs",
        "$ref",
        "$anchor",
        "type",
        "format",
        "title",
        "enum",
        "anyOf",
        "oneOf",
        "properties",
        "required",
        "additionalProperties",
        "propertyOrdering",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
    ]
)
"""What is supported of JSON Schema; see `response_json_schema` in the SDK's GenerateContentConfig."""
_MEDIA: Final = frozenset(("image/png", "image/jpeg", "image/webp", "application/pdf"))


def declarations(tools: Iterable[types.Tool]) -> list[dict[str, Any]]:
    """The tools for `functionDeclarations` of a request's tool.

    Raises:
        ConfigurationError: two different tools have the same name.
    """
    return [_declared(name, tool) for name, tool in function_names(tools, letter_first=True).items()]


def _declared(name: str, tool: types.Tool) -> dict[str, Any]:
    schema, left = input_schema(tool.input_schema)
    if not schema["properties"] and not schema.get("additionalProperties"):
        return declared(name, tool, left)  # a function without parameters has no schema of them
    return {**declared(name, tool, left), "parametersJsonSchema": transform(schema, _reduced)}


def _reduced(schema: Schema) -> Schema:
    schema = single(with_items(schema))
    if "const" in schema:
        schema = {"enum": [schema["const"]], **{key: each for key, each in schema.items() if key != "const"}}
    # Values of an enum are strings and numbers.
    values = schema.get("enum", [])
    fits = isinstance(values, list) and all(type(each) in (str, int, float) for each in values)
    return alone(described(schema, _KEYWORDS if fits else _KEYWORDS - {"enum"}))


def tool_calls(answer: object, tools: Iterable[types.Tool]) -> list[ToolCall]:
    """The calls of functions in a model's answer, of its first candidate.

    Args:
        answer: a response, or the content of a candidate, as a mapping or as the SDK's object.
        tools: those that were declared.

    Raises:
        TypeError: it is no answer of this API.
    """
    if not has_attribute(answer, "candidates", "parts", "role", "promptFeedback", "prompt_feedback"):
        raise TypeError(f"no answer of the Gemini API: {type(answer).__name__} without candidates or parts")
    if candidates := attribute(answer, "candidates"):
        answer = attribute(candidates[0], "content")
    functions = function_names(tools, letter_first=True)
    called = (attribute(part, "functionCall", "function_call") for part in attribute(answer, "parts") or [])
    return [
        make_call(attribute(each, "id"), attribute(each, "name") or "", attribute(each, "args"), functions)
        for each in called
        if each is not None
    ]


def result_messages(
    results: Iterable[tuple[ToolCall, types.CallToolResult]], *, media: bool = True
) -> list[dict[str, Any]]:
    """The results of all calls of one answer, as the one content that must follow it; none without results.

    Args:
        results: pairs of a call and its result, in the order of the calls.
        media: whether images and PDF files go with them, as Gemini 3 and later take them. Models before that
            refuse a request that has some.
    """
    parts = [{"functionResponse": _response(call, result, media)} for call, result in results]
    return [{"role": "user", "parts": parts}] if parts else []


def _response(call: ToolCall, result: types.CallToolResult, media: bool) -> dict[str, Any]:
    parts = take(contents(result), _MEDIA if media else ())
    texts = [part for part in parts if isinstance(part, str)]
    output: Any = "\n\n".join(texts)
    structured = result.structured_content
    if isinstance(structured, dict) and len(texts) == 1 and is_said(structured, texts):
        output = structured
    response: dict[str, Any] = {
        "name": call.function,
        "response": {"error" if result.is_error else "output": output},
    }
    if call.id is not None:
        response["id"] = call.id
    blobs = [part for part in parts if isinstance(part, Media)]
    if blobs:
        response["parts"] = [
            {"inlineData": {"mimeType": each.mime_type, "data": each.data}} for each in blobs
        ]
    return response
