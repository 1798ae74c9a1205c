"""The shipped examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
NEED_A_URL = {"quickstart.py", "callbacks.py"}

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where the demo's server is."""
    command = [sys.executable, "-m", "trio_mcp.cli.demo_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.kill()


def run(example: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(example), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs_and_shows_something(example: Path, url: str) -> None:
    done = run(example, *([url] if example.name in NEED_A_URL else []))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("name", sorted(NEED_A_URL))
def test_an_example_that_needs_a_url_says_how_it_is_run(name: str) -> None:
    done = run(EXAMPLES[0].parent / name)
    assert done.returncode == 1
    assert f"python examples/{name}" in done.stderr
