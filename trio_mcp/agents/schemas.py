"""JSON Schemas of tools, made to fit: the APIs take parts of JSON Schema, each another one.

A tool's schema may use all of JSON Schema (26/server/tools), and the server holds the arguments to it in any
case. So what a model's API does not take is moved into a description, where the model can still read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from pydantic_core import to_json

__all__ = [
    "Schema",
    "alone",
    "alternatives",
    "described",
    "input_schema",
    "properties_of",
    "required_of",
    "resolve",
    "single",
    "transform",
    "with_items",
]

Schema: TypeAlias = dict[str, Any]

_SINGLE: Final = {
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
}
_LISTS: Final = {"allOf", "anyOf", "oneOf", "prefixItems"}
_MAPS: Final = {"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"}

_NOT_AT_THE_TOP: Final = ("allOf", "anyOf", "oneOf", "enum", "const", "not", "if", "then", "else")
_MAX_REFS: Final = 20


def transform(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """`schema` with `change` applied to each schema in it, the outermost first. Nothing given is changed.

    So what `change` makes a text of is as the server wrote it. The innermost first, texts would stand in
    texts, each quoted in the next one: a schema of 50 levels would have petabytes.
    The schema `true` becomes `{}`, but where it says that there may be more.
    """

    def inner(value: Any) -> Any:
        value = {} if value is True else value
        return transform(value, change) if isinstance(value, dict) else value

    result: Schema = {}
    for key, value in change(schema).items():
        if key in _SINGLE:
            result[key] = value if isinstance(value, bool) else inner(value)
        elif key in _LISTS and isinstance(value, list):
            result[key] = [inner(each) for each in value]
        elif key in _MAPS and isinstance(value, dict):
            result[key] = {name: inner(each) for name, each in value.items()}
        else:
            result[key] = value
    return result


def input_schema(schema: Mapping[str, Any]) -> tuple[Schema, str]:
    """A tool's input schema as an object without alternatives at its top, and a sentence about those, or "".

    OpenAI and Anthropic refuse a request in which one tool's schema has `anyOf` and its like at the top. The
    properties of the alternatives become the object's; the sentence is for the tool's description.
    """
    if "$ref" in schema:
        schema = {**resolve(schema, schema), **{key: value for key, value in schema.items() if key != "$ref"}}
    top = {key: value for key, value in schema.items() if key not in _NOT_AT_THE_TOP and key != "$schema"}
    properties = dict(properties_of(top))
    for each in alternatives(schema, schema):
        for name, held in properties_of(each).items():
            properties.setdefault(name, held)
    left = {key: schema[key] for key in _NOT_AT_THE_TOP if key in schema}
    note = f"The arguments must also fit this JSON Schema: {_text(left)}" if left else ""
    return {**top, "type": "object", "properties": properties}, note


def properties_of(schema: Mapping[str, Any]) -> Schema:
    """The `properties` of a schema; empty if there are none, or no mapping."""
    held = schema.get("properties")
    return held if isinstance(held, dict) else {}


def required_of(schema: Mapping[str, Any]) -> list[Any]:
    """What is `required` by a schema; empty if there is nothing, or no list."""
    held = schema.get("required")
    return held if isinstance(held, list) else []


def alternatives(schema: Any, root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A schema, and what it is made of by `anyOf`, `oneOf` and `allOf`, however deep.

    A `$ref` into `root` is followed. Each is there once: they may refer to each other in circles.
    """
    found: dict[int, Mapping[str, Any]] = {}
    left: list[Any] = [schema]
    while left:
        each = resolve(left.pop(), root)
        if isinstance(each, Mapping) and id(each) not in found:
            found[id(each)] = each
            for key in ("oneOf", "anyOf", "allOf"):
                held = each.get(key)
                left.extend(reversed(held) if isinstance(held, list) else ())
    return list(found.values())


def resolve(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a schema that is a `$ref` into `root` refers to; itself if it is none, or leads nowhere."""
    for _ in range(_MAX_REFS):
        ref = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(ref, str) or not ref.startswith("#/"):
            break
        found: Any = root
        for step in ref[2:].split("/"):
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            break
        schema = found
    return schema


def with_items(schema: Schema) -> Schema:
    """An array says what it has: the APIs refuse one that does not."""
    kind, items = schema.get("type"), schema.get("items")
    if isinstance(items, list):  # draft 7's way to say what each item is
        return {**schema, "items": {"anyOf": items} if items else {}}
    if (kind == "array" or (isinstance(kind, list) and "array" in kind)) and not isinstance(items, dict):
        return {**schema, "items": {}}
    return schema


def single(schema: Schema) -> Schema:
    """`allOf` with one schema, as some generators write a reference, is `anyOf` with one."""
    all_of = schema.get("allOf")
    if not isinstance(all_of, list) or len(all_of) != 1 or "anyOf" in schema:
        return schema
    return {**{key: value for key, value in schema.items() if key != "allOf"}, "anyOf": all_of}


def alone(schema: Schema) -> Schema:
    """A `$ref` stands alone, and what stood beside it around it."""
    if "$ref" not in schema or len(schema) == 1:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**beside, "anyOf": [{"$ref": schema["$ref"]}]}


def described(schema: Schema, kept: Iterable[str]) -> Schema:
    """`schema` with the keywords `kept`, and the others in its description."""
    kept = {*kept, "description"}
    result = {key: value for key, value in schema.items() if key in kept}
    other = {
        key: value
        for key, value in schema.items()
        if key not in kept and key not in ("$schema", "$comment") and not key.startswith("x-")
    }
    if other.get("default", "") is None:
        del other["default"]  # what is optional says that already
    if other:
        text = _text(other)[1:-1]
        result["description"] = f"{result['description']} ({text})" if result.get("description") else text
    return result


def _text(value: Any) -> str:
    return to_json(value).decode()
