"""Schemas come from servers: whatever they are, a tool can be declared, and its calls be read."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trio_mcp.agents.strict import strict_schema

from .helpers import APIS, answer, tool

KEYWORDS = [
    "type",
    "properties",
    "required",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "$defs",
    "enum",
    "const",
    "not",
    "pattern",
    "format",
    "default",
    "additionalProperties",
    "prefixItems",
    "description",
    "title",
    "a",
    "b",
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1),
    st.sampled_from(["object", "array", "string", "null", "a", "#/$defs/a", "#/properties/b", "#", "#/"]),
)
JUNK = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=20,
)
SCHEMAS = st.dictionaries(st.sampled_from(KEYWORDS), JUNK, max_size=5)


@settings(deadline=None)
@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b"]), JUNK))
def test_no_schema_breaks_a_declaration_or_a_call(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    tools = [tool("a").model_copy(update={"input_schema": schema})]
    for api in APIS:
        assert len(api.declarations(tools)) == 1
        [call] = api.tool_calls(answer(api, ("a", arguments)), tools)
        assert call.problem is None


@settings(deadline=None)
@given(SCHEMAS)
def test_what_is_strict_has_all_its_properties_required_and_no_others(schema: dict[str, Any]) -> None:
    strict = strict_schema(schema)
    if strict is not None:
        assert strict["type"] == "object"
        assert strict["additionalProperties"] is False
        assert strict["required"] == list(strict["properties"])
