"""Structured content as a value of the caller's type, and what servers wrap as {"result": ...}."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

import mcp_types as types
import pytest
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from tests.conftest import Serve
from trio_mcp import InvalidArguments, InvalidOutput, ToolFailed
from trio_mcp.features.typed_results import result_adapter, typed_result
from trio_mcp.testing.messages import Json


class Point(BaseModel):
    x: int
    y: int = 0


class Options(BaseModel):
    """All of its fields are optional: it takes any object, and ignores what it does not know."""

    size: int = 0


class Holder(BaseModel):
    result: int


class OptionalHolder(BaseModel):
    result: dict[str, int] = {}


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    size: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date


@dataclass
class Pair:
    a: int
    b: str


class Named(TypedDict):
    name: str


class Undefined(BaseModel):
    field: "NoSuchName"  # type: ignore[name-defined]  # noqa: F821, UP037


class Both(NamedTuple):
    a: int
    b: str


def parsed(kind: object, content: object) -> Any:
    result = types.CallToolResult.model_validate({"content": [], "structuredContent": content})
    return typed_result(result, result_adapter(kind))


def refusal(kind: object, content: object) -> str:
    with pytest.raises(InvalidOutput) as caught:
        parsed(kind, content)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        (Point, {"x": 1, "further": True}, Point(x=1)),
        (Pair, {"a": 1, "b": "x"}, Pair(1, "x")),
        (Named, {"name": "x"}, {"name": "x"}),
        (Both, [1, "x"], Both(1, "x")),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (list[Point], [{"x": 1}], [Point(x=1)]),
        (int, 3, 3),
        (int | None, None, None),
        (type(None), None, None),
        (Literal["a", "b"], "a", "a"),
        (Annotated[int, Field(gt=0)], 3, 3),
        (Strict, {"day": "2026-07-28"}, Strict(day=date(2026, 7, 28))),
        (Any, {"result": 1}, {"result": 1}),
    ],
)
def test_content_becomes_what_the_caller_wants(kind: object, content: object, value: object) -> None:
    got = parsed(kind, content)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        (int, {"result": 3}, 3),
        (list[Point], {"result": [{"x": 1}]}, [Point(x=1)]),
        (Point | None, {"result": None}, None),
        (Point | None, {"result": {"x": 1}}, Point(x=1)),
        (dict[int, int], {"result": {"1": 2}}, {1: 2}),
        (dict[str, dict[str, int]], {"result": {"a": 1}}, {"result": {"a": 1}}),  # it is one already
        (Holder, {"result": 3}, Holder(result=3)),
        (OptionalHolder, {"result": {"a": 1}}, OptionalHolder(result={"a": 1})),
        (Options, {"result": {"size": 5}}, Options(size=5)),  # and not the default
        (Open, {"result": 5}, Open.model_validate({"result": 5})),
        (Point, {"result": {"x": 1, "further": True}}, Point(x=1)),
        (Holder, {"result": {"result": 3}}, Holder(result=3)),
    ],
)
def test_a_wrapping_is_taken_off_where_the_type_does_not_know_it(
    kind: object, content: object, value: object
) -> None:
    assert parsed(kind, content) == value


@pytest.mark.parametrize("content", [{"result": 3, "more": 1}, {"Result": 3}, {"value": 3}])
def test_no_other_object_is_taken_for_a_wrapping(content: object) -> None:
    assert "its root: Input should be a valid integer" in refusal(int, content)


def test_what_fits_in_two_ways_is_an_error() -> None:
    assert "knows neither" in refusal(Options, {"result": {"size": 5, "further": True}})


def test_content_that_does_not_fit_is_an_error_that_says_where() -> None:
    assert "not of the result_type: x: Field required" in refusal(Point, {"y": 1})
    both = refusal(Holder, {"result": "x"})
    assert "result: Input should be a valid integer" in both
    assert 'nor is what it holds as "result": its root' in both


def test_text_is_never_read_as_content() -> None:
    result = types.CallToolResult(content=[types.TextContent(text="3")])
    with pytest.raises(InvalidOutput, match="no structured content"):
        typed_result(result, result_adapter(int))


def failed(*texts: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text) for text in texts], is_error=True)


def test_a_failure_is_raised_with_what_the_tool_says() -> None:
    result = failed("no such city", "try another")
    with pytest.raises(ToolFailed, match="no such city\ntry another") as caught:
        typed_result(result, result_adapter(int))
    assert caught.value.result is result
    for twin in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert (str(twin), twin.result) == (str(caught.value), result)


def test_a_failures_text_is_bounded_and_may_be_missing() -> None:
    for result, length in ((failed("x" * 9999), 600), (failed(), 50)):
        with pytest.raises(ToolFailed) as caught:
            typed_result(result, result_adapter(int))
        assert len(str(caught.value)) < length


@pytest.mark.parametrize("kind", [5, [int], "Any", Undefined, list[Undefined]])
def test_what_is_no_type_is_refused(kind: object) -> None:
    with pytest.raises(InvalidArguments, match="result_type"):
        result_adapter(kind)


# On a connection


async def test_a_call_gives_the_type_that_is_asked_for_and_the_plain_result_without(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: {"content": [], "structuredContent": {"result": 3}}
    async with server.connect() as c:
        number: int = await c.call_tool("add", result_type=int)
        assert number == 3
        plain: types.CallToolResult = await c.call_tool("add")
        assert plain.structured_content == {"result": 3}


async def test_errors_say_which_call_it_was_and_the_next_one_goes_on(serve: Serve) -> None:
    server = serve()
    answers: list[Json] = [{"isError": True}, {}, {"structuredContent": "x"}]
    results = iter([{"content": [], **answer} for answer in answers])
    server.on["tools/call"] = lambda call: next(results)
    async with server.connect() as c:
        for kind in (ToolFailed, InvalidOutput, InvalidOutput):
            with pytest.raises(kind, match="tools/call 'add' on http://server.test/mcp: "):
                await c.call_tool("add", result_type=int)


async def test_what_is_no_type_is_found_before_anything_is_sent(serve: Serve) -> None:
    server = serve()
    async with server.connect() as c:
        with pytest.raises(InvalidArguments):
            await c.call_tool("add", result_type=5)
    assert server.all("tools/call") == []


async def test_the_tools_own_schema_is_heeded_first(serve: Serve) -> None:
    server = serve()
    schema = {"type": "object", "properties": {"result": {"type": "integer", "minimum": 5}}}
    tool = {"name": "add", "inputSchema": {"type": "object"}, "outputSchema": schema}
    server.on["tools/list"] = lambda call: {"tools": [tool], "ttlMs": 0, "cacheScope": "private"}
    server.on["tools/call"] = lambda call: {"content": [], "structuredContent": {"result": 3}}
    async with server.connect() as c:
        await c.list_tools()
        with pytest.raises(InvalidOutput, match="minimum"):
            await c.call_tool("add", result_type=int)
