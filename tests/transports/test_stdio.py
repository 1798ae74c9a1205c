"""Servers as child processes: what they get, what is heard of them, and how they end."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import trio

from trio_mcp import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    Connector,
    ReconnectPolicy,
    Stalled,
    StdioConnector,
    StdioServer,
    connect,
    open_connector,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and process groups"),
]
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")

PROGRAM = str(Path(__file__).with_name("stdio_server.py"))
AT_ONCE = ReconnectPolicy(initial=0.01, jitter=0)


def server(*flags: str, **options: Any) -> StdioServer:
    return StdioServer(sys.executable, [PROGRAM, *flags], **options)


async def use(c: Connector, tool: str, **arguments: object) -> str:
    with trio.fail_after(10):
        result = await c.call_tool(tool, arguments)
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def members(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                _, _, rest = (entry / "stat").read_text().rpartition(") ")
            except OSError:
                continue
            state, _, number, *_ = rest.split()
            if int(number) == group and state not in "ZX":
                found.append(int(entry.name))
    return found


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


# What it gets


async def test_little_of_the_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    async with open_connector(server(env={"TOKEN": "given"})) as c:
        environment = json.loads(await use(c, "env"))
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["TOKEN"] == "given"
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["LANG"] == "C.UTF-8"


async def test_what_is_given_replaces_what_is_inherited() -> None:
    async with open_connector(server(env={"HOME": "/nowhere"})) as c:
        assert json.loads(await use(c, "env"))["HOME"] == "/nowhere"


async def test_it_is_started_where_it_is_told(tmp_path: Path) -> None:
    async with open_connector(server(cwd=tmp_path)) as c:
        assert await use(c, "cwd") == str(tmp_path.resolve())


def test_a_servers_description_shows_no_environment() -> None:
    described = StdioServer("tool", ["-v"], {"TOKEN": "hidden"}, "/tmp")
    assert "hidden" not in repr(described)
    assert (described.command, described.args, described.cwd) == ("tool", ["-v"], "/tmp")
    assert StdioServer("tool").env is None
    assert StdioConnector(described).public_identifier == "stdio:tool"
    assert StdioConnector(StdioServer("/opt/x/tool", ["--key=hidden"])).public_identifier == "stdio:tool"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"command": ""}, "command must be the name of a program"),
        ({"command": ["python"]}, "command must be the name of a program"),
        ({"command": "x", "args": "-v -x"}, "args must be a list of str; a shell's line is not taken apart"),
        ({"command": "x", "args": [1]}, "args must be a list of str"),
        ({"command": "x", "args": None}, "args must be a list of str"),
        ({"command": "x", "env": {"A": 1}}, "env must be a mapping of str to str"),
        ({"command": "x", "env": ["A=1"]}, "env must be a mapping of str to str"),
        ({"command": "x", "cwd": 3}, "cwd must be a path, not int"),
    ],
)
def test_a_description_of_the_wrong_types_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        StdioServer(**options)


def test_options_of_the_wrong_types_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="server must be a StdioServer, not str"):
        StdioConnector("python")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="stderr must be a text file or a callback, not int"):
        StdioConnector(server(), stderr=2)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a target is a URL"):
        open_connector(["python"])  # type: ignore[call-overload]


# Starting


async def failure_of(described: StdioServer) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        async with open_connector(described, reconnect=True):
            pass
    return caught.value


async def test_a_program_that_is_not_there_is_told_by_name() -> None:
    error = await failure_of(StdioServer("no-such-program", ["--token", "hidden"]))
    said = (
        "stdio:no-such-program: the server 'no-such-program' could not be started: No such file or directory"
    )
    assert str(error) == said
    assert isinstance(error.__cause__, FileNotFoundError)


async def test_a_program_that_is_not_executable_is_told(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    assert str(await failure_of(StdioServer(str(program)))).endswith(
        "could not be started: Permission denied"
    )


async def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    assert "Exec format error" in str(await failure_of(StdioServer(str(program))))


async def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = await failure_of(server(cwd=tmp_path / "nowhere"))
    assert str(error).endswith(f"could not be started: No such file or directory: {tmp_path / 'nowhere'}")


@pytest.mark.parametrize("options", [{"args": ["a\0b"]}, {"env": {"A=B": "c"}}, {"env": {"A": "b\0"}}])
async def test_what_no_program_can_be_given_is_told(options: dict[str, Any]) -> None:
    error = await failure_of(StdioServer(sys.executable, **options))
    assert isinstance(error.__cause__, ValueError)


async def test_a_server_that_ends_at_once_is_told_with_its_last_words() -> None:
    with pytest.raises(ConnectionLost) as caught:
        async with open_connector(server("fail")):
            pass
    assert str(caught.value) == (
        "stdio:" + Path(sys.executable).name + ": the server exited with code 3; "
        "the last it wrote to stderr:\nno API key"
    )


async def test_words_of_welcome_on_its_output_are_passed_over() -> None:
    async with open_connector(server("junk")) as c:
        assert await use(c, "x") == "done"
        assert c.statistics().unknown_messages == 3


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_both_eras_are_spoken(version: str) -> None:
    async with open_connector(server(*(["legacy"] if version == "2025-11-25" else []))) as c:
        assert (c.protocol_version, c.transport) == (version, "stdio")
        assert await use(c, "x") == "done"


@linux
async def test_cancelled_while_it_starts_it_leaves_no_process(tmp_path: Path) -> None:
    mark = str(tmp_path)

    def left() -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if mark.encode() in entry.read_bytes():
                    found.append(entry.parent.name)
            except OSError:
                pass
        return found

    for turns in (0, 1, 2, 3, 4, 6, 8, 12):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel(turns: int, scope: trio.CancelScope) -> None:
                    for _ in range(turns):
                        await trio.sleep(0.002)
                    scope.cancel()

                nursery.start_soon(cancel, turns, scope)
                async with open_connector(server("never mind", mark)) as c:
                    await c.call_tool("never")
        assert left() == []


# Its stderr


async def test_its_stderr_goes_to_a_file_to_the_end(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        async with open_connector(server("long farewell"), stderr=file, goodbye_timeout=5) as c:
            await use(c, "say", text="hello\nwörld\r\n")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:2] == ["hello", "wörld"]
    assert lines[-1] == "farewell"


async def test_its_stderr_goes_to_a_callback_by_line() -> None:
    lines: list[str] = []

    async def hear(line: str) -> None:
        await trio.lowlevel.checkpoint()
        lines.append(line)

    async with open_connector(server(), stderr=hear) as c:
        await use(c, "say", text="one\ntwo\n\nth")
        await use(c, "say", text="ree\n")
        await until(lambda: len(lines) == 4)
    assert lines == ["one", "two", "", "three"]


async def test_its_stderr_goes_to_the_log_without_what_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_mcp.stderr")
    async with open_connector(server(env={"TOKEN": "hunter2-hunter2", "N": "1"})) as c:
        await use(c, "say", text="hunter2-hunter2 is wrong 1\n")
        await until(lambda: caplog.messages)
    assert caplog.messages == ["${TOKEN} is wrong 1"]


async def test_what_the_callback_raises_ends_the_block() -> None:
    error = ZeroDivisionError("as it is")

    async def hear(line: str) -> None:
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        async with open_connector(server(), stderr=hear) as c:
            await use(c, "say", text="one\n")
            await trio.sleep_forever()
    assert caught.value is error


async def test_a_callback_that_is_too_slow_loses_the_oldest_lines_and_holds_nothing_up() -> None:
    heard: list[str] = []

    async def hear(line: str) -> None:
        heard.append(line)
        await trio.sleep_forever()

    async with open_connector(server(), stderr=hear) as c:
        await use(c, "say", text="".join(f"{n}\n" for n in range(3000)))
        await until(lambda: c.statistics().stderr_dropped == 1999)
    assert heard == ["0"]


@pytest.mark.parametrize("broken", ["closed", "binary"])
async def test_a_file_that_fails_is_not_the_cause_of_an_error(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_mcp.stderr")
    file: Any = io.StringIO() if broken == "closed" else io.BytesIO()
    if broken == "closed":
        file.close()
    async with open_connector(server(), stderr=file) as c:
        await use(c, "say", text="one\ntwo\n")
        await until(lambda: len(caplog.messages) == 3)
        assert await use(c, "x") == "done"
    assert "the file for the server's stderr failed" in caplog.messages[0]
    assert caplog.messages[1:] == ["one", "two"]


async def test_a_flood_without_a_line_feed_holds_nothing_up() -> None:
    sizes: list[int] = []

    async def hear(line: str) -> None:
        sizes.append(len(line))

    async with open_connector(server(), stderr=hear) as c:
        assert await use(c, "flood") == "done"
        await use(c, "say", text="\n")
        await until(lambda: sum(sizes) == 64 * 65536)
    assert max(sizes) <= 2 * 65536 + 65536


# How it ends


async def test_no_shell_reads_its_arguments() -> None:
    argument = "a b; exit 3 && $(exit 3) | `exit 3` > /dev/null & 'x' %PATH% \\"
    script = "import sys; sys.exit(sys.argv[1])"
    with pytest.raises(ConnectionLost) as caught:
        async with open_connector(StdioServer(sys.executable, ["-c", script, argument])):
            pass
    assert caught.value.message.splitlines()[-1] == argument


async def test_an_exit_is_told_with_its_code_and_its_last_ten_lines() -> None:
    lines = "".join(f"line {n}\n" for n in range(20)) + "x" * 3000
    async with open_connector(server()) as c:
        with pytest.raises(ConnectionLost) as caught:
            await use(c, "exit", code=5, text=lines)
        said = caught.value.message.splitlines()
        assert said[0] == "the server exited with code 5; the last it wrote to stderr:"
        assert said[1:10] == [f"line {n}" for n in range(11, 20)]
        assert said[10] == "x" * 1000
        assert not c.is_connected


async def test_an_error_shows_nothing_of_what_the_server_was_given() -> None:
    env = {"TOKEN": "hunter2-hunter2", "LONGER": "hunter2-hunter2-hunter2"}
    async with open_connector(server(env=env)) as c:
        with pytest.raises(ConnectionLost, match="bad key: \\$\\{TOKEN\\}, \\$\\{LONGER\\}") as caught:
            await use(c, "exit", code=1, text=f"bad key: {env['TOKEN']}, {env['LONGER']}")
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "Segmentation fault"), (signal.SIGKILL, "Killed")]
)
async def test_a_signal_is_told(number: signal.Signals, name: str) -> None:
    async with open_connector(server()) as c:
        with pytest.raises(ConnectionLost) as caught:
            await use(c, "kill", signal=number)
    assert caught.value.message == f"the server was ended by signal {number.value} ({name})"


async def test_a_server_that_closes_its_output_is_lost_though_it_lives() -> None:
    async with open_connector(server()) as c:
        with pytest.raises(ConnectionLost, match="the server closed its output"):
            await use(c, "close stdout")


async def test_a_server_that_closes_its_input_is_lost_though_it_lives() -> None:
    async def wait_for_answer(c: Connector) -> None:
        with pytest.raises(ConnectionLost, match="the server no longer reads what it is sent"):
            await use(c, "close stdin")

    async with open_connector(server()) as c, trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_answer, c)
        await trio.sleep(0.1)
        with pytest.raises(ConnectionLost, match="the server no longer reads what it is sent"):
            await use(c, "x")


@linux
async def test_a_server_that_exits_is_lost_though_a_child_of_it_holds_its_output() -> None:
    async with open_connector(server()) as c:
        group = int(await use(c, "pid"))
        with pytest.raises(ConnectionLost, match="the server exited with code 7"):
            await use(c, "leave a child")
    assert members(group) == []


async def test_a_server_that_never_reads_loses_the_connection() -> None:
    async def wait_for_answer(c: Connector) -> None:
        with pytest.raises(Stalled):
            await use(c, "stop reading")

    async with open_connector(server(), timeout=0.2) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_answer, c)
            await trio.sleep(0.1)
            with pytest.raises(Stalled):
                await use(c, "x", text="x" * 1_000_000)
        assert not c.is_connected


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_a_server_that_exits_is_started_again(version: str) -> None:
    flags = ["legacy"] if version == "2025-11-25" else []
    async with open_connector(server(*flags), reconnect=AT_ONCE) as c:
        first = await use(c, "pid")
        with pytest.raises(ConnectionLost, match="code 1"):
            await use(c, "exit", code=1)
        assert await use(c, "pid") != first
        assert c.statistics().reconnects == 1
        assert c.statistics().reinitializations == (version == "2025-11-25")


async def test_closing_its_input_is_enough_for_a_server_of_good_will() -> None:
    began = time.monotonic()
    async with open_connector(server(), goodbye_timeout=20) as c:
        await use(c, "x")
    assert time.monotonic() - began < 5


@linux
@pytest.mark.parametrize("in_flight", [False, True])
async def test_a_server_that_heeds_nothing_is_ended_in_time_with_all_its_children(in_flight: bool) -> None:
    async with trio.open_nursery() as nursery:
        async with open_connector(server("stubborn"), goodbye_timeout=0.6) as c:
            group = int(await use(c, "pid"))
            assert len(members(group)) == 3
            if in_flight:

                async def be_lost() -> None:
                    with pytest.raises(Exception, match="closed while this was in flight"):
                        await use(c, "stop reading")

                async def fill() -> None:
                    with pytest.raises(Exception, match="closed while this was in flight"):
                        await use(c, "x", text="x" * 1_000_000)

                nursery.start_soon(be_lost)
                await trio.sleep(0.1)
                nursery.start_soon(fill)
                await trio.sleep(0.1)
            began = trio.current_time()
        assert trio.current_time() - began < 0.6 + 0.2
        assert members(group) == []


@linux
async def test_what_a_server_leaves_behind_is_told_to_end_before_it_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "heir"
    async with open_connector(server(), goodbye_timeout=10) as c:
        group = int(await use(c, "pid"))
        await use(c, "have an heir", file=str(file))
    assert file.read_text() == "terminated"
    assert members(group) == []


async def test_a_nursery_may_have_it_and_cancelling_ends_it() -> None:
    async with trio.open_nursery() as nursery:
        c = await connect(nursery, server())
        pid = int(await use(c, "pid"))
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


INTERRUPTED = """
import sys, trio
from trio_mcp import StdioServer, open_connector

async def main():
    server = StdioServer(sys.executable, [sys.argv[1], "note interrupts"])
    async with open_connector(server, stderr=sys.stderr):
        print("ready", flush=True)
        await trio.sleep_forever()

try:
    trio.run(main)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


def test_ctrl_c_is_for_the_program_and_not_for_its_servers() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=20)
    assert (out, err) == ("KeyboardInterrupt\n", "")
