"""The shapes of the Gemini API."""

from __future__ import annotations

from typing import Any

import pytest

from trio_mcp.agents import ToolCall, gemini

from .helpers import PDF, PNG, blob, image, result, tool

CALL = ToolCall("id0", "files_read", "files.read")


def test_a_declaration() -> None:
    add = tool("9.add", "Add.", properties={"a": {"type": "integer"}})
    assert gemini.declarations([add, tool("now")]) == [
        {
            "name": "_9_add",
            "description": "Add.",
            "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": "integer"}}},
        },
        {"name": "now"},
    ]


@pytest.mark.parametrize(
    ("schema", "taken"),
    [
        ({"const": "x"}, {"enum": ["x"]}),
        ({"const": True}, {"description": '"enum":[true]'}),
        ({"enum": ["a", None]}, {"description": '"enum":["a",null]'}),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "description": '"pattern":"^a"'}),
        ({"$ref": "#/$defs/A", "title": "T"}, {"title": "T", "anyOf": [{"$ref": "#/$defs/A"}]}),
        ({"allOf": [{"type": "string"}]}, {"anyOf": [{"type": "string"}]}),
        ({"type": "array"}, {"type": "array", "items": {}}),
        (
            {"type": "object", "additionalProperties": {"type": "string", "maxLength": 1}},
            {"type": "object", "additionalProperties": {"type": "string", "description": '"maxLength":1'}},
        ),
    ],
)
def test_a_schema_has_the_keywords_that_it_takes(schema: Any, taken: Any) -> None:
    [declared] = gemini.declarations([tool("a", properties={"x": schema})])
    assert declared["parametersJsonSchema"]["properties"]["x"] == taken


def test_a_tool_with_arguments_of_any_name_has_a_schema() -> None:
    [declared] = gemini.declarations([tool("a", additionalProperties=True)])
    assert declared["parametersJsonSchema"] == {
        "type": "object",
        "properties": {},
        "additionalProperties": True,
    }


def test_a_call_may_have_no_id_and_an_answer_no_content() -> None:
    content = {"role": "model", "parts": [{"functionCall": {"name": "files_read"}}]}
    [call] = gemini.tool_calls(content, [tool("files.read")])
    assert call == ToolCall(None, "files_read", "files.read")
    [message] = gemini.result_messages([(call, result("x"))])
    assert message["parts"][0]["functionResponse"] == {"name": "files_read", "response": {"output": "x"}}
    answers: list[dict[str, Any]] = [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"finishReason": "MAX_TOKENS"}]},
        {"candidates": [{"content": {"role": "model"}}]},
        {"candidates": []},
    ]
    for blocked in answers:
        assert gemini.tool_calls(blocked, []) == []


def test_all_results_are_one_content_with_media_in_their_responses() -> None:
    sound = {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}
    results = [
        (CALL, type(result()).model_validate({"content": [sound, image(), blob(PDF)]})),
        (CALL, result("no", is_error=True)),
    ]
    assert gemini.result_messages(results) == [
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "id0",
                        "name": "files_read",
                        "response": {
                            "output": "[audio: audio/wav, 3 bytes, left out: it cannot be shown to you]"
                        },
                        "parts": [
                            {"inlineData": {"mimeType": "image/png", "data": PNG}},
                            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
                        ],
                    }
                },
                {"functionResponse": {"id": "id0", "name": "files_read", "response": {"error": "no"}}},
            ],
        }
    ]


def test_models_that_take_no_media_hear_of_them() -> None:
    [message] = gemini.result_messages([(CALL, result(image()))], media=False)
    response = message["parts"][0]["functionResponse"]
    assert response["response"]["output"].startswith("[image: image/png, 11 bytes, left out")
    assert "parts" not in response


@pytest.mark.parametrize(
    ("texts", "output"),
    [
        ([], {"a": 1}),
        (['{"a": 1}'], {"a": 1}),
        (["One."], 'One.\n\n{"a":1}'),
        (["One.", '{"a": 1}'], 'One.\n\n{"a": 1}'),
    ],
)
def test_structured_content_is_an_object_where_it_says_all(texts: list[str], output: object) -> None:
    [message] = gemini.result_messages([(CALL, result(*texts, structured_content={"a": 1}))])
    assert message["parts"][0]["functionResponse"]["response"] == {"output": output}
