import io
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import mcp_types as types
import pytest
from rich.console import Console

from trio_mcp.cli.output import (
    ProgressView,
    block_text,
    print_contents,
    print_json,
    print_line,
    print_log,
    print_messages,
    print_result,
    print_text,
)

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]


def test_text_on_a_terminal_is_safe_and_not_cut(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    print_text(console, "[bold]\x1b" + "x" * 200)
    assert file.getvalue() == "[bold]\\x1b" + "x" * 200 + "\n"


def test_text_in_a_pipe_is_as_it_is(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    print_text(console, "\x1b[bold]" + "x" * 200)
    assert file.getvalue() == "\x1b[bold]" + "x" * 200 + "\n"


def test_json(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    print_json(console, [types.TextContent(type="text", text="ä")])
    assert json.loads(file.getvalue()) == [{"type": "text", "text": "ä"}]
    assert "ä" in file.getvalue()


def result(content: list[dict[str, Any]], structured: object = None) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": content, "structuredContent": structured})


def test_every_kind_of_content(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    print_result(
        console,
        result(
            [
                {"type": "text", "text": "two\nlines"},
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                {"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
                {"type": "resource_link", "uri": "file:///a", "name": "a"},
                {"type": "resource", "resource": {"uri": "file:///b", "text": "text of b"}},
                {"type": "resource", "resource": {"uri": "file:///c", "blob": "AA=="}},
                {"type": "resource", "resource": {"uri": "file:///d", "blob": "", "mimeType": "a/b"}},
            ]
        ),
    )
    assert file.getvalue().splitlines() == [
        "two",
        "lines",
        "[image, image/png, 4 characters of base64]",
        "[audio, audio/wav, 4 characters of base64]",
        "[resource file:///a]",
        "text of b",
        "[resource file:///c, bytes, 4 characters of base64]",
        "[resource file:///d, a/b, 0 characters of base64]",
    ]


def test_structured_content_is_printed_unless_the_text_repeats_it(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    link = {"type": "resource_link", "uri": "file:///a", "name": "a"}
    print_result(console, result([link, {"type": "text", "text": "no JSON"}], {"a": 1}))
    assert file.getvalue() == '[resource file:///a]\nno JSON\n{\n  "a": 1\n}\n'

    console, file = make_console(terminal=False)
    print_result(
        console, result([{"type": "text", "text": "2"}, {"type": "text", "text": '{"a":1}'}], {"a": 1})
    )
    assert file.getvalue() == '2\n{"a":1}\n'


@pytest.mark.parametrize(
    ("data", "logger", "line"),
    [("two\nlines", None, "info: two lines"), ({"a": "ä"}, "db", 'info: db: {"a": "ä"}')],
)
def test_log_lines(make_console: MakeConsole, data: object, logger: str | None, line: str) -> None:
    console, file = make_console(terminal=False)
    print_log(console, types.LoggingMessageNotificationParams(level="info", data=data, logger=logger))
    assert file.getvalue() == line + "\n"


async def test_progress_in_a_pipe_is_lines(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    with ProgressView(console, indent="  ") as view, view.paused():
        await view.report(1, 4, "one\nby one")
        await view.report(2.5, None, None)
        await view.report(float("inf"), 4, "not a number")
        await view.report(3, float("inf"), "endless")
    assert file.getvalue() == "  progress: 1/4 one by one\n  progress: 2.5\n  progress: 3 endless\n"


@pytest.mark.parametrize("keep", [True, False])
async def test_progress_on_a_terminal_is_a_bar(make_console: MakeConsole, keep: bool) -> None:
    console, file = make_console(terminal=True)
    with ProgressView(console, keep=keep) as view:
        await view.report(1, 4, "[b]copying")
        await view.report(4, 4, "done")
        drawn = file.getvalue()
        assert "[b]copying" in drawn
        assert "1/4" in drawn
        assert "4/4" in drawn
        with view.paused():
            assert not console._live_stack
        assert console._live_stack
    assert not console._live_stack
    assert file.getvalue().endswith("\x1b[2K" if not keep else "\x1b[?25h")


async def test_a_bar_that_is_paused_as_its_call_ends_does_not_come_back(make_console: MakeConsole) -> None:
    console, _ = make_console(terminal=True)
    with ProgressView(console) as view:
        await view.report(1, 4, None)
        paused = view.paused()
        paused.__enter__()
    paused.__exit__(None, None, None)
    assert not console._live_stack


def test_no_progress_draws_nothing(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    with ProgressView(console) as view, view.paused():
        pass
    assert file.getvalue() == ""


def test_content_that_only_models_know_is_named() -> None:
    assert block_text(types.ToolUseContent(id="1", name="add", input={})) == "[tool_use]"


def test_messages_of_a_prompt(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    message = {"role": "user", "content": {"type": "text", "text": "Hello"}}
    print_messages(console, types.GetPromptResult.model_validate({"messages": [message]}))
    assert file.getvalue() == "user: Hello\n"


def test_contents_of_a_resource(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    print_contents(
        console,
        types.ReadResourceResult.model_validate(
            {"contents": [{"uri": "a:", "text": "x\x1b[2J"}], "ttlMs": 0, "cacheScope": "private"}
        ),
    )
    assert file.getvalue() == "x\\x1b[2J\n"


def test_one_of_many_lines(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    print_line(console, {"a": "ä\n"})
    print_line(console, "text")
    assert file.getvalue() == '{"a": "ä\\n"}\ntext\n'
