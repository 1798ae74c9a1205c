"""Structured content of a tool's result as a value of the caller's type.

    total = await c.call_tool("add", {"a": 1, "b": 2}, result_type=int)

Many servers cannot send what is no object, and wrap it as `{"result": ...}`: the official SDK's do for
`-> int` and `-> list[Model]`, and so does FastMCP. So an object that has "result" as its only key may mean
itself, or the value that it holds. The caller's type decides, and only where it does so without a doubt:

1. the object, if the type takes it and knows all its keys;
2. else what it holds, if the type takes that and knows all its keys;
3. else whichever of the two the type takes by ignoring keys; if it takes both, that is an error.

So `dict[str, int]` gets the object, `int` gets what it holds, and a model whose fields are all optional never
gets its defaults from a wrapping that it does not know.
"""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_json

from ..errors import InvalidArguments, InvalidOutput, ToolFailed
from ..protocol.validation import adapter_of, first_error

__all__ = ["result_adapter", "typed_result"]

_MAX_TEXT: Final = 500


def result_adapter(kind: object) -> TypeAdapter[Any]:
    """What validates as `kind`.

    Raises:
        InvalidArguments: it is no type that pydantic can validate.
    """
    try:
        if isinstance(kind, str):
            raise NameError(kind)  # which pydantic would look for among our names, and not the caller's
        adapter = adapter_of(kind)
        adapter.rebuild()  # nothing, unless it waits for a name: that is to be found out before the call
        return adapter
    except (PydanticUserError, NameError) as exc:
        raise InvalidArguments(
            f"result_type is not a type that pydantic can validate: {kind!r:.100}"
        ) from exc


def typed_result(result: types.CallToolResult, adapter: TypeAdapter[Any]) -> Any:
    """The structured content of `result`, as `adapter` validates it from JSON.

    Raises:
        ToolFailed: the result is an error.
        InvalidOutput: there is no structured content, it does not fit, or it fits in two ways.
    """
    if result.is_error:
        raise ToolFailed(f"the tool failed: {_text(result)}", result)
    if "structured_content" not in result.model_fields_set:
        raise InvalidOutput("the tool's result has no structured content to make a result_type of")
    content = result.structured_content
    # From JSON, and not from Python objects: a strict model takes a date from a string only there.
    whole = to_json(content)
    if not isinstance(content, dict) or content.keys() != {"result"}:
        try:
            return adapter.validate_json(whole)
        except ValidationError as exc:
            raise InvalidOutput(
                f"the tool's structured content is not of the result_type: {first_error(exc)}"
            ) from exc
    held = to_json(content["result"])
    for each in (whole, held):
        try:
            return adapter.validate_json(each, extra="forbid")
        except ValidationError:
            pass
    return _by_ignoring_keys(adapter, whole, held)


def _by_ignoring_keys(adapter: TypeAdapter[Any], whole: bytes, held: bytes) -> Any:
    values, failures = [], []
    for each in (whole, held):
        try:
            values.append(adapter.validate_json(each))
        except ValidationError as exc:
            failures.append(exc)
    if len(values) == 2:
        raise InvalidOutput(
            'the tool\'s structured content is {"result": ...}, and the result_type takes both this and what '
            "it holds, but knows neither all keys of the one nor of the other"
        )
    if not values:
        raise InvalidOutput(
            f"the tool's structured content is not of the result_type: {first_error(failures[0])}; nor is "
            f'what it holds as "result": {first_error(failures[1])}'
        ) from failures[0]
    return values[0]


def _text(result: types.CallToolResult) -> str:
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    text = "\n".join(texts) or "it gave no text"
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
