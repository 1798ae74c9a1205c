"""Listening and caching against the official SDK's server, in memory and on the mock clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import mcp_types as types
import pytest
import trio
import trio.testing
from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context, Elicit, Resolve
from pydantic import BaseModel

from trio_mcp import Connector, ResourceUpdated, ToolsChanged, open_connector
from trio_mcp.testing import MemoryNetwork, serve_asgi

URL = "http://127.0.0.1:8000/mcp"
FORMS = types.ElicitationCapability(form=types.FormElicitationCapability())


class Name(BaseModel):
    name: str


def ask() -> Elicit[Name]:
    return Elicit("who?", Name)


def make() -> MCPServer:
    server = MCPServer(
        "features", cache_hints={"tools/list": CacheHint(60_000, "public"), "resources/read": CacheHint(1000)}
    )

    @server.tool()
    async def change(ctx: Context) -> None:
        await ctx.notify_tools_changed()
        await ctx.notify_resource_updated("memo://a")

    @server.tool()
    async def greet(name: Annotated[Name, Resolve(ask)]) -> str:
        return f"hello {name.name}"

    @server.resource("memo://a")
    async def memo() -> str:
        return "text"

    return server


@asynccontextmanager
async def connected(server: MCPServer) -> AsyncGenerator[Connector]:
    network = MemoryNetwork()
    async with (
        serve_asgi(server.streamable_http_app(), network.listen("127.0.0.1", 8000)),
        open_connector(URL, network=network, elicitation_capabilities=FORMS) as c,
    ):
        yield c


@pytest.mark.real
async def test_events_of_the_official_server_are_heard_and_end_what_was_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(make()) as c, c.listen(tools=True, uris=["memo://a"]) as events:
        assert events.honoured == types.SubscriptionFilter(
            tools_list_changed=True, resource_subscriptions=["memo://a"]
        )
        tools = await c.list_tools()
        requests = c.statistics().requests
        assert await c.list_tools() == tools
        await c.read_resource("memo://a")
        await c.read_resource("memo://a")
        assert c.statistics().requests == requests + 1
        await c.call_tool("change")
        assert {await events.receive(), await events.receive()} == {
            ToolsChanged(),
            ResourceUpdated("memo://a"),
        }
        requests = c.statistics().requests
        await c.list_tools()
        await c.read_resource("memo://a")
        assert c.statistics().requests == requests + 2
        await trio.sleep(1)
        await c.list_tools()
        await c.read_resource("memo://a")
        assert c.statistics().requests == requests + 3


@pytest.mark.real
async def test_the_official_server_s_questions_are_answered_by_hand(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(make()) as c:
        params = {"name": "greet", "arguments": {}}
        asked = await c.request_round("tools/call", params, types.CallToolResult)
        assert isinstance(asked, types.InputRequiredResult)
        ((key, question),) = (asked.input_requests or {}).items()
        assert isinstance(question, types.ElicitRequest)
        answer = types.ElicitResult(action="accept", content={"name": "Ada"})
        done = await c.request_round(
            "tools/call", params, types.CallToolResult, answers={key: answer}, state=asked.request_state
        )
        assert isinstance(done, types.CallToolResult)
        assert done.structured_content == {"result": "hello Ada"}
