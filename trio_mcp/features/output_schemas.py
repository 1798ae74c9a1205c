"""`structuredContent` against the tool's `outputSchema`, by the schema's own dialect.

A schema comes from a server that may be malicious (26/basic/index, "Schema Validation"): nothing is fetched,
and what it may cost is bounded; see `bounded_keywords.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import mcp_types as types

from ..errors import InvalidOutput
from .bounded_keywords import Budget, OverBudget, bounded_validator

if TYPE_CHECKING:
    from jsonschema import ValidationError

__all__ = ["OutputSchema", "OutputSchemas"]

_DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MAX_SCHEMA_NODES: Final = 5_000
_MAX_DEPTH: Final = 100
_MAX_MESSAGE: Final = 300


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
        kind = bounded_validator(dialect) if isinstance(dialect, str) else None
        if kind is None:
            raise InvalidOutput(f"the tool's output schema has a dialect that is not supported: {dialect!r}")
        self._has_pattern_properties = False
        bare = self._inspect(schema, dialect, _Count(), 0)
        # No format is checked: whether a pattern is one is for `regex` to say, and not for `re`. When
        # validating, the format checker carries the budget to the keywords.
        self._carrier: Any = jsonschema.FormatChecker(formats=())
        try:
            kind.check_schema(bare, format_checker=self._carrier)  # type: ignore[call-arg]
        except jsonschema.SchemaError as exc:
            raise InvalidOutput(
                f"the tool's output schema is not valid: {exc.message[:_MAX_MESSAGE]}"
            ) from exc
        except Exception as exc:
            raise _not_evaluated(exc) from exc
        # An empty registry: jsonschema's own default would fetch what a $ref names.
        registry = referencing.jsonschema.EMPTY_REGISTRY
        self._validator = kind(bare, registry=registry, format_checker=self._carrier)

    def _inspect(self, node: Any, dialect: str, count: _Count, depth: int) -> Any:
        """A copy of the schema without `$schema`, if it is of a size that can be dealt with.

        jsonschema would take a validator of its own, without bounds, for each `$schema` that it meets.
        """
        count.nodes += 1
        if count.nodes > _MAX_SCHEMA_NODES or depth > _MAX_DEPTH:
            raise InvalidOutput("the tool's output schema is too large")
        if isinstance(node, list):
            return [self._inspect(child, dialect, count, depth + 1) for child in node]
        if not isinstance(node, dict):
            return node
        self._has_pattern_properties = self._has_pattern_properties or "patternProperties" in node
        inner = node.get("$schema", dialect)
        if isinstance(inner, str) and inner != dialect:
            raise InvalidOutput(f"the tool's output schema has a second dialect in it: {inner!r}")
        return {
            key: self._inspect(child, dialect, count, depth + 1)
            for key, child in node.items()
            if not (key == "$schema" and isinstance(child, str))
        }

    def validate(self, instance: object) -> None:
        """Check `instance`, a JSON value.

        Raises:
            InvalidOutput: it does not fit, or the schema cannot be used; see `failure`.
        """
        failure = self.failure(instance)
        if failure is not None:
            message = failure.message[:_MAX_MESSAGE]
            raise InvalidOutput(
                f"the tool's structured content is not valid at {failure.json_path}: {message}"
            )

    def failure(self, instance: object) -> ValidationError | None:
        """The first reason for which `instance`, a JSON value, does not fit; None if it does.

        Raises:
            InvalidOutput: the schema refers to something outside of itself, makes no sense, or is too
                expensive to evaluate.
        """
        import referencing.exceptions

        self._carrier.budget = Budget(self._has_pattern_properties)
        try:
            return next(self._validator.iter_errors(cast("Any", instance)), None)
        except InvalidOutput:
            raise
        except referencing.exceptions.Unresolvable as exc:
            raise InvalidOutput(
                f"the tool's output schema refers to something outside of itself: {exc.ref!r}"
            ) from exc
        except (OverBudget, RecursionError) as exc:
            raise InvalidOutput(
                "the tool's output schema is too expensive to evaluate; validate_output=False does without"
            ) from exc
        except Exception as exc:
            raise _not_evaluated(exc) from exc


class _Count:
    nodes = 0


def _not_evaluated(exc: Exception) -> InvalidOutput:
    # A schema can be valid and senseless, such as a $ref to what is no schema; jsonschema then stumbles.
    return InvalidOutput(f"the tool's output schema cannot be evaluated: {type(exc).__name__}")
