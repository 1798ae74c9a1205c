"""What is stdio's own: processes that end, and the reference server of the protocol's authors.

What all transports have in common is shown by `test_every_transport.py`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import mcp_types as types
import pytest
import trio
from typing_extensions import Unpack

from trio_mcp import (
    ConnectionLost,
    Connector,
    MCPError,
    ReconnectPolicy,
    StdioServer,
    open_connector,
)
from trio_mcp.stdio_connector import StdioOptions

from .test_everything import PLAIN_TOOLS, User, _install

pytestmark = pytest.mark.real

SERVER = StdioServer(sys.executable, [str(Path(__file__).with_name("mcp_stdio_server.py"))])
LEGACY, MODERN = "2025-11-25", "2026-07-28"

over_eras = pytest.mark.parametrize("version", [LEGACY, MODERN])


@asynccontextmanager
async def connected(server: StdioServer, **options: Unpack[StdioOptions]) -> AsyncGenerator[Connector]:
    with trio.fail_after(20):
        async with open_connector(server, **options) as c:
            yield c


def text_of(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


# The official SDK's server


@over_eras
async def test_a_server_that_dies_fails_its_calls_and_is_started_again_where_that_is_wanted(
    version: str,
) -> None:
    policy = ReconnectPolicy(initial=0.01)
    async with connected(SERVER, protocol_version=version, reconnect=policy) as c:
        with pytest.raises(ConnectionLost, match="the server exited with code 4"):
            await c.call_tool("die", {"code": 4})
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
    async with connected(SERVER, protocol_version=version) as c:
        with pytest.raises(ConnectionLost, match="the server exited with code 4"):
            await c.call_tool("die", {"code": 4})
        with pytest.raises(ConnectionLost, match="the server exited with code 4"):
            await c.call_tool("add", {"a": 1, "b": 2})


# The reference server, which the TypeScript SDK speaks for


@pytest.fixture(scope="module")
def everything() -> StdioServer:
    return StdioServer("node", [str(_install()), "stdio"], env={"SEEN": "by get-env"})


@pytest.mark.parametrize("version", ["auto", "2024-11-05", "2025-06-18", LEGACY])
async def test_the_reference_server_is_used(everything: StdioServer, version: str) -> None:
    user = User()
    async with connected(everything, **user.options(version)) as c:  # type: ignore[misc]
        assert c.protocol_version == (LEGACY if version == "auto" else version)
        for name, (arguments, text) in PLAIN_TOOLS.items():
            assert text in text_of(await c.call_tool(name, arguments)), name
        await c.call_tool(
            "trigger-long-running-operation",
            {"duration": 0.2, "steps": 4},
            progress_callback=user.note_progress,
        )
        assert user.progress == [(step, 4) for step in range(1, 5)]
        assert "context: go" in text_of(await c.call_tool("trigger-sampling-request", {"prompt": "go"}))
        assert "file:///one" in text_of(await c.call_tool("get-roots-list"))
        with pytest.raises(MCPError):
            await c.read_resource("demo://nowhere")


async def test_the_reference_server_gets_no_secret(
    everything: StdioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    async with connected(everything) as c:
        seen = text_of(await c.call_tool("get-env"))
    assert '"SEEN": "by get-env"' in seen
    assert "hidden" not in seen


async def test_a_long_operation_of_the_reference_server_can_be_left(everything: StdioServer) -> None:
    async with connected(everything) as c:
        with trio.move_on_after(0.3) as scope:
            await c.call_tool("trigger-long-running-operation", {"duration": 60})
        assert scope.cancelled_caught
        assert "3" in text_of(await c.call_tool("get-sum", {"a": 1, "b": 2}))
