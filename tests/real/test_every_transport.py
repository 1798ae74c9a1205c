"""The same scenarios over every way to the official SDK's server, in both eras; `ways.py` has the table."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing
from pydantic import FileUrl

from trio_mcp import (
    ConnectError,
    ConnectionLost,
    Connector,
    MCPError,
    NotConnected,
    RequestContext,
    ResourceUpdated,
    ToolsChanged,
    UnsupportedFeature,
)
from trio_mcp.network import Network, TcpNetwork, is_readable

from . import mcp_server
from .mcp_server import TOUCHED
from .ways import LEGACY, MODERN, WAYS, Kit, Serving, cases, negotiated

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
]

ONE = types.Root(uri=FileUrl("file:///one"))
TWO = types.Root(uri=FileUrl("file:///two"))
Serve = Callable[..., AbstractAsyncContextManager[Serving]]
Open = Callable[..., AbstractAsyncContextManager[Connector]]


def over(pairs: Iterable[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("way", "version"), list(pairs))


@pytest.fixture
def serve(way: str, kit: Kit) -> Serve:
    """Serves as the test's case says."""
    state = mcp_server.listening, mcp_server.subscribed, mcp_server.levels
    for each in state:
        each.clear()  # without sessions, the server keeps all that it remembers under the name ""
    return lambda own=False: WAYS[way].serve(kit, own)


@pytest.fixture
def connect(serve: Serve, version: str) -> Open:
    """Connects as the test's case says."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncGenerator[Connector]:
        async with serve() as serving, serving.connect(protocol_version=version, **options) as c:
            yield c

    return opened


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A name for what this test has the server count."""
    return str(request.node.name)


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def reaches(c: Connector, tool: str, key: str, count: int) -> None:
    while text_of(await c.call_tool(tool, {"key": key})) != str(count):
        await trio.sleep(0.01)


# Asking the server


@over((name, version) for name, way in WAYS.items() for version in way.has)
async def test_the_handshake_tells_about_the_server(connect: Open, way: str, version: str) -> None:
    async with connect() as c:
        assert c.transport == WAYS[way].transport
        assert c.protocol_version == negotiated(version)
        assert c.server_info is not None
        assert (c.server_info.name, c.server_info.version) == ("real", "1.0")
        assert c.instructions == "add first"
        assert c.server_capabilities.tools is not None


@over(cases("listing"))
async def test_everything_that_the_server_has_is_listed(connect: Open) -> None:
    async with connect() as c:
        tools = {tool.name: tool for tool in await c.list_tools()}
        assert tools["add"].input_schema["required"] == ["a", "b"]
        assert {str(resource.uri) for resource in await c.list_resources()} == {TOUCHED, "memo://bytes"}
        assert [each.uri_template for each in await c.list_resource_templates()] == ["greeting://{name}"]
        assert [prompt.name for prompt in await c.list_prompts()] == ["introduce"]


@over(cases("calling"))
async def test_a_tool_answers_with_text_and_with_structured_content(connect: Open) -> None:
    async with connect() as c:
        await c.list_tools()  # so the structured content is validated as well
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        summed = await c.call_tool("sum_up", {"terms": [1, 2, 3]})
        assert summed.structured_content == {"total": 6, "terms": [1, 2, 3]}


@over(cases("failing"))
async def test_a_tool_that_fails_or_is_not_there_is_a_result_with_is_error(connect: Open) -> None:
    async with connect() as c:
        for name in ("fail", "nowhere"):
            result = await c.call_tool(name)
            assert result.is_error
            assert name in text_of(result)


@over(cases("error"))
async def test_what_the_server_refuses_is_an_mcp_error_and_the_connection_goes_on(connect: Open) -> None:
    async with connect() as c:
        with pytest.raises(MCPError, match="memo://nowhere") as caught:
            await c.read_resource("memo://nowhere")
        assert caught.value.code == -32602
        assert caught.value.data == {"uri": "memo://nowhere"}
        with pytest.raises(MCPError):
            await c.get_prompt("nowhere")
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"


@over(cases("reading"))
async def test_resources_are_read_as_text_as_bytes_and_by_template(connect: Open) -> None:
    async with connect() as c:
        found = [(await c.read_resource(uri)).contents for uri in (TOUCHED, "memo://bytes", "greeting://ada")]
        assert found == [
            [types.TextResourceContents(uri=TOUCHED, text="some text", mime_type="text/plain")],
            [types.BlobResourceContents(uri="memo://bytes", blob="AP8=", mime_type="application/x-bytes")],
            [types.TextResourceContents(uri="greeting://ada", text="hello ada", mime_type="text/plain")],
        ]


@over(cases("prompting"))
async def test_a_prompt_is_filled_with_its_arguments(connect: Open) -> None:
    async with connect() as c:
        (message,) = (await c.get_prompt("introduce", {"name": "ada"})).messages
        assert message.content == types.TextContent(text="introduce ada")


@over(cases("completing"))
async def test_arguments_of_prompts_and_templates_are_completed_in_their_context(connect: Open) -> None:
    argument = {"name": "name", "value": "a"}
    async with connect() as c:
        prompt = await c.complete(types.PromptReference(name="introduce"), argument, {"other": "anne"})
        assert prompt.completion.values == ["prompt", "anne", "ada", "alan"]
        template = await c.complete(types.ResourceTemplateReference(uri="greeting://{name}"), argument)
        assert template.completion.values == ["template", "ada", "alan"]


@over(cases("ping", LEGACY))
async def test_a_legacy_server_answers_a_ping(connect: Open) -> None:
    async with connect() as c:
        await c.ping()


@over(cases("ping", MODERN))
async def test_what_the_modern_era_has_not_is_an_unsupported_feature(connect: Open) -> None:
    async with connect() as c:
        for unsupported in (c.ping(), c.subscribe_resource(TOUCHED), c.unsubscribe_resource(TOUCHED)):
            with pytest.raises(UnsupportedFeature, match="2026-07-28"):
                await unsupported


# Calls that take their time


@over(cases("progress"))
async def test_progress_comes_in_order_and_is_complete_when_the_call_returns(connect: Open) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((progress, total, message))

    async with connect() as c:
        await c.call_tool("slow", {"n": 100}, progress_callback=note)
        assert seen == [(step, 100, f"step {step}") for step in range(1, 101)]


@over(cases("cancelling"))
async def test_a_call_that_is_cancelled_is_cancelled_on_the_server(connect: Open, key: str) -> None:
    async def cancel_once_started(scope: trio.CancelScope) -> None:
        await reaches(c, "started_calls", key, 1)
        scope.cancel()

    async with connect() as c, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_once_started, scope)
            await c.call_tool("forever", {"key": key})
        assert scope.cancelled_caught
        await reaches(c, "cancelled_calls", key, 1)
        assert c.statistics().requests_cancelled == 1


@over(cases("many"))
async def test_fifty_calls_at_once_each_get_their_own_answer(connect: Open) -> None:
    answers: dict[int, str] = {}

    async def call(c: Connector, n: int) -> None:
        answers[n] = text_of(await c.call_tool("add", {"a": n, "b": 1000}))

    async with connect() as c:
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(call, c, n)
        assert answers == {n: str(n + 1000) for n in range(50)}


# What the server asks


async def accept(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    if isinstance(params, types.ElicitRequestURLParams):
        assert (params.message, params.url) == ("go there", "https://example.com/consent")
        return types.ElicitResult(action="accept")
    assert params.message == "who?"
    assert set(params.requested_schema["properties"]) == {"name", "polite"}
    return types.ElicitResult(action="accept", content={"name": "ada"})


async def say(context: RequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    assert (params.system_prompt, params.max_tokens) == ("be brief", 10)
    (message,) = params.messages
    assert message.content == types.TextContent(text="say it")
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="it"), model="m")


def questions() -> Iterator[tuple[str, str, str, str]]:
    """Each question that a server may have, in the versions that have it."""
    asked = {"ask": ("ada, please", "2025-06-18"), "ask_url": ("accept", "2025-11-25")}
    asked |= {"sample": ("it", LEGACY[0]), "roots": ("file:///one", LEGACY[0])}
    for (tool, (answer, since)), (way, version) in itertools.product(asked.items(), cases("question")):
        if version >= since:
            yield way, version, tool, answer


@pytest.mark.parametrize(("way", "version", "tool", "answer"), list(questions()))
async def test_what_the_server_asks_within_a_call_is_answered(connect: Open, tool: str, answer: str) -> None:
    async with connect(elicitation_callback=accept, sampling_callback=say, roots=[ONE]) as c:
        assert text_of(await c.call_tool(tool)) == answer


@over(cases("question", LEGACY[:-1]))
async def test_elicitation_by_url_is_refused_in_versions_that_had_none(connect: Open) -> None:
    async with connect(elicitation_callback=accept) as c:
        with pytest.raises(MCPError) as caught:
            await c.call_tool("ask_url")
        assert caught.value.code in (-32601, -32602)


@over(cases("question", (LEGACY[-1], *MODERN)))
async def test_a_callback_may_call_back_into_the_connection(connect: Open) -> None:
    async def ask_the_server(
        context: RequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        name = text_of(await context.session.call_tool("add", {"a": 40, "b": 2}))
        return types.ElicitResult(action="accept", content={"name": name, "polite": False})

    async with connect(elicitation_callback=ask_the_server) as c:
        assert text_of(await c.call_tool("ask")) == "42, now"


@over(cases("question aside"))
async def test_the_server_gets_the_roots_that_were_set_last(connect: Open, version: str) -> None:
    # A legacy server asks by itself, over the GET stream where there is one; a modern one by its result.
    tool = "roots" if version in MODERN else "roots_aside"
    async with connect(roots=[ONE]) as c:
        assert text_of(await c.call_tool(tool)) == "file:///one"
        await c.set_roots([TWO])
        assert text_of(await c.call_tool(tool)) == "file:///two"
        assert c.get_roots() == [TWO]


# What the server tells


@over(cases("logging"))
async def test_log_messages_come_from_the_level_that_was_set(connect: Open) -> None:
    logged: list[tuple[str, object, str | None]] = []

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        logged.append((params.level, params.data, params.logger))

    async with connect(logging_callback=note) as c:
        await c.set_logging_level("warning")
        for level in ("info", "warning", "error"):
            await c.call_tool("log", {"level": level, "text": f"a {level}"})
    assert logged == [("warning", "a warning", "real"), ("error", "a error", "real")]


@over(cases("subscribing", LEGACY))
async def test_message_handler_hears_of_what_is_subscribed_until_it_is_unsubscribed(connect: Open) -> None:
    send, heard = trio.open_memory_channel[types.ServerNotification](10)
    update = types.ResourceUpdatedNotification(params=types.ResourceUpdatedNotificationParams(uri=TOUCHED))
    async with connect(message_handler=send.send) as c:
        await c.subscribe_resource(TOUCHED)
        await c.call_tool("touch")
        assert await heard.receive() == update
        assert isinstance(await heard.receive(), types.ToolListChangedNotification)
        await c.unsubscribe_resource(TOUCHED)
        await c.call_tool("touch")
        assert isinstance(await heard.receive(), types.ToolListChangedNotification)


@over(cases("subscribing"))
async def test_what_is_listened_to_is_heard(connect: Open, version: str) -> None:
    # This SDK's legacy servers tell that the list of tools has changed, but do not declare that they do.
    expected = {ResourceUpdated(TOUCHED), *[ToolsChanged()] * (version in MODERN)}
    async with connect() as c:
        for _ in range(2):  # it can be left, and taken up again
            async with c.listen(tools=True, uris=[TOUCHED]) as events:
                assert events.honoured.resource_subscriptions == [TOUCHED]
                await c.call_tool("touch")
                assert {await events.receive() for _ in expected} == expected


# Ends


@over(cases("death"))
async def test_a_server_that_dies_fails_the_call_that_waits_and_the_next_one(
    serve: Serve, version: str, key: str
) -> None:
    async def kill_once_started() -> None:
        await reaches(c, "started_calls", key, 1)
        await serving.kill(c)
        death.deadline = trio.current_time() + 1

    death = trio.CancelScope()
    async with serve(own=True) as serving, serving.connect(protocol_version=version, reconnect=False) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_once_started)
            with death, pytest.raises(ConnectionLost):
                await c.call_tool("forever", {"key": key})
            assert not death.cancelled_caught
        with trio.fail_after(1), pytest.raises((ConnectError, ConnectionLost)):
            await c.call_tool("add", {"a": 1, "b": 2})


@over(cases("closing"))
async def test_the_block_ends_with_calls_in_flight(serve: Serve, way: str, version: str, key: str) -> None:
    async def call(c: Connector) -> None:
        with pytest.raises(NotConnected):
            await c.call_tool("forever", {"key": key})

    async with serve() as serving, trio.open_nursery() as nursery:
        async with serving.connect(protocol_version=version) as c:
            for _ in range(10):
                nursery.start_soon(call, c)
            await reaches(c, "started_calls", key, 10)
            began = trio.current_time()
        assert trio.current_time() - began < 1.5
        if (way, version) in cases("closing seen"):
            async with serving.connect(protocol_version=version) as another:
                await reaches(another, "cancelled_calls", key, 10)


class Tap(trio.abc.Stream):
    """A stream that notes what is sent."""

    def __init__(self, stream: trio.abc.Stream, sent: list[int]) -> None:
        self._stream = stream
        self._sent = sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._sent.append(len(data))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def is_readable(self) -> bool:
        return is_readable(self._stream)


class TappedNetwork:
    """A network that notes the sizes of what is sent."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.sent: list[int] = []

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        return Tap(await self._network.open_stream(host, port), self.sent)


@over(cases("refusal"))
async def test_nothing_is_called_or_sent_after_the_block(
    serve: Serve, way: str, version: str, key: str
) -> None:
    async def call(c: Connector) -> None:
        with pytest.raises(NotConnected):
            await c.call_tool("forever", {"key": key})

    async with serve() as serving, trio.open_nursery() as nursery:
        network = TappedNetwork(serving.options.get("network", TcpNetwork()))
        is_seen = (way, version) in cases("silence")
        options = {"network": network} if is_seen else {}
        async with serving.connect(protocol_version=version, **options) as c:
            nursery.start_soon(call, c)
            await reaches(c, "started_calls", key, 1)
        assert bool(network.sent) == is_seen
        network.sent.clear()
        await call(c)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not network.sent
