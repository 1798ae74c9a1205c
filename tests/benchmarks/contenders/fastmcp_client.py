"""fastmcp's client. It is in an environment of its own, so a type checker cannot know it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ..loops import AsyncioLoop
from .base import ARGUMENTS, ProgressCallback

fastmcp: Any = importlib.import_module("fastmcp")


class _Connection:
    def __init__(self, client: Any) -> None:
        self._client = client
        self.version = str(client.protocol_version)

    async def call(self, tool: str, arguments: Mapping[str, Any] = ARGUMENTS) -> str:
        result = await self._client.call_tool(tool, dict(arguments))
        return str(result.content[0].text)

    async def call_with_progress(self, tool: str, callback: ProgressCallback) -> str:
        result = await self._client.call_tool(tool, ARGUMENTS, progress_handler=callback)
        return str(result.content[0].text)


class FastMcp:
    title = "fastmcp.Client on asyncio"
    loop = AsyncioLoop()
    packages = ("fastmcp", "mcp", "httpx2")

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncGenerator[_Connection]:
        async with fastmcp.Client(url) as client:
            yield _Connection(client)
