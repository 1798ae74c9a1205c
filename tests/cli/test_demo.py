import io
import os
import sys
from collections.abc import Callable
from typing import TypeAlias, cast

import mcp_types as types
import pytest
import trio
from rich.console import Console
from typer.testing import CliRunner

from trio_mcp import ConnectError, Connector, open_connector
from trio_mcp.cli import demo
from trio_mcp.cli.app import app

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]

EXPECTED = (
    "protocol version 2026-07-28",
    "add",
    "text '42', structured content {'result': 42}",
    "waited 0.5 s",
    "10/10",
    "copied 10 files",
    "calls that the server saw cancelled: 1",
    "MCPError: resources/read 'demo://nothing'",
    "and still 1 + 1 = 2",
    "of them 1 cancelled and 1 failed",
    "a legacy session, protocol version 2025-11-25",
    "A table is free tonight. What shall I book?",
    "booked a table for 2, in the name of Ada",
    "nothing is left running",
)


@pytest.mark.real
def test_the_whole_demo_in_a_pipe() -> None:
    result = CliRunner().invoke(app, ["demo"], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert "   add(a: integer, b: integer): Add two whole numbers.\n" in result.stdout
    at = 0
    for text in EXPECTED:
        at = result.stdout.index(text, at)


@pytest.mark.real
async def test_at_a_terminal_it_is_drawn(url: str, make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    show = demo._Show(console)
    async with open_connector(url) as c:
        await demo._list(c, show)
    await demo._elicitation(url, show)
    for text in ("┃ name", "│ add", "─ the server asks ─", "│ A table is free tonight."):
        assert text in file.getvalue()


async def test_the_demo_waits_until_the_server_has_seen_the_cancellation(
    make_console: MakeConsole, autojump_clock: trio.testing.MockClock
) -> None:
    answers = ["0", "0", "1"]

    class Slow:
        async def call_tool(self, name: str, arguments: object = None) -> types.CallToolResult:
            if name == "wait":
                await trio.sleep_forever()
            return types.CallToolResult.model_validate(
                {"content": [{"type": "text", "text": answers.pop(0)}]}
            )

    console, file = make_console(terminal=False)
    await demo._cancel(cast(Connector, Slow()), demo._Show(console))
    assert "calls that the server saw cancelled: 1" in file.getvalue()


# The child process


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


PRINT_PID = "import os, time; print(os.getpid(), flush=True);"


def is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_server_that_ends_early_is_an_error() -> None:
    with pytest.raises(ConnectError, match="ended before it was ready"):
        async with demo.demo_server(child("print('no line end', end='')")):
            raise AssertionError


async def test_a_server_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_START_TIMEOUT", 0.1)
    with pytest.raises(ConnectError, match="not ready within"):
        async with demo.demo_server(child("import time; time.sleep(60)")):
            raise AssertionError


async def test_a_cancelled_demo_ends_its_child() -> None:
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with demo.demo_server(child(PRINT_PID + "time.sleep(60)")) as pid:
            assert is_alive(pid)
            scope.cancel()
            await trio.sleep_forever()
    assert not is_alive(pid)


async def test_a_child_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_STOP_TIMEOUT", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    async with demo.demo_server(child(deaf + PRINT_PID + "time.sleep(60)")) as pid:
        pass
    with trio.fail_after(5):
        while is_alive(pid):
            await trio.sleep(0.01)
