"""The shapes of OpenAI's two APIs."""

from __future__ import annotations

from typing import Any

import pytest

from trio_mcp.agents import ToolCall, openai_chat, openai_responses

from .helpers import PDF, PNG, answer, blob, image, result, said, tool

ADD = tool("add", "Add.", properties={"a": {"type": "integer"}, "b": {"type": "array"}}, required=["a"])
FREE = tool("free", properties={"a": {"type": "object"}})
CALL = ToolCall("id0", "add", "add")


def test_a_declaration_of_each_api() -> None:
    function = {
        "name": "add",
        "description": "Add.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {}}},
            "required": ["a"],
        },
        "strict": False,
    }
    assert openai_chat.declarations([ADD]) == [{"type": "function", "function": function}]
    assert openai_responses.declarations([ADD]) == [{"type": "function", **function}]


def test_those_tools_are_strict_whose_schemas_can_be_said_so() -> None:
    place = tool("place", "Where.", properties={"city": {"type": "string"}})
    [one, other] = openai_responses.declarations([place, FREE], strict=True)
    assert one == {
        "type": "function",
        "name": "place",
        "description": "Where.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": ["string", "null"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    assert not other["strict"]
    assert other["parameters"]["properties"] == {"a": {"type": "object"}}
    assert [each["function"]["strict"] for each in openai_chat.declarations([place, FREE], strict=True)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("api", [openai_chat, openai_responses])
def test_a_null_that_leaves_something_out_is_left_out(api: Any) -> None:
    [call] = api.tool_calls(answer(api, ("add", '{"a": 1, "b": null}')), [ADD])
    assert call.arguments == {"a": 1}


def test_a_chat_message_stands_for_its_completion_and_custom_tools_are_not_ours() -> None:
    message = answer(openai_chat, ("add", "{}"))["choices"][0]["message"]
    message["tool_calls"].append({"type": "custom", "id": "c", "custom": {"name": "add", "input": "x"}})
    assert openai_chat.tool_calls(message, [ADD]) == [CALL]
    assert openai_chat.tool_calls({"role": "assistant", "content": "done"}, [ADD]) == []
    assert openai_chat.tool_calls({"choices": []}, [ADD]) == []


def test_a_response_that_was_cut_off_calls_nothing() -> None:
    asked = answer(openai_responses, ("add", '{"a": 1}'), ("none", "{}"))
    for item in asked["output"]:
        item["status"] = "incomplete"
    [call, unknown] = openai_responses.tool_calls(asked, [ADD])
    assert said(call.problem).startswith("Nothing was called: the call was cut off")
    assert "no tool none" in said(unknown.problem)


def test_chat_takes_texts() -> None:
    results = [(CALL, result("one", image(), "two")), (CALL, result("no", is_error=True))]
    assert openai_chat.result_messages(results) == [
        {
            "role": "tool",
            "tool_call_id": "id0",
            "content": "one\n\n[image: image/png, 11 bytes, left out: it cannot be shown to you]\n\ntwo",
        },
        {"role": "tool", "tool_call_id": "id0", "content": "Error: no"},
    ]


def test_responses_take_texts_images_and_files() -> None:
    report = blob(PDF, uri="file:///report.pdf")
    results = [
        (CALL, result("one", "two")),
        (CALL, result("no", is_error=True)),
        (CALL, result("one", image(), report, is_error=True)),
    ]
    assert openai_responses.result_messages(results) == [
        {"type": "function_call_output", "call_id": "id0", "output": "one\n\ntwo"},
        {"type": "function_call_output", "call_id": "id0", "output": "Error:\n\nno"},
        {
            "type": "function_call_output",
            "call_id": "id0",
            "output": [
                {"type": "input_text", "text": "Error:"},
                {"type": "input_text", "text": "one"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                {
                    "type": "input_file",
                    "filename": "report.pdf",
                    "file_data": f"data:application/pdf;base64,{PDF}",
                },
            ],
        },
    ]
