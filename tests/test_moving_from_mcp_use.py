"""Each row of the tables in docs/moving-from-mcp-use.md says what is so."""

from __future__ import annotations

import inspect
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import mcp_types as types
import pytest
import trio
import trio.testing
import trustme
from mcp.server import MCPServer
from pydantic import AnyUrl

import trio_mcp
from tests.tables import Checks, read_tables
from trio_mcp import HttpConnector, MCPError, OAuth
from trio_mcp.middleware import Middleware
from trio_mcp.testing import HANG, Call, ScriptedServer, serve_asgi

PAGE = Path(__file__).parent.parent / "docs" / "moving-from-mcp-use.md"
LEGACY = "2025-11-25"
URL = "http://server.test/mcp"

MCP_USE = {
    # Of 1.7.1: the parameters of HttpConnector; the keys of `auth`; the methods, properties and attributes of
    # HttpConnector and BaseConnector that begin with no underscore.
    "parameters": "base_url headers timeout sse_read_timeout auth sampling_callback elicitation_callback "
    "message_handler logging_callback middleware verify roots list_roots_callback",
    "auth": "client_id client_secret scope callback_port client_metadata_url oauth_provider",
    "methods": "connect disconnect initialize call_tool list_tools list_resources read_resource list_prompts "
    "get_prompt get_roots set_roots",
    "attributes": "is_connected public_identifier transport_type client_info capabilities tools resources "
    "prompts list_roots_callback base_url headers timeout sse_read_timeout verify sampling_callback "
    "elicitation_callback logging_callback message_handler middleware_manager auto_reconnect client_session",
}


TABLES = read_tables(PAGE, "| mcp-use | here | what differs |")
ROWS = {f"{number} {cells[0]}": cells for number, table in enumerate(TABLES) for cells in table}
CHECKS = Checks()
row = CHECKS.row


def test_the_tables_have_all_that_mcp_use_has() -> None:
    named = [[name for cells in table for name in re.findall(r"`(\w+)", cells[0])] for table in TABLES]
    assert [sorted(names) for names in named] == [sorted(names.split()) for names in MCP_USE.values()]


def test_every_row_has_a_check_and_every_check_a_row() -> None:
    assert ROWS.keys() == CHECKS.keys()


@pytest.mark.parametrize("key", ROWS)
def test_what_a_row_names_exists(key: str) -> None:
    here = ROWS[key][1]
    options = inspect.signature(HttpConnector).parameters
    for name in re.findall(r"\bc\.(\w+)", here):
        assert hasattr(HttpConnector, name)
    for name in re.findall(r"`(\w+)=`", here):
        assert options[name].kind is inspect.Parameter.KEYWORD_ONLY or name == "middleware"
    if key.startswith("0") and not here.endswith("=`"):
        assert options[here.strip("`")].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    if key.startswith("1"):
        assert here.strip("`") in inspect.signature(OAuth).parameters
    assert len(ROWS[key]) == 3


@pytest.mark.parametrize("key", ROWS)
async def test_a_row_is_so(
    key: str, mcp_server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    await CHECKS[key](mcp_server)


def legacy(server: ScriptedServer, **options: Any) -> ScriptedServer:
    """A legacy server on the network of `server`."""
    return ScriptedServer(LEGACY, url="http://legacy.test/mcp", network=server.network, **options)


def answer_tool(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda call: call.text("done")


def asking(method: str, params: dict[str, Any]) -> Callable[[Call], Any]:
    """A handler of a modern server that asks first, and gives the answer as text."""

    def handler(call: Call) -> Any:
        answers = call.params.get("inputResponses")
        if answers is None:
            return call.input_required({"q": {"method": method, "params": params}})
        return call.text(str(answers["q"]))

    return handler


def text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


# Parameters


@row("0 `base_url`")
async def _(server: ScriptedServer) -> None:
    slash = ScriptedServer(url="http://slash.test/mcp/", network=server.network)
    async with slash, slash.connect():
        assert slash.seen[0].target == "/mcp/"
    with pytest.raises(trio_mcp.ConfigurationError):
        HttpConnector("ftp://server.test/mcp")


@row("0 `headers`")
async def _(server: ScriptedServer) -> None:
    mine = {"x-mine": "1"}
    async with HttpConnector(URL, mine, auth="token", network=server.network):
        pass
    assert mine == {"x-mine": "1"}
    assert server.seen[0].headers["x-mine"] == "1"
    assert server.seen[0].headers["authorization"] == "Bearer token"


@row("0 `timeout`")
async def _(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda call: call.sse(20, call.response({"content": []}))
    async with HttpConnector(URL, None, 5, network=server.network) as c:
        await c.call_tool("slow")
    assert trio.current_time() == 20


@row("0 `sse_read_timeout`")
async def _(server: ScriptedServer) -> None:
    server.on["tools/call"] = lambda call: (
        call.sse(HANG) if call.params["name"] == "silent" else call.text("done")
    )
    async with HttpConnector(URL, None, 5, 60, network=server.network) as c:
        with pytest.raises(trio_mcp.Stalled):
            await c.call_tool("silent")
        assert trio.current_time() == 60
        assert text(await c.call_tool("other")) == "done"


@row("0 `auth`")
async def _(server: ScriptedServer) -> None:
    for auth in (
        "token",
        lambda: "token",
        httpx.BasicAuth("user", "password"),
        httpx2.BasicAuth("user", "password"),
    ):
        async with HttpConnector(URL, auth=auth, network=server.network):
            pass
        expected = "Basic " if isinstance(auth, httpx.Auth | httpx2.Auth) else "Bearer token"
        assert server.seen[-1].headers["authorization"].startswith(expected)
    for oauth in ({"scope": "read"}, OAuth(scope="read")):
        async with HttpConnector(URL, auth=oauth, network=server.network):
            pass
        assert "authorization" not in server.seen[-1].headers  # this server does not ask for it
    with pytest.raises(TypeError):
        HttpConnector(URL, auth=5)  # type: ignore[arg-type]
    with pytest.raises(trio_mcp.ConfigurationError):
        HttpConnector(URL, auth={"no_such_key": "x"})


SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}


@row("0 `sampling_callback`")
async def _(server: ScriptedServer) -> None:
    async def sample(
        context: trio_mcp.RequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        assert params.max_tokens == 5
        return types.CreateMessageResult(
            role="assistant", model="m", content=types.TextContent(type="text", text="hello")
        )

    server.on["tools/call"] = asking("sampling/createMessage", SAMPLE)
    async with server.connect(sampling_callback=sample) as c:
        assert "hello" in text(await c.call_tool("x"))


@row("0 `elicitation_callback`")
async def _(server: ScriptedServer) -> None:
    async def ask(context: trio_mcp.RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert params.message == "Who?"
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    form = {
        "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
    }
    server.on["tools/call"] = asking("elicitation/create", form)
    async with server.connect(elicitation_callback=ask) as c:
        assert "Ada" in text(await c.call_tool("x"))


@row("0 `message_handler`")
async def _(server: ScriptedServer) -> None:
    seen: list[object] = []

    async def handle(message: object) -> None:
        seen.append(message)

    old = legacy(server)
    old.listen()
    async with old, old.connect(message_handler=handle):
        await old.notify("notifications/tools/list_changed")
        await old.ask("ping")
        old.link.reset()
        await trio.sleep(1)
    assert [type(message) for message in seen] == [types.ToolListChangedNotification]


@row("0 `logging_callback`")
async def _(server: ScriptedServer) -> None:
    seen: list[types.LoggingMessageNotificationParams] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        seen.append(params)

    old = legacy(server, capabilities={"logging": {}})
    old.listen()
    async with old, old.connect(logging_callback=log):
        await old.notify("notifications/message", {"level": "info", "data": "hello"})
        await trio.sleep(1)
    assert [params.data for params in seen] == ["hello"]


def assert_hook(name: str) -> None:
    assert list(inspect.signature(getattr(Middleware, name)).parameters) == ["self", "context", "call_next"]


@row("0 `middleware`")
async def _(server: ScriptedServer) -> None:
    # The hooks of mcp-use 1.7.1's Middleware.
    for what in ("request", "initialize", "call_tool", "read_resource", "get_prompt"):
        assert_hook(f"on_{what}")
    for what in ("tools", "resources", "prompts"):
        assert_hook(f"on_list_{what}")
    methods: list[str] = []

    async def spy(context: Any, call_next: Any) -> Any:
        methods.append(context.method)
        return await call_next(context)

    answer_tool(server)
    async with server.connect(middleware=[spy]) as c:
        await c.call_tool("x")
    assert methods[-1] == "tools/call"


@row("0 `verify`")
async def _(server: ScriptedServer) -> None:
    for verify in (True, False, None, "ca.pem", ssl.create_default_context()):
        HttpConnector(URL, verify=verify)
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    context, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("secure.test", key_type=trustme.KeyType.RSA).configure_cert(context)
    authority.configure_trust(trusting)
    secure = ScriptedServer(url="https://secure.test/mcp", network=server.network, tls=context)
    secure.on["server/discover"] = lambda call: call.reply(
        status=401, headers={"www-authenticate": 'Bearer resource_metadata="https://secure.test/metadata"'}
    )
    async with secure:
        with pytest.raises(trio_mcp.ConnectError, match="certificate"):
            async with secure.connect():
                pass
        with pytest.raises(trio_mcp.OAuthError):
            async with secure.connect(verify=trusting, auth={}):
                pass
    assert secure.seen[-1].target == "/metadata"  # OAuth's own request has come through, too


@row("0 `roots`")
async def _(server: ScriptedServer) -> None:
    old = legacy(server)
    async with old:
        async with old.connect(roots=[types.Root(uri="file:///x")]):  # type: ignore[arg-type]
            pass
        async with old.connect():
            pass
    first, second = old.all("initialize")
    assert "roots" in first.params["capabilities"]
    assert "roots" not in second.params["capabilities"]


@row("0 `list_roots_callback`")
async def _(server: ScriptedServer) -> None:
    async def roots(context: trio_mcp.RequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///mine")])  # type: ignore[arg-type]

    old = legacy(server)
    old.listen()
    async with old, old.connect(list_roots_callback=roots):
        answer = await old.ask("roots/list")
    assert answer["result"]["roots"] == [{"uri": "file:///mine"}]


# The keys of `auth`


@row("1 `client_id`")
async def _(server: ScriptedServer) -> None:
    HttpConnector(URL, auth={"client_id": "me"})


@row("1 `client_secret`")
async def _(server: ScriptedServer) -> None:
    HttpConnector(URL, auth={"client_id": "me", "client_secret": "x", "issuer": "https://login.test"})
    with pytest.raises(trio_mcp.ConfigurationError, match="client_id"):
        HttpConnector(URL, auth={"client_secret": "x"})


@row("1 `scope`")
async def _(server: ScriptedServer) -> None:
    # test_the_programs_scopes_come_beside_those_of_the_challenge shows the rest.
    HttpConnector(URL, auth={"scope": "read write"})


@row("1 `callback_port`")
async def _(server: ScriptedServer) -> None:
    HttpConnector(URL, auth={"callback_port": 8085})


@row("1 `client_metadata_url`")
async def _(server: ScriptedServer) -> None:
    HttpConnector(URL, auth={"client_metadata_url": "https://me.test/client.json"})
    with pytest.raises(trio_mcp.ConfigurationError, match="an https URL with a path"):
        HttpConnector(URL, auth={"client_metadata_url": "https://me.test"})


@row("1 `oauth_provider`")
async def _(server: ScriptedServer) -> None:
    HttpConnector(URL, auth={"issuer": "https://login.test"})
    with pytest.raises(trio_mcp.ConfigurationError, match="oauth_provider"):
        HttpConnector(URL, auth={"oauth_provider": {}})


# Methods


@row("2 `connect()`")
async def _(server: ScriptedServer) -> None:
    async with server.connect() as c:
        assert c.is_connected
        with pytest.raises(trio_mcp.UsageError):
            await c.__aenter__()
    async with trio.open_nursery() as nursery:
        one = await trio_mcp.connect(nursery, URL, network=server.network)
        two = server.connect()
        assert await nursery.start(two.run) is two
        assert one.is_connected
        assert two.is_connected
        await one.aclose()
        await two.aclose()


@row("2 `disconnect()`")
async def _(server: ScriptedServer) -> None:
    old = legacy(server)
    old.on["DELETE"] = lambda call: trio.sleep_forever()
    async with old:
        async with old.connect():
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(1)
        async with trio.open_nursery() as nursery:
            c = await trio_mcp.connect(nursery, old.url, network=old.network)
            await c.aclose()
            assert not c.is_connected


@row("2 `initialize()`")
async def _(server: ScriptedServer) -> None:
    async with server.connect() as c:
        assert not hasattr(c, "initialize")
        assert c.server_info is not None
    assert server.methods() == ["server/discover"]


@row("2 `call_tool()`")
async def _(server: ScriptedServer) -> None:
    answer_tool(server)
    async with server.connect() as c:
        await c.call_tool("x")
        assert "read_timeout_seconds" not in inspect.signature(c.call_tool).parameters
        server.on["tools/call"] = lambda call: call.sse(HANG)
        with pytest.raises(trio.TooSlowError), trio.fail_after(10):
            await c.call_tool("x")
        before = len(server.seen)
        server.on["tools/call"] = lambda call: server.link.reset()  # and no answer
        with pytest.raises(trio_mcp.ConnectionLost):
            await c.call_tool("x")
        assert len(server.seen) == before + 1


def two_pages(key: str, *items: dict[str, Any]) -> Callable[[Call], dict[str, Any]]:
    def page(call: Call) -> dict[str, Any]:
        if "cursor" in call.params:
            return {key: [items[1]]}
        return {key: [items[0]], "nextCursor": "2"}

    return page


async def check_a_list(
    server: ScriptedServer, name: str, method: str, key: str, *items: dict[str, Any]
) -> None:
    server.on[method] = two_pages(key, *items)
    async with server.connect() as c:
        assert [item.name for item in await getattr(c, name)()] == ["a", "b"]
        server.on[method] = lambda call: call.error(-32000, "no list today")
        with pytest.raises(MCPError, match="no list today"):
            await getattr(c, name)()


@row("2 `list_tools()`")
async def _(server: ScriptedServer) -> None:
    schema = {"type": "object"}
    await check_a_list(
        server,
        "list_tools",
        "tools/list",
        "tools",
        {"name": "a", "inputSchema": schema},
        {"name": "b", "inputSchema": schema},
    )


@row("2 `list_resources()`")
async def _(server: ScriptedServer) -> None:
    items = [{"name": "a", "uri": "x://a"}, {"name": "b", "uri": "x://b"}]
    await check_a_list(server, "list_resources", "resources/list", "resources", *items)
    async with server.connect() as c:
        assert c.server_capabilities.resources is None  # and it was asked all the same


@row("2 `read_resource()`")
async def _(server: ScriptedServer) -> None:
    server.on["resources/read"] = lambda call: {"contents": [{"uri": call.params["uri"], "text": "x"}]}
    async with server.connect() as c:
        await c.read_resource("notes://today")
        await c.read_resource(AnyUrl("notes://today"))  # type: ignore[arg-type]
    assert {call.params["uri"] for call in server.all("resources/read")} == {"notes://today"}


@row("2 `list_prompts()`")
async def _(server: ScriptedServer) -> None:
    await check_a_list(server, "list_prompts", "prompts/list", "prompts", {"name": "a"}, {"name": "b"})
    async with server.connect() as c:
        assert c.server_capabilities.prompts is None


@row("2 `get_prompt()`")
async def _(server: ScriptedServer) -> None:
    server.on["prompts/get"] = lambda call: {"messages": []}
    async with server.connect() as c:
        await c.get_prompt("greet", {"name": "Ada"})
    assert server.seen[-1].params["arguments"] == {"name": "Ada"}


ROOT = types.Root(uri="file:///x")  # type: ignore[arg-type]


@row("2 `get_roots()`")
async def _(server: ScriptedServer) -> None:
    c = server.connect(roots=[ROOT])
    c.get_roots().clear()
    assert c.get_roots() == [ROOT]


@row("2 `set_roots()`")
async def _(server: ScriptedServer) -> None:
    async with server.connect() as c:
        with pytest.raises(trio_mcp.UnsupportedFeature):
            await c.set_roots([ROOT])
    async with server.connect(roots=[]) as c:
        await c.set_roots([ROOT])
        server.on["tools/call"] = asking("roots/list", {})
        assert "file:///x" in text(await c.call_tool("x"))
    assert "notifications/roots/list_changed" not in server.methods()
    old = legacy(server)
    async with old, old.connect(roots=[]) as c:
        await c.set_roots([ROOT])
    assert "notifications/roots/list_changed" in old.methods()


# Properties and attributes


@row("3 `is_connected`")
async def _(server: ScriptedServer) -> None:
    c = server.connect()
    assert not c.is_connected
    async with c:
        assert c.is_connected
    assert not c.is_connected


@row("3 `public_identifier`")
async def _(server: ScriptedServer) -> None:
    c = HttpConnector("https://user:password@server.test/mcp?key=secret")
    assert c.public_identifier == "https://server.test/mcp"


@row("3 `transport_type`")
async def _(server: ScriptedServer) -> None:
    async with server.connect() as c:
        assert c.transport == "streamable-http"
    async with serve_asgi(MCPServer("old").sse_app(), server.network.listen("127.0.0.1", 8000)):
        async with HttpConnector("http://127.0.0.1:8000/sse", network=server.network) as c:
            assert c.transport == "sse"


@row("3 `client_info`")
async def _(server: ScriptedServer) -> None:
    assert server.connect().client_info.name == "trio_mcp"
    mine = types.Implementation(name="mine", version="1")
    assert server.connect(client_info=mine).client_info == mine


@row("3 `capabilities`")
async def _(server: ScriptedServer) -> None:
    async with server.connect() as c:
        assert c.server_capabilities.tools is not None
        assert not hasattr(c, "capabilities")


async def check_no_property(server: ScriptedServer, *names: str) -> None:
    async with server.connect() as c:
        for name in names:
            assert not hasattr(c, name)


@row("3 `tools`")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "tools")
    server.on["tools/list"] = lambda call: {"tools": [], "ttlMs": 60_000, "cacheScope": "private"}
    async with server.connect() as c:
        await c.list_tools()
        await c.list_tools()
        assert len(server.all("tools/list")) == 1
        await trio.sleep(61)
        await c.list_tools()
        assert len(server.all("tools/list")) == 2


@row("3 `resources`")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "resources")


@row("3 `prompts`")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "prompts")


@row("3 `list_roots_callback` (attribute)")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "list_roots_callback")


@row("3 `base_url`, `headers`, `timeout`, `sse_read_timeout`, `verify` (attributes)")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "base_url", "headers", "timeout", "sse_read_timeout", "verify")
    assert server.connect().public_identifier == URL


@row("3 `sampling_callback`, `elicitation_callback`, `logging_callback`, `message_handler` (attributes)")
async def _(server: ScriptedServer) -> None:
    names = ("sampling_callback", "elicitation_callback", "logging_callback", "message_handler")
    await check_no_property(server, *names)


@row("3 `middleware_manager`")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "middleware_manager", "add_middleware")


@row("3 `auto_reconnect`")
async def _(server: ScriptedServer) -> None:
    HttpConnector(URL, reconnect=trio_mcp.ReconnectPolicy(attempts=3))
    changes: list[bool] = []

    async def changed(change: trio_mcp.ConnectionChange) -> None:
        changes.append(change.connected)

    old = legacy(server)
    answer_tool(old)
    async with old, old.connect(reconnect=False, connection_callback=changed) as c:
        await old.restart()
        assert text(await c.call_tool("x")) == "done"
        await trio.sleep(1)
        assert c.statistics().reinitializations == 1
    assert changes == [False, True]


@row("3 `client_session`")
async def _(server: ScriptedServer) -> None:
    await check_no_property(server, "client_session")
    server.on["x/y"] = lambda call: {"answer": 42}
    async with server.connect() as c:
        assert (await c.request("x/y", {"a": 1}, dict[str, Any]))["answer"] == 42
        await c.notify("notifications/x", {"a": 1})
    assert server.methods()[-1] == "notifications/x"


# What stands below the tables


async def test_the_sdks_names_are_in_snake_case() -> None:
    assert {"is_error", "structured_content"} <= types.CallToolResult.model_fields.keys()
    assert "input_schema" in types.Tool.model_fields
