import json
import subprocess

import mcp_types as types
import pytest
import trio

import trio_mcp
from trio_mcp.cli import watching

from ..real.children import Child
from .helpers import LEGACY, run, started, wait_for


@pytest.mark.real
@pytest.mark.parametrize(("as_json", "options"), [(True, ("--json",)), (False, ())])
def test_listen(full_server: Child, as_json: bool, options: tuple[str, ...]) -> None:
    arguments = ("--tools", "--uri", "memo://touched", "-n", "2", *options)
    with started("listen", full_server.url, *arguments, stdin=subprocess.PIPE) as process:
        wait_for(process, "listening to")
        trio.run(touch, full_server.url)
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")
    if as_json:
        assert [json.loads(line)["event"] for line in stdout.splitlines()] == [
            "ResourceUpdated",
            "ToolsChanged",
        ]
    else:
        assert stdout.splitlines() == ["memo://touched has changed", "the list of tools has changed"]


async def touch(url: str) -> None:
    async with trio_mcp.open_connector(url) as c:
        await c.call_tool("touch")


@pytest.mark.real
def test_listen_to_whatever_there_is_until_the_time_is_up(full_server: Child) -> None:
    result = run("listen", full_server.url, "--timeout", "1.5")
    assert result.exit_code == 7
    assert result.stderr.startswith(f"listening to {full_server.url}; Ctrl-C ends it\n")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (trio_mcp.PromptsChanged(), "the list of prompts has changed"),
        (trio_mcp.ResourcesChanged(), "the list of resources has changed"),
        (trio_mcp.Gap("lost"), "events may have been missed: lost"),
        (trio_mcp.TaskChanged("t1", "failed"), "task t1: failed"),
    ],
)
def test_events_in_words(event: trio_mcp.Event, text: str) -> None:
    assert watching._as_text(event) == text


@pytest.mark.parametrize(
    ("offered", "lists"),
    [({"tools": {}}, (True, False, False)), ({"prompts": {}, "resources": {}}, (False, True, True))],
)
def test_what_is_listened_to(offered: dict[str, object], lists: tuple[bool, ...]) -> None:
    assert watching._lists(offering(offered)) == lists  # type: ignore[arg-type]


class offering:  # noqa: N801
    def __init__(self, offered: dict[str, object]) -> None:
        self.server_capabilities = types.ServerCapabilities.model_validate(offered)


def test_nothing_to_listen_to() -> None:
    with pytest.raises(trio_mcp.UsageError, match="give --uri"):
        watching._lists(offering({}))  # type: ignore[arg-type]


@pytest.mark.real
@pytest.mark.parametrize("version", [(), LEGACY])
def test_ping(full_server: Child, version: tuple[str, ...]) -> None:
    result = run("ping", full_server.url, "-n", "2", "--interval", "0.001", *version)
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{full_server.url} answered in ")
    assert second.endswith(" ms")


@pytest.mark.real
def test_ping_as_json(full_server: Child) -> None:
    shown = json.loads(run("ping", full_server.url, "--json").stdout)
    assert shown["server"] == full_server.url
    assert shown["milliseconds"] > 0
