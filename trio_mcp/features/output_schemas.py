"""`structuredContent` against the tool's `outputSchema`, by the schema's own dialect.

A schema comes from a server that may be malicious (26/basic/index, "Schema Validation"): nothing is
fetched, a pattern has a bound in time, and everything else one in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import mcp_types as types

from ..errors import InvalidOutput

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["OutputSchema", "OutputSchemas"]

_DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MAX_STEPS: Final = 100_000
"""Keywords that one validation may evaluate: some tenths of a second."""
_MAX_SCHEMA_NODES: Final = 20_000
_MAX_DEPTH: Final = 100
_PATTERN_SECONDS: Final = 0.1
_MAX_MESSAGE: Final = 300
# Resolving a reference costs about ten times what another keyword does.
_COSTS: Final = {"$ref": 10, "$dynamicRef": 10, "$recursiveRef": 10}


class OutputSchemas:
    """The output schemas of one server's tools, as of the last time they were listed."""

    def __init__(self) -> None:
        self._schemas: dict[str, Mapping[str, Any] | None] = {}
        self._compiled: dict[str, OutputSchema] = {}

    def learn(self, tools: list[types.Tool]) -> None:
        """Remember the schemas of `tools`."""
        for tool in tools:
            self._schemas[tool.name] = tool.output_schema
            self._compiled.pop(tool.name, None)

    def check(self, name: str, result: types.CallToolResult) -> None:
        """Validate the structured content of a result of the tool `name`.

        A tool that was never listed, or that has no schema, is not checked; nor is an error.

        Raises:
            InvalidOutput: the content is missing or does not fit, or the schema is not usable.
        """
        schema = self._schemas.get(name)
        if schema is None or result.is_error:
            return
        if "structured_content" not in result.model_fields_set:
            raise InvalidOutput("the tool has an output schema, but its result has no structured content")
        if name not in self._compiled:
            self._compiled[name] = OutputSchema(schema)
        self._compiled[name].validate(result.structured_content)


class OutputSchema:
    """One schema, ready to validate with.

    Raises:
        InvalidOutput: it is not valid, too large, or of a dialect that is not supported.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        import jsonschema
        import referencing.jsonschema

        dialect = schema.get("$schema", _DEFAULT_DIALECT)
        has_pattern_properties = _inspect(schema)
        kind = _bounded_validator(dialect) if isinstance(dialect, str) else None
        if kind is None:
            raise InvalidOutput(f"the tool's output schema has a dialect that is not supported: {dialect!r}")
        try:
            kind.check_schema(dict(schema))
        except jsonschema.SchemaError as exc:
            raise InvalidOutput(
                f"the tool's output schema is not valid: {exc.message[:_MAX_MESSAGE]}"
            ) from exc
        # No format is checked: the format checker only carries these two to the keywords.
        carrier: Any = jsonschema.FormatChecker(formats=())
        self._carrier = carrier
        self._carrier.has_pattern_properties = has_pattern_properties
        # An empty registry: jsonschema's own default would fetch what a $ref names.
        registry = referencing.jsonschema.EMPTY_REGISTRY
        self._validator = kind(schema, registry=registry, format_checker=self._carrier)

    def validate(self, instance: object) -> None:
        """Check `instance`, a JSON value.

        Raises:
            InvalidOutput: it does not fit; or the schema refers to something outside of itself, or is too
                expensive to evaluate.
        """
        import referencing.exceptions

        self._carrier.budget = _Budget()
        try:
            failure = next(self._validator.iter_errors(cast("Any", instance)), None)
        except referencing.exceptions.Unresolvable as exc:
            raise InvalidOutput(
                f"the tool's output schema refers to something outside of itself: {exc.ref!r}"
            ) from exc
        except (_OverBudget, RecursionError, TimeoutError) as exc:
            raise InvalidOutput(
                "the tool's output schema is too expensive to evaluate; validate_output=False does without"
            ) from exc
        if failure is not None:
            message = failure.message[:_MAX_MESSAGE]
            raise InvalidOutput(
                f"the tool's structured content is not valid at {failure.json_path}: {message}"
            )


def _inspect(schema: object) -> bool:
    """Refuse a schema that is too large; tell whether `patternProperties` occurs in it."""
    nodes, found = 0, False
    left: list[tuple[object, int]] = [(schema, 0)]
    while left:
        node, depth = left.pop()
        nodes += 1
        if nodes > _MAX_SCHEMA_NODES or depth > _MAX_DEPTH:
            raise InvalidOutput("the tool's output schema is too large")
        if isinstance(node, dict):
            found = found or "patternProperties" in node
            left.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            left.extend((child, depth + 1) for child in node)
    return found


class _OverBudget(Exception):
    pass


class _Budget:
    def __init__(self) -> None:
        self._steps = 0

    def spend(self, cost: int = 1) -> None:
        self._steps += cost
        if self._steps > _MAX_STEPS:
            raise _OverBudget


@cache
def _bounded_validator(dialect: str) -> type[Validator] | None:
    """The validator class of a dialect, with each keyword on the budget; None for an unknown dialect."""
    import jsonschema.validators

    kind = jsonschema.validators.validator_for({"$schema": dialect}, default=cast("Any", None))
    if kind is None:
        return None
    keywords = kind.VALIDATORS | {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _guarded(kind.VALIDATORS.get("unevaluatedProperties")),
    }
    counted = {name: _counted(name, keyword) for name, keyword in keywords.items() if keyword is not None}
    bounded: type[Validator] = jsonschema.validators.extend(kind, counted)  # type: ignore[no-untyped-call]
    return bounded


Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def _counted(name: str, keyword: Keyword) -> Keyword:
    cost = _COSTS.get(name, 1)

    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        validator.format_checker.budget.spend(cost)
        return keyword(validator, value, instance, schema)

    return run


# jsonschema matches patterns by `re`, which cannot be interrupted: `^(a+)+$` would block the loop for
# minutes. So all keywords that match one are written anew, or refused.


def _matches(pattern: str, text: str) -> bool:
    import regex

    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS) is not None
    except regex.error as exc:
        raise InvalidOutput(f"the tool's output schema has a pattern that is not valid: {pattern!r}") from exc


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                validator.format_checker.budget.spend()
                if _matches(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, each in instance.items():
        if name in known:
            continue
        validator.format_checker.budget.spend(1 + len(patterns))
        if not any(_matches(pattern, name) for pattern in patterns):
            if value is False:
                yield ValidationError(f"{name!r} is not a property that it may have")
            else:
                yield from validator.descend(each, value, path=name)


def _guarded(keyword: Keyword | None) -> Keyword | None:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        assert keyword is not None
        if validator.format_checker.has_pattern_properties:
            raise InvalidOutput(
                "the tool's output schema has both unevaluatedProperties and patternProperties, "
                "which trio_mcp cannot evaluate safely; validate_output=False does without"
            )
        return keyword(validator, value, instance, schema)

    return None if keyword is None else run
