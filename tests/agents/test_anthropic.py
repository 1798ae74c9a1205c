"""The shapes of Anthropic's Messages API."""

from __future__ import annotations

import pytest

from trio_mcp.agents import ToolCall, anthropic_messages

from .helpers import PDF, PNG, answer, blob, image, result, said, tool

ADD = tool("add", "Add.", properties={"a": {"type": "integer"}})
CALL = ToolCall("id0", "add", "add")


def test_a_declaration() -> None:
    assert anthropic_messages.declarations([ADD]) == [
        {
            "name": "add",
            "description": "Add.",
            "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
        }
    ]


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_the_last_call_of_an_answer_that_was_cut_off_is_not_called(reason: str) -> None:
    asked = {**answer(anthropic_messages, ("add", {"a": 1}), ("add", {})), "stop_reason": reason}
    [whole, half] = anthropic_messages.tool_calls(asked, [ADD])
    assert whole.problem is None
    assert said(half.problem).startswith(f"Nothing was called: the answer was cut off ({reason}).")
    asked["content"].append({"type": "text", "text": "and"})
    assert [call.problem for call in anthropic_messages.tool_calls(asked, [ADD])] == [None, None]


def test_tools_of_the_provider_are_not_ours() -> None:
    asked = {"content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]}
    assert anthropic_messages.tool_calls(asked, [ADD]) == []
    assert anthropic_messages.tool_calls({"role": "assistant", "content": "just text"}, [ADD]) == []


def test_all_results_are_one_message_of_texts_images_and_documents() -> None:
    results = [(CALL, result("one", image(), blob(PDF))), (CALL, result())]
    assert anthropic_messages.result_messages(results) == [
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "id0",
                    "content": [
                        {"type": "text", "text": "one"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                        },
                    ],
                    "is_error": False,
                },
                {
                    "type": "tool_result",
                    "tool_use_id": "id0",
                    "content": [{"type": "text", "text": "(The tool gave no content.)"}],
                    "is_error": False,
                },
            ],
        }
    ]


def test_an_error_is_one_text() -> None:
    [message] = anthropic_messages.result_messages([(CALL, result("no", image(), is_error=True))])
    [block] = message["content"]
    assert block["is_error"]
    assert block["content"] == [
        {"type": "text", "text": "no\n\n[image: image/png, 11 bytes, left out: it cannot be shown to you]"}
    ]
