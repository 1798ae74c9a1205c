"""What a server says is data wherever it comes out: it steers no terminal, and forges no line of a log."""

from __future__ import annotations

import logging
import traceback
from typing import Any, Final

import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import Call
from trio_mcp.testing.messages import notification, request
from trio_mcp.text import one_line, printable
from trio_mcp.transports.stderr import Stderr

HOSTILE: Final = "\x1b]0;owned\x07\x1b[2Jdone\r\u202eevil\x9b1m\nINFO:root:all is well"
LEGACY: Final = "2025-11-25"


def test_control_characters_are_shown_instead_of_obeyed() -> None:
    assert printable("a\x1b[2Jb\r\n\tc\x9b\u202e") == "a\\x1b[2Jb\\r\n\tc\\x9b\\u202e"
    assert one_line("a\n  b\x07\t c ") == "a b\\x07 c"


@pytest.mark.parametrize("kind", [trio_mcp.MCPError, trio_mcp.HTTPStatusError])
async def test_an_error_and_its_traceback_steer_no_terminal(
    serve: Serve, autojump_clock: trio.testing.MockClock, kind: type[trio_mcp.ConnectorError]
) -> None:
    def refuse(seen: Call) -> Any:
        if kind is trio_mcp.MCPError:
            return seen.error(-32000, HOSTILE)
        return seen.reply(HOSTILE, status=500, type="text/plain")

    server = serve(LEGACY)
    server.on["tools/call"] = refuse
    async with server.connect() as c:
        with pytest.raises(kind) as caught:
            await c.call_tool(HOSTILE)
    shown = "".join([str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)])
    assert "owned" in shown
    assert printable(shown) == shown
    assert "\x1b]0;owned\x07" in caught.value.message  # for who wants it as it came


async def test_a_server_forges_no_line_of_the_log(
    serve: Serve, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_mcp")
    server = serve(LEGACY)
    server.on["GET"] = lambda seen: seen.sse(request(1, "ping"), notification(HOSTILE), b"data: {}\n\n")
    server.on["tools/list"] = lambda seen: seen.result({"tools": [tool]})
    server.on["answer"] = lambda seen: seen.reply(HOSTILE, status=400, type="text/plain")
    tool = {
        "name": HOSTILE,
        "inputSchema": {
            "type": "object",
            "properties": {HOSTILE: {"type": "object", "x-mcp-header": HOSTILE}},
        },
    }
    async with server.connect():
        await trio.sleep(10)
    modern = serve("2026-07-28")
    modern.on["tools/list"] = server.on["tools/list"]
    async with modern.connect() as c:
        assert await c.list_tools() == []
    lines = [record.getMessage() for record in caplog.records]
    for start in (
        "a notification was dropped",
        "a message to the server was not",
        "the tool",
        "the server's GET",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert [line for line in lines if one_line(line) != line] == []


def test_the_servers_stderr_is_one_line_of_the_log_for_each_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_mcp")
    stderr = Stderr(None, {}, supervisor=None, statistics=None)  # type: ignore[arg-type]
    stderr.put(HOSTILE.replace("\n", ""))
    (record,) = caplog.records
    assert "owned" in record.getMessage()
    assert one_line(record.getMessage()) == record.getMessage()
