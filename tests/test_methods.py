"""The protocol's methods: what each sends, what it gives, and lists of many pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import pytest

import trio_mcp
from tests.conftest import Serve
from trio_mcp.connector import Connector
from trio_mcp.methods import MAX_PAGES
from trio_mcp.testing import Call
from trio_mcp.testing.messages import Json

LEGACY = "2025-11-25"
TOOL = {"name": "t", "inputSchema": {"type": "object"}}
RESOURCE = {"name": "r", "uri": "x://y"}
TEMPLATE = {"name": "r", "uriTemplate": "x://{y}"}
PROMPT = {"name": "p"}

LISTS: dict[str, tuple[Callable[[Connector], Any], Callable[[Connector, str | None], Any], str, Json]] = {
    "tools/list": (lambda c: c.list_tools(), lambda c, cursor: c.list_tools_page(cursor), "tools", TOOL),
    "resources/list": (
        lambda c: c.list_resources(),
        lambda c, cursor: c.list_resources_page(cursor),
        "resources",
        RESOURCE,
    ),
    "resources/templates/list": (
        lambda c: c.list_resource_templates(),
        lambda c, cursor: c.list_resource_templates_page(cursor),
        "resourceTemplates",
        TEMPLATE,
    ),
    "prompts/list": (
        lambda c: c.list_prompts(),
        lambda c, cursor: c.list_prompts_page(cursor),
        "prompts",
        PROMPT,
    ),
}


@pytest.mark.parametrize("method", LISTS)
async def test_a_list_is_all_its_pages_and_an_empty_cursor_is_a_cursor(serve: Serve, method: str) -> None:
    list_all, list_page, key, item = LISTS[method]
    cursors = {None: "", "": "b", "b": None}
    server = serve()

    def page(seen: Call) -> Any:
        following = cursors[seen.params.get("cursor")]
        return seen.result({key: [item], **({} if following is None else {"nextCursor": following})})

    server.on[method] = page
    async with server.connect() as c:
        assert len(await list_all(c)) == 3
        assert [seen.params.get("cursor") for seen in server.all(method)] == [None, "", "b"]
        first = await list_page(c, None)
        assert first.next_cursor == ""
        last = await list_page(c, "b")
        assert last.next_cursor is None


async def test_a_list_whose_cursors_repeat_is_an_error(serve: Serve) -> None:
    server = serve()
    server.on["tools/list"] = lambda seen: seen.result({"tools": [TOOL], "nextCursor": "again"})
    async with server.connect() as c:
        with pytest.raises(trio_mcp.ProtocolError, match="gave the cursor 'again' twice") as caught:
            await c.list_tools()
        assert caught.value.server == c.public_identifier
    assert len(server.all("tools/list")) == 2


async def test_a_list_without_end_is_an_error(serve: Serve) -> None:
    server = serve()
    server.on["tools/list"] = lambda seen: seen.result({"tools": [], "nextCursor": str(len(server.seen))})
    async with server.connect() as c:
        with pytest.raises(trio_mcp.ProtocolError, match=f"more than {MAX_PAGES} pages"):
            await c.list_tools()
    assert len(server.all("tools/list")) == MAX_PAGES


async def test_an_error_while_listing_is_raised(serve: Serve) -> None:
    async with serve().connect() as c:
        with pytest.raises(trio_mcp.MCPError, match="no method tools/list"):
            await c.list_tools()


CALLS: list[tuple[str, Callable[[Connector], Any], Json, Json]] = [
    ("tools/call", lambda c: c.call_tool("t"), {"name": "t", "arguments": {}}, {"content": []}),
    (
        "tools/call",
        lambda c: c.call_tool("t", {"a": 1}),
        {"name": "t", "arguments": {"a": 1}},
        {"content": []},
    ),
    ("resources/read", lambda c: c.read_resource("x://y"), {"uri": "x://y"}, {"contents": []}),
    ("prompts/get", lambda c: c.get_prompt("p"), {"name": "p"}, {"messages": []}),
    (
        "prompts/get",
        lambda c: c.get_prompt("p", {"a": "1"}),
        {"name": "p", "arguments": {"a": "1"}},
        {"messages": []},
    ),
    (
        "completion/complete",
        lambda c: c.complete(types.PromptReference(name="p"), {"name": "a", "value": "b"}),
        {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "b"}},
        {"completion": {"values": ["bc"]}},
    ),
    (
        "completion/complete",
        lambda c: c.complete(
            types.ResourceTemplateReference(uri="x://{y}"),
            types.CompletionArgument(name="a", value="b"),
            {"c": "d"},
        ),
        {
            "ref": {"type": "ref/resource", "uri": "x://{y}"},
            "argument": {"name": "a", "value": "b"},
            "context": {"arguments": {"c": "d"}},
        },
        {"completion": {"values": []}},
    ),
    (
        "completion/complete",
        lambda c: c.complete(
            types.PromptReference(name="p"),
            {"name": "a", "value": "b"},
            types.CompletionContext(arguments={"c": "d"}),
        ),
        {
            "ref": {"type": "ref/prompt", "name": "p"},
            "argument": {"name": "a", "value": "b"},
            "context": {"arguments": {"c": "d"}},
        },
        {"completion": {"values": []}},
    ),
    ("ping", lambda c: c.ping(), {}, {}),
    ("logging/setLevel", lambda c: c.set_logging_level("info"), {"level": "info"}, {}),
    ("resources/subscribe", lambda c: c.subscribe_resource("x://y"), {"uri": "x://y"}, {}),
    ("resources/unsubscribe", lambda c: c.unsubscribe_resource("x://y"), {"uri": "x://y"}, {}),
]


@pytest.mark.parametrize(("method", "call", "params", "result"), CALLS)
async def test_what_a_method_sends(
    serve: Serve, method: str, call: Callable[[Connector], Any], params: Json, result: Json
) -> None:
    server = serve(LEGACY)
    server.on[method] = lambda seen: seen.result(result)
    async with server.connect() as c:
        given = await call(c)
    (seen,) = server.all(method)
    assert seen.params == params
    assert given is None or isinstance(given, types.Result)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.ping(),
        lambda c: c.subscribe_resource("x://y"),
        lambda c: c.unsubscribe_resource("x://y"),
        lambda c: c.request("initialize", None, types.EmptyResult),
    ],
)
async def test_what_the_version_does_not_have_is_told_and_not_sent(
    serve: Serve, call: Callable[[Connector], Any]
) -> None:
    server = serve()
    async with server.connect() as c:
        with pytest.raises(trio_mcp.UnsupportedFeature, match="2026-07-28 has no"):
            await call(c)
        assert len(server.seen) == 1
    async with serve(LEGACY).connect() as c:
        with pytest.raises(trio_mcp.UnsupportedFeature, match="2025-11-25 has no subscriptions/listen"):
            await c.request("subscriptions/listen", {}, types.EmptyResult)


async def test_the_log_level_goes_with_each_modern_request(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.result({"content": []})
    async with server.connect() as c:
        await c.call_tool("x")
        await c.set_logging_level("warning")
        await c.call_tool("x")
        await c.call_tool("x", meta={"io.modelcontextprotocol/logLevel": "debug"})
    levels = [s.params["_meta"].get("io.modelcontextprotocol/logLevel") for s in server.all("tools/call")]
    assert levels == [None, "warning", "debug"]


async def test_any_request_can_be_sent_and_its_result_be_of_any_type(serve: Serve) -> None:
    @dataclass
    class Point:
        x: int

    server = serve()
    server.on["ext/point"] = lambda seen: seen.result({"x": seen.params["x"], "ttlMs": -1})
    async with server.connect() as c:
        assert await c.request("ext/point", {"x": 1, "_meta": {"mine": 1}}, Point) == Point(1)
        assert server.seen[-1].params["_meta"]["mine"] == 1
        assert await c.request("ext/point", {"x": 2}, dict[str, int]) == {"x": 2, "ttlMs": 0}
        with pytest.raises(trio_mcp.ProtocolError, match="not valid at x") as caught:
            await c.request("ext/point", {"x": "?"}, Point)
        assert caught.value.request == "ext/point"
        with pytest.raises(trio_mcp.ProtocolError, match="not valid at its root"):
            await c.request("ext/point", {"x": 2}, list[int])


async def test_structured_content_is_validated_against_the_listed_output_schema(serve: Serve) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    server = serve()
    server.on["tools/list"] = lambda seen: seen.result({"tools": [{**TOOL, "outputSchema": schema}]})
    server.on["tools/call"] = lambda seen: seen.result(
        {"content": [], "structuredContent": seen.params["arguments"]}
    )
    async with server.connect() as c:
        assert (await c.call_tool("t", {"n": "not listed yet"})).structured_content == {"n": "not listed yet"}
        await c.list_tools()
        assert (await c.call_tool("t", {"n": 1})).structured_content == {"n": 1}
        with pytest.raises(trio_mcp.InvalidOutput, match=r"not valid at \$\.n") as caught:
            await c.call_tool("t", {"n": "x"})
        assert caught.value.request == "tools/call 't'"
    async with server.connect(validate_output=False) as c:
        await c.list_tools()
        await c.call_tool("t", {"n": "x"})


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.call_tool("x", [1]),
        lambda c: c.call_tool("x", "a"),
        lambda c: c.call_tool("x", meta=5),
        lambda c: c.complete(types.PromptReference(name="p"), {"nam": "a"}),
    ],
)
async def test_arguments_of_a_wrong_shape_are_told(serve: Serve, call: Callable[[Connector], Any]) -> None:
    server = serve()
    async with server.connect() as c:
        with pytest.raises(trio_mcp.InvalidArguments):
            await call(c)
        assert len(server.seen) == 1
        with pytest.raises(trio_mcp.MCPError):
            await c.request("x/y", {"_meta": None}, types.EmptyResult)


async def test_a_tools_own_failure_is_a_result(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.result(
        {"content": [{"type": "text", "text": "no"}], "isError": True}
    )
    async with server.connect() as c:
        assert (await c.call_tool("t")).is_error


@pytest.mark.parametrize(("structured", "present"), [({"structuredContent": None}, True), ({}, False)])
async def test_null_content_is_told_from_absent_content(
    serve: Serve, structured: Json, present: bool
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.result({"content": [], **structured})
    async with server.connect() as c:
        result = await c.call_tool("t")
    assert ("structured_content" in result.model_fields_set) == present
