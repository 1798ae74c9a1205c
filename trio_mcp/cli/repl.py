"""`trio-mcp repl`: one connection, and commands line by line."""

from __future__ import annotations

import shlex
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import mcp_types as types
import trio

from ..errors import ConnectorError, UsageError
from ..text import one_line
from .arguments import as_mapping, parse_arguments
from .checking import nearest
from .connecting import LOG_LEVELS, Connecting, ask_for_logs
from .exits import DONE, FAILED, code_of, report
from .lines import Lines, open_lines
from .output import print_text
from .prompts import show_completions, show_prompt, show_prompts
from .resources import show_resource, show_resources
from .session import Session
from .tools import AsJson, prepared, show_call, show_tools
from .watching import show_ping

__all__ = ["Repl", "repl"]

_IDLE: Final = "no command is running"
_HELP: Final = {
    "tools": "list the tools",
    "call NAME key=value …": "call a tool; its name alone will do, unless it is one of these words",
    "resources": "list the resources",
    "read URI": "read a resource",
    "prompts": "list the prompts",
    "prompt NAME key=value …": "fill in a prompt",
    "complete PROMPT key=begin": "complete an argument of a prompt or a template",
    "ping": "ask for a sign of life",
    "log LEVEL": "which messages of its log the server is to send",
    "help": "show this",
    "quit": "leave, as Ctrl-D does; Ctrl-C cancels what is running",
}


async def repl(where: Connecting, json: AsJson = False) -> int:
    """Connect once, and take commands line by line: `help` lists them.

    Ctrl-C cancels the call that is running, at the server too; Ctrl-D leaves. Where stdin is no terminal,
    each line of it is a command, and the exit code is that of the first one that failed.
    """
    async with where.open() as session:
        loop = Repl(session, json)
        with trio.open_signal_receiver(signal.SIGINT) as signals, open_lines(loop.candidates) as lines:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(loop.watch, signals, lines)
                code = await loop.run(lines)
                nursery.cancel_scope.cancel(reason="the last line has been read")
        return code


class Repl:
    """What the lines do.

    Args:
        session: the connection.
        json: whether results are printed as JSON.
    """

    def __init__(self, session: Session, json: bool) -> None:
        self._session = session
        self._json = json
        self._running: trio.CancelScope | None = None
        self._tools: dict[str, types.Tool] = {}
        self._prompts: dict[str, types.Prompt] = {}
        self._commands: Mapping[str, Callable[[list[str]], Awaitable[int]]] = {
            "tools": lambda words: show_tools(session, json),
            "call": self._call,
            "resources": lambda words: show_resources(session, json),
            "read": self._read,
            "prompts": lambda words: show_prompts(session, json),
            "prompt": self._prompt,
            "complete": self._complete,
            "ping": lambda words: show_ping(session, json),
            "log": self._log,
            "help": self._help,
        }

    async def watch(self, signals: AsyncIterator[int], lines: Lines) -> None:
        """Have Ctrl-C cancel the command that is running."""
        async for _ in signals:
            if self._running is not None:
                self._running.cancel(reason="Ctrl-C")
            else:
                print_text(self._session.notes, "\n(Ctrl-D leaves, Ctrl-U clears the line)")
                lines.redraw()

    async def run(self, lines: Lines) -> int:
        """Take commands until there are no more; the exit code."""
        terminal = self._session.terminal
        # While a line is typed, the terminal is not free for a server's question.
        answers = terminal.closed
        if lines.interactive:
            with trio.CancelScope() as self._running:
                await self._greet()
            self._running = None
        failed = DONE
        while True:
            terminal.close(answers or _IDLE)
            line = await lines.read()
            if line is None or line.strip() in ("quit", "exit"):
                return DONE if lines.interactive else failed
            terminal.open(answers)
            code = await self._obey(line)
            failed = failed or code

    async def _greet(self) -> None:
        c, notes = self._session.connector, self._session.notes
        who = c.server_info.name if c.server_info is not None else self._session.terminal.server
        text = f"{who}, protocol version {c.protocol_version}, over {c.transport}; `help` lists the commands"
        print_text(notes, one_line(text))
        # For the Tab key; that a list cannot be had is told when it is asked for.
        try:
            if c.server_capabilities.tools is not None:
                self._tools = {each.name: each for each in await c.list_tools()}
            if c.server_capabilities.prompts is not None:
                self._prompts = {each.name: each for each in await c.list_prompts()}
        except ConnectorError:
            pass

    async def _obey(self, line: str) -> int:
        """Carry out one line; the exit code that it would have as a command."""
        code = DONE
        with trio.CancelScope() as self._running:
            try:
                code = await self._dispatch(line)
            except ConnectorError as exc:
                report(self._session.notes, exc)
                code = code_of(exc) or FAILED
            except OSError as exc:
                print_text(self._session.notes, one_line(f"error: {exc}"))
                code = FAILED
        if self._running.cancelled_caught:
            print_text(self._session.notes, "cancelled")
            code = 130
        self._running = None
        return code

    async def _dispatch(self, line: str) -> int:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as exc:
            raise UsageError(f"cannot read this line: {exc}") from exc
        if not words:
            return DONE
        command = self._commands.get(words[0])
        if command is not None:
            return await command(words[1:])
        tools = [each.name for each in await self._session.connector.list_tools()]
        if words[0] not in tools:
            raise UsageError(
                f"{words[0]!r} is no command and no tool{nearest(words[0], [*self._commands, *tools])}"
            )
        return await self._call(words)

    async def _call(self, words: list[str]) -> int:
        name, *rest = _at_least(1, words, "call NAME key=value …")
        values = await prepared(self._session, name, parse_arguments(rest))
        return await show_call(self._session, name, values, self._json)

    async def _read(self, words: list[str]) -> int:
        uri, *rest = _at_least(1, words, "read URI")
        return await show_resource(self._session, uri, rest, self._json)

    async def _prompt(self, words: list[str]) -> int:
        name, *rest = _at_least(1, words, "prompt NAME key=value …")
        return await show_prompt(self._session, name, rest, self._json)

    async def _complete(self, words: list[str]) -> int:
        reference, argument, *rest = _at_least(2, words, "complete PROMPT key=begin")
        return await show_completions(self._session, reference, argument, rest, self._json)

    async def _log(self, words: list[str]) -> int:
        level = _at_least(1, words, "log LEVEL")[0]
        if level not in LOG_LEVELS:
            raise UsageError(f"a level is one of {', '.join(LOG_LEVELS)}, not {level!r}")
        await ask_for_logs(self._session.connector, level)
        return DONE

    async def _help(self, words: list[str]) -> int:
        for usage, text in _HELP.items():
            print_text(self._session.console, f"{usage:<27}{text}")
        await trio.lowlevel.checkpoint()
        return DONE

    def candidates(self, line: str, text: str) -> list[str]:
        """What may be meant, for the Tab key.

        Args:
            line: what stands before the cursor.
            text: its last word, which is to be completed.
        """
        before = line[: len(line) - len(text)].split()
        match before:
            case []:
                found = [*self._commands, "quit", *self._tools]
            case ["call"]:
                found = list(self._tools)
            case ["prompt" | "complete"]:
                found = list(self._prompts)
            case ["log"]:
                found = list(LOG_LEVELS)
            case ["prompt" | "complete", name, *_] if name in self._prompts:
                found = [f"{each.name}=" for each in self._prompts[name].arguments or ()]
            case ["call", name, *_] | [name, *_] if name in self._tools:
                found = [f"{key}=" for key in as_mapping(self._tools[name].input_schema.get("properties"))]
            case _:
                found = []
        return [each for each in found if each.startswith(text) and each.isprintable()]


def _at_least(count: int, words: list[str], usage: str) -> list[str]:
    if len(words) < count:
        raise UsageError(f"it is used so: {usage}")
    return words
