"""Elicitation at the terminal: the server's question is shown, and the user answers it line by line.

26/client/elicitation: it is said who asks, the answers can be looked at before they are sent, and the user
can always decline. An address is shown in full and never opened without being asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias

import mcp_types as types
import trio
from rich.console import Console

from ..callbacks import RequestContext
from .arguments import as_list, as_mapping, convert, kinds
from .output import one_line, print_text

__all__ = ["ReadLine", "TerminalPrompt", "read_line"]

ReadLine: TypeAlias = Callable[[], str]
"""Reads one line of the user, without its end; EOFError at the end of all input."""

Value: TypeAlias = str | int | float | bool | list[str] | None

# The type that a limit is for, its two keywords, and what it counts.
_LIMITS: Final = (
    (int | float, "minimum", "maximum", ""),
    (str, "minLength", "maxLength", " characters"),
    (list, "minItems", "maxItems", " choices"),
)


def read_line() -> str:
    """A line from stdin.

    Not by `input`: a reader that is abandoned in its thread would hold the lock of stdin's buffer, and
    the interpreter aborts at its end when it finds that lock taken. The raw file has none.
    """
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as raw:
        line = raw.readline()
    if not line:
        raise EOFError
    return line.decode(sys.stdin.encoding, "replace").rstrip("\r\n")


class TerminalPrompt:
    """An `elicitation_callback` that asks at the terminal, and declines where there is none.

    Args:
        console: where to write; stderr's, so that stdout has nothing but the result.
        paused: a block in which nothing else is drawn.
        interactive: whether stdin is a terminal.
        read: what reads a line; it may block.

    Attributes:
        server: who asks, as the user is told.
    """

    def __init__(
        self,
        console: Console,
        paused: Callable[[], AbstractContextManager[None]],
        *,
        interactive: bool,
        read: ReadLine = read_line,
    ) -> None:
        self._console = console
        self.server = "the server"
        self._paused = paused
        self._interactive = interactive
        self._read = read
        # A server may ask several things at once; a person answers one after the other.
        self._turn = trio.Lock()

    async def __call__(
        self, context: RequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        if not self._interactive:
            self._say(f"{self.server} asks: {one_line(params.message)}")
            self._say("declined, as there is no terminal to answer at")
            return types.ElicitResult(action="decline")
        async with self._turn:
            with self._paused():
                self._say(f"{self.server} asks:", style="bold")
                self._say(params.message)
                try:
                    if isinstance(params, types.ElicitRequestURLParams):
                        return await self._visit(params.url)
                    return await self._fill_in(params.requested_schema)
                except EOFError:
                    return types.ElicitResult(action="cancel")

    async def _visit(self, url: str) -> types.ElicitResult:
        self._say("It wants you to open this address in a browser:")
        self._say(f"  {url}")
        agreed = await self._confirm("Have you opened it, or will you?", default=False)
        return types.ElicitResult(action="accept" if agreed else "decline")

    async def _fill_in(self, schema: Mapping[str, Any]) -> types.ElicitResult:
        required = as_list(schema.get("required"))
        content: dict[str, Value] = {}
        for name, field in as_mapping(schema.get("properties")).items():
            value = await self._ask_field(name, as_mapping(field), name in required)
            if value is not None:
                content[name] = value
        if await self._confirm("Send this?", default=True):
            return types.ElicitResult(action="accept", content=content)
        return types.ElicitResult(action="decline")

    async def _ask_field(self, name: str, field: Mapping[str, Any], required: bool) -> Value:
        """The value for one field; None if it is left out: the connector fills in the defaults."""
        if description := field.get("description"):
            self._say(f"  {description}", style="dim")
        choices = _choices(field)
        for value, title in choices.items():
            self._say(f"  {value}" if title == value else f"  {value}: {title}")
        label = str(field.get("title") or name)
        hint = _hint(field, required, bool(choices))
        while True:
            text = (await self._ask(f"{label} {hint}:")).strip()
            if not text:
                if "default" in field or not required:
                    return None
                self._say("  an answer is needed here; Ctrl-D cancels")
                continue
            try:
                return _parse(text, field, choices)
            except ValueError as exc:
                self._say(f"  {exc}")

    async def _confirm(self, question: str, *, default: bool) -> bool:
        answer = (await self._ask(f"{question} {'[Y/n]' if default else '[y/N]'}")).strip().lower()
        return answer.startswith("y") if answer else default

    async def _ask(self, question: str) -> str:
        self._say(question)
        # A thread, as reading a terminal blocks; a cancelled call does not wait for the user's answer.
        return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    def _say(self, text: str, style: str = "") -> None:
        print_text(self._console, text, style)


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
