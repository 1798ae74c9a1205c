import io
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import mcp_types as types
import pytest
from rich.console import Console

from trio_mcp.cli.output import (
    ProgressView,
    one_line,
    print_json,
    print_log,
    print_result,
    print_text,
    print_tools,
    printable,
    signature,
)

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]

ADD = types.Tool(
    name="add[red]",
    description="Add\x1b[31m two\nnumbers",
    input_schema={
        "properties": {"a": {"type": "integer"}, "b": {"type": ["null", "integer"]}, "c": {}},
        "required": ["a"],
    },
)
BARE = types.Tool(name="bare", input_schema={"properties": 5, "required": 5})


def test_control_characters_are_shown_instead_of_obeyed() -> None:
    assert printable("a\x1b[2Jb\r\n\tc\x9b\u202e") == "a\\x1b[2Jb\\r\n\tc\\x9b\\u202e"
    assert one_line("a\n  b\x07\t c ") == "a b\\x07 c"


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


def test_tools_as_a_table(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    print_tools(console, [ADD, BARE])
    shown = file.getvalue()
    for text in ("name", "description", "arguments", "add[red]", "Add\\x1b[31m", "bare"):
        assert text in shown
    assert "\x1b[31m" not in shown


def test_tools_in_a_pipe_are_a_line_each(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    print_tools(console, [ADD, BARE])
    assert file.getvalue().splitlines() == [
        "add[red]\tAdd\\x1b[31m two numbers\ta: integer, b?: integer or null, c?: any",
        "bare\t\t",
    ]


def test_a_signature_of_no_schema() -> None:
    assert signature({}) == ""


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
        "[resource file:///c]",
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


def test_no_progress_draws_nothing(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    with ProgressView(console) as view, view.paused():
        pass
    assert file.getvalue() == ""
