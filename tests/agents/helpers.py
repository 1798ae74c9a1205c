"""Tools, answers and results, as short as tests want them."""

from __future__ import annotations

import base64
import json
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import mcp_types as types

from trio_mcp.agents import anthropic_messages, gemini, openai_chat, openai_responses

APIS: Final[list[ModuleType]] = [openai_chat, openai_responses, anthropic_messages, gemini]

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()
PDF: Final = base64.b64encode(b"%PDF-1.7").decode()


def tool(name: str = "add", description: str | None = None, **schema: Any) -> types.Tool:
    return types.Tool(name=name, description=description, input_schema={"type": "object", **schema})


def text(content: str, **more: Any) -> types.TextContent:
    return types.TextContent(text=content, **more)


def image(data: str = PNG, mime_type: str = "image/png") -> types.ImageContent:
    return types.ImageContent(data=data, mime_type=mime_type)


def blob(data: str, mime_type: str | None = None, uri: str = "file:///a/b") -> types.EmbeddedResource:
    return types.EmbeddedResource(
        resource=types.BlobResourceContents(uri=uri, blob=data, mime_type=mime_type)
    )


def result(*content: Any, **more: Any) -> types.CallToolResult:
    return types.CallToolResult(
        content=[text(each) if isinstance(each, str) else each for each in content], **more
    )


def said(found: types.CallToolResult | None) -> str:
    """The text of a result that is an error."""
    assert found is not None
    assert found.is_error
    [block] = found.content
    assert isinstance(block, types.TextContent)
    return block.text


def answer(api: ModuleType, *calls: tuple[str, Any]) -> Any:
    """An answer of an API that asks for `calls`, which are names and arguments (or their JSON)."""
    if api is anthropic_messages:
        blocks = [
            {"type": "tool_use", "id": f"id{n}", "name": name, "input": arguments}
            for n, (name, arguments) in enumerate(calls)
        ]
        return {
            "role": "assistant",
            "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "x"}, *blocks],
        }
    if api is gemini:
        parts = [
            {"functionCall": {"id": f"id{n}", "name": name, "args": arguments}}
            for n, (name, arguments) in enumerate(calls)
        ]
        return {"candidates": [{"content": {"role": "model", "parts": [{"text": "x"}, *parts]}}]}
    written = [
        (name, arguments if isinstance(arguments, str | None) else json.dumps(arguments))
        for name, arguments in calls
    ]
    if api is openai_responses:
        items = [
            {"type": "function_call", "call_id": f"id{n}", "name": name, "arguments": arguments, "id": "fc"}
            for n, (name, arguments) in enumerate(written)
        ]
        return {"output": [{"type": "reasoning"}, *items]}
    functions = [
        {"type": "function", "id": f"id{n}", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(written)
    ]
    return {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": functions}}]}


def as_objects(value: Any) -> Any:
    """JSON as an SDK has it: objects with attributes, down to the arguments."""
    if isinstance(value, list):
        return [as_objects(each) for each in value]
    if not isinstance(value, dict):
        return value
    known: dict[str, Any] = {
        ("function_call" if key == "functionCall" else str(key)): each
        if key in ("input", "args")
        else as_objects(each)
        for key, each in value.items()
    }
    return SimpleNamespace(**known)
