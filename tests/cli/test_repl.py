from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
from rich.console import Console

import trio_mcp
from trio_mcp.cli.lines import Lines
from trio_mcp.cli.repl import Repl
from trio_mcp.cli.session import Session
from trio_mcp.testing import Call, ScriptedServer

from ..real.children import Child
from .helpers import run

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]

TOOLS = [
    {"name": "wait", "inputSchema": {"type": "object", "properties": {"seconds": {}, "why": {}}}},
    {"name": "weird\x1b", "inputSchema": {"type": "object"}},
]
PROMPTS = [{"name": "greet", "arguments": [{"name": "who"}, {"name": "how"}]}]


class Typed(Lines):
    """Lines that somebody types, or a program writes."""

    def __init__(self, *lines: str, interactive: bool = True) -> None:
        super().__init__(self._next, interactive=interactive)
        self._left = list(lines)
        self.redrawn = 0

    def redraw(self) -> None:
        self.redrawn += 1

    def _next(self) -> str:
        if not self._left:
            raise EOFError
        return self._left.pop(0)

    async def read(self) -> str | None:
        await trio.lowlevel.checkpoint()
        return self._left.pop(0) if self._left else None


class Shown:
    """A loop, and what it prints."""

    def __init__(self, repl: Repl, session: Session, out: io.StringIO, notes: io.StringIO) -> None:
        self.repl = repl
        self.session = session
        self._out, self._notes = out, notes

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def notes(self) -> str:
        return self._notes.getvalue()


@asynccontextmanager
async def talking(
    server: ScriptedServer, make_console: MakeConsole, closed: str | None = None
) -> AsyncGenerator[Shown]:
    console, out = make_console(terminal=False)
    notes_console, notes = make_console(terminal=False)
    session = Session(console, notes_console, closed)
    async with server.connect() as session.connector:
        yield Shown(Repl(session, json=False), session, out, notes)


def script(server: ScriptedServer, **capabilities: object) -> None:
    server.capabilities = capabilities or {"tools": {}, "prompts": {}}
    server.on["tools/list"] = lambda call: {"tools": TOOLS}
    server.on["prompts/list"] = lambda call: {"prompts": PROMPTS}


# With a real server


@pytest.fixture
def piped(full_server: Child, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command with lines on its stdin."""

    def piped(*lines: str, options: tuple[str, ...] = ()) -> Any:
        monkeypatch.setattr("trio_mcp.cli.lines.read_line", Typed(*lines)._next)
        return run("repl", full_server.url, *options)

    return piped


@pytest.mark.real
def test_each_line_of_a_pipe_is_a_command(piped: Callable[..., Any]) -> None:
    lines = [
        "tools  # a comment",
        "",
        "add a=1 b=2",
        "call add a=3 b=4",
        "resources",
        "read greeting://{name} name='Ada L'",
        "prompts",
        "prompt introduce name=Ada",
        "complete introduce name=g",
        "ping",
        "log debug",
        "help",
        "exit",
        "never reached",
    ]
    result = piped(*lines)
    assert (result.exit_code, result.stderr) == (0, "")
    at = 0
    for text in (
        "add\t\ta: integer, b: integer",
        '"result": 3',
        '"result": 7',
        "memo://touched",
        "hello Ada L",
        "introduce\t\tname",
        "user: introduce Ada",
        "prompt\ngrace\n",
        " answered in ",
        "quit                       leave, as Ctrl-D does",
    ):
        at = result.stdout.index(text, at)


@pytest.mark.real
def test_results_as_json(piped: Callable[..., Any]) -> None:
    result = piped("prompts", options=("--json",))
    assert json.loads(result.stdout)[0]["name"] == "introduce"


@pytest.mark.real
def test_errors_do_not_end_it_and_the_first_one_is_the_exit_code(piped: Callable[..., Any]) -> None:
    lines = ["fail", "ad", "call", "complete x", "log loud", "'", "read memo://nothing", "add a=1 b=1"]
    result = piped(*lines)
    assert result.exit_code == 1  # of the tool that failed
    assert '"result": 2' in result.stdout
    complaints = result.stderr.splitlines()
    for complaint, expected in zip(
        complaints,
        [
            "error: 'ad' is no command and no tool; the nearest: add",
            "error: it is used so: call NAME key=value …",
            "error: it is used so: complete PROMPT key=begin",
            "error: a level is one of debug, info, notice, ",
            "error: cannot read this line: No closing quotation",
            "error: resources/read 'memo://nothing' on ",
        ],
        strict=True,
    ):
        assert complaint.startswith(expected)


# At a terminal


async def test_ctrl_c_cancels_what_is_running_and_else_says_how_to_leave(
    mcp_server: ScriptedServer, make_console: MakeConsole, autojump_clock: trio.testing.MockClock
) -> None:
    script(mcp_server)
    calls = mcp_server.calls("tools/call")
    ctrl_c, signals = trio.open_memory_channel[int](5)
    async with talking(mcp_server, make_console) as shown, trio.open_nursery() as nursery:
        lines = Typed("wait", "help")
        nursery.start_soon(shown.repl.watch, signals, lines)
        await ctrl_c.send(2)
        await trio.testing.wait_all_tasks_blocked()
        assert shown.notes == "\n(Ctrl-D leaves, Ctrl-U clears the line)\n"
        assert lines.redrawn == 1

        async def interrupt() -> None:
            await calls.receive()
            await ctrl_c.send(2)

        nursery.start_soon(interrupt)
        assert await shown.repl.run(lines) == 0
        nursery.cancel_scope.cancel()
    assert "cancelled\n" in shown.notes
    assert "list the tools" in shown.out


async def test_ctrl_c_cancels_the_lists_of_the_greeting(
    mcp_server: ScriptedServer, make_console: MakeConsole, autojump_clock: trio.testing.MockClock
) -> None:
    mcp_server.capabilities = {"tools": {}}
    lists = mcp_server.calls("tools/list")
    ctrl_c, signals = trio.open_memory_channel[int](0)
    async with talking(mcp_server, make_console) as shown, trio.open_nursery() as nursery:
        nursery.start_soon(shown.repl.watch, signals, Typed())

        async def interrupt() -> None:
            await lists.receive()
            await ctrl_c.send(2)

        nursery.start_soon(interrupt)
        assert await shown.repl.run(Typed("help")) == 0
        nursery.cancel_scope.cancel()
    assert "Ctrl-D leaves" not in shown.notes
    assert "list the tools" in shown.out
    assert trio.current_time() < 1


async def test_a_person_is_greeted_and_the_tab_key_knows_the_server(
    mcp_server: ScriptedServer, make_console: MakeConsole, autojump_clock: trio.testing.MockClock
) -> None:
    script(mcp_server)
    async with talking(mcp_server, make_console) as shown:
        assert await shown.repl.run(Typed("nonsense", "quit")) == 0
        for line, found in {
            "": None,
            "w": ["wait"],
            "pr": ["prompts", "prompt"],
            "call ": ["wait"],
            "call wait ": ["seconds=", "why="],
            "wait w": ["why="],
            "prompt g": ["greet"],
            "prompt greet who=x h": ["how="],
            "prompt other ": [],
            "log de": ["debug"],
            "read ": [],
        }.items():
            candidates = shown.repl.candidates(line, line.rpartition(" ")[2])
            if found is None:
                assert {"tools", "quit", "wait"} <= set(candidates)
                assert "weird\x1b" not in candidates
            else:
                assert candidates == found
    assert shown.notes.startswith(
        "scripted, protocol version 2026-07-28, over streamable-http; `help` lists the commands\n"
    )


async def test_without_lists_and_without_a_name(
    mcp_server: ScriptedServer,
    make_console: MakeConsole,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script(mcp_server, logging={})
    monkeypatch.setattr(trio_mcp.HttpConnector, "server_info", None)
    async with talking(mcp_server, make_console) as shown:
        await shown.repl.run(Typed())
    assert shown.notes.startswith("the server, protocol version")
    assert "tools/list" not in mcp_server.methods()


async def test_lists_that_cannot_be_had_are_told_when_they_are_asked_for(
    mcp_server: ScriptedServer, make_console: MakeConsole, autojump_clock: trio.testing.MockClock
) -> None:
    script(mcp_server)
    mcp_server.on["tools/list"] = lambda call: call.error(-1, "no")
    async with talking(mcp_server, make_console) as shown:
        await shown.repl.run(Typed())
        assert "error" not in shown.notes
        await shown.repl.run(Typed("tools"))
        assert "error: tools/list" in shown.notes


async def test_what_cannot_be_written_is_one_line(
    mcp_server: ScriptedServer,
    make_console: MakeConsole,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    script(mcp_server)
    monkeypatch.setattr("trio_mcp.cli.repl.show_resource", full)
    async with talking(mcp_server, make_console) as shown:
        assert await shown.repl.run(Typed("read a:b", interactive=False)) == 1
    assert shown.notes == "error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(("closed", "during"), [(None, None), ("there is nobody", "there is nobody")])
async def test_a_server_can_ask_while_a_command_runs_only(
    mcp_server: ScriptedServer,
    make_console: MakeConsole,
    autojump_clock: trio.testing.MockClock,
    closed: str | None,
    during: str | None,
) -> None:
    seen: list[str | None] = []

    def called(call: Call) -> Any:
        seen.append(shown.session.terminal.closed)
        return call.text("done")

    class Watched(Typed):
        async def read(self) -> str | None:
            seen.append(shown.session.terminal.closed)
            return await super().read()

    script(mcp_server)
    mcp_server.on["tools/call"] = called
    async with talking(mcp_server, make_console, closed) as shown:
        await shown.repl.run(Watched("wait"))
    idle = closed or "no command is running"
    assert seen == [idle, during, idle]
