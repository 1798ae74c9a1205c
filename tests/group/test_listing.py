"""What a group lists and calls: tools, prompts and resources of all its servers."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

from tests.group.groups import (
    EVERYTHING,
    PAGE,
    declares,
    lists,
    make_group,
    refuses,
    until,
    wire_server,
)
from tests.transports.wires import LEGACY, WireServer
from trio_mcp import ConnectionLost, MCPError, Stalled, UsageError
from trio_mcp.errors import AmbiguousName, ServerUnavailable, UnknownName
from trio_mcp.group import GroupTool

Clock = trio.testing.MockClock


def names(listing: list[Any]) -> list[str]:
    return [each.name for each in listing]


def text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def with_resources(*uris: str, templates: tuple[str, ...] = ()) -> WireServer:
    """A server with these resources, which reads whatever it is asked for."""
    server = declares(WireServer(LEGACY), **EVERYTHING)
    lists(server, "resources", [{"uri": uri, "name": uri} for uri in uris])
    found = [{"uriTemplate": template, "name": template} for template in templates]
    lists(server, "resources/templates", found, "resourceTemplates")
    server.on["resources/read"] = lambda message: {
        **PAGE,
        "contents": [{"uri": message["params"]["uri"], "text": "read"}],
    }
    return server


# Tools


async def test_the_tools_of_all_servers_are_listed_and_called(autojump_clock: Clock) -> None:
    long = "x" * 100
    servers = {"a": wire_server("t", "odd.name"), "b": wire_server("t", long)}
    async with make_group(servers) as group:
        tools = await group.list_tools()
        assert names(tools)[::2] == ["a__t", "b__t"]
        assert tools.missing == {}
        for tool, own in zip(tools, ["t", "odd.name", "t", long], strict=True):
            assert isinstance(tool, types.Tool)
            assert tool.own_name == own
            assert text(await group.call_tool(tool.name)) == own
        assert servers["b"].wire.all("tools/call")[0]["params"]["name"] == "t"
        assert len(servers["b"].wire.all("tools/list")) == 1


async def test_a_listed_tool_is_dumped_as_the_protocol_has_it(autojump_clock: Clock) -> None:
    server = wire_server()
    tool = {"name": "t", "inputSchema": {"type": "object"}, "_meta": {"x": 1}, "title": "T"}
    lists(server, "tools", [tool])
    async with make_group({"a": server}) as group:
        (listed,) = await group.list_tools()
    assert isinstance(listed, GroupTool)
    assert (listed.server, listed.own_name) == ("a", "t")
    assert listed.model_dump(by_alias=True, exclude_unset=True) == {**tool, "name": "a__t"}


async def test_of_a_tool_that_is_listed_twice_the_first_one_counts(autojump_clock: Clock) -> None:
    server = wire_server()
    schema = {"type": "object"}
    lists(server, "tools", [{"name": "t", "title": title, "inputSchema": schema} for title in "xy"])
    async with make_group({"a": server}) as group:
        assert [tool.title for tool in await group.list_tools()] == ["x"]


async def test_a_tool_is_looked_for_where_it_has_not_been_listed(autojump_clock: Clock) -> None:
    a, b = wire_server("t"), wire_server("odd.name")
    async with make_group({"a": a, "b": b}) as group:
        assert text(await group.call_tool("a__t", {"x": 1})) == "t"
        assert b.wire.all("tools/list") == []
        name = group._names.unique("b", "odd.name")
        assert text(await group.call_tool(name)) == "odd.name"
    assert a.wires[0].all("tools/call")[0]["params"]["arguments"] == {"x": 1}


async def test_an_unknown_tool_is_an_error_with_the_nearest_names(autojump_clock: Clock) -> None:
    a = wire_server("create_issue", "list_issues")
    async with make_group(
        {"github": a, "bad": refuses(wire_server())}, optional=["bad"], policy=None
    ) as group:
        with pytest.raises(UnknownName) as caught:
            await group.call_tool("github__create_isue")
        assert caught.value.near == ("github__create_issue", "github__list_issues")
        assert caught.value.name == "github__create_isue"
        assert str(caught.value) == (
            "there is no tool 'github__create_isue' in the group; "
            "the nearest: 'github__create_issue', 'github__list_issues'"
        )
        with pytest.raises(UnknownName, match="not all could be asked: 'bad'"):
            await group.call_tool("create_issue")
        assert len(a.wire.all("tools/list")) == 1  # it can be nobody's
        with pytest.raises(ServerUnavailable, match="'bad' is failed"):
            await group.call_tool("bad__x")
        with pytest.raises(UsageError, match="a name is a str, not NoneType"):
            await group.call_tool(None)  # type: ignore[arg-type]
        lists(a, "tools", [{"name": "new", "inputSchema": {"type": "object"}}])
        await group.call_tool("github__new")  # what is not known is asked for
    assert a.wires[0].all("tools/call")[0]["params"]["name"] == "new"


async def test_tools_that_may_not_be_used_are_neither_seen_nor_called(autojump_clock: Clock) -> None:
    server = wire_server("good", "bad")
    async with make_group({"a": server}, tools=["good"]) as group:
        assert names(await group.list_tools()) == ["a__good"]
        with pytest.raises(UnknownName):
            await group.call_tool("a__bad")
        await group.call_tool("a__good")


async def test_progress_and_meta_go_with_a_call(autojump_clock: Clock) -> None:
    server = wire_server("t")
    seen: list[float] = []

    def answer(message: Any) -> Any:
        token = message["params"]["_meta"]["progressToken"]
        server.wire.notify("notifications/progress", {"progressToken": token, "progress": 1})
        return {"content": []}

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(progress)

    server.on["tools/call"] = answer
    async with make_group({"a": server}) as group:
        await group.call_tool("a__t", progress_callback=progressed, meta={"x": 1})
    assert seen == [1]
    assert server.wires[0].all("tools/call")[0]["params"]["_meta"]["x"] == 1


# Servers that fail amid a listing


async def test_a_server_that_fails_does_not_fail_the_others(autojump_clock: Clock) -> None:
    slow, broken, none, lost = (wire_server("t") for _ in range(4))
    slow.on["tools/list"] = lambda message: None
    broken.on["tools/list"] = lambda message: {"tools": 1}
    declares(none)

    def cut(message: Any) -> None:
        lost.wire.break_off()

    lost.on["tools/list"] = cut
    servers = {"slow": slow, "broken": broken, "good": wire_server("t"), "none": none, "lost": lost}
    async with make_group(servers, deadline=7, optional=servers) as group:
        tools = await group.list_tools()
        assert trio.current_time() == 7
        assert names(tools) == ["good__t"]
        assert list(tools.missing) == ["slow", "broken", "lost"]
        assert isinstance(tools.missing["slow"], Stalled)
        assert str(tools.missing["slow"]) == "wires: no list of tools within 7 s (deadline=)"
        assert isinstance(tools.missing["lost"], ConnectionLost)
        with pytest.raises(Stalled):
            await group.call_tool("slow__t")
    assert none.wires[0].all("tools/list") == []


async def test_a_listing_is_cancelled_as_a_whole(autojump_clock: Clock) -> None:
    servers = {"a": wire_server("t"), "b": wire_server("t")}
    servers["b"].on["tools/list"] = lambda message: None
    async with make_group(servers) as group:
        with trio.move_on_after(2) as scope:
            await group.list_tools()
        assert scope.cancelled_caught
        assert trio.current_time() == 2
        await servers["b"].saw("notifications/cancelled")
        assert text(await group.call_tool("a__t")) == "t"


async def test_what_a_hook_raises_comes_out_of_the_listing_as_it_is(autojump_clock: Clock) -> None:
    async def hook(context: Any, call_next: Any) -> Any:
        if context.method == "tools/list":
            raise ZeroDivisionError
        return await call_next(context)

    async with make_group({"a": wire_server(), "b": wire_server()}, middleware=[hook]) as group:
        with pytest.raises(ZeroDivisionError):
            await group.list_tools()


async def test_what_a_server_listed_in_an_earlier_life_is_asked_for_anew(autojump_clock: Clock) -> None:
    server = wire_server("old", "both")
    async with make_group({"a": server}) as group:
        await group.list_tools()
        lists(server, "tools", [{"name": "both", "inputSchema": {"type": "object"}}])
        server.wire.break_off()
        await until(group, "a", "down")
        with pytest.raises(ServerUnavailable):
            await group.call_tool("a__both")
        await until(group, "a", "up")
        with pytest.raises(UnknownName):
            await group.call_tool("a__old")
        await group.call_tool("a__both")


async def test_what_a_server_listed_in_an_earlier_block_is_asked_for_anew(autojump_clock: Clock) -> None:
    server = wire_server("now")
    group = make_group({"a": server})
    async with group:
        await group.list_tools()
    lists(server, "tools", [{"name": "new", "inputSchema": {"type": "object"}}])
    async with group:
        with pytest.raises(UnknownName, match="the nearest: 'a__new'"):
            await group.call_tool("a__now")


# Prompts


async def test_prompts_have_names_as_tools_have(autojump_clock: Clock) -> None:
    server = declares(wire_server(), **EVERYTHING)
    lists(server, "prompts", [{"name": "greet"}])
    server.on["prompts/get"] = lambda message: {
        "description": message["params"]["name"],
        "messages": [],
    }
    async with make_group({"a": server, "b": declares(wire_server())}) as group:
        (prompt,) = await group.list_prompts()
        assert (prompt.name, prompt.server, prompt.own_name) == ("a__greet", "a", "greet")
        assert (await group.get_prompt("a__greet", {"who": "you"})).description == "greet"
        with pytest.raises(UnknownName, match="no prompt 'a__gret' in the group; the nearest: 'a__greet'"):
            await group.get_prompt("a__gret")
    assert server.wires[0].all("prompts/get")[0]["params"] == {"name": "greet", "arguments": {"who": "you"}}


# Resources


async def test_a_resource_is_read_where_it_is_listed(autojump_clock: Clock) -> None:
    a = with_resources("file:///a", "file:///both", templates=("file:///{name}",))
    b = with_resources("file:///b", "file:///both", templates=("db://{table}/{+row}",))
    async with make_group({"a": a, "b": b, "none": declares(wire_server())}) as group:
        await group.read_resource("file:///b")
        assert b.wire.all("resources/read")[0]["params"] == {"uri": "file:///b"}
        assert a.wire.all("resources/read") == []
        listed = await group.list_resources()
        assert [(each.server, each.uri) for each in listed] == [
            ("a", "file:///a"),
            ("a", "file:///both"),
            ("b", "file:///b"),
            ("b", "file:///both"),
        ]
        with pytest.raises(AmbiguousName, match="may be of 'a', 'b': say which one by server=") as caught:
            await group.read_resource("file:///both")
        assert (caught.value.name, caught.value.servers) == ("file:///both", ("a", "b"))
        await group.read_resource("file:///both", server="b")
        assert len(b.wire.all("resources/read")) == 2


async def test_a_resource_is_read_where_a_template_says_so(autojump_clock: Clock) -> None:
    a = with_resources(templates=("file:///{name}",))
    b = with_resources(templates=("db://{table}/{+row}", "db://{x}/y/z"))
    async with make_group({"a": a, "b": b}) as group:
        await group.read_resource("db://x/y/z")
        assert len(b.wire.all("resources/read")) == 1
        templates = await group.list_resource_templates()
        assert [(each.server, each.uri_template) for each in templates] == [
            ("a", "file:///{name}"),
            ("b", "db://{table}/{+row}"),
            ("b", "db://{x}/y/z"),
        ]
        with pytest.raises(UnknownName, match="no resource 'file:///x/y' in the group$"):
            await group.read_resource("file:///x/y")
        assert a.wire.all("resources/read") == []
        await group.read_resource("file:///x/y", server="a")
        assert len(a.wire.all("resources/read")) == 1
        with pytest.raises(UnknownName, match="no server 'c'"):
            await group.read_resource("file:///x/y", server="c")


async def test_a_server_without_templates_is_said_to_be_missing(autojump_clock: Clock) -> None:
    server = with_resources("file:///a")

    def refuse(message: Any) -> None:
        server.wire.say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}})

    server.on["resources/templates/list"] = refuse
    async with make_group({"a": server}) as group:
        with pytest.raises(UnknownName, match="the nearest: 'file:///a'; not all could be asked: 'a'"):
            await group.read_resource("file:///b")
        assert isinstance((await group.list_resource_templates()).missing["a"], MCPError)
