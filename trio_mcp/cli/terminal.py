"""The person at the terminal: what is said to them, what they type, and whose turn it is."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Final, TypeAlias

import trio
from rich.console import Console

from ..text import one_line
from .output import print_text

__all__ = ["NO_TERMINAL", "ReadLine", "Terminal", "is_at_terminal", "read_line", "typed_line"]

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


async def typed_line() -> str:
    """A line that a person types; see `read_line`. Who is cancelled leaves the next line to others."""
    # A thread is there only once there is something to be read: one that is abandoned while it waits would
    # take what is typed next. A file is always readable, and cannot be waited for; nor can Windows' terminal.
    with suppress(OSError):
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
    return await trio.to_thread.run_sync(read_line, abandon_on_cancel=True)


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
        read: gives the next line; EOFError at the end of all input.

    Attributes:
        server: who asks, as the user is told.
        closed: see above.
    """

    def __init__(
        self,
        console: Console,
        paused: Callable[[], AbstractContextManager[None]],
        *,
        closed: str | None,
        read: Callable[[], Awaitable[str]] = typed_line,
    ) -> None:
        self.server: str = "the server"
        self.closed: str | None = closed
        self._console = console
        self._paused = paused
        self._read = read
        # A server may ask several things at once; a person answers one after the other.
        self._lock = trio.Lock()
        self._turn = trio.CancelScope()

    def open(self, closed: str | None = None) -> None:
        """Questions are asked from now on, unless it stays `closed`."""
        self.closed = closed

    def close(self, why: str) -> None:
        """Nobody is asked any more, and who is being asked need not answer."""
        self.closed = why
        self._turn.cancel(reason=why)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """A block that has the terminal for itself.

        Raises:
            EOFError: it has been closed.
        """
        async with self._lock:
            if self.closed is None:
                with trio.CancelScope() as self._turn, self._paused():  # noqa: ASYNC100 - the block has them
                    yield
                    return
        raise EOFError

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
        return await self._read()

    async def confirm(self, question: str, *, default: bool) -> bool:
        """Yes or no; `default` is what a mere Enter means."""
        answer = (await self.ask(f"{question} {'[Y/n]' if default else '[y/N]'}")).strip().lower()
        return answer.startswith("y") if answer else default
