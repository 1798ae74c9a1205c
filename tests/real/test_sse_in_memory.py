"""HTTP+SSE against the official SDK's server, in memory and on the mock clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
import pytest
import trio
import trio.testing
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from typing_extensions import Unpack

from trio_mcp import Connector, HTTPStatusError, Stalled, open_connector
from trio_mcp.opening import HttpOptions
from trio_mcp.testing import MemoryNetwork, serve_asgi

pytestmark = pytest.mark.real


def make(cancelled: list[str]) -> MCPServer:
    server = MCPServer("in memory", log_level="CRITICAL")

    @server.tool()
    async def slow(seconds: int, ctx: Context) -> str:
        try:
            for step in range(seconds):
                await ctx.report_progress(step, seconds)
                await anyio.sleep(1)
        except anyio.get_cancelled_exc_class():
            cancelled.append("slow")
            raise
        return "done"

    return server


@asynccontextmanager
async def connected(cancelled: list[str], **options: Unpack[HttpOptions]) -> AsyncGenerator[Connector]:
    options["network"] = network = MemoryNetwork()
    async with (
        serve_asgi(make(cancelled).sse_app(), network.listen("127.0.0.1", 8000)),
        open_connector("http://127.0.0.1:8000/sse", **options) as c,
    ):
        yield c


@pytest.mark.parametrize("transport", ["auto", "sse"])
async def test_an_hour_passes_with_progress_and_its_result(
    autojump_clock: trio.testing.MockClock, transport: str
) -> None:
    steps: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async with connected([], transport=transport) as c:  # type: ignore[arg-type]
        assert c.transport == "sse"
        assert [tool.name for tool in await c.list_tools()] == ["slow"]
        result = await c.call_tool("slow", {"seconds": 3600}, progress_callback=report)
        assert isinstance(result.content[0], types.TextContent)
        assert result.content[0].text == "done"
    assert steps == list(range(3600))


async def test_a_cancelled_call_is_cancelled_on_the_server(autojump_clock: trio.testing.MockClock) -> None:
    cancelled: list[str] = []
    async with connected(cancelled) as c:
        with trio.move_on_after(5):
            await c.call_tool("slow", {"seconds": 3600})
        assert trio.current_time() == pytest.approx(5)
        await trio.sleep(1)
        assert cancelled == ["slow"]
        await c.call_tool("slow", {"seconds": 1})


async def test_its_pings_keep_the_stream_from_being_silent(autojump_clock: trio.testing.MockClock) -> None:
    async with connected([], sse_read_timeout=20, reconnect=False) as c:
        await trio.sleep(1000)
        await c.call_tool("slow", {"seconds": 1})
    with pytest.raises(Stalled):  # it pings every 15 s
        async with connected([], sse_read_timeout=10, reconnect=False) as c:
            await trio.sleep(1000)
            await c.call_tool("slow", {"seconds": 1})


async def test_a_wrong_path_is_told_by_what_both_ways_were_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = MemoryNetwork()
    async with serve_asgi(make([]).sse_app(), network.listen("127.0.0.1", 8000)):
        with pytest.raises(
            HTTPStatusError, match="HTTP 404.*is this the URL.*HTTP\\+SSE was tried as well: HTTP 404"
        ):
            async with open_connector("http://127.0.0.1:8000/wrong", network=network):
                pass
