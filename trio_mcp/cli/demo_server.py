"""The server of `trio-mcp demo`: an `mcp` server over Streamable HTTP, in a process of its own.

    python -m trio_mcp.cli.demo_server [--until-stdin-closes]

The first line on stdout is its URL. With `--until-stdin-closes` it ends when its parent does, however that
came about: the operating system closes the pipe.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel, Field

__all__ = ["UNTIL_STDIN_CLOSES", "bind", "build_server", "main"]

UNTIL_STDIN_CLOSES: Final = "--until-stdin-closes"


class Booking(BaseModel):
    """The form of the tool `book_table`."""

    guests: int = Field(default=2, title="Guests", description="How many people will come?", ge=1, le=20)
    name: str = Field(title="Name", description="Whose name is the table for?")


def build_server() -> MCPServer[Any]:
    """The server and its tools; each server has its own count of cancelled calls."""
    server: MCPServer[Any] = MCPServer("trio_mcp demo", log_level="CRITICAL")
    cancelled = 0

    @contextmanager
    def counting() -> Generator[None]:
        nonlocal cancelled
        try:
            yield
        except anyio.get_cancelled_exc_class():
            cancelled += 1
            raise

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two whole numbers."""
        return a + b

    @server.tool()
    async def wait(seconds: float) -> str:
        """Answer after some seconds."""
        with counting():
            await anyio.sleep(seconds)
        return f"waited {seconds:g} s"

    @server.tool()
    def cancelled_calls() -> int:
        """How many calls this server saw cancelled."""
        return cancelled

    @server.tool()
    async def copy_files(ctx: Context, files: int = 20, pause: float = 0.05) -> str:
        """Pretend to copy files, and report the progress."""
        with counting():
            for number in range(1, files + 1):
                await anyio.sleep(pause)
                await ctx.report_progress(number, files, f"file {number}")
        with warnings.catch_warnings():
            # Deprecated in 2026-07-28, yet what servers have: the command line shows it.
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            await ctx.info(f"{files} files copied")
        return f"copied {files} files"

    @server.tool()
    async def book_table(ctx: Context) -> str:
        """Book a table, and ask the user for what is missing (legacy sessions only)."""
        answer = await ctx.elicit("A table is free tonight. What shall I book?", Booking)
        if answer.action != "accept":
            return f"nothing booked: the answer was {answer.action!r}"
        return f"booked a table for {answer.data.guests}, in the name of {answer.data.name}"

    return server


def bind() -> socket.socket:
    """A listening socket on a free port of the loopback interface."""
    # The protocol matters: asyncio sets TCP_NODELAY only on sockets that say they are TCP, and without it
    # each answer waits 40 ms for a delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def main(arguments: Sequence[str]) -> None:
    """Serve until the process is told to end."""
    logging.getLogger().setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        build_server().streamable_http_app(),
        log_config=None,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    def end() -> None:
        server.should_exit = True

    if UNTIL_STDIN_CLOSES in arguments:
        _when_stdin_closes(end)
    with bind() as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        server.run(sockets=[listener])


def _when_stdin_closes(act: Callable[[], None]) -> None:
    def watch() -> None:
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as raw:
            while raw.read(1):
                pass
        act()

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":  # pragma: no cover  (runs in a child process only: `trio-mcp demo`)
    main(sys.argv[1:])
