"""OpenAI's strict mode."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from trio_mcp.agents.strict import strict_schema, without_nulls

STRING = {"type": "string"}
NULL = {"type": "null"}


def props(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def closed(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def test_what_may_be_left_out_is_required_and_may_be_null() -> None:
    schema = props(
        a=STRING,
        b={"type": "string", "enum": ["x"], "description": "B"},
        c={"$ref": "#/$defs/C"},
        d={"anyOf": [STRING, NULL]},
        e={"type": ["integer", "null"]},
        f={"enum": ["x", None]},
        g={"const": None},
        h=STRING,
    ) | {"required": ["h"], "$defs": {"C": props(x=STRING)}}
    assert strict_schema(schema) == closed(
        a={"type": ["string", "null"]},
        b={"description": "B", "anyOf": [{"type": "string", "enum": ["x"]}, NULL]},
        c={"anyOf": [{"$ref": "#/$defs/C"}, NULL]},
        d={"anyOf": [STRING, NULL]},
        e={"type": ["integer", "null"]},
        f={"enum": ["x", None]},
        g={"const": None},
        h=STRING,
    ) | {"$defs": {"C": closed(x={"type": ["string", "null"]})}}


def test_keywords_that_it_does_not_take_are_told() -> None:
    schema = props(
        a={"type": "string", "format": "uri", "minLength": 2},
        b={"type": "string", "format": "date", "pattern": "^a"},
        c={"type": "string", "pattern": "(?=a)b"},
        d={"type": "array", "items": STRING, "maxItems": 3, "uniqueItems": True},
        e={"oneOf": [STRING, {"type": "integer", "minimum": 0}]},
        f={"allOf": [STRING], "default": "x"},
    ) | {"required": list("abcdef")}
    assert strict_schema(schema) == closed(
        a={"type": "string", "description": '"format":"uri","minLength":2'},
        b={"type": "string", "format": "date", "pattern": "^a"},
        c={"type": "string", "description": '"pattern":"(?=a)b"'},
        d={"type": "array", "items": STRING, "maxItems": 3, "description": '"uniqueItems":true'},
        e={"anyOf": [STRING, {"type": "integer", "minimum": 0}]},
        f={"anyOf": [STRING], "description": '"default":"x"'},
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": STRING},
        {"anyOf": [{"required": ["a"]}]},
        props(a={"type": "object"}),
        props(a={"type": "object", "additionalProperties": STRING, "properties": {}}),
        props(a={"type": ["object", "null"]}),
        props(a={**props(b=STRING), "anyOf": [{"required": ["b"]}]}),
        props(a={}),
        props(a=True),
        props(a=False),
        props(a={"type": "array"}),
        props(a={"type": "array", "prefixItems": [STRING], "items": STRING}),
        props(a={"allOf": [STRING, {"minLength": 1}]}),
        props(a={"type": "object", "properties": 1}),
        props(a={"type": "array", "items": {"type": "object", "patternProperties": {}}}),
    ],
)
def test_what_cannot_be_said_so_is_not_strict(schema: dict[str, Any]) -> None:
    assert strict_schema(schema) is None


def test_a_tool_without_arguments_has_an_object_without_properties() -> None:
    assert strict_schema({"type": "object", "additionalProperties": True}) == closed()


class Place(BaseModel):
    city: str
    zip_code: int | None = None
    label: str = ""


class Trip(BaseModel):
    """A trip, as a server made with pydantic describes it."""

    start: Place
    via: list[Place] = Field(default_factory=list)
    end: Place | str = "home"
    note: str = Field(default="", max_length=10)


def test_nulls_that_leave_something_out_are_taken_out_again() -> None:
    schema = Trip.model_json_schema()
    strict = strict_schema(schema)
    assert strict is not None
    assert strict["properties"]["note"]["type"] == ["string", "null"]
    place = {"city": "Graz", "zip_code": None, "label": None}
    found = without_nulls({"start": place, "via": [place], "end": place, "note": None}, schema)
    kept = {"city": "Graz", "zip_code": None}
    assert found == {"start": kept, "via": [kept], "end": kept}
    Trip.model_validate(found)


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        (STRING, False),
        ({"enum": ["a"]}, False),
        ({"enum": ["a", None]}, True),
        ({"const": None}, True),
        ({"const": 1}, False),
        ({"type": ["string", "null"]}, True),
        ({"type": "string", "anyOf": [{"minLength": 1}]}, False),
        ({"anyOf": [STRING, NULL]}, True),
        ({"$ref": "#/$defs/none"}, False),
        ({"$ref": "#/$defs/nullable"}, True),
        ({}, True),
        (True, True),
    ],
)
def test_a_null_is_kept_where_it_is_a_value(schema: Any, kept: bool) -> None:
    root = {**props(a=schema), "$defs": {"nullable": NULL}}
    assert without_nulls({"a": None}, root) == ({"a": None} if kept else {})


def test_what_is_required_or_unknown_is_left_as_it_is() -> None:
    assert without_nulls({"a": None}, {**props(a=STRING), "required": ["a"]}) == {"a": None}
    assert without_nulls({"a": None, "z": None}, props(a=STRING)) == {"a": None, "z": None}
    assert without_nulls({"a": [{"b": None}]}, props(a={})) == {"a": [{"b": None}]}


def test_alternatives_are_told_apart_by_their_properties() -> None:
    schema = props(a={"oneOf": [props(x=STRING), props(x={"type": ["string", "null"]}, y=STRING)]})
    assert without_nulls({"a": {"x": None, "y": None}}, schema) == {"a": {"x": None}}
    assert without_nulls({"a": {"x": None}}, schema) == {"a": {}}
