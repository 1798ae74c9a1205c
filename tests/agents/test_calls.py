"""What all APIs have in common: calls are found, and what is wrong with one is for the model to hear."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from trio_mcp.agents import ModelAPI, ToolCall, anthropic_messages, gemini, openai_chat, openai_responses
from trio_mcp.agents.calls import attribute, has_attribute

from .helpers import APIS, answer, as_objects, result, said, tool

TOOLS = [tool("files.read"), tool("add", properties={"a": {"type": "integer"}})]

EACH = pytest.mark.parametrize("api", APIS, ids=lambda api: api.__name__.rpartition(".")[2])
WITH_JSON = pytest.mark.parametrize("api", [openai_chat, openai_responses])


def test_each_module_is_a_model_api() -> None:
    apis: list[ModelAPI] = [openai_chat, openai_responses, anthropic_messages, gemini]
    assert apis == APIS


@EACH
@pytest.mark.parametrize("form", [lambda value: value, as_objects], ids=["dicts", "objects"])
def test_calls_are_found_with_the_tools_own_names(api: ModuleType, form: Any) -> None:
    asked = form(answer(api, ("files_read", {"path": "a"}), ("add", {})))
    assert api.tool_calls(asked, iter(TOOLS)) == [
        ToolCall("id0", "files_read", "files.read", {"path": "a"}),
        ToolCall("id1", "add", "add"),
    ]


@EACH
def test_an_answer_without_calls_has_none(api: ModuleType) -> None:
    assert api.tool_calls(answer(api), TOOLS) == []
    assert api.result_messages([]) == []


@EACH
def test_arguments_that_are_left_out_are_none(api: ModuleType) -> None:
    assert api.tool_calls(answer(api, ("add", None)), TOOLS) == [ToolCall("id0", "add", "add")]


@EACH
def test_what_is_no_answer_of_the_api_is_the_programs_mistake(api: ModuleType) -> None:
    for no_answer in ({"error": {"message": "overloaded"}}, object(), "text"):
        with pytest.raises(TypeError, match="no answer of the"):
            api.tool_calls(no_answer, TOOLS)


@EACH
def test_a_tool_that_is_not_there_is_for_the_model_to_hear(api: ModuleType) -> None:
    [near, far] = api.tool_calls(answer(api, ("files.reed", {}), ("zzz", {})), TOOLS)
    assert (near.function, near.name) == ("files.reed", "files.reed")
    assert said(near.problem) == "Nothing was called: there is no tool files.reed; did you mean files_read?"
    assert said(far.problem) == "Nothing was called: there is no tool zzz; there are: files_read, add"
    [none] = api.tool_calls(answer(api, ("x" * 300, {})), [])
    assert said(none.problem) == f"Nothing was called: there is no tool {'x' * 200}…; there are: none"


@WITH_JSON
@pytest.mark.parametrize("arguments", ['{"a": 1', "{'a': 1}", '{"a": NaN}', "{} {}"])
def test_arguments_that_are_no_json_are_for_the_model_to_hear(api: ModuleType, arguments: str) -> None:
    [call] = api.tool_calls(answer(api, ("add", arguments)), TOOLS)
    assert (call.id, call.name, call.arguments) == ("id0", "add", {})
    assert said(call.problem).startswith("Nothing was called: the arguments of add are not valid JSON: ")
    assert said(call.problem).endswith(f"They began: {arguments}")


@WITH_JSON
def test_empty_arguments_are_none(api: ModuleType) -> None:
    assert api.tool_calls(answer(api, ("add", " ")), TOOLS) == [ToolCall("id0", "add", "add")]


@EACH
def test_arguments_that_are_no_object_are_for_the_model_to_hear(api: ModuleType) -> None:
    [call] = api.tool_calls(answer(api, ("add", [1, 2])), TOOLS)
    assert (
        said(call.problem)
        == "Nothing was called: the arguments of add must be a JSON object, and were [1, 2]"
    )


@EACH
def test_a_problem_can_be_answered_like_any_call(api: ModuleType) -> None:
    [call] = api.tool_calls(answer(api, ("nothing", {})), TOOLS)
    assert "there is no tool nothing" in str(api.result_messages([(call, call.problem)]))


@EACH
def test_a_tool_with_an_odd_name_is_declared_by_another_and_described_by_its_title(api: ModuleType) -> None:
    titled = tool("files.read").model_copy(update={"title": "Read a file"})
    [declared] = api.declarations([titled])
    declared = declared.get("function", declared)
    assert (declared["name"], declared["description"]) == ("files_read", "Read a file")
    [plain] = api.declarations([tool("add")])
    assert "description" not in plain.get("function", plain)


@EACH
def test_what_the_alternatives_at_the_top_want_is_described(api: ModuleType) -> None:
    [declared] = api.declarations([tool("add", "Adds.", anyOf=[{"required": ["a"]}])])
    about = declared.get("function", declared)["description"]
    assert about == ('Adds.\n\nThe arguments must also fit this JSON Schema: {"anyOf":[{"required":["a"]}]}')


@EACH
def test_a_result_names_its_call(api: ModuleType) -> None:
    calls = api.tool_calls(answer(api, ("add", {}), ("files_read", {})), TOOLS)
    messages = str(api.result_messages([(call, result(f"for {call.name}")) for call in calls]))
    assert messages.index("id0") < messages.index("id1")
    assert "for files.read" in messages


def test_attributes_are_those_of_mappings_and_objects() -> None:
    for value in ({"a": None, "b": 1}, as_objects({"a": None, "b": 1})):
        assert attribute(value, "a", "b") == 1
        assert attribute(value, "a", "c") is None
        assert has_attribute(value, "z", "a")
        assert not has_attribute(value, "z")
