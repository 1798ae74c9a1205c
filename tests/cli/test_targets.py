import json
from pathlib import Path

import pytest

from trio_mcp import ConfigurationError, StdioServer, UsageError
from trio_mcp.cli.targets import as_word, find_configuration, known_names, read_target

FILE = {
    "mcpServers": {
        "web": {"url": "http://a.example/mcp", "headers": {"X": "1"}},
        "files": {"command": "files", "args": ["-r"], "disabled": True},
        "secret": {"url": "http://a.example/mcp", "headers": {"X": "${NOT_SET_ANYWHERE}"}},
    }
}


@pytest.fixture
def file() -> Path:
    path = Path(".mcp.json").absolute()
    path.write_text(json.dumps(FILE))
    return path


def test_a_url() -> None:
    target = read_target("http://a.example/mcp", None)
    assert (target.where, target.url, target.shown) == ("http://a.example/mcp",) * 3
    assert not target.options


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:hunter2@a.example/mcp?key=hunter2", "https://a.example/mcp"),
        ("http://me:hunter2@a:b/", "URL"),
    ],
)
def test_what_is_secret_in_a_url_is_not_shown(url: str, shown: str) -> None:
    target = read_target(url, None)
    assert (target.where, target.shown) == (url, shown)
    assert "hunter2" not in repr(target)


def test_a_command() -> None:
    target = read_target(as_word(["npx", "-y", "a b", ""]), None)
    assert target.where == StdioServer("npx", ["-y", "a b", ""])
    assert (target.url, target.shown) == (None, "-- npx …")


def test_a_name_in_a_configuration_file(file: Path) -> None:
    target = read_target("web", None)
    assert (target.where, target.shown) == ("http://a.example/mcp", "web")
    assert target.options["headers"] == {"X": "1"}


def test_what_is_disabled_can_be_named_all_the_same(file: Path) -> None:
    assert isinstance(read_target("files", None).where, StdioServer)


def test_an_unknown_name(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="no server 'wep': did you mean 'web'"):
        read_target("wep", None)
    with pytest.raises(UsageError, match="NOT_SET_ANYWHERE"):
        read_target("secret", file)


def test_milliseconds(file: Path) -> None:
    file.write_text(json.dumps({"mcpServers": {"a": {"url": "http://a.example/mcp", "timeout": 30_000}}}))
    assert read_target("a", None, milliseconds=True).options["timeout"] == 30
    with pytest.raises(ConfigurationError, match="more than an hour"):
        read_target("a", None)


def test_without_a_configuration_file() -> None:
    with pytest.raises(UsageError, match=r"'web' is no URL, and there is no .*TRIO_MCP_CONFIG\)$"):
        read_target("web", None)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("127.0.0.1:8000/mcp", "http://127.0.0.1:8000/mcp"),
        ("localhost:8000", "http://localhost:8000"),
        ("example.com/mcp", "https://example.com/mcp"),
    ],
)
def test_a_url_without_its_scheme(file: Path, word: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no server '{word}'.*; or was {meant} meant?"):
        read_target(word, None)
    file.unlink()
    with pytest.raises(UsageError, match=f"is no URL.*; or was {meant} meant?"):
        read_target(word, None)


def test_the_environment_comes_before_this_directory_and_that_before_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "config"
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, appauthor: home / name)
    assert find_configuration() is None
    (home / "trio_mcp").mkdir(parents=True)
    (home / "trio_mcp" / "mcp.json").write_text("{}")
    assert find_configuration() == home / "trio_mcp" / "mcp.json"
    Path("mcp.json").write_text("{}")
    assert find_configuration() == Path("mcp.json")
    Path(".mcp.json").write_text("{}")
    assert find_configuration() == Path(".mcp.json")
    monkeypatch.setenv("TRIO_MCP_CONFIG", "other.json")
    assert find_configuration() == Path("other.json")


def test_names_for_the_shell(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_SET_ANYWHERE", "now it is")
    assert known_names() == ["web", "files", "secret"]


@pytest.mark.parametrize("content", [None, "{"])
def test_no_names_for_the_shell_and_no_complaint(content: str | None) -> None:
    if content is not None:
        Path(".mcp.json").write_text(content)
    assert known_names() == []
