import io
from collections.abc import Callable
from typing import TypeAlias, cast

import mcp_types as types
import pytest
from rich.console import Console

from trio_mcp import Connector, MCPError
from trio_mcp.callbacks import ProgressCallback
from trio_mcp.cli.session import Session, listed

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]


async def test_no_bar_is_drawn_while_the_server_asks(make_console: MakeConsole) -> None:
    notes, _ = make_console(terminal=True)
    session = Session(notes, notes, None)
    drawn: list[bool] = []

    class Server:
        async def call_tool(
            self, name: str, arguments: object, *, progress_callback: ProgressCallback
        ) -> types.CallToolResult:
            await progress_callback(1, 2, "half")
            drawn.append(bool(notes._live_stack))
            async with session.terminal.turn():
                drawn.append(bool(notes._live_stack))
            drawn.append(bool(notes._live_stack))
            return types.CallToolResult(content=[])

    session.connector = cast(Connector, Server())
    await session.call_tool("copy", {})
    async with session.terminal.turn():
        drawn.append(bool(notes._live_stack))
    assert drawn == [True, False, True, False]


async def test_what_a_server_does_not_know_is_an_empty_list() -> None:
    async def fetch(code: int | None) -> list[int]:
        if code is not None:
            raise MCPError(code, "no")
        return [1]

    assert await listed(lambda: fetch(None)) == [1]
    assert await listed(lambda: fetch(types.METHOD_NOT_FOUND)) == []
    with pytest.raises(MCPError):
        await listed(lambda: fetch(-32000))
