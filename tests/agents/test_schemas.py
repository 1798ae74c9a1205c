"""JSON Schemas made to fit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trio_mcp.agents.schemas import (
    alone,
    alternatives,
    described,
    input_schema,
    resolve,
    single,
    transform,
    with_items,
)

STRING = {"type": "string"}


def test_alternatives_at_the_top_become_properties_and_a_sentence() -> None:
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": STRING},
        "required": ["a"],
        "oneOf": [
            {"properties": {"a": {"type": "null"}, "b": STRING}},
            {"$ref": "#/$defs/more"},
            {"required": ["a"]},
        ],
        "$defs": {"more": {"allOf": [{"properties": {"c": STRING}}, True]}},
    }
    top, left = input_schema(schema)
    assert top == {
        "type": "object",
        "properties": {"a": STRING, "b": STRING, "c": STRING},
        "required": ["a"],
        "$defs": schema["$defs"],
    }
    assert left.startswith('The arguments must also fit this JSON Schema: {"oneOf":[')


def test_a_schema_without_alternatives_is_an_object_with_properties() -> None:
    assert input_schema({}) == ({"type": "object", "properties": {}}, "")


def test_a_reference_at_the_top_is_followed() -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": STRING}}}}
    top, _ = input_schema(schema)
    assert top == {"type": "object", "properties": {"a": STRING}, "$defs": schema["$defs"]}


@pytest.mark.parametrize("junk", [{"properties": []}, {"anyOf": {}}, {"anyOf": [1]}, {"$ref": 1}])
def test_what_is_no_schema_does_no_harm(junk: dict[str, Any]) -> None:
    top, _ = input_schema(junk)
    assert top["properties"] == {}


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        ("#/$defs/a~1b%25", STRING),
        ("#/$defs/again", STRING),
        ("#/$defs/circle", {"$ref": "#/$defs/circle"}),
        ("#/$defs/none", {"$ref": "#/$defs/none"}),
        ("#/$defs/list/0", {"$ref": "#/$defs/list/0"}),
        ("https://example.com/x", {"$ref": "https://example.com/x"}),
    ],
)
def test_a_reference_is_followed_within_the_schema_only(ref: str, found: object) -> None:
    root = {
        "$defs": {
            "a/b%": STRING,
            "again": {"$ref": "#/$defs/a~1b%25"},
            "circle": {"$ref": "#/$defs/circle"},
            "list": [STRING],
        }
    }
    assert resolve({"$ref": ref}, root) == found


def test_alternatives_in_circles_come_to_an_end() -> None:
    loop = {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, STRING]}
    root = {"$defs": {"a": loop, "b": {"oneOf": [{"$ref": "#/$defs/a"}] * 50}}}
    assert alternatives({"$ref": "#/$defs/a"}, root) == [loop, root["$defs"]["b"], STRING]


def test_every_schema_within_a_schema_is_changed_and_the_given_one_is_not() -> None:
    leaf = {"type": "string"}
    schema = {
        "properties": {"properties": leaf, "b": True},
        "items": leaf,
        "anyOf": [leaf],
        "additionalProperties": True,
        "enum": [{"type": "string"}],
        "not": leaf,
    }
    found = transform(schema, lambda each: {**each, "seen": True})
    changed = {"type": "string", "seen": True}
    assert found == {
        "properties": {"properties": changed, "b": {"seen": True}},
        "items": changed,
        "anyOf": [changed],
        "additionalProperties": True,
        "enum": [{"type": "string"}],
        "not": changed,
        "seen": True,
    }
    assert leaf == {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "items"),
    [
        ({"type": "array"}, {}),
        ({"type": ["array", "null"]}, {}),
        ({"type": "array", "items": True}, {}),
        ({"type": "array", "items": STRING}, STRING),
        ({"type": "array", "items": [STRING]}, {"anyOf": [STRING]}),
        ({"type": "array", "items": []}, {}),
    ],
)
def test_an_array_says_what_it_has(schema: dict[str, Any], items: dict[str, Any]) -> None:
    assert with_items(schema) == {**schema, "items": items}


def test_what_is_no_array_gets_no_items() -> None:
    assert with_items(STRING) == STRING


def test_a_reference_stands_alone() -> None:
    assert alone({"$ref": "#/a"}) == {"$ref": "#/a"}
    assert alone({"$ref": "#/a", "description": "x"}) == {"description": "x", "anyOf": [{"$ref": "#/a"}]}


def test_all_of_one_is_any_of_one() -> None:
    assert single({"allOf": [STRING], "title": "x"}) == {"anyOf": [STRING], "title": "x"}
    two = {"allOf": [STRING, STRING]}
    assert single(two) == two


def test_what_is_not_kept_is_told_in_the_description() -> None:
    schema = {"type": "string", "minLength": 1, "default": None, "$comment": "x", "x-mcp-header": "y"}
    assert described(schema, ["type"]) == {"type": "string", "description": '"minLength":1'}
    assert described({"description": "A name", "default": "x"}, []) == {
        "description": 'A name ("default":"x")'
    }
    assert described({"description": "A name"}, []) == {"description": "A name"}


def test_what_becomes_a_text_is_as_the_server_wrote_it_and_no_text_within_a_text() -> None:
    schema: dict[str, Any] = {"pattern": "^a"}
    for _ in range(8):
        schema = {"not": schema}
    told = json.dumps(schema, separators=(",", ":"))[1:-1]
    assert transform(schema, lambda each: described(each, ["type"])) == {"description": told}
