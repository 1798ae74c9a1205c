"""Against fastmcp, over Streamable HTTP and over HTTP+SSE. It has an environment of its own in a cache."""

from __future__ import annotations

from collections.abc import Generator

import mcp_types as types
import pytest
import trio

from tests.benchmarks.processes import Broken
from tests.benchmarks.pythons import python_with
from trio_mcp import RequestContext

from .children import FASTMCP_SERVER, Child, connected, start_mcp_server

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=["http", "sse"])
def fastmcp(request: pytest.FixtureRequest) -> Generator[tuple[Child, str]]:
    """The server, and the transport that a connector finds there."""
    try:
        python = python_with("fastmcp")
    except Broken as exc:
        pytest.skip(f"fastmcp: {exc}")
    sse = request.param == "sse"
    child = start_mcp_server(*(("--sse",) if sse else ()), python=python, script=FASTMCP_SERVER)
    yield child, "sse" if sse else "streamable-http"
    child.stop()


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def test_it_is_found_and_asked(fastmcp: tuple[Child, str]) -> None:
    child, transport = fastmcp
    async with connected(child.url) as c:
        assert c.transport == transport
        assert c.server_info is not None
        assert (c.server_info.name, c.server_info.version) == ("other", "1.0")
        assert {tool.name for tool in await c.list_tools()} == {"add", "slow", "forever", "ask"}
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        (content,) = (await c.read_resource("memo://a")).contents
        assert isinstance(content, types.TextResourceContents)
        assert content.text == "some text"
        prompt = await c.get_prompt("introduce", {"name": "ada"})
        assert prompt.messages[0].content == types.TextContent(text="introduce ada")


async def test_progress_and_logs_come_before_the_result(fastmcp: tuple[Child, str]) -> None:
    steps: list[float] = []
    tell, told = trio.open_memory_channel[types.LoggingMessageNotificationParams](1)

    async def report(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async with connected(fastmcp[0].url, protocol_version="2025-11-25", logging_callback=tell.send) as c:
        assert text_of(await c.call_tool("slow", {"n": 20}, progress_callback=report)) == "done"
        assert "nearly" in str((await told.receive()).data)
    assert steps == list(range(1, 21))


async def test_its_question_is_answered(fastmcp: tuple[Child, str]) -> None:
    async def answer(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"value": "ada"})

    options = {"protocol_version": "2025-11-25", "elicitation_callback": answer}
    async with connected(fastmcp[0].url, **options) as c:  # type: ignore[arg-type]
        assert text_of(await c.call_tool("ask")) == "accept ada"


async def test_a_call_is_left_at_once_and_others_go_on(fastmcp: tuple[Child, str]) -> None:
    async with connected(fastmcp[0].url) as c:
        with trio.move_on_after(0.2) as scope:
            await c.call_tool("forever")
        assert scope.cancelled_caught
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
