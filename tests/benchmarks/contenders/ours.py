"""trio_mcp, as its README shows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from typing_extensions import Unpack

from trio_mcp import Connector, ConnectorError, open_connector
from trio_mcp.opening import HttpOptions

from ..loops import TrioLoop
from .base import ARGUMENTS, ProgressCallback


class _Connection:
    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self.version = connector.protocol_version

    async def call(self, tool: str, arguments: Mapping[str, Any] = ARGUMENTS) -> str:
        return _text(await self._connector.call_tool(tool, arguments))

    async def call_with_progress(self, tool: str, callback: ProgressCallback) -> str:
        return _text(await self._connector.call_tool(tool, ARGUMENTS, progress_callback=callback))


class TrioMcp:
    title: str = "trio_mcp"
    loop = TrioLoop()
    error = ConnectorError
    packages = ("trio_mcp", "trio")

    def __init__(self, **options: Unpack[HttpOptions]) -> None:
        self._options = options

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncGenerator[_Connection]:
        async with open_connector(url, **self._options) as connector:
            yield _Connection(connector)


class WideTrioMcp(TrioMcp):
    """With a connection for each of a thousand calls, where the default has callers queue for a hundred."""

    title = "trio_mcp, max_connections=1000"

    def __init__(self) -> None:
        super().__init__(max_connections=1000)


def _text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text
