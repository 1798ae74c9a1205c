"""LoggingMiddleware: one line for each request, and nothing in it that should not be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.middleware import LoggingMiddleware
from trio_mcp.testing import HANG, ScriptedServer

URL = "http://server.test/mcp"
Lines = Callable[[], list[tuple[str, str]]]


class Kept(logging.Handler):
    """Keeps what is logged: caplog takes a level that a fixture sets back before the test."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The lines so far: level and text, those of handshakes left out."""
    logger, kept = logging.getLogger("trio_mcp.requests"), Kept()
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    yield lambda: [
        (record.levelname, record.getMessage())
        for record in kept.records
        if not record.getMessage().startswith("initialize")
    ]
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(kept)


def scripted(serve: Serve) -> ScriptedServer:
    server = serve()
    server.on["tools/call"] = lambda seen: {
        "slow": lambda: seen.sse(2.5, seen.response({"content": []})),
        "bad": lambda: seen.result({"content": [], "isError": True}),
        "refused": lambda: seen.error(-32602, "no\nsuch tool"),
        "hangs": lambda: seen.sse(HANG),
    }.get(seen.params["name"], lambda: seen.text("the secret result"))()
    server.on["resources/read"] = lambda seen: seen.result({"contents": []})
    server.on["prompts/get"] = lambda seen: seen.result({"messages": []})
    server.on["tools/list"] = lambda seen: seen.result({"tools": []})
    return server


async def test_a_line_says_what_was_asked_of_whom_and_how_it_ended(
    serve: Serve, lines: Lines, autojump_clock: trio.testing.MockClock
) -> None:
    async with scripted(serve).connect(middleware=[LoggingMiddleware()]) as c:
        await c.call_tool("slow", {"password": "secret"})
        await c.call_tool("bad")
        with pytest.raises(trio_mcp.MCPError):
            await c.call_tool("refused")
        with trio.move_on_after(3):
            await c.call_tool("hangs")
        await c.read_resource("x://y")
        await c.get_prompt("p")
        await c.list_tools()
    assert lines() == [
        ("INFO", f"tools/call 'slow' on {URL}: ok in 2.500 s"),
        ("WARNING", f"tools/call 'bad' on {URL}: the tool failed in 0.000 s"),
        ("WARNING", f"tools/call 'refused' on {URL}: failed with MCPError 'no\\nsuch tool' in 0.000 s"),
        ("INFO", f"tools/call 'hangs' on {URL}: cancelled in 3.000 s"),
        ("INFO", f"resources/read 'x://y' on {URL}: ok in 0.000 s"),
        ("INFO", f"prompts/get 'p' on {URL}: ok in 0.000 s"),
        ("INFO", f"tools/list on {URL}: ok in 0.000 s"),
    ]


async def test_the_handshake_has_a_line(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serve().connect(middleware=[LoggingMiddleware()]):
        pass
    assert [r.getMessage().partition(" in ")[0] for r in caplog.records] == [f"initialize on {URL}: ok"]


async def test_levels_and_logger_can_be_chosen(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("own")
    middleware = LoggingMiddleware(logging.DEBUG, logging.ERROR, logger=logger)
    async with scripted(serve).connect(middleware=[middleware]) as c:
        await c.call_tool("bad")
    assert [(r.name, r.levelname) for r in caplog.records] == [("own", "DEBUG"), ("own", "ERROR")]


async def test_params_are_shown_only_if_asked_for_and_cut(serve: Serve, lines: Lines) -> None:
    server = scripted(serve)
    server.on["ext/any"] = lambda seen: seen.result({})
    async with server.connect(middleware=[LoggingMiddleware(show_params=True)]) as c:
        await c.call_tool("x", {"a": 1})
        await c.call_tool("x", {"a": "b" * 1000})
        await c.request("ext/any", {"a": 1}, dict[str, Any])
    first, second, third = (text for _, text in lines())
    assert " with {'name': 'x', 'arguments': {'a': 1}}: ok" in first
    assert len(second) < 300
    assert " with {'a': 1}: ok" in third


async def test_a_name_cannot_forge_a_line(serve: Serve, lines: Lines) -> None:
    async with scripted(serve).connect(middleware=[LoggingMiddleware()]) as c:
        await c.call_tool("x\nINFO all is well \u202e" + "y" * 500)
    ((_, text),) = lines()
    assert "\n" not in text
    assert text.isascii()
    assert len(text) < 300


async def test_what_an_error_of_somebody_else_says_is_not_shown(serve: Serve, lines: Lines) -> None:
    async def fail(context: Any, call_next: Any) -> Any:
        if context.method == "tools/call":
            raise KeyError("secret")
        return await call_next(context)

    async with scripted(serve).connect(middleware=[LoggingMiddleware(), fail]) as c:
        with pytest.raises(KeyError):
            await c.call_tool("x")
    ((_, text),) = lines()
    assert "failed with KeyError in" in text


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (types.ElicitResult(action="decline"), "ok"),
        (types.ErrorData(code=-1, message="no"), "refused with error -1"),
    ],
)
async def test_what_the_server_asks_has_a_line_too(
    serve: Serve, lines: Lines, answer: Any, outcome: str
) -> None:
    async def callback(context: Any, params: Any) -> Any:
        return answer

    async def ask(call: Any) -> Any:
        await call.ask("elicitation/create", {"message": "who?", "requestedSchema": {"type": "object"}})
        return call.text("done")

    server = serve("2025-11-25")
    server.on["tools/call"] = ask
    async with server.connect(middleware=[LoggingMiddleware()], elicitation_callback=callback) as c:
        await c.call_tool("x")
    assert lines()[0][1].startswith(f"the server's elicitation/create on {URL}: {outcome} in ")
