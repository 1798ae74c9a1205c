"""The files of the tutorial are run as they stand, and print what the page says."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from mcp.server import MCPServer  # noqa: F401 - each run of pytester would import it anew, as other classes

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(
    r"^```python\n(# (\w+\.py)\n.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)
FILES = {name: (text, output) for text, name, output in BLOCK.findall(PAGE.read_text("utf-8"))}
AS_A_PROGRAM = "shop.py"
"""The one that starts a child process, which the mock clock would not wait for."""

PROGRAMS = sorted(name for name, (_, output) in FILES.items() if output and name != AS_A_PROGRAM)


@pytest.fixture
def tutorial(pytester: pytest.Pytester) -> Path:
    """A directory with all of the tutorial's files, which is the current one."""
    for name, (text, _) in FILES.items():
        pytester.path.joinpath(name).write_text(text, "utf-8")
    return pytester.path


def test_every_block_of_the_tutorial_is_a_file_that_is_run() -> None:
    assert PAGE.read_text("utf-8").count("```python\n") == len(FILES)
    assert {*PROGRAMS, "bakery.py", "test_bakery.py", AS_A_PROGRAM} == FILES.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_tutorial_prints_what_the_page_says(
    name: str, tutorial: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tutorial))
    monkeypatch.delitem(sys.modules, "bakery", raising=False)
    clock = trio.testing.MockClock(autojump_threshold=0)
    monkeypatch.setattr(trio, "run", partial(trio.run, clock=clock))
    runpy.run_path(name, run_name="__main__")
    monkeypatch.delitem(sys.modules, "bakery")
    assert capsys.readouterr().out == FILES[name][1]


def test_the_tests_of_the_tutorial_pass(
    tutorial: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.syspathinsert()
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


@pytest.mark.real
def test_the_bakery_is_used_as_a_program(tutorial: Path) -> None:
    command = [sys.executable, "-W", "error", AS_A_PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", FILES[AS_A_PROGRAM][1])
