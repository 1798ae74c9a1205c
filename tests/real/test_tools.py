"""Against the official SDK: arguments as headers, typed results, URI templates, URLs to go to first."""

from __future__ import annotations

import mcp_types as types
import pytest
import trio
from pydantic import BaseModel

from trio_mcp import (
    MCPError,
    RequestContext,
    ToolFailed,
    URLElicitationRequired,
    expand_uri_template,
)

from .children import StartServer, connected

pytestmark = pytest.mark.real

BOTH = pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])


class Sum(BaseModel):
    total: int
    terms: list[int]


class Term(BaseModel):
    value: int


async def test_arguments_are_mirrored_in_the_headers_that_the_server_checks(
    shared_server: StartServer,
) -> None:
    async with connected(shared_server().url) as c:
        await c.list_tools()
        mirrored = await c.call_tool("route", {"region": "zürich", "level": -7}, result_type=dict[str, str])
        assert mirrored == {"mcp-param-region": "=?base64?esO8cmljaA==?=", "mcp-param-level": "-7"}
        assert c.statistics().requests == 2


async def test_a_tool_that_was_not_listed_is_listed_when_the_server_misses_its_headers(
    shared_server: StartServer,
) -> None:
    async with connected(shared_server().url) as c:
        arguments = {"region": "here", "level": 0}
        with pytest.raises(MCPError) as caught:
            await c.request("tools/call", {"name": "route", "arguments": arguments}, types.CallToolResult)
        assert caught.value.code == types.HEADER_MISMATCH
        mirrored = await c.call_tool("route", arguments, result_type=dict[str, str])
        assert mirrored == {"mcp-param-region": "here", "mcp-param-level": "0"}


@BOTH
async def test_results_are_of_the_type_that_is_asked_for(shared_server: StartServer, version: str) -> None:
    async with connected(shared_server().url, protocol_version=version) as c:
        assert await c.call_tool("add", {"a": 1, "b": 2}, result_type=int) == 3
        assert await c.call_tool("terms", {"total": 2}, result_type=list[Term]) == [Term(value=1)] * 2
        summed = await c.call_tool("sum_up", {"terms": [1, 2]}, result_type=Sum)
        assert summed == Sum(total=3, terms=[1, 2])
        with pytest.raises(ToolFailed, match="fail"):
            await c.call_tool("fail", result_type=str)


@BOTH
async def test_a_template_of_the_server_leads_to_a_resource(shared_server: StartServer, version: str) -> None:
    async with connected(shared_server().url, protocol_version=version) as c:
        (greeting,) = await c.list_resource_templates()
        (content,) = (await c.read_resource(expand_uri_template(greeting, {"name": "ada & zoë"}))).contents
        assert isinstance(content, types.TextResourceContents)
        assert content.text == "hello ada & zoë"


async def test_a_call_waits_until_the_user_has_been_to_the_url(shared_server: StartServer) -> None:
    async with connected(shared_server().url, protocol_version="2025-11-25") as c:
        with pytest.raises(URLElicitationRequired) as caught:
            await c.call_tool("after_visit", {"key": "alone"})
    (elicitation,) = caught.value.elicitations
    assert (elicitation.url, elicitation.message) == ("https://example.com/alone", "go there")

    async def accept(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        visits.start_soon(c.call_tool, "visit", {"key": params.elicitation_id})
        return types.ElicitResult(action="accept")

    url = shared_server().url
    async with connected(url, protocol_version="2025-11-25", elicitation_callback=accept) as c:
        async with trio.open_nursery() as visits:
            assert await c.call_tool("after_visit", {"key": "accompanied"}, result_type=str) == "done"
