"""The person at the terminal: what is said to them, what they type, and whose turn it is."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, TypeAlias

import trio
from rich.console import Console

from ..text import one_line
from .output import print_text

__all__ = ["NO_TERMINAL", "ReadLine", "Terminal", "is_at_terminal", "read_line"]

NO_TERMINAL: Final = "there is no terminal to answer at"

ReadLine: TypeAlias = Callable[[], str]
"""Reads one line of the user, without its end; EOFError at the end of all input."""


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


def is_at_terminal() -> bool:
    """Whether there is somebody who could answer."""
    # Where a program is started without a standard input, there is none.
    return sys.stdin is not None and sys.stdin.isatty()


class Terminal:
    """Where a server's questions are asked.

    Args:
        console: where to write; stderr's, so that stdout has nothing but the result.
        paused: a block in which nothing else is drawn.
        closed: why nobody can be asked; None if somebody can.
        read: what reads a line; it may block.

    Attributes:
        server: who asks, as the user is told.
        closed: see above; it may change.
    """

    def __init__(
        self,
        console: Console,
        paused: Callable[[], AbstractContextManager[None]],
        *,
        closed: str | None,
        read: ReadLine = read_line,
    ) -> None:
        self.server: str = "the server"
        self.closed: str | None = closed
        self._console = console
        self._paused = paused
        self._read = read
        # A server may ask several things at once; a person answers one after the other.
        self._lock = trio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """A block that has the terminal for itself."""
        async with self._lock:
            with self._paused():
                yield

    def decline(self, what: str) -> None:
        """Say that nobody was asked, and why."""
        self.say(f"{self.server} asks: {one_line(what)}")
        self.say(f"declined, as {self.closed}")

    def say(self, text: str, style: str = "") -> None:
        """Print a text, of the server perhaps."""
        print_text(self._console, text, style)

    async def ask(self, question: str) -> str:
        """What the user types.

        Raises:
            EOFError: Ctrl-D.
        """
        self.say(question)
        return await self.read()

    async def read(self) -> str:
        """One more line of an answer; see `ask`."""
        # A thread, as reading a terminal blocks; a cancelled call does not wait for the user's answer.
        return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    async def confirm(self, question: str, *, default: bool) -> bool:
        """Yes or no; `default` is what a mere Enter means."""
        answer = (await self.ask(f"{question} {'[Y/n]' if default else '[y/N]'}")).strip().lower()
        return answer.startswith("y") if answer else default
