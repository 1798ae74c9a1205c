"""What the command line's words mean: `key=value`, `key:=json`, `@file`, `-` and `Name: value`.

`a=1` is a string, unless the tool's input schema says that `a` is something else. `a:=[1, 2]` is JSON,
whatever the schema says. `a=@file` and `a:=@file` are the same with what the file holds; `@file` alone, or
`-` for stdin, is a JSON object of arguments, and those that are given beside it come before it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..agents.schemas import alternatives
from ..errors import UsageError

__all__ = [
    "Argument",
    "as_list",
    "as_mapping",
    "convert",
    "kinds",
    "parse_arguments",
    "parse_headers",
    "typed_arguments",
]

_FITS: Final[Mapping[str, Callable[[object], bool]]] = {
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_YES_OR_NO: Final = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call, as it was typed."""

    key: str
    text: str
    is_json: bool


def parse_arguments(words: Iterable[str]) -> list[Argument]:
    """`words` as arguments; what the texts mean is for `typed_arguments` to say. Files and stdin are read.

    Raises:
        UsageError: a word that is none of the forms, a key that comes twice, or a file that cannot be read.
    """
    found: dict[str, Argument] = {}
    whole: dict[str, Argument] = {}
    for word in words:
        if word == "-" or word.startswith("@"):
            whole |= _read_object(word.removeprefix("@"))
            continue
        key, equals, text = word.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            raise UsageError(f"an argument is key=value, key:=json, @file or -, not {word!r}")
        if key in found:
            raise UsageError(f"the argument {key!r} is given twice")
        if text.startswith("@"):
            text = _read(text[1:], f"; a text that begins with @ is given as {key}:='\"@…\"'")
        found[key] = Argument(key, text, is_json)
    return list((whole | found).values())


def _read_object(source: str) -> dict[str, Argument]:
    try:
        value = _parse_json(_read(source))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"{_called(source)} must hold a JSON object of arguments")
    return {key: Argument(key, json.dumps(each), True) for key, each in value.items()}


def _read(source: str, hint: str = "") -> str:
    """What the file `source` holds, or stdin.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as exc:
        why = exc.strerror
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except ValueError:  # a NUL in it
        why = "it is no name of a file"
    raise UsageError(f"cannot read {_called(source)}: {why}{hint}")


def _called(source: str) -> str:
    return "stdin" if source == "-" else repr(source)


def typed_arguments(
    arguments: Iterable[Argument], input_schema: Mapping[str, Any], *, unchecked: bool = False
) -> dict[str, Any]:
    """The JSON object to call a tool with.

    Args:
        arguments: see `parse_arguments`.
        input_schema: the tool's, which tells what `key=value` is converted to.
        unchecked: whether a text that is not what the schema wants stays a string.

    Raises:
        UsageError: a text that is not JSON, or, unless `unchecked`, not what the schema wants.
    """
    known = as_mapping(input_schema.get("properties"))
    values: dict[str, Any] = {}
    for argument in arguments:
        try:
            if argument.is_json:
                values[argument.key] = _parse_json(argument.text)
            else:
                values[argument.key] = convert(argument.text, kinds(known.get(argument.key), input_schema))
        except ValueError as exc:
            if argument.is_json or not unchecked:
                raise UsageError(f"the argument {argument.key!r}: {exc}") from exc
            values[argument.key] = argument.text
    return values


def convert(text: str, wanted: frozenset[str]) -> Any:
    """`text` as a value of one of the JSON types `wanted`; where a string is one of them, it stays one.

    Raises:
        ValueError: it is none of them; the message says so in a few words.
    """
    if "string" in wanted or not wanted & _FITS.keys():
        return text
    if "boolean" in wanted and text.strip().lower() in _YES_OR_NO:
        return _YES_OR_NO[text.strip().lower()]
    try:
        value = _parse_json(text)
    except ValueError:
        value = text
    if not any(_FITS[kind](value) for kind in wanted & _FITS.keys()):
        raise ValueError(f"{text!r} is not of type {' or '.join(sorted(wanted))}")
    return value


def kinds(schema: object, root: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that `schema` allows; empty if it does not say.

    Alternatives and references into `root` are followed: they are what code generators write for an optional
    value or an enumeration.
    """
    found: set[str] = set()
    for each in alternatives(schema, root):
        named = each.get("type") or []
        found.update(map(str, named if isinstance(named, list) else [named]))
    return frozenset(found)


def parse_headers(words: Iterable[str]) -> dict[str, str]:
    """`Name: value` words as headers.

    Raises:
        UsageError: a word without a colon. It is not shown, as it may be a secret.
    """
    headers: dict[str, str] = {}
    for number, word in enumerate(words, 1):
        name, colon, value = word.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"a header is given as 'Name: value'; number {number} is not")
        headers[name.strip()] = value.strip()
    return headers


def as_mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a JSON object, else an empty one: a schema of a server may be anything."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def _parse_json(text: str) -> Any:
    """JSON, and nothing beyond it: Python's `NaN` and `Infinity` are not (RFC 8259, section 6)."""

    def refuse(constant: str) -> None:
        raise ValueError

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise ValueError(f"{text!r} is not JSON") from None
