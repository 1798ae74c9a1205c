import json

import mcp_types as types
import pytest

import trio_mcp

from ..real.children import Child
from .helpers import run

pytestmark = pytest.mark.real


def test_prompts(full_server: Child) -> None:
    result = run("prompts", full_server.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "introduce\t\tname\n", "")
    assert json.loads(run("prompts", full_server.url, "--json").stdout)[0]["name"] == "introduce"


def test_no_prompts(full_server: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: trio_mcp.Connector) -> list[object]:
        return []

    monkeypatch.setattr(trio_mcp.HttpConnector, "list_prompts", nothing)
    result = run("prompts", full_server.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the server has no prompts\n")


def test_prompt(full_server: Child) -> None:
    result = run("prompt", full_server.url, "introduce", "name=5")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "user: introduce 5\n", "")
    shown = json.loads(run("prompt", full_server.url, "introduce", "name=Ada", "--json").stdout)
    assert shown["messages"][0]["content"]["text"] == "introduce Ada"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("introduc",), "no prompt 'introduc'; the nearest: introduce"),
        (("introduce",), "missing: name"),
        (("introduce", "nam=x"), "no argument 'nam'; the nearest: name"),
        (("introduce", "name:=5"), "the argument 'name' must be a text: give it as name=…"),
    ],
)
def test_a_prompt_that_cannot_be_filled_in(
    full_server: Child, arguments: tuple[str, ...], complaint: str
) -> None:
    result = run("prompt", full_server.url, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("introduce", "name=a"), ["prompt", "ada", "alan"]),
        (("introduce", "name"), ["prompt", "ada", "alan", "grace"]),
        (("introduce", "name=a", "other=amy"), ["prompt", "amy", "ada", "alan"]),
        (("greeting://{name}", "name=g"), ["template", "grace"]),
    ],
)
def test_complete(full_server: Child, arguments: tuple[str, ...], found: list[str]) -> None:
    result = run("complete", full_server.url, *arguments)
    assert (result.exit_code, result.stdout.splitlines(), result.stderr) == (0, found, "")
    shown = json.loads(run("complete", full_server.url, *arguments, "--json").stdout)
    assert shown["completion"]["values"] == found


def test_more_completions_than_there_are_here(full_server: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    async def many(*args: object) -> types.CompleteResult:
        return types.CompleteResult(completion=types.Completion(values=["a"], has_more=True))

    monkeypatch.setattr(trio_mcp.HttpConnector, "complete", many)
    result = run("complete", full_server.url, "introduce", "name=")
    assert (result.stdout, result.stderr) == ("a\n", "there are more\n")


def test_what_to_complete_has_a_name(full_server: Child) -> None:
    result = run("complete", full_server.url, "introduce", "=a")
    assert result.exit_code == 2
    assert "given as key=begin, not '=a'" in result.stderr
