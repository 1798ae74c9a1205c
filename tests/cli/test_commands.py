import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trio_mcp.cli import app as app_module

from .helpers import STDIO, run


@pytest.mark.parametrize("name", ["", *app_module._COMMANDS])
def test_every_command_has_help(name: str) -> None:
    result = run(*([name] if name else []), "--help", env={"TRIO_MCP_TOKEN": "t0p-s3cret"})
    assert result.exit_code == 0
    assert "t0p-s3cret" not in result.stdout


def test_the_target_comes_first_and_the_options_of_connecting_are_last() -> None:
    shown = run("call", "--help").stdout
    at = 0
    for text in ("TARGET", "NAME", "--json", "--config", "--token"):
        at = shown.index(text, at)


def test_the_help_shows_what_takes_a_value_and_breaks_lines_where_they_end() -> None:
    shown = run("call", "--help", env={"COLUMNS": "300"}).stdout
    assert "<bool>" not in shown
    assert "With @file in the place of the value" in shown
    assert "<bool>" not in run("--help").stdout


@pytest.mark.real
def test_a_target_may_be_a_command_after_two_dashes() -> None:
    result = run("call", "add", "a=1", "b=2", "--json", "--", *STDIO)
    assert result.exit_code == 0
    assert '"text": "3"' in result.stdout


def test_two_dashes_want_a_command() -> None:
    result = run("tools", "--")
    assert result.exit_code == 2
    assert "a command is missing after --" in result.stderr


def test_a_target_is_wanted() -> None:
    assert run("tools").exit_code == 2


@pytest.mark.parametrize(
    ("words", "found"), [("trio-mcp to", ["tools"]), ("trio-mcp tools gi", ["github", "gitlab"])]
)
def test_the_shell_completes_commands_and_the_names_of_servers(words: str, found: list[str]) -> None:
    servers = {name: {"url": "http://a.example/mcp"} for name in ("github", "gitlab", "other")}
    Path("mcp.json").write_text(json.dumps({"mcpServers": servers}))
    env = {
        "_TRIO_MCP_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = CliRunner().invoke(app_module.app, [], prog_name="trio-mcp", env=env)
    assert result.stdout.split() == found
