"""Each row of the tables in docs/moving-from-mcp.md says what is so."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import mcp
import mcp_types as types
import pytest
import trio
import trio.testing
from mcp.server.lowlevel import Server

import trio_mcp
from tests.tables import Checks, read_tables
from trio_mcp import HttpConnector, MemoryConnector, StdioServer, open_connector
from trio_mcp.testing import HANG, Call, ScriptedServer

PAGE = Path(__file__).parent.parent / "docs" / "moving-from-mcp.md"
LEGACY = "2025-11-25"

TABLES = read_tables(PAGE, "| mcp.Client | here | what differs |")
ROWS = {f"{number} {cells[0]}": cells for number, table in enumerate(TABLES) for cells in table}
CHECKS = Checks()
row = CHECKS.row


def test_the_tables_have_all_that_the_client_has() -> None:
    options = {field.name for field in fields(mcp.Client) if field.init}
    methods = {name for name in dir(mcp.Client) if not name.startswith("_")} - options
    named = [{cells[0].strip("`") for cells in table} for table in TABLES]
    assert named == [options, methods]


def test_every_row_has_a_check_and_every_check_a_row() -> None:
    assert ROWS.keys() == CHECKS.keys()


@pytest.mark.parametrize("key", ROWS)
def test_what_a_row_names_exists(key: str) -> None:
    here = ROWS[key][1]
    for name in re.findall(r"\bc\.(\w+)", here):
        assert hasattr(HttpConnector, name)
    for name in re.findall(r"`(\w+)=`", " ".join(ROWS[key][1:]) if key.startswith("0") else here):
        assert name in inspect.signature(HttpConnector).parameters
    assert len(ROWS[key]) == 3


@pytest.mark.parametrize("key", ROWS)
async def test_a_row_is_so(
    key: str, mcp_server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await CHECKS[key](mcp_server)


def legacy(server: ScriptedServer, **options: Any) -> ScriptedServer:
    """A legacy server on the network of `server`."""
    return ScriptedServer(LEGACY, url="http://legacy.test/mcp", network=server.network, **options)


def test_parameters_of_the_same_name_take_the_same() -> None:
    # The signatures of callbacks, which the rows call "the same".
    import mcp.client.session as session

    async def sample(context: object, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        raise NotImplementedError

    for protocol in (session.SamplingFnT, session.ElicitationFnT):
        assert list(inspect.signature(protocol.__call__).parameters) == ["self", "context", "params"]
    assert list(inspect.signature(session.ListRootsFnT.__call__).parameters) == ["self", "context"]
    assert list(inspect.signature(session.LoggingFnT.__call__).parameters) == ["self", "params"]
    HttpConnector("http://server.test/mcp", sampling_callback=sample)


# The client


@row("0 `server`")
async def _(server: ScriptedServer) -> None:
    assert isinstance(open_connector("https://example.com/mcp"), HttpConnector)
    assert isinstance(open_connector(Server("x")), MemoryConnector)
    assert isinstance(open_connector(mcp.server.MCPServer("x")), MemoryConnector)
    theirs = mcp.StdioServerParameters(command=sys.executable, args=["-V"], env={"A": "b"})
    open_connector(StdioServer(theirs.command, theirs.args, theirs.env, theirs.cwd))
    one, _ = trio.testing.memory_stream_pair()
    trio_mcp.StreamConnector(one)


@row("0 `raise_exceptions`")
async def _(server: ScriptedServer) -> None:
    async def broken(context: object, params: object) -> types.ListToolsResult:
        raise KeyError("mine")

    async with open_connector(Server("x", on_list_tools=broken), raise_exceptions=True) as c:
        with pytest.raises(trio_mcp.ServerFailed) as caught:
            await c.list_tools()
    assert isinstance(caught.value.__cause__, KeyError)


@row("0 `read_timeout_seconds`")
async def _(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda call: call.sse(HANG)
    async with server.connect(sse_read_timeout=60) as c:
        with trio.move_on_after(10) as scope:
            await c.call_tool("x")
        assert scope.cancelled_caught
        with pytest.raises(trio_mcp.Stalled):
            await c.call_tool("x")
    assert trio.current_time() == 70


async def modern_capabilities(server: ScriptedServer, **options: Any) -> dict[str, Any]:
    """The capabilities that a connector with `options` declares."""
    server.on["tools/call"] = lambda call: call.text("done")
    async with server.connect(**options) as c:
        await c.call_tool("x")
    declared: dict[str, Any] = server.seen[-1].params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    return declared


async def sample(context: object, params: object) -> types.CreateMessageResult:
    raise NotImplementedError


@row("0 `sampling_callback`")
async def _(server: ScriptedServer) -> None:
    assert "sampling" in await modern_capabilities(server, sampling_callback=sample)
    assert "sampling" not in await modern_capabilities(server)


@row("0 `sampling_capabilities`")
async def _(server: ScriptedServer) -> None:
    tools = types.SamplingCapability(tools=types.SamplingToolsCapability())
    declared = await modern_capabilities(server, sampling_callback=sample, sampling_capabilities=tools)
    assert declared["sampling"] == {"tools": {}}
    assert "sampling" in await modern_capabilities(server, sampling_capabilities=tools)


@row("0 `list_roots_callback`")
async def _(server: ScriptedServer) -> None:
    async def roots(context: object) -> types.ListRootsResult:
        raise NotImplementedError

    assert "roots" in await modern_capabilities(server, list_roots_callback=roots)
    assert "roots" in await modern_capabilities(server, roots=[])


async def log(params: types.LoggingMessageNotificationParams) -> None:
    raise NotImplementedError


LEVEL = "io.modelcontextprotocol/logLevel"


@row("0 `logging_callback`")
async def _(server: ScriptedServer) -> None:
    await modern_capabilities(server, logging_callback=log)
    assert server.seen[-1].params["_meta"][LEVEL] == "info"
    await modern_capabilities(server)
    assert LEVEL not in server.seen[-1].params["_meta"]


@row("0 `log_level`")
async def _(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda call: call.text("done")
    async with server.connect(logging_callback=log) as c:
        await c.set_logging_level("error")
        await c.call_tool("x")
    assert server.seen[-1].params["_meta"][LEVEL] == "error"


@row("0 `message_handler`")
async def _(server: ScriptedServer) -> None:
    seen: list[object] = []

    async def handle(message: object) -> None:
        seen.append(message)

    old = legacy(server)
    old.listen()
    async with old, old.connect(message_handler=handle):
        old.link.reset()
        await trio.sleep(5)
        await old.notify("notifications/tools/list_changed")
        await trio.sleep(1)
    assert [type(message) for message in seen] == [types.ToolListChangedNotification]


@row("0 `client_info`")
async def _(server: ScriptedServer) -> None:
    mine = types.Implementation(name="mine", version="1")
    async with server.connect(client_info=mine):
        pass
    said = server.seen[0].params["_meta"]["io.modelcontextprotocol/clientInfo"]
    assert said == {"name": "mine", "version": "1"}


@row("0 `mode`")
async def _(server: ScriptedServer) -> None:
    async with server.connect(protocol_version="2026-07-28") as c:
        assert c.protocol_version == "2026-07-28"
    old = legacy(server)
    async with old, old.connect(protocol_version=LEGACY) as c:
        assert c.protocol_version == LEGACY
    assert old.methods()[0] == "initialize"
    async with legacy(server) as old, old.connect(protocol_version="auto"):
        assert old.methods()[:2] == ["server/discover", "initialize"]


@row("0 `prior_discover`")
async def _(server: ScriptedServer) -> None:
    async with server.connect(protocol_version="2026-07-28"):
        pass
    assert server.methods() == ["server/discover"]


@row("0 `elicitation_callback`")
async def _(server: ScriptedServer) -> None:
    async def ask(context: object, params: object) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={})

    properties = {"guests": {"type": "integer", "default": 2}}
    form = {"message": "?", "requestedSchema": {"type": "object", "properties": properties}}
    server.on["tools/call"] = questions(1, {"method": "elicitation/create", "params": form})
    async with server.connect(elicitation_callback=ask) as c:
        await c.call_tool("x")
    assert server.seen[-1].params["inputResponses"]["q"]["content"] == {"guests": 2}


def questions(rounds: int, question: dict[str, Any]) -> Callable[[Call], Any]:
    """A handler of a modern server that asks so many times."""
    asked = 0

    def handler(call: Call) -> Any:
        nonlocal asked
        asked += 1
        return call.text("done") if asked > rounds else call.input_required({"q": question})

    return handler


@row("0 `input_required_max_rounds`")
async def _(server: ScriptedServer) -> None:
    async with server.connect(roots=[]) as c:
        server.on["tools/call"] = questions(10, {"method": "roots/list"})
        await c.call_tool("x")
        server.on["tools/call"] = questions(11, {"method": "roots/list"})
        with pytest.raises(trio_mcp.ProtocolError):
            await c.call_tool("x")


@row("0 `extensions`")
async def _(server: ScriptedServer) -> None:
    options = {"extensions": {"com.example/x": {"a": 1}, "com.example/y": trio_mcp.Extension()}}
    declared = await modern_capabilities(server, **options)
    assert declared["extensions"] == {"com.example/x": {"a": 1}, "com.example/y": {}}


@row("0 `cache`")
async def _(server: ScriptedServer) -> None:
    server.on["tools/list"] = lambda call: {"tools": [], "ttlMs": 60_000, "cacheScope": "private"}
    for cache, expected in ((True, 1), (False, 2), (trio_mcp.MemoryCache(), 1)):
        before = len(server.all("tools/list"))
        async with server.connect(cache=cache) as c:
            await c.list_tools()
            await c.list_tools()
        assert len(server.all("tools/list")) - before == expected


# Methods and properties


@row("1 `call_tool`")
async def _(server: ScriptedServer) -> None:
    parameters = inspect.signature(HttpConnector.call_tool).parameters
    keywords = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    assert keywords == ["progress_callback", "meta", "result_type"]
    server.on["tools/call"] = lambda call: {"content": [], "structuredContent": {"result": 3}}
    async with server.connect() as c:
        assert (await c.call_tool("add", {"a": 1})).structured_content == {"result": 3}
        assert await c.call_tool("add", {"a": 1}, result_type=int) == 3


TOOL = {"name": "a", "inputSchema": {"type": "object"}}


@row("1 `list_tools`")
async def _(server: ScriptedServer) -> None:
    server.on["tools/list"] = lambda call: (
        {"tools": [TOOL]} if "cursor" in call.params else {"tools": [TOOL], "nextCursor": "2"}
    )
    async with server.connect() as c:
        assert len(await c.list_tools(cache="refresh")) == 2
        page = await c.list_tools_page()
        assert isinstance(page, types.ListToolsResult)
        assert (await c.list_tools_page(page.next_cursor)).next_cursor is None


async def check_list(server: ScriptedServer, name: str, method: str, result: dict[str, Any]) -> None:
    server.on[method] = lambda call: result
    async with server.connect() as c:
        assert [item.name for item in await getattr(c, name)(cache="bypass")] == ["a"]
        assert (await getattr(c, f"{name}_page")()).next_cursor is None


@row("1 `list_resources`")
async def _(server: ScriptedServer) -> None:
    resources = {"resources": [{"name": "a", "uri": "x://a"}]}
    await check_list(server, "list_resources", "resources/list", resources)


@row("1 `list_resource_templates`")
async def _(server: ScriptedServer) -> None:
    templates = {"resourceTemplates": [{"name": "a", "uriTemplate": "x://{a}"}]}
    await check_list(server, "list_resource_templates", "resources/templates/list", templates)


@row("1 `list_prompts`")
async def _(server: ScriptedServer) -> None:
    await check_list(server, "list_prompts", "prompts/list", {"prompts": [{"name": "a"}]})


@row("1 `read_resource`")
async def _(server: ScriptedServer) -> None:
    server.on["resources/read"] = lambda call: {"contents": [{"uri": call.params["uri"], "text": "x"}]}
    async with server.connect() as c:
        assert (await c.read_resource("x://a", cache="bypass")).contents[0].uri == "x://a"


@row("1 `get_prompt`")
async def _(server: ScriptedServer) -> None:
    server.on["prompts/get"] = lambda call: {"messages": []}
    async with server.connect() as c:
        await c.get_prompt("a", {"b": "c"})
        await c.request("prompts/get", {"name": "a"}, types.GetPromptResult, meta={"x": 1})
    assert server.all("prompts/get")[0].params["arguments"] == {"b": "c"}
    assert server.all("prompts/get")[1].params["_meta"]["x"] == 1


@row("1 `complete`")
async def _(server: ScriptedServer) -> None:
    server.on["completion/complete"] = lambda call: {"completion": {"values": ["Ada"]}}
    async with server.connect() as c:
        ref = types.PromptReference(name="greet")
        argument = {"name": "who", "value": "A"}
        for context in ({"where": "Vienna"}, types.CompletionContext(arguments={"where": "Vienna"})):
            result = await c.complete(ref, argument, context)
            assert result.completion.values == ["Ada"]
            assert server.seen[-1].params["context"] == {"arguments": {"where": "Vienna"}}


@row("1 `listen`")
async def _(server: ScriptedServer) -> None:
    named = set(re.findall(r"`(\w+)=`", ROWS["1 `listen`"][2]))
    assert named == inspect.signature(HttpConnector.listen).parameters.keys() - {"self", "reconnect"}
    old = legacy(server, capabilities={"tools": {"listChanged": True}})
    old.listen()
    async with old, old.connect() as c, c.listen(tools=True) as events:
        old.link.reset()
        await trio.sleep(5)
        await old.notify("notifications/tools/list_changed")
        seen = [await anext(events), await anext(events)]
    assert {type(event) for event in seen} == {trio_mcp.Gap, trio_mcp.ToolsChanged}


async def check_legacy_only(server: ScriptedServer, method: str, name: str, *arguments: str) -> None:
    async with server.connect() as c:
        with pytest.raises(trio_mcp.UnsupportedFeature):
            await getattr(c, name)(*arguments)
    old = legacy(server)
    old.on[method] = lambda call: {}
    async with old, old.connect() as c:
        await getattr(c, name)(*arguments)
    assert method in old.methods()


@row("1 `subscribe_resource`")
async def _(server: ScriptedServer) -> None:
    await check_legacy_only(server, "resources/subscribe", "subscribe_resource", "x://a")


@row("1 `unsubscribe_resource`")
async def _(server: ScriptedServer) -> None:
    await check_legacy_only(server, "resources/unsubscribe", "unsubscribe_resource", "x://a")


@row("1 `set_logging_level`")
async def _(server: ScriptedServer) -> None:
    old = legacy(server)
    old.on["logging/setLevel"] = lambda call: {}
    async with old, old.connect() as c:
        await c.set_logging_level("error")
    assert old.all("logging/setLevel")[0].params["level"] == "error"
    async with server.connect() as c:
        await c.set_logging_level("error")
    assert server.methods() == ["server/discover"]


@row("1 `send_ping`")
async def _(server: ScriptedServer) -> None:
    await check_legacy_only(server, "ping", "ping")


@row("1 `send_roots_list_changed`")
async def _(server: ScriptedServer) -> None:
    old = legacy(server)
    async with old, old.connect(roots=[]) as c:
        await c.set_roots([types.Root(uri="file:///x")])  # type: ignore[arg-type]
    assert "notifications/roots/list_changed" in old.methods()


@row("1 `send_progress_notification`")
async def _(server: ScriptedServer) -> None:
    old = legacy(server)
    async with old, old.connect() as c:
        await c.notify("notifications/progress", {"progressToken": "t", "progress": 1})
    assert "notifications/progress" in old.methods()


@row("1 `session`")
async def _(server: ScriptedServer) -> None:
    server.on["x/y"] = lambda call: {"answer": 42}
    async with server.connect() as c:
        assert (await c.request("x/y", None, dict[str, Any]))["answer"] == 42
        await c.notify("notifications/x")
    assert server.methods()[-1] == "notifications/x"


async def check_property(server: ScriptedServer, name: str, value: object) -> None:
    described = ScriptedServer(
        url="http://described.test/mcp", network=server.network, instructions="Be kind."
    )
    async with described, described.connect() as c:
        assert getattr(c, name) == value


@row("1 `protocol_version`")
async def _(server: ScriptedServer) -> None:
    await check_property(server, "protocol_version", "2026-07-28")


@row("1 `server_info`")
async def _(server: ScriptedServer) -> None:
    await check_property(server, "server_info", types.Implementation(name="scripted", version="1"))


@row("1 `server_capabilities`")
async def _(server: ScriptedServer) -> None:
    tools = types.ServerCapabilities(tools=types.ToolsCapability())
    await check_property(server, "server_capabilities", tools)


@row("1 `instructions`")
async def _(server: ScriptedServer) -> None:
    await check_property(server, "instructions", "Be kind.")


# What stands below the tables


async def test_an_error_is_one_of_ours_with_its_parts(
    mcp_server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    mcp_server.on["tools/call"] = lambda call: call.error(-32602, "no", data={"a": 1})
    async with mcp_server.connect() as c:
        with pytest.raises(trio_mcp.MCPError) as caught:
            await c.call_tool("x")
    error = caught.value
    assert (error.code, error.message, error.data) == (-32602, "no", {"a": 1})
    assert not hasattr(error, "error")
    assert not issubclass(trio_mcp.MCPError, mcp.MCPError)
