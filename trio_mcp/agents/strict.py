"""OpenAI's strict mode: the arguments always fit the schema, if the schema is of the part that it takes.

"Supported schemas" in https://developers.openai.com/api/docs/guides/structured-outputs: each object has all
its properties as required ones and no others, so what may be left out is given as null instead; and there are
no alternatives but `anyOf`. Not every schema can be said so: a mapping with keys of any name cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .schemas import (
    Schema,
    alone,
    alternatives,
    described,
    input_schema,
    properties_of,
    required_of,
    single,
    transform,
)

__all__ = ["strict_schema", "without_nulls"]

_KEYWORDS: Final = frozenset(
    [
        "type",
        "title",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "definitions",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "maxItems",
        "pattern",
        "format",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
    ]
)
_FORMATS: Final = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
_INEXPRESSIBLE: Final = frozenset(
    [
        "patternProperties",
        "unevaluatedProperties",
        "propertyNames",
        "dependentSchemas",
        "dependentRequired",
        "allOf",
        "not",
        "if",
        "then",
        "else",
        "prefixItems",
        "contains",
    ]
)


class _NotStrict(Exception):
    """The schema cannot be said in strict mode."""


def strict_schema(schema: Mapping[str, Any]) -> Schema | None:
    """A tool's input schema for strict mode, or None if it cannot be said there."""
    top, left = input_schema(schema)
    if left or top.get("additionalProperties") not in (None, False, True):
        return None
    try:
        return transform({**top, "additionalProperties": False}, _strict)
    except _NotStrict:
        return None


def _strict(schema: Schema) -> Schema:
    schema = dict(single(schema))
    if "oneOf" in schema:
        schema.setdefault("anyOf", schema.pop("oneOf"))
    if not _INEXPRESSIBLE.isdisjoint(schema):
        raise _NotStrict
    kept = set(_KEYWORDS)
    if schema.get("format") not in _FORMATS:
        kept.discard("format")
    if "(?" in str(schema.get("pattern")):  # looking around is not supported, nor are flags
        kept.discard("pattern")
    schema = alone(described(schema, kept))
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "array" in kinds and not isinstance(schema.get("items"), dict):
        raise _NotStrict
    if "object" in kinds or "properties" in schema:
        return _closed(schema)
    if kinds == [None] and {"anyOf", "$ref", "enum", "const"}.isdisjoint(schema):
        raise _NotStrict  # anything fits it, an object with any keys among it
    return schema


def _closed(schema: Schema) -> Schema:
    properties, required = schema.get("properties"), required_of(schema)
    if not isinstance(properties, dict) or not all(isinstance(each, dict) for each in properties.values()):
        raise _NotStrict
    if schema.get("additionalProperties") not in (None, False, True) or "anyOf" in schema:
        raise _NotStrict
    return {
        **schema,
        "properties": {
            name: each if name in required else _nullable(each) for name, each in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _nullable(schema: Schema) -> Schema:
    if _takes_null(schema, {}):
        return schema
    kind = schema.get("type")
    if isinstance(kind, str) and {"enum", "const"}.isdisjoint(schema):
        return {**schema, "type": [kind, "null"]}
    inner = {key: value for key, value in schema.items() if key != "description"}
    about = {key: value for key, value in schema.items() if key == "description"}
    return {**about, "anyOf": [inner, {"type": "null"}]}


def without_nulls(arguments: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` without the nulls by which a model leaves out what may be left out and cannot be null.

    Args:
        arguments: as the model gave them.
        schema: the tool's own input schema.
    """
    top, _ = input_schema(schema)
    result: dict[str, Any] = _without(arguments, top, schema)
    return result


def _without(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    choices = alternatives(schema, root)
    if isinstance(value, list):
        items = next((each["items"] for each in choices if "items" in each), None)
        return [_without(each, items, root) for each in value]
    if not isinstance(value, dict):
        return value
    # In strict mode an object has all of its properties: that tells alternatives apart.
    for each in choices:
        properties, required = properties_of(each), required_of(each)
        if properties and value.keys() <= properties.keys():
            return {
                name: _without(held, properties[name], root)
                for name, held in value.items()
                if held is not None or name in required or _takes_null(properties[name], root)
            }
    return value


def _takes_null(schema: Any, root: Mapping[str, Any]) -> bool:
    choices = alternatives(schema, root)
    if not choices:
        return True  # the schema `true`, or none
    # What the schema says itself holds for all that it is made of.
    first = _says_null(choices[0])
    return first if first is not None else any(_says_null(each) for each in choices)


def _says_null(schema: Mapping[str, Any]) -> bool | None:
    """Whether a schema takes null, by its own keywords; None if others say it."""
    if "type" in schema:
        kinds = schema["type"]
        return "null" in kinds if isinstance(kinds, list) else bool(kinds == "null")
    if "enum" in schema or "const" in schema:
        values = schema.get("enum")
        return (isinstance(values, list) and None in values) or schema.get("const", "") is None
    return None if {"anyOf", "oneOf", "allOf", "$ref"} & schema.keys() else True
