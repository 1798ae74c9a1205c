"""The guide to the command line shows commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from trio_mcp.cli.app import _COMMANDS, app
from trio_mcp.cli.exits import EXIT_CODES

GUIDE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
LINES = [line.rpartition("| ")[2] for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_guide_is_understood(line: str) -> None:
    program, name, *arguments = shlex.split(line)
    assert program == "trio-mcp"
    group: Any = typer.main.get_command(app)
    command = group.commands[name]
    with command.make_context(name, arguments):
        pass


def test_the_guide_tells_of_every_command() -> None:
    for name in _COMMANDS:
        assert f"`{name}" in GUIDE


def test_the_guide_has_the_exit_codes() -> None:
    codes = set(re.findall(r"^\| (\d+) \|", GUIDE, re.MULTILINE))
    assert codes == set(re.findall(r"\b(\d+) [a-zC]", EXIT_CODES))
