import io
from collections.abc import Callable
from typing import TypeAlias

import mcp_types as types
from rich.console import Console

from trio_mcp.cli.listings import print_prompts, print_resources, print_tools, signature

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


def test_resources_and_templates(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    print_resources(
        console,
        [types.Resource(uri="a:b", name="b", mime_type="text/plain")],
        [types.ResourceTemplate(uri_template="a:{c}", name="c\x1b")],
    )
    assert file.getvalue() == "a:b\tb\ttext/plain\na:{c}\tc\\x1b\t\n"


def test_prompts(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    arguments = [types.PromptArgument(name="who", required=True), types.PromptArgument(name="how")]
    print_prompts(
        console,
        [types.Prompt(name="greet", description="Say hello", arguments=arguments), types.Prompt(name="bye")],
    )
    assert file.getvalue() == "greet\tSay hello\twho, how?\nbye\t\t\n"


def test_a_description_that_is_a_docstring_is_not_indented_in_a_table(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=True)
    print_prompts(console, [types.Prompt(name="greet", description="Say hello.\n    Twice.\n")])
    assert "│ Twice. " in file.getvalue()
