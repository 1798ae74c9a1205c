"""The client of the official SDK, on each of the two loops that it supports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp import Client

from ..loops import AsyncioLoop, TrioLoop
from .base import ARGUMENTS, ProgressCallback


class _Connection:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.version = client.protocol_version

    async def call(self, tool: str, arguments: Mapping[str, Any] = ARGUMENTS) -> str:
        return _text(await self._client.call_tool(tool, dict(arguments)))

    async def call_with_progress(self, tool: str, callback: ProgressCallback) -> str:
        return _text(await self._client.call_tool(tool, ARGUMENTS, progress_callback=callback))


class _Mcp:
    packages = ("mcp", "httpx2", "anyio")

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncGenerator[_Connection]:
        async with Client(url) as client:
            yield _Connection(client)


class McpOnTrio(_Mcp):
    title = "mcp.Client on Trio"
    loop = TrioLoop()


class McpOnAsyncio(_Mcp):
    title = "mcp.Client on asyncio"
    loop = AsyncioLoop()


def _text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text
