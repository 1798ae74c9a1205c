import os
import re
import subprocess
import sys
from typing import Any

import pytest
import trio
import typer
from rich.console import Console

import trio_mcp
from trio_mcp.cli import demo, exits

from .helpers import run


def status(code: int) -> dict[str, Any]:
    return {"status_code": code, "headers": {}}


ASKS_DOCTOR = "; `trio-mcp doctor` looks for the reason"
ASKS_LOGIN = ": `trio-mcp login URL` logs in by OAuth; a token goes into --token or TRIO_MCP_TOKEN"


@pytest.mark.parametrize(
    ("raised", "code", "advice"),
    [
        (trio_mcp.UnsupportedFeature("no"), 2, ""),
        (trio_mcp.ConnectTimeout("no (connect_timeout=)"), 3, ASKS_DOCTOR),
        (trio_mcp.AccessDenied("no (auth=)", **status(401)), 4, ASKS_LOGIN),
        (trio_mcp.AuthorizationError("no"), 4, ""),
        (trio_mcp.InvalidOutput("no"), 5, ASKS_DOCTOR),
        (trio_mcp.MCPError(-1, "no\n\x1b[31m"), 6, r" \x1b[31m (error -1)"),
        (trio_mcp.ConnectionLost("no"), 1, ""),
        (trio_mcp.HTTPStatusError("no", **status(500)), 1, ""),
        (trio_mcp.InternalError("no"), 1, ""),
        (ExceptionGroup("", [ExceptionGroup("", [trio_mcp.ProtocolError("no")])]), 5, ASKS_DOCTOR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, advice: str
) -> None:
    result = run_failing(monkeypatch, raised)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"error: no{advice}\n")


def run_failing(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> Any:
    async def fail(console: Console) -> None:
        raise raised

    monkeypatch.setattr(demo, "run", fail)
    return run("demo")


@pytest.mark.parametrize(
    "raised",
    [
        KeyboardInterrupt(),
        BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [KeyboardInterrupt()])]),
    ],
)
def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    result = run_failing(monkeypatch, raised)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_the_advice_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = trio_mcp.AccessDenied("no", **status(401)).locate("https://a.example/mcp")
    assert "`trio-mcp login https://a.example/mcp`" in run_failing(monkeypatch, refused).stderr


def test_what_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_failing(monkeypatch, OSError(28, "No space left on device"))
    assert (result.exit_code, result.stderr) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("raised", [RuntimeError("a bug"), ExceptionGroup("", [RuntimeError("a bug")])])
def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught:
        run_failing(monkeypatch, raised)
    assert caught.value is raised


def test_who_stops_reading_hears_no_complaint() -> None:
    code = (
        "import os, sys\n"
        "from trio_mcp.cli.exits import run\n"
        "async def main():\n"
        "    print('x' * 100_000)\n"
        "    sys.stdout.flush()\n"
        "run(main)\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import typer\ntry:\n    exec({code!r})\nexcept typer.Exit as e: sys.exit(e.exit_code)",
        ],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=20,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_is_left_to_be_written_goes_nowhere(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> int:
        raise BrokenPipeError

    replaced: list[int] = []
    monkeypatch.setattr(os, "dup2", lambda new, old: replaced.append(old))
    with pytest.raises(typer.Exit) as caught:
        exits.run(main)
    assert caught.value.exit_code == exits.FAILED
    assert replaced == [sys.stdout.fileno()]


def test_the_time_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> int:
        await trio.sleep_forever()
        raise AssertionError

    with pytest.raises(typer.Exit) as caught:
        exits.run(main, timeout=0.001)
    assert caught.value.exit_code == exits.TIME_IS_UP
    assert capsys.readouterr().err == "error: not done within 0.001 s (--timeout)\n"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("tools", "ftp://example.com"), 2, "has the scheme 'ftp'"),
        (("tools", "http://127.0.0.1:1/mcp"), 3, "could not connect"),
        (("tools", "http://127.0.0.1:1/mcp", "-H", "secret"), 2, "number 1 is not"),
        (("tools", "http://127.0.0.1:1/mcp", "--protocol-version", "1"), 2, "protocol_version must be"),
        (("call", "http://127.0.0.1:1/mcp", "add", "a"), 2, "key:=json, @file or -, not 'a'"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], code: int, complaint: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert re.match("error: .*\n$", result.stderr)
    assert complaint in result.stderr
