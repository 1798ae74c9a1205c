"""Arguments against what a tool or a prompt says that it takes, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import mcp_types as types

from ..errors import InvalidOutput, UsageError
from ..features.output_schemas import OutputSchema
from ..nearest import nearest_names
from .arguments import as_list, as_mapping

__all__ = ["check_arguments", "check_prompt_arguments", "find_named", "nearest"]

_MAX_MESSAGE: Final = 300


def check_arguments(values: Mapping[str, Any], input_schema: Mapping[str, Any]) -> str | None:
    """Check a tool's arguments by its input schema.

    A name that the schema does not know is refused if it allows no others, or if it is nearly a name that it
    knows: servers tend to drop such arguments without a word.

    Returns:
        A note, if the schema cannot be used, so that only the server can tell; else None.

    Raises:
        UsageError: they do not fit.
    """
    known = as_mapping(input_schema.get("properties"))
    closed = input_schema.get("additionalProperties") is False
    if "patternProperties" not in input_schema:
        for name in values:
            if name not in known and (closed or (known and nearest_names(name, known))):
                raise UsageError(f"the tool has no argument {name!r}{nearest(name, known)}")
    _check_missing(as_list(input_schema.get("required")), values)
    try:
        failure = OutputSchema(input_schema).failure(dict(values))
    except InvalidOutput:
        return "the tool's input schema cannot be used: its arguments are sent unchecked"
    if failure is None:
        return None
    where = failure.json_path.removeprefix("$").removeprefix(".")
    about = f"the argument {where!r}: " if where else "the arguments: "
    offered = failure.validator_value
    hint = ""
    if failure.validator == "enum" and isinstance(offered, list) and isinstance(failure.instance, str):
        hint = nearest(failure.instance, [each for each in offered if isinstance(each, str)])
    raise UsageError(f"{about}{failure.message[:_MAX_MESSAGE]}{hint}")


def check_prompt_arguments(values: Mapping[str, str], prompt: types.Prompt) -> None:
    """Check a prompt's arguments by what it lists.

    Raises:
        UsageError: a name that it does not know, or none where it wants one.
    """
    known = [each.name for each in prompt.arguments or ()]
    for name in values:
        if name not in known:
            raise UsageError(f"the prompt has no argument {name!r}{nearest(name, known)}")
    _check_missing([each.name for each in prompt.arguments or () if each.required], values)


def _check_missing(required: Iterable[object], values: Mapping[str, object]) -> None:
    missing = [str(name) for name in required if name not in values]
    if missing:
        raise UsageError(f"missing: {', '.join(missing)}")


def find_named(kind: str, name: str, names: Sequence[str]) -> int:
    """Where `name` stands among the `names` of a server's tools or prompts.

    Raises:
        UsageError: it has none of that name; with the nearest ones.
    """
    if name in names:
        return names.index(name)
    raise UsageError(f"the server has no {kind} {name!r}{nearest(name, names)}")


def nearest(name: str, names: Iterable[str]) -> str:
    """The names that may have been meant, as the end of an error's text."""
    known = list(names)
    if near := nearest_names(name, known):
        return f"; the nearest: {', '.join(near)}"
    return f"; there are: {', '.join(known)}" if 0 < len(known) <= 20 else ""
