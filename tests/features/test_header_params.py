"""Which arguments of a tool become headers, and which tools must not be used for their annotations."""

from __future__ import annotations

import enum
import logging
from typing import Any

import mcp_types as types
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Serve
from tests.protocol.strategies import repeatable
from trio_mcp import ConnectionLost, InvalidArguments, MCPError
from trio_mcp.features.header_params import HeaderParams
from trio_mcp.features.response_cache import MemoryCache
from trio_mcp.middleware import Middleware
from trio_mcp.protocol.headers import is_plain
from trio_mcp.statistics import Statistics
from trio_mcp.testing import CUT, Call, Reply, ScriptedServer
from trio_mcp.testing.messages import Json
from trio_mcp.transports.streamable_http import StreamableHttp

REGION = {"type": "string", "x-mcp-header": "Region"}


def tool(schema: Json, name: str = "t") -> types.Tool:
    return types.Tool.model_validate({"name": name, "inputSchema": {"type": "object", **schema}})


def params(**properties: object) -> Json:
    return {"properties": properties}


def learned(schema: Json) -> HeaderParams:
    known = HeaderParams(Statistics())
    assert known.learn([tool(schema)])
    return known


def refusal(schema: Json, caplog: pytest.LogCaptureFixture) -> str:
    statistics = Statistics()
    assert HeaderParams(statistics).learn([tool(schema)]) == []
    assert statistics.tools_dropped == 1
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("trio_mcp", logging.WARNING)
    assert "'t'" in record.getMessage()
    return record.getMessage()


# Values


class Colour(str, enum.Enum):  # noqa: UP042 - its str() is not its value
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        ("", ""),
        (42, "42"),
        (-7, "-7"),
        (3.0, "3"),
        (2**53 - 1, "9007199254740991"),
        (True, "true"),
        (False, "false"),
        (Colour.RED, "red"),
        (Size.LARGE, "3"),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ],
)
def test_a_value_is_written_as_the_specification_says(value: object, header: str) -> None:
    assert learned(params(r=REGION)).headers("t", {"r": value}) == {"mcp-param-region": header}


@pytest.mark.parametrize("value", [None, 1.5, float("inf"), ["x"], {"x": 1}, "\ud800"])
def test_what_is_absent_null_or_of_no_such_type_has_no_header(value: object) -> None:
    known = learned(params(r=REGION))
    assert known.headers("t", {"r": value}) == {}
    assert known.headers("t", {"other": "x"}) == {}


@pytest.mark.parametrize("value", [2**53, -(2**53), 1e300])
def test_an_integer_that_not_every_server_can_read_is_refused(value: float) -> None:
    with pytest.raises(InvalidArguments, match="'r' goes into a header"):
        learned(params(r={"type": "integer", "x-mcp-header": "N"})).headers("t", {"r": value})


@given(st.text())
@repeatable
def test_no_text_breaks_out_of_its_header(text: str) -> None:
    for value in learned(params(r=REGION)).headers("t", {"r": text}).values():
        assert value == "" or is_plain(value)


def test_a_value_is_read_at_its_exact_path() -> None:
    known = learned(
        params(r=REGION, o={"type": "object", **params(r={"type": "boolean", "x-mcp-header": "In"})})
    )
    assert known.headers("t", {"r": "x", "o": {"r": True}}) == {
        "mcp-param-region": "x",
        "mcp-param-in": "true",
    }
    assert known.headers("t", {"o": "no object"}) == {}


@pytest.mark.parametrize("arguments", [None, "x", ["x"]])
def test_arguments_that_are_no_object_have_no_headers(arguments: object) -> None:
    assert learned(params(r=REGION)).headers("t", arguments) == {}


@pytest.mark.parametrize("name", ["unlisted", None, ["t"]])
def test_a_tool_that_was_never_listed_has_no_headers(name: object) -> None:
    assert learned(params(r=REGION)).headers(name, {"r": "x"}) == {}


def test_the_latest_listing_counts(caplog: pytest.LogCaptureFixture) -> None:
    known = learned(params(r=REGION))
    known.learn([tool(params(r={"type": "string", "x-mcp-header": "Zone"}))])
    assert known.headers("t", {"r": "x"}) == {"mcp-param-zone": "x"}
    known.learn([tool(params(r={"x-mcp-header": "Zone"}))])  # no lawful type any more
    assert known.headers("t", {"r": "x"}) == {}


# Annotations


@pytest.mark.parametrize(
    "name", ["", "My Region", "A\r\nB", "Region:", "Régión", "x\x00", 5, None, ["Region"]]
)
def test_a_name_must_be_a_token(name: object, caplog: pytest.LogCaptureFixture) -> None:
    assert "not a name for a header" in refusal(params(r={"type": "string", "x-mcp-header": name}), caplog)


@pytest.mark.parametrize("kind", ["number", "object", "array", "null", ["string", "null"], None])
def test_a_type_must_be_one_of_three(kind: object, caplog: pytest.LogCaptureFixture) -> None:
    assert "none of integer, string, boolean" in refusal(
        params(r={"type": kind, "x-mcp-header": "Region"}), caplog
    )


def test_names_are_unique_whatever_their_case(caplog: pytest.LogCaptureFixture) -> None:
    nested = {"type": "object", **params(r={"type": "string", "x-mcp-header": "REGION"})}
    assert "the name of another one" in refusal(params(r=REGION, o=nested), caplog)


PLACES: dict[str, Json] = {
    "the root": {"x-mcp-header": "Region"},
    **{
        key: {key: REGION}
        for key in (
            "additionalItems",
            "additionalProperties",
            "contains",
            "contentSchema",
            "else",
            "if",
            "items",
            "not",
            "propertyNames",
            "then",
            "unevaluatedItems",
            "unevaluatedProperties",
        )
    },
    **{key: {key: [True, REGION]} for key in ("allOf", "anyOf", "items", "oneOf", "prefixItems")},
    **{
        key: {key: {"x": REGION}}
        for key in ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties")
    },
    "properties of items": {"properties": {"l": {"type": "array", "items": params(r=REGION)}}},
    "properties of a definition": {"$defs": {"d": params(r=REGION)}, **params(r={"$ref": "#/$defs/d"})},
}


@pytest.mark.parametrize("place", PLACES)
def test_an_annotation_anywhere_but_at_a_property_is_unlawful(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert "not the schema's own property" in refusal(PLACES[place], caplog)


def test_a_property_that_is_called_so_or_a_value_that_has_such_a_key_is_no_annotation() -> None:
    known = learned(
        {
            **params(**{"x-mcp-header": {"type": "string"}, "r": {"default": REGION, "enum": [REGION]}}),
            "examples": [REGION],
            "properties of no kind": REGION,
        }
    )
    assert known.headers("t", {"x-mcp-header": "x", "r": "x"}) == {}


@pytest.mark.parametrize(
    "schema", [{"properties": []}, {"allOf": 5}, {"$defs": None}, {"items": 5}, params(r=True)]
)
def test_nonsense_in_a_schema_is_passed_over(schema: Json) -> None:
    assert learned(schema).headers("t", {"r": "x"}) == {}


def deep(levels: int) -> Json:
    schema: Json = {"type": "string"}
    for _ in range(levels):
        schema = params(p=schema)
    return schema


def test_a_schema_beyond_all_bounds_is_not_looked_through(caplog: pytest.LogCaptureFixture) -> None:
    learned(deep(100))
    assert "too large" in refusal(deep(101), caplog)
    caplog.clear()
    learned(params(**{str(n): {} for n in range(19_999)}))
    assert "too large" in refusal(params(**{str(n): {} for n in range(20_000)}), caplog)


def test_a_tool_is_told_of_once_for_each_schema(caplog: pytest.LogCaptureFixture) -> None:
    statistics = Statistics()
    known = HeaderParams(statistics)
    bad, good = tool({"x-mcp-header": "A"}), tool(params(r=REGION), name="good")
    for _ in range(3):
        assert known.learn([bad, good]) == [good]
    assert statistics.tools_dropped == len(caplog.records) == 1


def test_a_long_name_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    HeaderParams(Statistics()).learn(
        [tool(params(**{"p" * 9999: {"x-mcp-header": "h" * 9999}}), name="n" * 9999)]
    )
    (record,) = caplog.records
    assert len(record.getMessage()) < 500


# On a connection


def listing(*tools: Json, ttl: int = 0) -> Json:
    return {"tools": list(tools), "ttlMs": ttl, "cacheScope": "private"}


def described(schema: Json, name: str = "t") -> Json:
    return {"name": name, "inputSchema": {"type": "object", **schema}}


GOOD, BAD = described(params(r=REGION)), described({"x-mcp-header": "A"}, name="bad")


def serving(serve: Serve, version: str = "2026-07-28", ttl: int = 0) -> ScriptedServer:
    server = serve(version)
    server.on["tools/list"] = lambda call: call.result(listing(GOOD, BAD, ttl=ttl))
    server.on["tools/call"] = lambda call: call.text("done")
    return server


def sent(server: ScriptedServer) -> list[str | None]:
    """The header of each call."""
    return [call.headers.get("mcp-param-region") for call in server.all("tools/call")]


async def test_a_listed_tool_is_called_with_its_headers_and_an_unlawful_one_is_not_listed(
    serve: Serve,
) -> None:
    server = serving(serve)
    async with server.connect() as c:
        await c.call_tool("t", {"r": "unlisted"})
        assert [tool.name for tool in await c.list_tools()] == ["t"]
        assert [tool.name for tool in (await c.list_tools_page()).tools] == ["t"]
        await c.call_tool("t", {"r": "a\r\nb"})
        await c.request("tools/call", {"name": "t", "arguments": {"r": "x"}}, types.CallToolResult)
        await c.request("tools/call", None, types.CallToolResult)
        assert c.statistics().tools_dropped == 1
    assert sent(server) == [None, "=?base64?YQ0KYg==?=", "x", None]


async def test_a_kept_listing_teaches_as_well(serve: Serve) -> None:
    server, cache = serving(serve, ttl=60_000), MemoryCache()
    for _ in range(2):
        async with server.connect(cache=cache) as c:
            assert [tool.name for tool in await c.list_tools()] == ["t"]
            await c.call_tool("t", {"r": "x"})
    assert sent(server) == ["x", "x"]
    assert len(server.all("tools/list")) == 1


async def test_a_legacy_connection_knows_no_such_thing(serve: Serve) -> None:
    server = serving(serve, "2025-11-25")
    async with server.connect() as c:
        assert [tool.name for tool in await c.list_tools()] == ["t", "bad"]
        await c.call_tool("t", {"r": "x"})
        assert c.statistics().tools_dropped == 0
    assert sent(server) == [None]


async def test_other_transports_know_no_such_thing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamableHttp, "name", "stdio")
    server = serving(serve)
    async with server.connect() as c:
        assert [tool.name for tool in await c.list_tools()] == ["t", "bad"]
        await c.call_tool("t", {"r": "x"})
    assert sent(server) == [None]


async def test_what_middleware_makes_of_the_arguments_is_what_goes_into_the_headers(serve: Serve) -> None:
    class Moving(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            context.params.arguments["r"] = "elsewhere"
            return await call_next(context)

    server = serving(serve)
    async with server.connect(middleware=[Moving()]) as c:
        await c.list_tools()
        await c.call_tool("t", {"r": "here"})
    assert sent(server) == ["elsewhere"]


async def test_the_callers_own_header_is_not_changed(serve: Serve) -> None:
    server = serving(serve)
    async with server.connect() as c:
        await c.list_tools()
        message = {"name": "t", "arguments": {"r": "x"}}
        await c.request("tools/call", message, types.CallToolResult, headers={"Mcp-Param-Region": "y"})
    assert sent(server) == ["y"]


async def test_the_answers_of_an_input_round_go_with_the_same_headers(serve: Serve) -> None:
    server = serving(serve)
    server.on["tools/call"] = lambda call: (
        call.text("done")
        if "inputResponses" in call.params
        else call.input_required({"q": {"method": "roots/list"}})
    )
    async with server.connect(roots=[]) as c:
        await c.list_tools()
        await c.call_tool("t", {"r": "x"})
    assert sent(server) == ["x", "x"]


def strict(call: Call) -> Reply:
    if call.headers.get("mcp-param-region") != call.params["arguments"]["r"]:
        return call.error(types.HEADER_MISMATCH, "Header mismatch", status=400)
    return call.text("done")


async def test_a_header_mismatch_has_the_tools_listed_again_and_the_call_repeated(serve: Serve) -> None:
    server = serving(serve, ttl=60_000)
    server.on["tools/list"] = lambda call: call.result(listing(described({}), ttl=60_000))
    server.on["tools/call"] = strict
    async with server.connect() as c:
        await c.list_tools()  # kept, and wrong from now on
        server.on["tools/list"] = lambda call: call.result(listing(GOOD, ttl=60_000))
        result = await c.call_tool("t", {"r": "x"})
    assert not result.is_error
    assert sent(server) == [None, "x"]
    assert len({call.id for call in server.all("tools/call")}) == 2


async def test_a_second_header_mismatch_is_the_callers(serve: Serve) -> None:
    server = serving(serve)
    server.on["tools/list"] = lambda call: call.result(listing(described({})))
    server.on["tools/call"] = strict
    async with server.connect() as c:
        with pytest.raises(MCPError) as caught:
            await c.call_tool("t", {"r": "x"})
        assert (caught.value.code, caught.value.http_status) == (types.HEADER_MISMATCH, 400)
    assert server.methods()[1:] == ["tools/call", "tools/list", "tools/call"]


async def test_a_listing_that_fails_leaves_the_mismatch_as_the_error(serve: Serve) -> None:
    server = serving(serve)
    server.on["tools/list"] = lambda call: call.sse(CUT)
    server.on["tools/call"] = strict
    async with server.connect() as c:
        with pytest.raises(MCPError, match="Header mismatch") as caught:
            await c.call_tool("t", {"r": "x"})
        assert isinstance(caught.value.__context__, ConnectionLost)
        assert c.is_connected


@pytest.mark.parametrize(("version", "code"), [("2025-11-25", types.HEADER_MISMATCH), ("2026-07-28", -32000)])
async def test_no_other_error_has_a_call_repeated(serve: Serve, version: str, code: int) -> None:
    server = serving(serve, version)
    server.on["tools/call"] = lambda call: call.error(code)
    with trio.fail_after(5):
        async with server.connect() as c:
            with pytest.raises(MCPError):
                await c.call_tool("t", {"r": "x"})
    assert len(server.all("tools/call")) == 1
    assert server.all("tools/list") == []
