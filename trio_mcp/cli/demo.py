"""`trio-mcp demo`: a real server in a child process, and what the library does with it, with captions.

On a terminal it is drawn with rich; piped, it is plain lines.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import mcp_types as types
import trio
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from ..callbacks import RequestContext
from ..connector import Connector
from ..errors import ConnectError, MCPError
from ..opening import open_connector
from ..text import one_line
from .listings import print_tools, signature
from .output import ProgressView, print_text

__all__ = ["demo_server", "run"]

_LEGACY: Final = "2025-11-25"
_SERVER: Final = (sys.executable, "-m", "trio_mcp.cli.demo_server", "--until-stdin-closes")
_START_TIMEOUT: Final = 20.0
_STOP_TIMEOUT: Final = 2.0


async def run(console: Console) -> None:
    """Show everything, on `console`.

    Raises:
        ConnectError: the server did not start.
    """
    show = _Show(console)
    async with demo_server() as url:
        show.caption(f"A server, in a process of its own: {url}")
        show.code("async with open_connector(url) as c:")
        async with open_connector(url) as c:
            show.line(f"connected by {c.transport}, protocol version {c.protocol_version}")
            for step in (_list, _call, _concurrently, _progress, _cancel, _error):
                await step(c, show)
            counts = c.statistics()
            show.line(
                f"this connection: {counts.requests} requests, of them "
                f"{counts.requests_cancelled} cancelled and {counts.requests_failed} failed"
            )
        await _elicitation(url, show)
    show.caption("The server's process has ended; nothing is left running")


@asynccontextmanager
async def demo_server(command: tuple[str, ...] = _SERVER) -> AsyncGenerator[str]:
    """A child process that runs `command` and prints its URL first; gone when the block is left."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C at the terminal is for us: we say goodbye to the server first, and then end it.
        start_new_session=True,
    )
    try:
        yield await _first_line(process)
    finally:
        # Shielded, as a cancelled demo must end its child too; bounded, as no child may hold us up.
        process.terminate()
        with trio.move_on_after(_STOP_TIMEOUT, shield=True):
            await process.wait()
        process.kill()
        with trio.move_on_after(_STOP_TIMEOUT, shield=True):
            await process.wait()
        assert process.stdio is not None
        with trio.move_on_after(_STOP_TIMEOUT, shield=True):
            await process.stdio.aclose()


async def _first_line(process: trio.Process) -> str:
    assert process.stdout is not None
    received = b""
    with trio.move_on_after(_START_TIMEOUT):
        while b"\n" not in received:
            chunk = await process.stdout.receive_some()
            if not chunk:
                raise ConnectError("the demo's server ended before it was ready")
            received += chunk
        return received.split(b"\n")[0].decode().strip()
    raise ConnectError(f"the demo's server was not ready within {_START_TIMEOUT:g} s")


class _Show:
    """How the demo looks: captions, code, results."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._number = 0

    def caption(self, text: str) -> None:
        self._number += 1
        print_text(self.console, "")
        print_text(self.console, f"{self._number}. {text}", style="bold cyan")

    def code(self, text: str) -> None:
        print_text(self.console, f"   >>> {text}", style="dim")

    def line(self, text: str) -> None:
        print_text(self.console, f"   {text}")

    def dialogue(self, question: str, answer: str) -> None:
        if self.console.is_terminal:
            body = Text.assemble((question, "bold"), "\n", answer)
            self.console.print(Panel(body, title="the server asks", expand=False))
        else:
            self.line(f"the server asks: {question}")
            self.line(f"the answer: {answer}")


async def _list(c: Connector, show: _Show) -> None:
    show.caption("Its tools")
    show.code("await c.list_tools()")
    tools = await c.list_tools()
    if show.console.is_terminal:
        print_tools(show.console, tools)
    else:
        for tool in tools:
            show.line(one_line(f"{tool.name}({signature(tool.input_schema)}): {tool.description}"))


async def _call(c: Connector, show: _Show) -> None:
    show.caption("One call; the result is typed")
    show.code('await c.call_tool("add", {"a": 20, "b": 22})')
    result = await c.call_tool("add", {"a": 20, "b": 22})
    show.line(f"text {_text(result)!r}, structured content {result.structured_content}")


async def _concurrently(c: Connector, show: _Show) -> None:
    show.caption("Calls side by side: tasks in a nursery, over one connection")
    show.code('nursery.start_soon(c.call_tool, "wait", {"seconds": ...})  # five times')
    began = trio.current_time()

    async def wait(seconds: float) -> None:
        text = _text(await c.call_tool("wait", {"seconds": seconds}))
        show.line(f"{text} (answered after {trio.current_time() - began:.2f} s)")

    async with trio.open_nursery() as nursery:
        for tenths in range(5, 0, -1):
            nursery.start_soon(wait, tenths / 10)
    show.line(f"1.5 s of waiting took {trio.current_time() - began:.2f} s")


async def _progress(c: Connector, show: _Show) -> None:
    show.caption("A long call that reports its progress")
    show.code('await c.call_tool("copy_files", progress_callback=...)')
    with ProgressView(show.console, keep=True, indent="   ") as view:
        result = await c.call_tool("copy_files", {"files": 10, "pause": 0.1}, progress_callback=view.report)
    show.line(_text(result))


async def _cancel(c: Connector, show: _Show) -> None:
    show.caption("A call that takes too long: Trio cancels it, here and at the server")
    show.code('with trio.move_on_after(0.5): await c.call_tool("wait", {"seconds": 60})')
    began = trio.current_time()
    with trio.move_on_after(0.5):
        await c.call_tool("wait", {"seconds": 60})
    show.line(f"left after {trio.current_time() - began:.2f} s")
    # The caller has not waited for the server to be told, so ask until it knows.
    count = "0"
    with trio.move_on_after(5):
        while count == "0":
            await trio.sleep(0.02)
            count = _text(await c.call_tool("cancelled_calls"))
    show.line(f"calls that the server saw cancelled: {count}")


async def _error(c: Connector, show: _Show) -> None:
    show.caption("An error is one typed exception, never a group, and the connection goes on")
    show.code('await c.read_resource("demo://nothing")')
    try:
        await c.read_resource("demo://nothing")
    except MCPError as exc:
        show.line(f"{type(exc).__name__}: {one_line(str(exc))}")
    result = await c.call_tool("add", {"a": 1, "b": 1})
    show.line(f"and still 1 + 1 = {_text(result)}")


async def _elicitation(url: str, show: _Show) -> None:
    show.caption(f"The server asks the user: a legacy session, protocol version {_LEGACY}")
    show.code(f'open_connector(url, elicitation_callback=answer, protocol_version="{_LEGACY}")')

    async def answer(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        # `guests` is left out: the connector fills in the form's default.
        show.dialogue(params.message, "a table in the name of Ada, and the form's default for the rest")
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with open_connector(url, elicitation_callback=answer, protocol_version=_LEGACY) as c:
        show.line(_text(await c.call_tool("book_table")))


def _text(result: types.CallToolResult) -> str:
    return " ".join(block.text for block in result.content if isinstance(block, types.TextContent))
