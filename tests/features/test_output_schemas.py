"""Output schemas come from servers, and the tests from the malicious ones among them."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import mcp_types as types
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import json_values, repeatable
from trio_mcp.errors import InvalidOutput
from trio_mcp.features import bounded_keywords
from trio_mcp.features.output_schemas import OutputSchema, OutputSchemas

EVIL: Final = "^(a+)+$"
VICTIM: Final = "a" * 60 + "!"
DIALECTS: Final = {
    "draft 3": "http://json-schema.org/draft-03/schema#",
    "draft 4": "http://json-schema.org/draft-04/schema#",
    "draft 6": "http://json-schema.org/draft-06/schema#",
    "draft 7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}


def refusal(schema: dict[str, Any], instance: object) -> str:
    with pytest.raises(InvalidOutput) as caught:
        OutputSchema(schema).validate(instance)
    return str(caught.value)


@pytest.fixture
def no_re(monkeypatch: pytest.MonkeyPatch) -> None:
    """`re`, which cannot be interrupted, must never see a pattern of the server with a text of the server."""
    search = re.search

    def guarded(pattern: Any, string: Any, *args: Any) -> Any:
        if pattern == EVIL:
            raise AssertionError("re was asked to match the server's pattern")
        return search(pattern, string, *args)

    monkeypatch.setattr(re, "search", guarded)


# What is checked, and what is not


def tool(name: str, schema: dict[str, Any] | None) -> types.Tool:
    return types.Tool.model_validate(
        {"name": name, "inputSchema": {"type": "object"}, "outputSchema": schema}
    )


def result(**fields: Any) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": []} | fields)


def learned(schema: dict[str, Any] | None) -> OutputSchemas:
    schemas = OutputSchemas()
    schemas.learn([tool("t", schema)])
    return schemas


NUMBERS: Final = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}


def test_content_that_fits_passes_again_and_again() -> None:
    schemas = learned(NUMBERS)
    for number in (1, 2.5):
        schemas.check("t", result(structuredContent={"n": number}))


def test_content_that_does_not_fit_is_refused_with_the_place() -> None:
    with pytest.raises(InvalidOutput, match=r"not valid at \$\.n: 'x' is not of type 'number'"):
        learned(NUMBERS).check("t", result(structuredContent={"n": "x"}))


def test_missing_content_is_refused() -> None:
    with pytest.raises(InvalidOutput, match="has no structured content"):
        learned(NUMBERS).check("t", result())


def test_null_is_content_and_is_checked() -> None:
    learned({"type": "null"}).check("t", result(structuredContent=None))
    with pytest.raises(InvalidOutput, match="None is not of type 'object'"):
        learned(NUMBERS).check("t", result(structuredContent=None))


def test_a_tools_own_failure_is_not_checked() -> None:
    learned(NUMBERS).check("t", result(isError=True))
    learned(NUMBERS).check("t", result(isError=True, structuredContent={"n": "x"}))


def test_a_tool_without_a_schema_is_not_checked() -> None:
    learned(None).check("t", result(structuredContent={"n": "x"}))
    learned(None).check("t", result())


def test_a_tool_that_was_never_listed_is_not_checked() -> None:
    learned(NUMBERS).check("other", result())


def test_listing_a_tool_again_replaces_its_schema() -> None:
    schemas = learned(NUMBERS)
    schemas.check("t", result(structuredContent={"n": 1}))
    schemas.learn([tool("t", {"type": "string"}), tool("u", None)])
    schemas.check("t", result(structuredContent="x"))
    with pytest.raises(InvalidOutput):
        schemas.check("t", result(structuredContent={"n": 1}))
    schemas.learn([tool("t", None)])
    schemas.check("t", result())


def test_a_schema_that_is_not_usable_fails_the_call_and_not_the_listing() -> None:
    schemas = learned({"type": 5})
    for _ in range(2):
        with pytest.raises(InvalidOutput, match="output schema is not valid"):
            schemas.check("t", result(structuredContent={}))


# Dialects


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_schema_is_evaluated_by_the_dialect_it_names(dialect: str) -> None:
    schema = OutputSchema({"$schema": dialect, "properties": {"n": {"type": "number"}}})
    schema.validate({"n": 1})
    with pytest.raises(InvalidOutput, match=r"not valid at \$\.n"):
        schema.validate({"n": "x"})


def test_dialects_differ() -> None:
    schema = {"properties": {"a": {"items": [{"type": "string"}]}}}
    assert "$.a[0]" in refusal({"$schema": DIALECTS["draft 7"], **schema}, {"a": [1]})
    assert "output schema is not valid" in refusal({"$schema": DIALECTS["2020-12"], **schema}, {"a": [1]})


def test_without_a_name_it_is_2020_12() -> None:
    schema = {"prefixItems": [{"type": "string"}]}
    assert "$[0]" in refusal(schema, [1])
    OutputSchema({"$schema": DIALECTS["draft 7"], **schema}).validate([1])


@pytest.mark.parametrize("dialect", ["https://example.com/own", "", 5, None, [], {}])
def test_an_unsupported_dialect_is_refused(dialect: object) -> None:
    assert "dialect that is not supported" in refusal({"$schema": dialect}, {})


def test_formats_are_not_checked() -> None:
    OutputSchema({"format": "email"}).validate("x")


@pytest.mark.parametrize(
    "schema", [{"type": "nope"}, {"required": "n"}, {"properties": []}, {"minimum": "x"}]
)
def test_a_schema_that_is_not_valid_is_refused(schema: dict[str, Any]) -> None:
    assert "output schema is not valid" in refusal(schema, {})


def test_long_messages_are_cut() -> None:
    assert len(refusal({"type": "object"}, "x" * 10_000)) < 500
    assert len(refusal({"type": "x" * 10_000}, {})) < 500


# References


@pytest.mark.parametrize(
    "reference",
    [
        "https://127.0.0.1:1/schema",
        "http://127.0.0.1:1/schema#/definitions/x",
        "file:///etc/passwd",
        "//127.0.0.1/x",
        "other.json",
        "urn:x",
        "#/$defs/missing",
        "#missing",
    ],
)
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_reference_to_the_outside_is_refused_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, reference: str, keyword: str
) -> None:
    attempts: list[object] = []

    def refuse(*args: object, **kwargs: object) -> Any:
        attempts.append(args)
        raise OSError("no")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr("builtins.open", refuse)
    message = refusal({"$id": "https://127.0.0.1:1/", "properties": {"n": {keyword: reference}}}, {"n": 1})
    monkeypatch.undo()
    assert "refers to something outside of itself" in message
    assert attempts == []


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_reference_within_the_schema_is_followed(dialect: str) -> None:
    schema = {
        "$schema": dialect,
        "properties": {"n": {"$ref": "#/definitions/number"}},
        "definitions": {"number": {"type": "number"}},
    }
    OutputSchema(schema).validate({"n": 1})
    assert "$.n" in refusal(schema, {"n": "x"})


def test_a_recursive_schema_follows_the_value() -> None:
    schema = {"properties": {"next": {"$ref": "#"}}, "required": ["n"]}
    OutputSchema(schema).validate({"n": 1, "next": {"n": 2}})
    assert "$.next" in refusal(schema, {"n": 1, "next": {}})


# Patterns


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"pattern": "^a+$"}, ["aa", 5, {}], ["b", ""]),
        ({"patternProperties": {"^a": {"type": "number"}}}, [{"a": 1, "b": "x"}, 5], [{"ab": "x"}]),
        ({"additionalProperties": False}, [{}, 5], [{"a": 1}]),
        ({"additionalProperties": True}, [{"a": 1}], []),
        ({"additionalProperties": {"type": "number"}}, [{"a": 1}], [{"a": "x"}]),
        (
            {"properties": {"p": True}, "patternProperties": {"^x-": True}, "additionalProperties": False},
            [{"p": 1, "x-a": 1}],
            [{"q": 1}, {"a-x-": 1}],
        ),
        ({"propertyNames": {"pattern": "^a"}}, [{"a": 1}], [{"b": 1}]),
        ({"properties": {"a": True}, "unevaluatedProperties": False}, [{"a": 1}], [{"b": 1}]),
    ],
)
def test_keywords_written_anew_mean_what_they_meant(
    no_re: None, schema: dict[str, Any], fits: list[object], does_not: list[object]
) -> None:
    compiled = OutputSchema(schema)
    for instance in fits:
        compiled.validate(instance)
    for instance in does_not:
        with pytest.raises(InvalidOutput, match="structured content is not valid"):
            compiled.validate(instance)


def test_the_place_of_a_property_by_pattern_is_named() -> None:
    assert "$.ab" in refusal({"patternProperties": {"^a": {"type": "number"}}}, {"ab": "x"})
    assert "$.c" in refusal({"additionalProperties": {"type": "number"}}, {"c": "x"})


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"properties": {"a": {"pattern": EVIL}}}, {"a": VICTIM}),
        ({"patternProperties": {EVIL: {}}}, {VICTIM: 1}),
        ({"patternProperties": {EVIL: {}}, "additionalProperties": False}, {VICTIM: 1}),
    ],
    ids=["pattern", "patternProperties", "additionalProperties"],
)
def test_an_evil_pattern_does_not_block(
    no_re: None, dialect: str, schema: dict[str, Any], instance: dict[str, Any]
) -> None:
    try:
        OutputSchema({"$schema": dialect, **schema}).validate(instance)
    except InvalidOutput as exc:
        assert "too expensive" in str(exc) or "not valid at $" in str(exc)


NAMES: Final = [str(n) for n in range(3000)]


@pytest.mark.parametrize(
    ("keyword", "item"),
    [({"required": NAMES}, dict.fromkeys(NAMES, 0)), ({"const": NAMES}, NAMES), ({"enum": [NAMES]}, NAMES)],
)
def test_a_long_keyword_costs_what_it_compares(keyword: dict[str, Any], item: object) -> None:
    schema = {"items": {"allOf": [{"$ref": "#/$defs/a"}] * 100}, "$defs": {"a": keyword}}
    assert "too expensive" in refusal(schema, [item] * 100)


@pytest.mark.parametrize("keyword", ["pattern", "patternProperties", "additionalProperties"])
def test_a_pattern_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, keyword: str) -> None:
    def search(pattern: str, text: str, *, timeout: float) -> None:
        assert 0 < timeout <= 0.5
        raise TimeoutError

    monkeypatch.setattr(regex, "search", search)
    schemas: dict[str, dict[str, Any]] = {
        "pattern": {"pattern": EVIL},
        "patternProperties": {"patternProperties": {EVIL: {}}},
        "additionalProperties": {"additionalProperties": False, "patternProperties": {EVIL: {}}},
    }
    instance: object = VICTIM if keyword == "pattern" else {VICTIM: 1}
    assert "too expensive to evaluate; validate_output=False does without" in refusal(
        schemas[keyword], instance
    )


def test_a_pattern_that_the_safe_matcher_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(pattern: str, text: str, *, timeout: float) -> None:
        raise regex.error("own", pattern)

    monkeypatch.setattr(regex, "search", search)
    assert "pattern that is not valid: 'a'" in refusal({"pattern": "a"}, "a")


@pytest.mark.parametrize("dialect", ["2019-09", "2020-12"])
def test_unevaluated_properties_beside_patterns_are_refused(no_re: None, dialect: str) -> None:
    schema = {
        "$schema": DIALECTS[dialect],
        "allOf": [{"patternProperties": {EVIL: {}}}],
        "unevaluatedProperties": False,
    }
    assert "cannot evaluate safely; validate_output=False does without" in refusal(schema, {VICTIM: 1})


NESTED_DIALECT: Final = (
    "jsonschema's Validator.evolve takes the class of a subschema's own `$schema`, the unbounded one: "
    "`re` matches the pattern, and no step is counted"
)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$schema": DIALECTS["2020-12"], "pattern": EVIL}}},
        {"properties": {"a": {"$schema": DIALECTS["draft 7"], "pattern": EVIL}}},
        {"$schema": DIALECTS["2020-12"], "properties": {"a": {"$ref": "#"}}, "pattern": EVIL},
    ],
    ids=["the same dialect", "another dialect", "a reference to the root"],
)
def test_a_dialect_further_in_does_not_bring_the_blocking_matcher_back(
    no_re: None, schema: dict[str, Any]
) -> None:
    with suppress(InvalidOutput):
        OutputSchema(schema).validate({"a": VICTIM})


def test_all_matches_together_have_a_bound_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    matches = 0

    def search(pattern: str, text: str, *, timeout: float) -> bool:
        nonlocal now, matches
        matches += 1
        now += 0.09
        if timeout < 0.09:
            raise TimeoutError
        return True

    monkeypatch.setattr(regex, "search", search)
    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: now)
    with suppress(InvalidOutput):
        OutputSchema({"items": {"pattern": "x"}}).validate(["x"] * 100)
    assert now < 2, f"{matches} matches took {now:.0f} s"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^\\p{L}+$", "Ünï"),
        ("^(\\p{Extended_Pictographic}|\\p{Emoji_Component})+$", "😀"),
        ("^(?<y>[0-9]+)$", "12"),
    ],
)
def test_patterns_of_javascript_are_understood(pattern: str, text: str) -> None:
    OutputSchema({"pattern": pattern}).validate(text)


# Bounds


def test_a_schema_with_exponentially_many_steps_is_refused() -> None:
    definitions = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": definitions | {"d40": {"type": "null"}}}
    assert "too expensive to evaluate" in refusal(schema, 1)


@pytest.mark.parametrize("keyword", ["patternProperties", "additionalProperties"])
def test_many_patterns_for_many_names_are_refused(monkeypatch: pytest.MonkeyPatch, keyword: str) -> None:
    searches = 0

    def search(pattern: str, text: str, *, timeout: float) -> None:
        nonlocal searches
        searches += 1

    monkeypatch.setattr(regex, "search", search)
    schema: dict[str, Any] = {"patternProperties": {f"^{n}$": {} for n in range(500)}}
    if keyword == "additionalProperties":  # it comes first, and matches the names by itself
        schema = {"additionalProperties": {}, **schema}
    assert "too expensive to evaluate" in refusal(schema, {str(n): 0 for n in range(1000)})
    assert searches <= 200_000


@pytest.mark.parametrize("reference", ["$ref", "$dynamicRef"])
def test_a_schema_that_refers_to_itself_for_ever_is_refused(reference: str) -> None:
    assert "too expensive to evaluate" in refusal({reference: "#"}, 1)


def test_the_budget_is_for_each_validation_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_keywords, "_MAX_STEPS", 200)
    schema = OutputSchema({"items": {"type": "number"}})
    for _ in range(3):
        schema.validate([1] * 99)
    with pytest.raises(InvalidOutput, match="too expensive"):
        schema.validate([1] * 100)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"enum": list(range(20_001))}, id="a long list"),
        pytest.param({"properties": {str(n): {} for n in range(20_001)}}, id="many properties"),
        pytest.param({"properties": [[]] * 20_001}, id="lists of lists"),
    ],
)
def test_a_schema_that_is_too_large_is_refused(schema: dict[str, Any]) -> None:
    assert refusal(schema, {}) == "the tool's output schema is too large"


def nested(depth: int, child: Any) -> Any:
    for _ in range(depth):
        child = {"not": child}
    return child


def test_a_schema_that_is_too_deep_is_refused() -> None:
    assert refusal(nested(101, {}), {}) == "the tool's output schema is too large"
    assert refusal(nested(100_000, {}), {}) == "the tool's output schema is too large"
    OutputSchema(nested(50, {})).validate({})


def call_from(depth: int, function: Callable[[], object]) -> None:
    if depth:
        call_from(depth - 1, function)
    else:
        function()


def test_a_deep_schema_is_no_trouble_to_a_deep_program() -> None:
    with suppress(InvalidOutput):
        call_from(300, lambda: OutputSchema(nested(99, {})))


SLOW: Final = "is not counted: the time that it takes grows with the square of the value"


class Comparisons:
    """Counts what its keys are compared with."""

    def __init__(self) -> None:
        self.count = 0
        outer = self

        class Key(str):
            __slots__ = ()
            __hash__ = str.__hash__

            def __eq__(self, other: object) -> bool:
                outer.count += 1
                return str.__eq__(self, other)

        self.key = Key


def test_unique_items_do_not_take_the_square_of_their_number() -> None:
    seen = Comparisons()
    with suppress(InvalidOutput):
        OutputSchema({"uniqueItems": True}).validate([{"x": seen.key(n)} for n in range(600)])
    assert seen.count < 100_000


def test_unevaluated_properties_do_not_take_the_square_of_their_number() -> None:
    seen = Comparisons()
    schema = {"allOf": [{"additionalProperties": True}], "unevaluatedProperties": False}
    with suppress(InvalidOutput):
        OutputSchema(schema).validate({seen.key(n): n for n in range(3000)})
    assert seen.count < 100_000


def test_a_long_enum_costs_more_than_one_step() -> None:
    seen = Comparisons()
    enum = [seen.key(n) for n in range(1000)]
    with suppress(InvalidOutput):
        OutputSchema({"items": {"enum": enum}}).validate(["999"] * 3000)
    assert seen.count < 2_100_000


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 2, True, "1", None, [1], {"a": 1}], True),
        ([1, 1.0], False),
        ([{"a": [1, 2]}, {"a": [1, 2]}], False),
        ([[1, 2], [2, 1]], True),
        ("not a list", True),
    ],
)
def test_unique_items_are_compared_as_json(items: object, unique: bool) -> None:
    schema = OutputSchema({"uniqueItems": True})
    if unique:
        schema.validate(items)
    else:
        with pytest.raises(InvalidOutput, match="not unique"):
            schema.validate(items)
    OutputSchema({"uniqueItems": False}).validate(items)


def test_a_pattern_that_takes_long_to_compile_is_refused() -> None:
    assert "too expensive" in refusal({"pattern": "|".join(map(str, range(5000)))}, "x")


# Whatever a server sends

ODD: Final = "OutputSchema lets an error of jsonschema's own out, which is no InvalidOutput: "


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({"$ref": "#/x", "x": 5}, 1),
        ({"$ref": "#/x", "x": ["type"]}, 1),
        ({"$ref": "#/x", "x": {"type": "nope"}}, 1),
        ({"$ref": "#/x", "x": {"minimum": "q"}}, 1),
        ({"$ref": "#/x", "x": {"$ref": 5}}, 1),
        ({"multipleOf": 0.1}, 10**400),
    ],
    ids=[
        "a number",
        "a list",
        "an unknown type",
        "a bound that is text",
        "no text",
        "a huge number",
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(schema: dict[str, Any], instance: object) -> None:
    refusal(schema, instance)


keywords: Final = st.sampled_from(
    [
        "type",
        "enum",
        "const",
        "minimum",
        "multipleOf",
        "maxLength",
        "items",
        "prefixItems",
        "contains",
        "uniqueItems",
        "properties",
        "required",
        "additionalProperties",
        "unevaluatedItems",
        "unevaluatedProperties",
        "anyOf",
        "allOf",
        "not",
        "if",
        "then",
        "$defs",
        "dependentSchemas",
        "propertyNames",
    ]
)
schemas: Final[st.SearchStrategy[Any]] = st.recursive(
    st.booleans()
    | st.sampled_from(["string", "number", "object"])
    | st.integers()
    | st.just({"type": "string"}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keywords | st.sampled_from(["a", "b"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@repeatable
@given(st.dictionaries(keywords, schemas, max_size=4), json_values)
def test_any_schema_and_any_value_pass_or_are_refused(schema: dict[str, Any], value: Any) -> None:
    try:
        OutputSchema(schema).validate(value)
    except InvalidOutput as exc:
        assert str(exc)
