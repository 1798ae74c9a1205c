"""Over stdio: the official SDK's server, and the reference server of the protocol's authors."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import trio
from pydantic import FileUrl
from typing_extensions import Unpack

from trio_mcp import (
    ConnectionLost,
    Connector,
    MCPError,
    NotConnected,
    ReconnectPolicy,
    RequestContext,
    ResourceUpdated,
    StdioServer,
    ToolsChanged,
    open_connector,
)
from trio_mcp.stdio_connector import StdioOptions

from .mcp_server import TOUCHED
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


@pytest.mark.parametrize("version", ["auto", "2024-11-05", "2025-03-26", LEGACY])
async def test_the_handshake_lists_and_a_call(version: str) -> None:
    async with connected(SERVER, protocol_version=version) as c:
        assert c.protocol_version == (MODERN if version == "auto" else version)
        assert c.server_info is not None
        assert c.server_info.name == "real"
        assert "add" in {tool.name for tool in await c.list_tools()}
        assert TOUCHED in {str(resource.uri) for resource in await c.list_resources()}
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        with pytest.raises(MCPError):
            await c.get_prompt("no such prompt")


@over_eras
async def test_fifty_calls_at_once_each_get_their_own_answer(version: str) -> None:
    answers: dict[int, str] = {}

    async def add(c: Connector, number: int) -> None:
        answers[number] = text_of(await c.call_tool("add", {"a": number, "b": 1}))

    async with connected(SERVER, protocol_version=version) as c, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(add, c, number)
    assert answers == {number: str(number + 1) for number in range(50)}


@over_eras
async def test_progress_comes_in_order_and_is_complete_when_the_call_returns(version: str) -> None:
    reported: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.append(progress)

    async with connected(SERVER, protocol_version=version) as c:
        await c.call_tool("slow", {"n": 100}, progress_callback=report)
        assert reported == list(range(1, 101))


@over_eras
async def test_a_call_that_is_cancelled_is_cancelled_on_the_server(version: str) -> None:
    async with connected(SERVER, protocol_version=version) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.call_tool, "forever", {"key": "k"})
            while text_of(await c.call_tool("started_calls", {"key": "k"})) != "1":
                pass
            nursery.cancel_scope.cancel()
        while text_of(await c.call_tool("cancelled_calls", {"key": "k"})) != "1":
            pass


@over_eras
async def test_what_the_server_asks_within_a_call_is_answered(version: str) -> None:
    async def elicit(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(
        context: RequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text="said"), model="m")

    async with connected(
        SERVER,
        protocol_version=version,
        elicitation_callback=elicit,
        sampling_callback=sample,
        roots=[types.Root(uri=FileUrl("file:///one"))],
    ) as c:
        for tool, answer in {"ask": "Ada, please", "sample": "said", "roots": "file:///one"}.items():
            assert answer in text_of(await c.call_tool(tool))


@over_eras
async def test_log_messages_come(version: str) -> None:
    heard: list[Any] = []

    async def hear(params: types.LoggingMessageNotificationParams) -> None:
        heard.append((params.level, params.data))

    async with connected(SERVER, protocol_version=version, logging_callback=hear) as c:
        await c.set_logging_level("warning")
        await c.call_tool("log", {"level": "info", "text": "quiet"})
        await c.call_tool("log", {"level": "error", "text": "loud"})
        while not heard:
            await trio.sleep(0.01)
    assert heard == [("error", "loud")]


async def test_a_legacy_server_is_listened_to() -> None:
    async with connected(SERVER, protocol_version=LEGACY) as c:
        await c.subscribe_resource(TOUCHED)
        heard: list[object] = []
        async with c.listen(tools=True, uris=[TOUCHED]) as events:
            await c.call_tool("touch")
            heard.append(await events.receive())
        assert heard in ([ResourceUpdated(TOUCHED)], [ToolsChanged()])


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


@over_eras
async def test_closing_with_calls_in_flight_ends_them(version: str) -> None:
    async def be_closed(c: Connector) -> None:
        with pytest.raises(NotConnected):
            await c.call_tool("forever", {"key": "k"})

    async with trio.open_nursery() as nursery:
        async with connected(SERVER, protocol_version=version) as c:
            for _ in range(5):
                nursery.start_soon(be_closed, c)
            while text_of(await c.call_tool("started_calls", {"key": "k"})) != "5":
                pass
            began = trio.current_time()
        assert trio.current_time() - began < 1.5


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
