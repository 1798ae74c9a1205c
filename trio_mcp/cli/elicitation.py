"""Elicitation at the terminal: the server's question is shown, and the user answers it line by line.

26/client/elicitation: it is said who asks, the answers can be looked at before they are sent, and the user
can always decline. An address is shown in full and never opened without being asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import mcp_types as types

from ..callbacks import RequestContext
from .arguments import as_list, as_mapping, convert, kinds
from .terminal import Terminal

__all__ = ["ElicitationPrompt"]

Value: TypeAlias = str | int | float | bool | list[str] | None

# The type that a limit is for, its two keywords, and what it counts.
_LIMITS: Final = (
    (int | float, "minimum", "maximum", ""),
    (str, "minLength", "maxLength", " characters"),
    (list, "minItems", "maxItems", " choices"),
)


class ElicitationPrompt:
    """An `elicitation_callback` that asks at the terminal, and declines where there is none."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    async def __call__(
        self, context: RequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        if self._terminal.closed is not None:
            self._terminal.decline(params.message)
            return types.ElicitResult(action="decline")
        try:
            async with self._terminal.turn():
                self._terminal.say(f"{self._terminal.server} asks:", style="bold")
                self._terminal.say(params.message)
                if isinstance(params, types.ElicitRequestURLParams):
                    return await self._visit(params.url)
                return await self._fill_in(params.requested_schema)
        except EOFError:
            return types.ElicitResult(action="cancel")

    async def _visit(self, url: str) -> types.ElicitResult:
        self._terminal.say("It wants you to open this address in a browser:")
        self._terminal.say(f"  {url}")
        agreed = await self._terminal.confirm("Have you opened it, or will you?", default=False)
        return types.ElicitResult(action="accept" if agreed else "decline")

    async def _fill_in(self, schema: Mapping[str, Any]) -> types.ElicitResult:
        required = as_list(schema.get("required"))
        content: dict[str, Value] = {}
        for name, field in as_mapping(schema.get("properties")).items():
            value = await self._ask_field(name, as_mapping(field), name in required)
            if value is not None:
                content[name] = value
        if await self._terminal.confirm("Send this?", default=True):
            return types.ElicitResult(action="accept", content=content)
        return types.ElicitResult(action="decline")

    async def _ask_field(self, name: str, field: Mapping[str, Any], required: bool) -> Value:
        """The value for one field; None if it is left out: the connector fills in the defaults."""
        if description := field.get("description"):
            self._terminal.say(f"  {description}", style="dim")
        choices = _choices(field)
        for value, title in choices.items():
            self._terminal.say(f"  {value}" if title == value else f"  {value}: {title}")
        label = str(field.get("title") or name)
        hint = _hint(field, required, bool(choices))
        while True:
            text = (await self._terminal.ask(f"{label} {hint}:")).strip()
            if not text:
                if "default" in field or not required:
                    return None
                self._terminal.say("  an answer is needed here; Ctrl-D cancels")
                continue
            try:
                return _parse(text, field, choices)
            except ValueError as exc:
                self._terminal.say(f"  {exc}")


def _choices(field: Mapping[str, Any]) -> dict[str, str]:
    """What can be chosen, and the titles: of `enum`, `oneOf` or `anyOf`, of the field or of its items."""
    source = as_mapping(field.get("items")) or field
    names = as_list(source.get("enumNames"))
    found = {}
    for number, value in enumerate(as_list(source.get("enum"))):
        found[str(value)] = str(names[number] if number < len(names) else value)
    for each in as_list(source.get("oneOf", source.get("anyOf"))):
        choice = as_mapping(each)
        found[str(choice.get("const"))] = str(choice.get("title", choice.get("const")))
    return found


def _hint(field: Mapping[str, Any], required: bool, limited: bool) -> str:
    kind = " or ".join(sorted(kinds(field, {}))) or "string"
    parts = ["one of the above" if limited else kind]
    if kind == "array":
        parts = ["some of the above, with commas between"]
    if "default" in field:
        parts.append(f"default {field['default']}")
    elif not required:
        parts.append("may be empty")
    return f"({', '.join(parts)})"


def _parse(text: str, field: Mapping[str, Any], choices: Mapping[str, str]) -> Value:
    """The value that `text` means.

    Raises:
        ValueError: it is not one that `field` allows.
    """
    wanted = kinds(field, {})
    value: Value
    if "array" in wanted:
        chosen = value = [part.strip() for part in text.split(",") if part.strip()]
    else:
        value = convert(text, wanted)
        chosen = [text]
    for each in chosen:
        if choices and each not in choices:
            raise ValueError(f"{each!r} is none of {', '.join(choices)}")
    for kind, lowest, highest, unit in _LIMITS:
        if isinstance(value, kind):
            size: Any = len(value) if isinstance(value, str | list) else value
            low, high = _number(field.get(lowest)), _number(field.get(highest))
            if low is not None and size < low:
                raise ValueError(f"at least {low}{unit}, please")
            if high is not None and size > high:
                raise ValueError(f"at most {high}{unit}, please")
    return value


def _number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) else None
