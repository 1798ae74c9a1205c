"""What a command works with: an open connection, and where things are printed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import mcp_types as types
from rich.console import Console

from ..connector import Connector
from ..errors import MCPError
from .exits import DONE
from .output import ProgressView, print_json, print_text
from .terminal import Terminal

__all__ = ["Session", "listed", "show_listed"]

T = TypeVar("T")


class Session:
    """One connection of a command.

    Args:
        console: for results.
        notes: for everything else.
        closed: why the server can ask the person nothing; None if it can.

    Attributes:
        connector: the connection, once it is open.
        terminal: where the server's questions are asked.
    """

    connector: Connector

    def __init__(self, console: Console, notes: Console, closed: str | None) -> None:
        self.console: Console = console
        self.notes: Console = notes
        self.terminal: Terminal = Terminal(notes, self._paused, closed=closed)
        self._view: ProgressView | None = None

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool, and show its progress."""
        with ProgressView(self.notes) as self._view:
            try:
                return await self.connector.call_tool(name, arguments, progress_callback=self._view.report)
            finally:
                self._view = None

    @contextmanager
    def _paused(self) -> Generator[None]:
        """No bar in the block."""
        if self._view is None:
            yield
        else:
            with self._view.paused():
                yield


async def listed(fetch: Callable[[], Awaitable[list[T]]]) -> list[T]:
    """What `fetch` lists; nothing, where the server does not know such things at all."""
    try:
        return await fetch()
    except MCPError as exc:
        if exc.code != types.METHOD_NOT_FOUND:
            raise
        return []


async def show_listed(
    session: Session,
    fetch: Callable[[], Awaitable[list[T]]],
    show: Callable[[Console, list[T]], object],
    what: str,
    json: bool,
) -> int:
    """Print what `fetch` lists: as JSON, or by `show`; or that there are no such things (`what`)."""
    found = await listed(fetch)
    if json:
        print_json(session.console, found)
    elif found:
        show(session.console, found)
    else:
        print_text(session.notes, f"the server has no {what}")
    return DONE
