"""`open_connectors`: what it takes, and what a group of real servers does with it."""

from __future__ import annotations

import random
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing
from mcp.server import MCPServer, ServerRequestContext
from mcp.server.lowlevel import Server as LowLevel
from mcp.server.mcpserver import Context

from tests.conftest import Serve
from tests.group.groups import statuses, until
from trio_mcp import (
    ConfigurationError,
    ConnectError,
    OAuth,
    ReconnectPolicy,
    RequestContext,
    ServerFailed,
    StdioServer,
)
from trio_mcp.group import ConnectorGroup, Server, open_connectors
from trio_mcp.testing import HANG, ScriptedServer

Clock = trio.testing.MockClock


def sleeper(name: str = "sleeper", seconds: float = 1) -> MCPServer[Any]:
    """A server with a tool that takes its time, and one that asks the user."""
    server = MCPServer(name)

    @server.tool()
    async def sleep() -> str:
        await trio.sleep(seconds)
        return name

    @server.tool()
    async def ask(context: Context[Any]) -> str:
        result = await context.session.elicit_form("?", {"type": "object", "properties": {}})
        return str(result.action)

    return server


def mortal() -> LowLevel[Any]:
    """A server that a call of its tool ends."""

    async def call(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("a bug")

    async def listing(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        await trio.lowlevel.checkpoint()
        return types.ListToolsResult(tools=[types.Tool(name="die", input_schema={"type": "object"})])

    return LowLevel("mortal", on_call_tool=call, on_list_tools=listing)


# Targets


async def test_servers_of_all_kinds_are_one_group(serve: Serve) -> None:
    scripted = serve()
    scripted.on["tools/list"] = lambda call: call.result({"tools": []})
    async with open_connectors(
        {
            "memory": sleeper(seconds=0),
            "http": Server(scripted.url, network=scripted.network, headers={"x-a": "b"}),
            "stdio": Server(StdioServer("/no/such/program"), required=False, restart=False),
        }
    ) as group:
        assert isinstance(group, ConnectorGroup)
        assert statuses(group) == {"memory": "up", "http": "up", "stdio": "failed"}
        assert isinstance(group.states["stdio"].error, ConnectError)
        assert [tool.name for tool in await group.list_tools()] == ["memory__sleep", "memory__ask"]
        result = await group.call_tool("memory__sleep")
        assert result.structured_content == {"result": "sleeper"}
    assert scripted.seen[0].headers["x-a"] == "b"


async def test_a_server_that_dies_comes_back(autojump_clock: Clock) -> None:
    server = Server(mortal(), raise_exceptions=True, restart=ReconnectPolicy(initial=3, jitter=0))
    async with open_connectors({"a": server, "b": sleeper()}) as group:
        for _ in range(2):
            began = trio.current_time()
            with pytest.raises(ServerFailed):
                await group.call_tool("a__die")
            await until(group, "a", "down")
            assert (await group.call_tool("b__sleep")).structured_content == {"result": "sleeper"}
            await until(group, "a", "up")
            assert trio.current_time() >= began + 3


async def test_fifty_servers_are_asked_at_the_same_time(autojump_clock: Clock) -> None:
    servers = {f"s{number}": sleeper(f"n{number}") for number in range(50)}
    async with open_connectors(servers) as group:
        assert len(await group.list_tools()) == 100

        async def call(name: str) -> None:
            result = await group.call_tool(f"{name}__sleep")
            assert result.structured_content == {"result": name.replace("s", "n")}

        async with trio.open_nursery() as nursery:
            for name in group:
                nursery.start_soon(call, name)
        assert trio.current_time() == 1


# Which are required


@pytest.mark.parametrize(
    ("options", "optional"),
    [
        ({}, {"b"}),
        ({"required": ["b"]}, {"a", "c"}),
        ({"optional": ["a", "b"]}, {"a", "b"}),
        ({"required": []}, {"a", "b", "c"}),
        ({"optional": []}, set[str]()),
    ],
)
def test_who_is_required_can_be_said_in_three_ways(options: dict[str, Any], optional: set[str]) -> None:
    servers: dict[str, Any] = {"a": "http://a", "b": Server("http://b", required=False), "c": "http://c"}
    group = open_connectors(servers, **options)
    assert {name for name, member in group._members.items() if not member.required} == optional


def test_restarting_can_be_said_for_all() -> None:
    policy = ReconnectPolicy(initial=5)
    servers: dict[str, Any] = {"a": "http://a", "b": Server("http://b", restart=policy)}

    def policies(**options: Any) -> list[ReconnectPolicy | None]:
        return [member._policy for member in open_connectors(servers, **options)._members.values()]

    assert policies() == [ReconnectPolicy(), policy]
    assert policies(restart=False) == [None, None]
    assert policies(restart=policy) == [policy, policy]


def test_jitter_is_drawn_from_the_given_generator() -> None:
    one, other = random.Random(1), random.Random(2)
    group = open_connectors({"a": "http://a", "b": Server("http://b", rng=other)}, rng=one)
    assert group._members["a"].rng is one
    assert group._members["b"].rng is other


# Options


async def test_options_of_the_group_go_to_those_whose_kind_takes_them(
    serve: Serve, autojump_clock: Clock
) -> None:
    scripted = serve()
    seen: list[str] = []

    def hook(name: str) -> Any:
        async def run(context: Any, call_next: Any) -> Any:
            seen.append(f"{name} {context.method}")
            return await call_next(context)

        return run

    async with open_connectors(
        {"a": sleeper(), "b": Server(scripted.url, middleware=[hook("inner")])},
        network=scripted.network,
        middleware=[hook("outer")],
    ) as group:
        seen.clear()
        scripted.on["x/y"] = lambda call: call.result({})
        await group["b"].request("x/y", None, dict)
    assert seen[:2] == ["outer x/y", "inner x/y"]


async def test_a_servers_own_options_go_first(autojump_clock: Clock) -> None:
    names = {"a": "mine", "b": "ours"}
    own = types.Implementation(name="mine", version="1")
    shared = types.Implementation(name="ours", version="1")
    async with open_connectors(
        {"a": Server(sleeper(), client_info=own), "b": sleeper()}, client_info=shared
    ) as group:
        assert {name: group[name].client_info.name for name in group} == names


def test_the_deadline_bounds_the_handshake() -> None:
    group = open_connectors({"a": Server("http://a", deadline=5), "b": "http://b"}, connect_timeout=10)
    bounds = [member.connector._setup.connect_timeout for member in group._members.values()]
    assert bounds == [5, 10]


def refused(servers: Any, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        open_connectors(servers, **options)
    return str(caught.value)


def test_what_cannot_work_is_refused_at_once() -> None:
    a = {"a": "http://a"}
    assert refused([]) == "servers must be a mapping of names to targets, not list"
    assert refused({1: "http://a"}).startswith("the name of a server must be a str")
    assert refused({"": "http://a"}).startswith("the name of a server must be a str")
    assert refused({"a": object()}).startswith("server 'a': a target is a URL")
    assert refused({"a": "ftp://a"}).startswith("server 'a': ")
    assert refused(a, required=[], optional=[]).startswith("required and optional exclude each other")
    assert refused(a, required="a") == "required must be a list of names, not a str"
    assert refused(a, optional=["aa"]) == "optional: there is no server 'aa'; the nearest is 'a'"
    assert refused(a, restart=1).startswith("restart must be a bool or a ReconnectPolicy")
    assert refused(a, max_calls=0) == "max_calls must be an int above 0, not 0"
    assert refused(a, separator="").startswith("separator must")
    assert refused(a, connect_timeout="soon").startswith("server 'a': connect_timeout must be")
    assert refused({"a": Server("http://a", prefix="b"), "b": "http://b"}).startswith(
        "the servers 'a' and 'b'"
    )


def test_an_option_that_nobody_takes_is_refused() -> None:
    stdio = StdioServer("x")
    assert refused({"a": stdio}, verify=False) == "verify is no option of any of the servers"
    assert refused({"a": "http://a"}, conect_timeout=1) == (
        "conect_timeout is no option of any of the servers; the nearest is 'connect_timeout'"
    )
    assert refused({}, conect_timeout=1).startswith("conect_timeout is no option")
    assert refused({"a": Server(stdio, auth="x")}) == "server 'a': auth is no option of a StdioServer"
    assert refused({"a": Server("http://a", stderr=None)}) == "server 'a': stderr is no option of a URL"


def test_what_is_for_one_server_is_not_given_to_all() -> None:
    servers = {"a": "http://a", "b": "http://b"}
    assert refused(servers, headers={}).startswith("headers are for one server")
    assert refused(servers, auth="token").startswith("auth for all servers must be an OAuth")
    open_connectors(servers, auth=OAuth())
    open_connectors(servers, auth={})


def test_a_type_error_says_at_which_server() -> None:
    with pytest.raises(TypeError) as caught:
        open_connectors({"a": Server("http://a", auth=1)})  # type: ignore[arg-type]
    assert caught.value.__notes__ == ["at server 'a' of the group"]


def test_a_server_is_checked_when_it_is_made() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"required": 1}, "required must be a bool"),
        ({"restart": "yes"}, "restart must be a bool or a ReconnectPolicy"),
        ({"deadline": 0}, "deadline must be a number of seconds above 0"),
        ({"tools": "x"}, "tools must be a list"),
        ({"tools": [1]}, "tools must be a list"),
        ({"excluded_tools": [1]}, "excluded_tools must be a list"),
        ({"prefix": 1}, "prefix must be a str or None"),
    ]
    for options, text in wrong:
        with pytest.raises(ConfigurationError, match=text):
            Server("http://a", **options)


def test_a_server_has_what_it_was_given_and_shows_no_secrets() -> None:
    server = Server("https://u:secret@a?key=secret", required=False, tools=["x"], prefix="p", auth="secret")
    assert server.target == "https://u:secret@a?key=secret"
    assert (server.required, server.tools, server.prefix) == (False, frozenset({"x"}), "p")
    assert (server.restart, server.deadline) == (ReconnectPolicy(), 30)
    assert server.options == {"auth": "secret"}
    assert repr(server) == "Server(<str>, required=False, auth=…)"
    assert repr(Server("http://a")) == "Server(<str>)"


async def test_prefixes_and_tools_of_a_server_are_heeded(autojump_clock: Clock) -> None:
    servers = {
        "a": Server(sleeper(), prefix="", tools=["sleep"]),
        "b": Server(sleeper(), prefix="c", excluded_tools=["ask"]),
    }
    async with open_connectors(servers, separator="-") as group:
        assert [tool.name for tool in await group.list_tools()] == ["sleep", "c-sleep"]
        assert (await group.call_tool("sleep")).is_error is False


# The limit of calls


async def test_calls_share_a_limit_over_the_group(autojump_clock: Clock) -> None:
    async with open_connectors({"a": sleeper(), "b": sleeper()}, max_calls=2) as group:
        await group.list_tools()
        ended: list[float] = []

        async def call(name: str) -> None:
            await group.call_tool(name)
            ended.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(call, "a__sleep")
                nursery.start_soon(call, "b__sleep")
        assert ended == [1, 1, 2, 2]
        with trio.move_on_after(0.5):
            await group.call_tool("a__sleep")
        assert (await group.call_tool("b__sleep")).structured_content == {"result": "sleeper"}


async def test_a_server_that_hangs_does_not_hold_up_the_listings_of_the_others(
    serve: Serve, autojump_clock: Clock
) -> None:
    hanging = serve()
    hanging.on["tools/list"] = lambda call: call.sse(HANG)
    servers: dict[str, Any] = {
        "a": Server(hanging.url, network=hanging.network, deadline=5),
        "b": sleeper(),
    }
    async with open_connectors(servers, max_calls=1) as group:
        listing = await group.list_tools()
        assert trio.current_time() == 5
        assert [tool.name for tool in listing] == ["b__sleep", "b__ask"]


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_calls_that_callbacks_make_do_not_wait_for_the_call_that_they_belong_to(
    version: Any, autojump_clock: Clock
) -> None:
    if version == "2026-07-28":
        asking: Any = LowLevel("asking", on_call_tool=ask_modern)
    else:
        asking = sleeper()

    async def elicit(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        await group["b"].call_tool("sleep")
        return types.ElicitResult(action="decline")

    servers: dict[str, Any] = {"a": Server(asking, protocol_version=version), "b": sleeper()}
    async with open_connectors(servers, max_calls=1, elicitation_callback=elicit) as group:
        with trio.fail_after(60):
            result = await group["a"].call_tool("ask")
        assert result.is_error is False


async def ask_modern(
    context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    await trio.lowlevel.checkpoint()
    if params.input_responses:
        return types.CallToolResult(content=[], is_error=False)
    form = types.ElicitRequestFormParams(message="?", requested_schema={"type": "object", "properties": {}})
    return types.InputRequiredResult(input_requests={"q": types.ElicitRequest(params=form)})


# Servers that are away


async def test_over_http_a_server_that_is_away_stays_up_and_its_calls_fail(autojump_clock: Clock) -> None:
    async with ScriptedServer() as server:
        server.on["tools/list"] = lambda call: call.result({"tools": []})
        async with open_connectors({"a": server.url}, network=server.network) as group:
            server.link.reset()
            server.link.refuse()
            listing = await group.list_tools(cache="refresh")
            assert isinstance(listing.missing["a"], ConnectError)
            server.link.refusing = False
            assert (await group.list_tools()).missing == {}
            assert statuses(group) == {"a": "up"}


async def test_servers_may_come_and_go_while_the_group_lists(autojump_clock: Clock) -> None:
    rng = random.Random(5)
    servers = {f"s{number}": Server(mortal(), raise_exceptions=True) for number in range(8)}
    async with open_connectors(servers, optional=servers, rng=rng) as group:

        async def disturb(name: str) -> None:
            for _ in range(5):
                await trio.sleep(rng.random() * 5)
                if group.states[name].status == "up":
                    with pytest.raises(ServerFailed):
                        await group[name].call_tool("die")

        async def look() -> None:
            for _ in range(20):
                listing = await group.list_tools()
                assert len(listing) + len(listing.missing) == len(servers)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            for name in servers:
                nursery.start_soon(disturb, name)
            nursery.start_soon(look)
        for name in servers:
            await until(group, name, "up")
