"""The official SDK's server as an object in this process, and behind WebSockets, in every version."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
import trio
import trustme
from pydantic import FileUrl

from tests.http.site import server_tls
from tests.transports.websocket_servers import Talk, accepting, official
from trio_mcp import (
    ConnectError,
    ConnectionLost,
    Connector,
    MCPError,
    NotConnected,
    RequestContext,
    UnsupportedFeature,
    open_connector,
)

from . import mcp_server

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
]

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28", "auto")
WAYS = ("memory", "ws", "wss")
CASES = list(itertools.product(WAYS, (*LEGACY, *MODERN)))
TOUCHED = "memo://touched"
Open = Callable[..., AbstractAsyncContextManager[Connector]]


def over(cases: Iterable[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("way", "version"), list(cases))


def is_modern(version: str) -> bool:
    return version in MODERN


@asynccontextmanager
async def serving(
    talk: Talk, authority: trustme.CA | None = None, streams: list[trio.abc.Stream] | None = None
) -> AsyncGenerator[str]:
    """A WebSocket server on a real socket; gives its URL. Its connections are put into `streams`."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    tls = None if authority is None else server_tls(authority, "127.0.0.1")

    async def serve(stream: trio.abc.Stream) -> None:
        if streams is not None:
            streams.append(stream)
        async with stream:
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            with suppress(trio.BrokenResourceError):
                await accepting(talk, max_message_size=1 << 24)(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        scheme = "ws" if authority is None else "wss"
        yield f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def fresh() -> None:
    """Without sessions, the server keeps all that it remembers under the name ""."""
    for each in (
        mcp_server.started,
        mcp_server.cancelled,
        mcp_server.listening,
        mcp_server.subscribed,
        mcp_server.levels,
    ):
        each.clear()


@pytest.fixture
def connect(way: str, version: str, authority: trustme.CA, ca_file: Path, fresh: None) -> Open:
    """Connects as the test's case says."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncGenerator[Connector]:
        mcp_server.listening[""] = anyio.Event()
        mcp_server.listening[""].set()
        options["protocol_version"] = version
        if way == "memory":
            async with open_connector(mcp_server.server, **options) as c:
                yield c
            return
        talk = official(mcp_server.server._lowlevel_server)
        async with serving(talk, authority if way == "wss" else None) as url:
            async with open_connector(url, verify=ca_file, **options) as c:
                yield c

    return opened


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def accept(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    if isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="accept")
    return types.ElicitResult(action="accept", content={"name": "ada"})


async def say(context: RequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="it"), model="m")


@over(CASES)
async def test_the_handshake_tells_about_the_server(connect: Open, way: str, version: str) -> None:
    async with connect() as c:
        assert c.transport == ("memory" if way == "memory" else "websocket")
        assert c.protocol_version == ("2026-07-28" if is_modern(version) else version)
        assert c.server_info is not None
        assert (c.server_info.name, c.instructions) == ("real", "add first")


@over(CASES)
async def test_what_the_server_has_is_listed_and_used(connect: Open) -> None:
    async with connect() as c:
        assert "add" in {tool.name for tool in await c.list_tools()}
        assert [prompt.name for prompt in await c.list_prompts()] == ["introduce"]
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        summed = await c.call_tool("sum_up", {"terms": [1, 2, 3]})
        assert summed.structured_content == {"total": 6, "terms": [1, 2, 3]}
        assert (await c.read_resource("greeting://ada")).contents[0].uri == "greeting://ada"
        (message,) = (await c.get_prompt("introduce", {"name": "ada"})).messages
        assert message.content == types.TextContent(text="introduce ada")
        argument = {"name": "name", "value": "a"}
        done = await c.complete(types.PromptReference(name="introduce"), argument)
        assert done.completion.values == ["prompt", "ada", "alan"]


@over(CASES)
async def test_failures_of_tools_and_refusals_leave_the_connection_alone(connect: Open, version: str) -> None:
    async with connect() as c:
        assert (await c.call_tool("fail")).is_error
        with pytest.raises(MCPError, match="memo://nowhere"):
            await c.read_resource("memo://nowhere")
        if is_modern(version):
            with pytest.raises(UnsupportedFeature):
                await c.ping()
        else:
            await c.ping()


@over(CASES)
async def test_progress_comes_in_order_and_is_complete_when_the_call_returns(connect: Open) -> None:
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(progress)

    async with connect() as c:
        await c.call_tool("slow", {"n": 100}, progress_callback=note)
        assert seen == list(range(1, 101))


@over(CASES)
async def test_a_call_that_is_cancelled_is_cancelled_on_the_server(connect: Open) -> None:
    async def cancel_once_started(scope: trio.CancelScope) -> None:
        while not mcp_server.started["k"]:
            await trio.sleep(0.01)
        scope.cancel()

    async with connect() as c, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_once_started, scope)
            await c.call_tool("forever", {"key": "k"})
        with trio.fail_after(5):
            while not mcp_server.cancelled["k"]:
                await trio.sleep(0.01)
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"


@over(CASES)
async def test_fifty_calls_at_once_each_get_their_own_answer(connect: Open) -> None:
    answers: dict[int, str] = {}

    async def call(c: Connector, n: int) -> None:
        answers[n] = text_of(await c.call_tool("add", {"a": n, "b": 1000}))

    async with connect() as c:
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(call, c, n)
        assert answers == {n: str(n + 1000) for n in range(50)}


def interactions() -> Iterable[object]:
    questions = {"ask": ("ada, please", "2025-06-18"), "ask_url": ("accept", "2025-11-25")}
    questions |= {"sample": ("it", LEGACY[0]), "roots": ("file:///one", LEGACY[0])}
    for (tool, (answer, since)), (way, version) in itertools.product(questions.items(), CASES):
        if version >= since:
            yield pytest.param(way, version, tool, answer)


@pytest.mark.parametrize(("way", "version", "tool", "answer"), list(interactions()))
async def test_what_the_server_asks_within_a_call_is_answered(connect: Open, tool: str, answer: str) -> None:
    roots = [types.Root(uri=FileUrl("file:///one"))]
    async with connect(elicitation_callback=accept, sampling_callback=say, roots=roots) as c:
        assert text_of(await c.call_tool(tool)) == answer


@over(CASES)
async def test_log_messages_come_from_the_level_that_was_set(connect: Open) -> None:
    logged: list[object] = []

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params.data)

    async with connect(logging_callback=note) as c:
        await c.set_logging_level("warning")
        for level in ("info", "warning", "error"):
            await c.call_tool("log", {"level": level, "text": f"a {level}"})
    assert logged == ["a warning", "a error"]


@over(case for case in CASES if not is_modern(case[1]))
async def test_a_legacy_server_tells_of_what_was_subscribed_to(connect: Open) -> None:
    send, heard = trio.open_memory_channel[types.ServerNotification](10)
    async with connect(message_handler=send.send) as c:
        await c.subscribe_resource(TOUCHED)
        await c.call_tool("touch")
        assert isinstance(await heard.receive(), types.ResourceUpdatedNotification)
        assert isinstance(await heard.receive(), types.ToolListChangedNotification)


@over(CASES)
async def test_the_block_ends_with_calls_in_flight(connect: Open) -> None:
    async def call(c: Connector) -> None:
        with pytest.raises(NotConnected):
            await c.call_tool("forever", {"key": "k"})

    async with trio.open_nursery() as nursery:
        with trio.fail_after(5):
            async with connect() as c:
                for _ in range(10):
                    nursery.start_soon(call, c)
                while mcp_server.started["k"] < 10:
                    await trio.sleep(0.01)
        with trio.fail_after(5):
            while mcp_server.cancelled["k"] < 10:
                await trio.sleep(0.01)


@over((way, version) for way, version in CASES if way != "memory")
async def test_a_server_that_dies_fails_the_call_that_waits(
    version: str, way: str, authority: trustme.CA, ca_file: Path, fresh: None
) -> None:
    talk = official(mcp_server.server._lowlevel_server)

    async def call(c: Connector) -> None:
        with pytest.raises(ConnectionLost):
            await c.call_tool("forever", {"key": "k"})

    streams: list[trio.abc.Stream] = []
    async with (
        serving(talk, authority if way == "wss" else None, streams) as url,
        open_connector(url, verify=ca_file, protocol_version=version) as c,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(call, c)
        while not mcp_server.started["k"]:
            await trio.sleep(0.01)
        await trio.aclose_forcefully(streams[0])


async def test_a_certificate_of_an_unknown_authority_is_a_connect_error(authority: trustme.CA) -> None:
    async with serving(official(mcp_server.server._lowlevel_server), authority) as url:
        with pytest.raises(ConnectError, match="certificate"):
            async with open_connector(url):
                pass


async def test_a_large_message_goes_both_ways(authority: trustme.CA) -> None:
    async with serving(official(mcp_server.server._lowlevel_server)) as url:
        async with open_connector(url) as c:
            prompt = await c.get_prompt("introduce", {"name": "é" * 2_000_000})
            (message,) = prompt.messages
            assert isinstance(message.content, types.TextContent)
            assert len(message.content.text) == 2_000_010
