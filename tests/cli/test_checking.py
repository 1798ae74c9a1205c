from typing import Any

import mcp_types as types
import pytest

from trio_mcp import UsageError
from trio_mcp.cli.checking import check_arguments, check_prompt_arguments, find_named

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "colour": {"enum": ["red", "blue", 3]},
        "sizes": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, "missing: name"),
        ({"nme": "x"}, "the tool has no argument 'nme'; the nearest: name"),
        ({"name": 5}, "the argument 'name': 5 is not of type 'string'"),
        ({"name": "x", "colour": "bleu"}, "'bleu' is not one of ['red', 'blue', 3]; the nearest: blue"),
        ({"name": "x", "colour": 4}, "the argument 'colour': 4 is not one of ['red', 'blue', 3]"),
        ({"name": "x", "sizes": [1, "y"]}, "the argument 'sizes[1]': 'y' is not of type 'integer'"),
    ],
)
def test_arguments_that_do_not_fit(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_arguments(values, SCHEMA)
    assert str(caught.value).endswith(complaint)


def test_a_schema_that_allows_no_others_names_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no argument 'other'; there are: name, colour, sizes"):
        check_arguments({"other": 1}, {**SCHEMA, "additionalProperties": False})
    with pytest.raises(UsageError, match="no argument 'other'$"):
        check_arguments({"other": 1}, {"additionalProperties": False})


@pytest.mark.parametrize(
    ("values", "schema"),
    [
        ({"name": "x", "colour": "red", "other": 1}, SCHEMA),
        ({"nme": "x", "name": "y"}, {**SCHEMA, "patternProperties": {"^n": {}}}),
        ({"anything": 1}, {}),
    ],
)
def test_arguments_that_fit(values: dict[str, Any], schema: dict[str, Any]) -> None:
    assert check_arguments(values, schema) is None


def test_a_failure_of_the_whole() -> None:
    with pytest.raises(UsageError, match=r"^the arguments: {} should be non-empty"):
        check_arguments({}, {"minProperties": 1})


def test_a_schema_that_cannot_be_used_is_left_to_the_server() -> None:
    note = check_arguments({"a": 1}, {"properties": {"a": {"type": "no type"}}})
    assert note == "the tool's input schema cannot be used: its arguments are sent unchecked"


PROMPT = types.Prompt(
    name="greet",
    arguments=[types.PromptArgument(name="who", required=True), types.PromptArgument(name="how")],
)


def test_arguments_of_a_prompt() -> None:
    check_prompt_arguments({"who": "Ada"}, PROMPT)
    with pytest.raises(UsageError, match="missing: who"):
        check_prompt_arguments({"how": "loudly"}, PROMPT)
    with pytest.raises(UsageError, match="no argument 'whom'; the nearest: who"):
        check_prompt_arguments({"whom": "Ada"}, PROMPT)
    with pytest.raises(UsageError, match="no argument 'who'$"):
        check_prompt_arguments({"who": "Ada"}, types.Prompt(name="bare"))


def test_a_name_among_others() -> None:
    assert find_named("tool", "b", ["a", "b"]) == 1
    with pytest.raises(UsageError, match="no tool 'copyfiles'; the nearest: copy_files"):
        find_named("tool", "copyfiles", ["add", "copy_files"])
    with pytest.raises(UsageError, match="no tool 'zzz'; there are: add"):
        find_named("tool", "zzz", ["add"])
    with pytest.raises(UsageError, match="no tool 'zzz'$"):
        find_named("tool", "zzz", [f"tool {number}" for number in range(21)])
