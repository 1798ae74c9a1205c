import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from mcp_types import ServerCapabilities
from rich.console import Console
from typer.testing import CliRunner

import trio_mcp
from trio_mcp.cli import app as app_module
from trio_mcp.cli import demo

LEGACY = ("--protocol-version", "2025-11-25")


def run(*arguments: str, env: dict[str, str] | None = None) -> Any:
    return CliRunner().invoke(app_module.app, arguments, env=env, catch_exceptions=False)


@contextmanager
def started(*arguments: str, stdin: int = subprocess.DEVNULL) -> Generator[subprocess.Popen[str]]:
    """The command in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trio_mcp", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


# tools


@pytest.mark.real
def test_tools(url: str) -> None:
    result = run("tools", url)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "add\tAdd two whole numbers.\ta: integer, b: integer"
    assert result.stderr == ""


@pytest.mark.real
def test_tools_as_json(url: str) -> None:
    tools = json.loads(run("tools", url, "--json", *LEGACY).stdout)
    assert [tool["name"] for tool in tools][:2] == ["add", "wait"]
    assert tools[0]["inputSchema"]["required"] == ["a", "b"]


@pytest.mark.real
def test_no_tools(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: trio_mcp.Connector) -> list[object]:
        return []

    monkeypatch.setattr(trio_mcp.HttpConnector, "list_tools", nothing)
    result = run("tools", url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the server has no tools\n")


# call


@pytest.mark.real
@pytest.mark.parametrize("arguments", [("a=1", "b=2"), ("a:=1", "b:=2")])
def test_call(url: str, arguments: tuple[str, ...]) -> None:
    result = run("call", url, "add", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, '3\n{\n  "result": 3\n}\n', "")


@pytest.mark.real
def test_call_as_json(url: str) -> None:
    result = json.loads(run("call", url, "add", "a=1", "b=2", "--json").stdout)
    assert result["structuredContent"] == {"result": 3}
    assert result["content"] == [{"type": "text", "text": "3"}]


@pytest.mark.real
def test_a_tool_that_fails_is_exit_code_1(url: str) -> None:
    result = run("call", url, "add", 'a:="x"', "b=1")
    assert result.exit_code == 1
    assert "valid integer" in result.stdout


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("copyfiles", "error: the server has no tool 'copyfiles'; the nearest: copy_files\n"),
        ("zzz", "error: the server has no tool 'zzz'; `trio-mcp tools URL` lists them\n"),
    ],
)
def test_an_unknown_tool(url: str, name: str, complaint: str) -> None:
    result = run("call", url, name)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", complaint)


@pytest.mark.real
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_progress_and_logs_are_on_stderr(url: str, version: str) -> None:
    result = run("call", url, "copy_files", "files=2", "pause=0.01", "--protocol-version", version)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "copied 2 files"
    # Progress and logs have a queue each, so only the order within one of them is known.
    assert sorted(result.stderr.splitlines()) == [
        "info: 2 files copied",
        "progress: 1/2 file 1",
        "progress: 2/2 file 2",
    ]


@pytest.mark.parametrize(
    ("version", "logging", "asked"),
    [("2026-07-28", None, True), ("2025-11-25", {}, True), ("2025-11-25", None, False)],
)
async def test_logs_are_asked_for_where_that_is_possible(
    version: str, logging: dict[str, object] | None, asked: bool
) -> None:
    class Server:
        protocol_version = version
        server_capabilities = ServerCapabilities.model_validate({"logging": logging})
        levels: tuple[str, ...] = ()

        async def set_logging_level(self, level: str) -> None:
            self.levels += (level,)

    server = Server()
    await app_module._ask_for_logs(server)  # type: ignore[arg-type]
    assert server.levels == (("info",) if asked else ())


@pytest.mark.real
def test_elicitation_without_a_terminal_is_declined(url: str) -> None:
    result = run("call", url, "book_table", *LEGACY)
    assert result.exit_code == 0
    assert "the answer was 'decline'" in result.stdout
    assert f"{url} asks: A table is free tonight." in result.stderr


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_elicitation_at_a_terminal(url: str) -> None:
    master, terminal = os.openpty()
    try:
        with started("call", url, "book_table", *LEGACY, stdin=terminal) as process:
            os.write(master, b"99\n3\nAda\n\n")
            stdout, stderr = process.communicate(timeout=10)
    finally:
        os.close(master)
        os.close(terminal)
    assert process.returncode == 0
    assert stdout.splitlines()[0] == "booked a table for 3, in the name of Ada"
    assert "at most 20, please" in stderr


# Ctrl-C


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not printed")


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_cancels_the_call_at_the_server(url: str) -> None:
    async def cancelled(at_least: int) -> int:
        async with trio_mcp.open_connector(url) as c:
            while True:
                result = await c.call_tool("cancelled_calls")
                count = int((result.structured_content or {})["result"])
                if count >= at_least:
                    return count
                await trio.sleep(0.02)

    before = trio.run(cancelled, 0)
    with started("call", url, "copy_files", "files=2000") as process:
        wait_for(process, "progress: 1/2000")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (130, "")
    assert re.sub(r"progress: .*\n", "", stderr) == ""

    async def main() -> None:
        with trio.fail_after(5):
            await cancelled(before + 1)

    trio.run(main)


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_ctrl_c_leaves_a_prompt_that_nobody_answers(url: str) -> None:
    master, terminal = os.openpty()
    try:
        with started("call", url, "book_table", *LEGACY, stdin=terminal) as process:
            wait_for(process, "Guests")
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=10)
    finally:
        os.close(master)
        os.close(terminal)
    assert (process.returncode, stdout, stderr) == (130, "", "")


# Errors


@pytest.mark.real
def test_the_servers_error_is_exit_code_6(url: str) -> None:
    result = run("call", url, "book_table")  # a modern session: there is no way to ask
    assert (result.exit_code, result.stdout) == (6, "")
    assert re.fullmatch(r"error: tools/call 'book_table' on .* \(error -32600\)\n", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("tools", "ftp://example.com"), 2, "has the scheme 'ftp'"),
        (("tools", "http://127.0.0.1:1/mcp"), 3, "could not connect"),
        (("tools", "http://127.0.0.1:1/mcp", "-H", "secret"), 2, "number 1 is not"),
        (("tools", "http://127.0.0.1:1/mcp", "--protocol-version", "1"), 2, "protocol_version must be"),
        (("call", "http://127.0.0.1:1/mcp", "add", "a"), 2, "key=value or key:=json, not 'a'"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], code: int, complaint: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def status(code: int) -> dict[str, Any]:
    return {"status_code": code, "headers": {}}


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (trio_mcp.UnsupportedFeature("no"), 2),
        (trio_mcp.ConnectTimeout("no"), 3),
        (trio_mcp.AccessDenied("no", **status(401)), 4),
        (trio_mcp.AuthorizationError("no"), 4),
        (trio_mcp.InvalidOutput("no"), 5),
        (trio_mcp.MCPError(-1, "no\n\x1b[31m"), 6),
        (trio_mcp.ConnectionLost("no"), 1),
        (trio_mcp.HTTPStatusError("no", **status(500)), 1),
        (trio_mcp.InternalError("no"), 1),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("", [ExceptionGroup("", [trio_mcp.ProtocolError("no")])]), 5),
        (BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [KeyboardInterrupt()])]), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int) -> None:
    async def fail(console: Console) -> None:
        raise raised

    monkeypatch.setattr(demo, "run", fail)
    result = run("demo")
    assert (result.exit_code, result.stdout) == (code, "")
    hint = "; check --token or TRIO_MCP_TOKEN" * (code == 4)
    assert re.fullmatch(
        r"" if code == 130 else rf"error: no( \\x1b\[31m \(error -1\))?{hint}\n", result.stderr
    )


def test_what_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(console: Console) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "run", fail)
    result = run("demo")
    assert (result.exit_code, result.stderr) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
def test_without_a_standard_input_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, stdin: object) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert not app_module._at_a_terminal()


@pytest.mark.parametrize("raised", [RuntimeError("a bug"), ExceptionGroup("", [RuntimeError("a bug")])])
def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    async def fail(console: Console) -> None:
        raise raised

    monkeypatch.setattr(demo, "run", fail)
    with pytest.raises(type(raised)) as caught:
        run("demo")
    assert caught.value is raised


# Options


def test_options_reach_the_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def remember(url: str, **options: object) -> None:
        seen.append((url, options))
        raise trio_mcp.ConnectError("enough")

    monkeypatch.setattr(app_module, "open_connector", remember)
    arguments = ("tools", "http://a", "-H", "A: b", "--header", "C:d", "--protocol-version", "2025-06-18")
    assert run(*arguments, "--token", "t").exit_code == 3
    assert run("tools", "http://a", env={"TRIO_MCP_TOKEN": "from the environment"}).exit_code == 3
    assert run("tools", "http://a").exit_code == 3
    assert seen == [
        ("http://a", {"headers": {"A": "b", "C": "d"}, "auth": "t", "protocol_version": "2025-06-18"}),
        ("http://a", {"headers": {}, "auth": "from the environment", "protocol_version": "auto"}),
        ("http://a", {"headers": {}, "auth": None, "protocol_version": "auto"}),
    ]


def test_help() -> None:
    for arguments in (("--help",), ("tools", "--help"), ("call", "--help"), ("demo", "--help")):
        assert run(*arguments).exit_code == 0
    secret = run("tools", "--help", env={"TRIO_MCP_TOKEN": "secret"})
    assert "secret" not in secret.stdout
