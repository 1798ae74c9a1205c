"""Arguments of a tool as headers of its HTTP request, where the tool's input schema asks for that.

26/basic/transports/streamable-http, "Custom Headers from Tool Parameters" (SEP-2243): a property with
`x-mcp-header` is mirrored, so that what stands between client and server can route by it. A tool whose
annotations are not lawful must not be used; it is left out of the listing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import mcp_types as types

from ..errors import InvalidArguments
from ..protocol.headers import PARAM_PREFIX, encode_value
from ..statistics import Statistics

__all__ = ["HeaderParams"]

logger: Final = logging.getLogger("trio_mcp")

_ANNOTATION: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_TYPES: Final = ("integer", "string", "boolean")
_LARGEST: Final = 2**53 - 1
_MAX_SCHEMAS: Final = 20_000
_MAX_DEPTH: Final = 100
_MAX_REASON: Final = 300

# Where JSON Schema has schemas, in any of its dialects. What stands elsewhere is data, such as a default:
# an `x-mcp-header` in there annotates nothing.
_ONE: Final = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LIST: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONE_OR_LIST: Final = ("items",)
_NAMED: Final = ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties")

Path: TypeAlias = tuple[str, ...]


class _Invalid(Exception):
    """Why a tool is not to be used."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is known of a tool: the schema it was listed with, and its headers by the way to their values.

    `headers` is None if the annotations are not lawful.
    """

    schema: Mapping[str, Any]
    headers: Mapping[Path, str] | None


class HeaderParams:
    """Which arguments go into headers, for one server's tools as of the last time they were listed.

    Args:
        statistics: what to count in.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._tools: dict[str, _Judged] = {}

    def learn(self, tools: Sequence[types.Tool]) -> list[types.Tool]:
        """Remember the annotations of `tools`; gives those tools whose annotations are lawful.

        The others are logged and counted, each once for every schema that it is listed with.
        """
        stay: list[types.Tool] = []
        for tool in tools:
            judged = self._tools.get(tool.name)
            if judged is None or judged.schema != tool.input_schema:
                judged = self._tools[tool.name] = self._judge(tool)
            if judged.headers is not None:
                stay.append(tool)
        return stay

    def _judge(self, tool: types.Tool) -> _Judged:
        try:
            return _Judged(tool.input_schema, _annotated(tool.input_schema))
        except _Invalid as exc:
            self._statistics.tools_dropped += 1
            logger.warning("the tool %.100r is left out: %.*s", tool.name, _MAX_REASON, exc)
            return _Judged(tool.input_schema, None)

    def headers(self, name: object, arguments: object) -> dict[str, str]:
        """The headers of a call; none if the tool was never listed.

        Args:
            name: the tool's.
            arguments: the call's.

        Raises:
            InvalidArguments: an integer that is to go into a header is beyond ±(2^53-1).
        """
        judged = self._tools.get(name) if isinstance(name, str) else None
        headers: dict[str, str] = {}
        for path, header in ((judged and judged.headers) or {}).items():
            text = _text(_value(arguments, path), path)
            if text is not None:
                with suppress(UnicodeEncodeError):  # the body has it too, and is refused for it
                    headers[header] = encode_value(text)
        return headers


def _annotated(schema: Mapping[str, Any]) -> dict[Path, str]:
    """The headers that a schema asks for, by the way to their values.

    Raises:
        _Invalid: an annotation is not lawful, or the schema is too large to tell.
    """
    headers: dict[Path, str] = {}
    names: set[str] = set()
    for path, place in _schemas(schema):
        if _ANNOTATION not in place:
            continue
        if not path:
            raise _Invalid(f"its schema has {_ANNOTATION} where it is not the schema's own property")
        name, kind = place[_ANNOTATION], place.get("type")
        where = f"{_ANNOTATION} of its parameter {'.'.join(path)!r:.100}"
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise _Invalid(f"{where} is not a name for a header")
        if kind not in _TYPES:
            raise _Invalid(f"{where} is at a type that is none of {', '.join(_TYPES)}")
        if name.lower() in names:
            raise _Invalid(f"{where} is the name of another one, too: {name:.100}")
        names.add(name.lower())
        headers[path] = PARAM_PREFIX + name.lower()
    return headers


def _schemas(root: Mapping[str, Any]) -> Iterator[tuple[Path | None, Mapping[str, Any]]]:
    """All schemas within a schema, itself included, with the properties that lead to each.

    The way is None where it is not made of `properties` alone.

    Raises:
        _Invalid: there are too many, or they are too deep in each other.
    """
    left: list[tuple[Path | None, object, int]] = [((), root, 0)]
    seen = 0
    while left:
        path, schema, depth = left.pop()
        if not isinstance(schema, Mapping):
            continue  # true, false, or nonsense
        seen += 1
        if seen > _MAX_SCHEMAS or depth > _MAX_DEPTH:
            raise _Invalid("its schema is too large to be looked through")
        yield path, schema
        depth += 1
        for key, child in schema.items():
            if key == "properties" and isinstance(child, Mapping):
                left += (
                    (None if path is None else (*path, name), each, depth) for name, each in child.items()
                )
            elif key in _NAMED and isinstance(child, Mapping):
                left += ((None, each, depth) for each in child.values())
            elif key in (*_LIST, *_ONE_OR_LIST) and isinstance(child, list):
                left += ((None, each, depth) for each in child)
            elif key in (*_ONE, *_ONE_OR_LIST):
                left.append((None, child, depth))


def _value(arguments: object, path: Path) -> object:
    """What is at `path`; None if nothing is."""
    value = arguments
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _text(value: object, path: Path) -> str | None:
    """What a header says for `value`; None for no header.

    What has none of the three types is the server's to refuse, and gets no header.
    """
    if isinstance(value, str):
        return str.__str__(value)  # an enumeration's own __str__ is not what goes into the body
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 3.0 is an integer to JSON Schema
    if not isinstance(value, int):
        return None
    if abs(value) > _LARGEST:
        raise InvalidArguments(
            f"the argument {'.'.join(path)!r:.100} goes into a header as well, where an integer may be "
            "±(2**53-1) at most (26/basic/transports/streamable-http)"
        )
    return int.__repr__(value)
