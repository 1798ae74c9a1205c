import json
import os
import re
import signal
import sys

import pytest
import trio

import trio_mcp

from ..real.children import Child
from .helpers import LEGACY, run, started, wait_for

pytestmark = pytest.mark.real


def test_tools(url: str) -> None:
    result = run("tools", url)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "add\tAdd two whole numbers.\ta: integer, b: integer"
    assert result.stderr == ""


def test_tools_as_json(url: str) -> None:
    tools = json.loads(run("tools", url, "--json", *LEGACY).stdout)
    assert [tool["name"] for tool in tools][:2] == ["add", "wait"]
    assert tools[0]["inputSchema"]["required"] == ["a", "b"]


def test_no_tools(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: trio_mcp.Connector) -> list[object]:
        return []

    monkeypatch.setattr(trio_mcp.HttpConnector, "list_tools", nothing)
    result = run("tools", url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the server has no tools\n")


@pytest.mark.parametrize("arguments", [("a=1", "b=2"), ("a:=1", "b:=2"), ("-", "b=2")])
def test_call(url: str, arguments: tuple[str, ...]) -> None:
    result = run("call", url, "add", *arguments, stdin='{"a": 1, "b": 7}')
    assert (result.exit_code, result.stdout, result.stderr) == (0, '3\n{\n  "result": 3\n}\n', "")


def test_call_as_json(url: str) -> None:
    result = json.loads(run("call", url, "add", "a=1", "b=2", "--json").stdout)
    assert result["structuredContent"] == {"result": 3}
    assert result["content"] == [{"type": "text", "text": "3"}]


def test_arguments_are_checked_before_they_are_sent_unless_that_is_not_wanted(url: str) -> None:
    result = run("call", url, "add", 'a:="x"', "b=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: the argument 'a': 'x' is not of type 'integer'\n"
    result = run("call", url, "add", 'a:="x"', "b=1", "--unchecked")
    assert result.exit_code == 1
    assert "valid integer" in result.stdout


def test_a_text_that_does_not_fit_is_sent_as_it_is_if_nothing_is_to_be_checked(url: str) -> None:
    result = run("call", url, "add", "a=x", "b=1", "--unchecked")
    assert result.exit_code == 1
    assert "valid integer" in result.stdout
    result = run("call", url, "add", "a:=x", "b=1", "--unchecked")
    assert (result.exit_code, result.stderr) == (2, "error: the argument 'a': 'x' is not JSON\n")


def test_what_cannot_be_checked_is_sent(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_mcp.cli.tools.check_arguments", lambda values, schema: "it cannot be checked")
    result = run("call", url, "add", "a=1", "b=1")
    assert (result.exit_code, result.stderr) == (0, "it cannot be checked\n")


def test_an_unknown_tool(url: str) -> None:
    result = run("call", url, "copyfiles")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: the server has no tool 'copyfiles'; the nearest: copy_files\n"


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


def test_elicitation_without_a_terminal_is_declined(url: str) -> None:
    result = run("call", url, "book_table", *LEGACY)
    assert result.exit_code == 0
    assert "the answer was 'decline'" in result.stdout
    assert f"{url} asks: A table is free tonight." in result.stderr


def test_sampling_without_a_terminal_is_declined(full_server: Child) -> None:
    result = run("call", full_server.url, "sample", *LEGACY)
    assert result.exit_code == 6
    assert "declined, as there is no terminal to answer at" in result.stderr


def test_the_servers_error_is_exit_code_6(url: str) -> None:
    result = run("call", url, "book_table")  # a modern session: there is no way to ask
    assert (result.exit_code, result.stdout) == (6, "")
    assert re.fullmatch(r"error: tools/call 'book_table' on .* \(error -32600\)\n", result.stderr)


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


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_cancels_the_call_at_the_server(url: str) -> None:
    before = trio.run(cancelled_calls, url, 0)
    with started("call", url, "copy_files", "files=2000") as process:
        wait_for(process, "progress: 1/2000")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (130, "")
    assert re.sub(r"progress: .*\n", "", stderr) == ""
    trio.run(cancelled_calls, url, before + 1)


async def cancelled_calls(url: str, at_least: int) -> int:
    """How many calls the server saw cancelled, once they are so many."""
    async with trio_mcp.open_connector(url) as c:
        with trio.fail_after(5):
            while True:
                result = await c.call_tool("cancelled_calls")
                count = int((result.structured_content or {})["result"])
                if count >= at_least:
                    return count
                await trio.sleep(0.02)


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
