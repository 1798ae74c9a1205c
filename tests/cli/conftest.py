"""A real server for the command line's tests, and a terminal that is a string."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ..real.children import Child, start_mcp_server


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What rich and typer look at: the tests say themselves what is a terminal; and files of this test's."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("TRIO_MCP_TOKENS", str(home / "tokens"))
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TRIO_MCP_TOKEN", "TRIO_MCP_CONFIG", "TRIO_MCP_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GITHUB_ACTIONS", "PY_COLORS", "CLICOLOR_FORCE"):  # typer takes these for a terminal
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The demo's server, in a child process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trio_mcp.cli.demo_server", "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
            process.wait(5)


@pytest.fixture(scope="session")
def full_server() -> Iterator[Child]:
    """A server with tools, resources and prompts, in a child process."""
    child = start_mcp_server()
    yield child
    child.stop()


@pytest.fixture
def make_console() -> Callable[..., tuple[Console, io.StringIO]]:
    """Makes a console and the text that it has printed; `terminal` says what it takes itself for."""

    def make(*, terminal: bool) -> tuple[Console, io.StringIO]:
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=60, color_system=None, _environ={})
        return console, file

    return make
