import json

import mcp_types as types
import pytest
import trio

import trio_mcp
from trio_mcp.cli import watching
from trio_mcp.cli.connecting import Connecting

from ..real.children import Child
from .helpers import LEGACY, run


@pytest.mark.real
@pytest.mark.parametrize("as_json", [True, False])
async def test_listen(
    full_server: Child,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listening = trio.Event()

    def noted(console: object, text: str) -> None:
        assert text == f"listening to {full_server.url}; Ctrl-C ends it"
        listening.set()

    monkeypatch.setattr(watching, "print_text", noted)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(touch, full_server.url, listening)
            code = await watching.listen(
                Connecting(full_server.url), tools=True, uri=["memo://touched"], count=2, json=as_json
            )
    assert code == 0
    lines = capsys.readouterr().out.splitlines()
    if as_json:
        assert [json.loads(line)["event"] for line in lines] == ["ResourceUpdated", "ToolsChanged"]
    else:
        assert lines == ["memo://touched has changed", "the list of tools has changed"]


async def touch(url: str, listening: trio.Event) -> None:
    await listening.wait()
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
