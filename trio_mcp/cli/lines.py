"""Lines that a person types, with history and the Tab key where there is readline; or the lines of a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

import trio

from .terminal import ReadLine, is_at_terminal, read_line

__all__ = ["Complete", "Lines", "open_lines"]

PROMPT = "mcp> "

Complete: TypeAlias = Callable[[str, str], list[str]]
"""From what stands before the cursor, and its last word, to what that may be completed to."""


class Lines:
    """Reads lines. Made by `open_lines`.

    Attributes:
        interactive: whether a person types them.
    """

    def __init__(self, read: ReadLine, *, interactive: bool) -> None:
        self.interactive: bool = interactive
        self._read = read

    async def read(self) -> str | None:
        """The next line; None if there is none any more."""
        try:
            return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        except EOFError:
            return None

    def redraw(self) -> None:
        """Show the prompt again, with what is typed so far, after something else was printed."""
        if self.interactive:
            _redraw()


@contextmanager
def open_lines(complete: Complete) -> Generator[Lines]:
    """Lines of stdin, for the block, which has it for itself while it reads."""
    if not is_at_terminal():
        yield Lines(read_line, interactive=False)
        return
    with _terminal_kept(), _tab_key(complete):
        yield Lines(_typed, interactive=True)


def _typed() -> str:
    if sys.stdout.isatty():
        return input(PROMPT)  # by readline, which draws the prompt
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    return read_line()


def _redraw() -> None:
    # readline waits in a thread, where no signal reaches it: the line that it holds cannot be taken from it.
    screen, typed = sys.stderr, ""
    if sys.stdout.isatty():
        screen = sys.stdout
        typed = getattr(sys.modules.get("readline"), "get_line_buffer", str)()  # Windows has no readline
    screen.write(f"{PROMPT}{typed}")
    screen.flush()


@contextmanager
def _terminal_kept() -> Generator[None]:
    """Leave the terminal as it was: readline, if it is abandoned in its thread, does not."""
    try:
        import termios
    except ImportError:  # pragma: no cover - Windows
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def _tab_key(complete: Complete) -> Generator[None]:
    try:
        import readline
    except ImportError:  # pragma: no cover - Windows
        yield
        return
    found: list[str] = []

    def completer(text: str, state: int) -> str | None:
        if state == 0:
            found[:] = complete(readline.get_line_buffer()[: readline.get_endidx()], text)
        return found[state] if state < len(found) else None

    before: Any = readline.get_completer()
    readline.set_completer(completer)
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
