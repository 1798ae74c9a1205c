"""jsonschema's validators, with a bound on what a schema may cost.

jsonschema knows every dialect, but it has no budget, compares each with each, and matches patterns by `re`,
which cannot be interrupted: `^(a+)+$` would block the loop for minutes. Here each keyword is counted, and the
keywords that match patterns are written anew over `regex`, which has a timeout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ..errors import InvalidOutput

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["Budget", "OverBudget", "bounded_validator"]

_MAX_STEPS: Final = 200_000
"""Keywords that one validation may evaluate, and values that it may descend to: about half a second."""
_MATCH_SECONDS: Final = 0.1
"""For all patterns of one validation together."""
# Resolving a reference costs about ten times what another keyword does, and a comparison a tenth.
_REFERENCE: Final = 10
_MAX_PATTERN: Final = 5_000
_COMPARING: Final = frozenset({"enum", "const", "required", "dependentRequired", "dependencies"})
_DESCENDING: Final = frozenset({"items", "additionalItems", "contains", "propertyNames"})
_COMPARISONS: Final = 10

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


class OverBudget(Exception):
    """The schema is too expensive."""


class Budget:
    """What one validation may still cost; its keywords find it at `validator.format_checker.budget`."""

    def __init__(self, has_pattern_properties: bool) -> None:
        self.has_pattern_properties: bool = has_pattern_properties
        self._steps = _MAX_STEPS
        self._seconds = _MATCH_SECONDS

    def spend(self, steps: int = 1) -> None:
        """Take off `steps`."""
        self._steps -= steps
        if self._steps < 0:
            raise OverBudget

    def matches(self, pattern: str, text: str) -> bool:
        """Whether `pattern` is found in `text`, within the time that is left."""
        import regex

        self.spend()
        if len(pattern) > _MAX_PATTERN:
            raise OverBudget
        # The processor's time, which no test's clock knows: it only ever ends a validation that runs away.
        began = time.perf_counter()
        try:
            return regex.search(pattern, text, timeout=max(self._seconds, 1e-6)) is not None
        except TimeoutError as exc:
            raise OverBudget from exc
        except regex.error as exc:
            raise InvalidOutput(
                f"the tool's output schema has a pattern that is not valid: {pattern!r}"
            ) from exc
        finally:
            self._seconds -= time.perf_counter() - began


@cache
def bounded_validator(dialect: str) -> type[Validator] | None:
    """The validator class of a dialect, each of its keywords on the budget; None for an unknown dialect."""
    import jsonschema.validators

    kind = jsonschema.validators.validator_for({"$schema": dialect}, default=cast("Any", None))
    if kind is None:
        return None
    keywords: dict[str, Keyword] = {
        **kind.VALIDATORS,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    if "unevaluatedProperties" in keywords:
        keywords["unevaluatedProperties"] = _without_patterns(keywords["unevaluatedProperties"])
    counted = {name: _counted(name, keyword) for name, keyword in keywords.items()}
    bounded: type[Validator] = jsonschema.validators.extend(kind, counted)  # type: ignore[no-untyped-call]
    return bounded


def _counted(name: str, keyword: Keyword) -> Keyword:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        validator.format_checker.budget.spend(_cost(name, value, instance))
        return keyword(validator, value, instance, schema)

    return run


def _cost(name: str, value: Any, instance: Any) -> int:
    if name.endswith(("$ref", "Ref")):
        return _REFERENCE
    if name in _COMPARING:
        return 1 + _size(value) // _COMPARISONS
    if name in _DESCENDING and isinstance(instance, dict | list):
        return 1 + len(instance)
    if name.startswith("unevaluated") and isinstance(instance, dict | list):
        return 1 + len(instance) ** 2 // (2 * _COMPARISONS)
    return 1


def _size(value: Any) -> int:
    """How many values `value` consists of."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, children))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not validator.format_checker.budget.matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if validator.format_checker.budget.matches(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    budget = validator.format_checker.budget
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, each in instance.items():
        if name in known:
            continue
        budget.spend()
        if not any(budget.matches(pattern, name) for pattern in patterns):
            if value is False:
                yield ValidationError(f"{name!r} is not a property that it may have")
            else:
                yield from validator.descend(each, value, path=name)


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if unique and isinstance(instance, list):
        seen = {_identity(item, validator.format_checker.budget) for item in instance}
        if len(seen) < len(instance):
            yield ValidationError("it has items that are not unique")


def _identity(value: Any, budget: Budget) -> object:
    """Something hashable that is equal for equal JSON values: true is not 1, but 1.0 is."""
    budget.spend()
    if isinstance(value, dict):
        return frozenset((name, _identity(each, budget)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(_identity(each, budget) for each in value)
    return (isinstance(value, bool), value)


def _without_patterns(keyword: Keyword) -> Keyword:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        if validator.format_checker.budget.has_pattern_properties:
            raise InvalidOutput(
                "the tool's output schema has both unevaluatedProperties and patternProperties, which "
                "trio_mcp cannot evaluate safely; validate_output=False does without"
            )
        return keyword(validator, value, instance, schema)

    return run
