"""Running commands, in this process and in one of their own."""

import contextlib
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from trio_mcp.cli.app import app

LEGACY = ("--protocol-version", "2025-11-25")
STDIO = (sys.executable, str(Path(__file__).parent.parent / "real" / "mcp_stdio_server.py"))


def run(*arguments: str, env: dict[str, str] | None = None, stdin: str | bytes | None = None) -> Any:
    return CliRunner().invoke(app, arguments, input=stdin, env=env, catch_exceptions=False)


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
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not printed")
