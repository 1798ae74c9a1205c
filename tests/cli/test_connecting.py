import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from mcp_types import ServerCapabilities

import trio_mcp
from trio_mcp.cli import connecting, terminal
from trio_mcp.cli.logs import shown_log
from trio_mcp.testing import ScriptedServer

from .helpers import LEGACY, STDIO, run


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What would have been opened."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    def remember(target: Any, **options: Any) -> None:
        for name in ("elicitation_callback", "sampling_callback", "logging_callback"):
            options.pop(name, None)
        seen.append((target, options))
        raise trio_mcp.ConnectError("enough")

    monkeypatch.setattr(connecting, "open_connector", remember)
    return seen


def test_options_reach_the_connector(seen: list[Any]) -> None:
    arguments = ("-H", "A: b", "--header", "C:d", "--protocol-version", "2025-06-18", "--transport", "sse")
    assert run("tools", "http://a", *arguments, "--token", "t", "--insecure").exit_code == 3
    assert run("tools", "http://a", env={"TRIO_MCP_TOKEN": "from the environment"}).exit_code == 3
    assert run("tools", "http://a", "--ca", "ca.pem", "-H", "Authorization: Basic x").exit_code == 3
    assert run("tools", "wss://a").exit_code == 3
    assert seen == [
        (
            "http://a",
            {
                "headers": {"A": "b", "C": "d"},
                "auth": "t",
                "protocol_version": "2025-06-18",
                "transport": "sse",
                "verify": False,
            },
        ),
        ("http://a", {"headers": {}, "auth": "from the environment"}),
        ("http://a", {"headers": {"Authorization": "Basic x"}, "auth": None, "verify": "ca.pem"}),
        ("wss://a", {"headers": {}, "auth": None}),
    ]


def test_options_come_before_those_of_a_configuration_file(seen: list[Any]) -> None:
    server = {"url": "http://a/mcp", "headers": {"A": "old", "B": "kept"}, "timeout": 7}
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"a": server}}))
    assert run("tools", "a", "-H", "a: new").exit_code == 3
    ((_, options),) = seen
    assert options["headers"] == {"a": "new", "B": "kept"}
    assert options["timeout"] == 7


def test_a_token_in_the_environment_is_not_for_where_a_file_leads_to(seen: list[Any]) -> None:
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"a": {"url": "http://a/mcp"}}}))
    environment = {"TRIO_MCP_TOKEN": "secret"}
    run("tools", "a", env=environment)
    run("tools", "a", "--token", "given", env=environment)
    run("tools", "http://a/mcp", env=environment)
    assert [options["auth"] for _, options in seen] == [None, "given", "secret"]


def test_a_command_gets_the_variables_that_are_named(
    seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "inherited")
    run("tools", "--env", "KEY", "--env", "OTHER=a=b", "--", "server", "-x")
    ((server, options),) = seen
    assert (server.command, list(server.args)) == ("server", ["-x"])
    assert server.env == {"KEY": "inherited", "OTHER": "a=b"}
    assert set(options) == {"stderr"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("http://a", "--env", "A=b"), "--env is for commands"),
        (("--env", "NOT_SET_ANYWHERE", "--", "x"), "there is no such variable here"),
        (("--transport", "sse", "--", "x"), "--transport is for URLs"),
        (("--header", "a: b", "--", "x"), "--header is for URLs"),
        (("--insecure", "--", "x"), "--insecure is for URLs"),
        (("--token", "t", "--", "x"), "--token is for URLs"),
        (("ws://a", "--transport", "sse"), "--transport is for http:// and https://"),
        (("http://a", "--ca", "f", "--insecure"), "--ca and --insecure exclude each other"),
        (("http://a", "--log-level", "loud"), "--log-level is one of debug, info"),
    ],
)
def test_options_that_do_not_go_together(seen: list[Any], arguments: tuple[str, ...], complaint: str) -> None:
    result = run("tools", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert not seen


def test_names_are_completed() -> None:
    assert connecting._complete("a") == []
    Path("mcp.json").write_text(
        json.dumps({"mcpServers": {"abc": {"url": "http://a"}, "b": {"url": "http://b"}}})
    )
    assert connecting._complete("a") == ["abc"]


# Logs


@pytest.mark.parametrize(
    ("version", "logging", "asked"),
    [("2026-07-28", None, True), ("2025-11-25", {}, True), ("2025-11-25", None, False)],
)
async def test_logs_are_asked_for_where_that_is_possible(
    version: str, logging: dict[str, object] | None, asked: bool
) -> None:
    class Server:
        protocol_version = version
        server_capabilities = ServerCapabilities.model_validate({"logging": logging})
        levels: tuple[str, ...] = ()

        async def set_logging_level(self, level: str) -> None:
            self.levels += (level,)

    server = Server()
    await connecting.ask_for_logs(server, "info")  # type: ignore[arg-type]
    assert server.levels == (("info",) if asked else ())


async def test_a_server_that_refuses_to_send_its_log_is_used_all_the_same(
    mcp_server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def refuse(*arguments: object) -> None:
        raise trio_mcp.MCPError(-32601, "no\x1b")

    monkeypatch.setattr(connecting, "ask_for_logs", refuse)
    monkeypatch.setattr(connecting, "open_connector", lambda target, **options: mcp_server.connect())
    async with connecting.Connecting("http://a.test").open() as session:
        assert session.connector.is_connected
    assert capsys.readouterr().err == "the server sends no log: no\\x1b\n"


def test_what_may_be_secret_is_not_in_the_repr() -> None:
    secret = ["hunter2"]
    where = connecting.Connecting("http://hunter2@a", header=secret, token=secret[0], env=secret)
    assert "hunter2" not in repr(where)


@pytest.mark.real
@pytest.mark.parametrize("level", ["info", "off"])
def test_the_servers_log_and_stderr(level: str) -> None:
    noisy = (
        f"import runpy, sys; sys.path.insert(0, {str(Path(STDIO[1]).parent)!r}); "
        f"sys.stderr.write('a\\x1bb\\n'); runpy.run_path({STDIO[1]!r}, run_name='__main__')"
    )
    arguments = ("call", "log", "level=warning", "text=careful", "--log-level", level)
    result = run(*arguments, *LEGACY, "--", sys.executable, "-c", noisy)
    assert result.exit_code == 0
    shown = sorted(result.stderr.splitlines())
    assert shown == (["a\\x1bb", "warning: real: careful"] if level == "info" else [])


@pytest.mark.parametrize("verbose", [True, False])
def test_the_clients_own_log(make_console: Any, verbose: bool) -> None:
    console, file = make_console(terminal=False)
    logger = logging.getLogger("trio_mcp.something")
    with shown_log(console, verbose=verbose):
        logger.warning("two\nlines\x1b %d", 3)
        logger.debug("details")
    logger.warning("not any more")
    warning = "warning: trio_mcp.something: two lines\\x1b 3\n"
    assert file.getvalue() == warning + "debug: trio_mcp.something: details\n" * verbose
    assert logging.getLogger("trio_mcp").level == logging.NOTSET


def test_a_level_that_somebody_has_set_stays(make_console: Any) -> None:
    console, _ = make_console(terminal=False)
    logger = logging.getLogger("trio_mcp")
    logger.setLevel(logging.INFO)
    try:
        with shown_log(console, verbose=False):
            assert logger.level == logging.INFO
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
def test_without_a_standard_input_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, stdin: object) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert not terminal.is_at_terminal()
