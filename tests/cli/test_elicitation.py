import io
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias, cast

import mcp_types as types
import pytest
import trio
import trio.testing
from rich.console import Console

from trio_mcp import RequestContext
from trio_mcp.cli.elicitation import ElicitationPrompt
from trio_mcp.cli.terminal import NO_TERMINAL, Terminal, read_line, typed_line

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]

CONTEXT = cast(RequestContext, None)


def form(required: list[str] | None = None, **fields: Any) -> types.ElicitRequestFormParams:
    schema = {"type": "object", "properties": fields, "required": required or []}
    return types.ElicitRequestFormParams(message="Which?", requested_schema=schema)


class Asked:
    """A prompt at a terminal where `answers` are typed, then Ctrl-D."""

    def __init__(self, make_console: MakeConsole, *answers: str, interactive: bool = True) -> None:
        console, self._file = make_console(terminal=False)
        self.left = list(answers)
        self.pauses = 0
        closed = None if interactive else NO_TERMINAL
        terminal = Terminal(console, self._paused, closed=closed, read=self._read)
        terminal.server = "http://example.com/mcp"
        self.prompt = ElicitationPrompt(terminal)

    async def _read(self) -> str:
        await trio.lowlevel.checkpoint()
        if not self.left:
            raise EOFError
        return self.left.pop(0)

    @contextmanager
    def _paused(self) -> Generator[None]:
        self.pauses += 1
        yield

    async def __call__(self, params: types.ElicitRequestParams) -> types.ElicitResult:
        return await self.prompt(CONTEXT, params)

    @property
    def shown(self) -> str:
        return self._file.getvalue()


async def test_without_a_terminal_it_declines(make_console: MakeConsole) -> None:
    ask = Asked(make_console, "1", interactive=False)
    assert (await ask(form(a={"type": "integer"}))).action == "decline"
    assert ask.shown == (
        "http://example.com/mcp asks: Which?\ndeclined, as there is no terminal to answer at\n"
    )
    assert ask.left == ["1"]


async def test_a_form_is_asked_field_by_field(make_console: MakeConsole) -> None:
    ask = Asked(make_console, " 3 ", "Ada", "yes", "", "", "1.5", "")
    result = await ask(
        form(
            ["guests", "sure"],
            guests={"type": "integer", "title": "Guests", "description": "How many?"},
            name={"type": "string", "default": "Bob"},
            sure={"type": "boolean"},
            note={"type": "string"},
            drink={"type": "string", "default": "water"},
            share={"type": "number"},
        )
    )
    assert result.action == "accept"
    assert result.content == {"guests": 3, "name": "Ada", "sure": True, "share": 1.5}
    assert ask.pauses == 1
    assert ask.shown.splitlines() == [
        "http://example.com/mcp asks:",
        "Which?",
        "  How many?",
        "Guests (integer):",
        "name (string, default Bob):",
        "sure (boolean):",
        "note (string, may be empty):",
        "drink (string, default water):",
        "share (number, may be empty):",
        "Send this? [Y/n]",
    ]


@pytest.mark.parametrize(
    ("field", "typed", "complaint", "value"),
    [
        ({"type": "integer"}, ["", "x", "1"], "'x' is not of type integer", 1),
        ({"type": "string"}, ["", "x"], "an answer is needed here", "x"),
        ({"type": "integer", "minimum": 2}, ["1", "2"], "at least 2, please", 2),
        ({"type": "number", "maximum": 2}, ["2.5", "2"], "at most 2, please", 2),
        ({"type": "string", "minLength": 2}, ["a", "ab"], "at least 2 characters, please", "ab"),
        ({"type": "string", "maxLength": 2}, ["abc", "ab"], "at most 2 characters, please", "ab"),
        ({"type": "string", "enum": ["a", "b"]}, ["c", "b"], "'c' is none of a, b", "b"),
        (
            {"type": "string", "enum": ["a", "b"], "enumNames": ["Apple"]},
            ["Apple", "a"],
            "  a: Apple\n  b\n",
            "a",
        ),
        (
            {"type": "string", "oneOf": [{"const": "a", "title": "Apple"}, {"const": "b"}]},
            ["c", "a"],
            "  a: Apple\n  b\n",
            "a",
        ),
        (
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            ["a, c", "b,a,"],
            "(some of the above, with commas between):",
            ["b", "a"],
        ),
        (
            {
                "type": "array",
                "maxItems": 1,
                "items": {"anyOf": [{"const": "a", "title": "A"}, {"const": "b"}]},
            },
            ["a,b", "a"],
            "at most 1 choices, please",
            ["a"],
        ),
        ({"type": "integer", "minLength": 9, "minimum": "x", "enum": 5, "oneOf": {}}, ["1"], "integer", 1),
        (5, ["1"], "a (string):", "1"),
    ],
)
async def test_an_answer_that_does_not_fit_is_asked_again(
    make_console: MakeConsole, field: Any, typed: list[str], complaint: str, value: object
) -> None:
    ask = Asked(make_console, *typed, "y")
    result = await ask(form(["a"], a=field))
    assert result.content == {"a": value}
    assert complaint in ask.shown
    assert ask.left == []


@pytest.mark.parametrize(
    ("answers", "action"),
    [(["1", "n"], "decline"), (["1", "YES"], "accept"), (["1"], "cancel"), ([], "cancel")],
)
async def test_the_user_can_decline_and_cancel(
    make_console: MakeConsole, answers: list[str], action: str
) -> None:
    result = await Asked(make_console, *answers)(form(a={"type": "integer"}))
    assert result.action == action
    assert result.content == ({"a": 1} if action == "accept" else None)


async def test_a_form_without_fields_is_a_question(make_console: MakeConsole) -> None:
    result = await Asked(make_console, "")(
        types.ElicitRequestFormParams(message="Go on?", requested_schema={})
    )
    assert (result.action, result.content) == ("accept", {})


@pytest.mark.parametrize(
    ("answers", "action"), [(["y"], "accept"), ([""], "decline"), (["n"], "decline"), ([], "cancel")]
)
async def test_an_address_is_shown_in_full(
    make_console: MakeConsole, answers: list[str], action: str
) -> None:
    address = "https://example.com/" + "x" * 300
    ask = Asked(make_console, *answers)
    result = await ask(types.ElicitRequestURLParams(message="Sign in", url=address, elicitation_id="1"))
    assert (result.action, result.content) == (action, None)
    assert f"  {address}\n" in ask.shown


async def test_one_question_at_a_time(make_console: MakeConsole) -> None:
    ask = Asked(make_console, "1", "", "2", "")
    results = []

    async def one() -> None:
        results.append((await ask(form(a={"type": "integer"}))).content)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert results == [{"a": 1}, {"a": 2}]


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[str], object]]:
    """Types at the terminal that stdin is."""
    pty = pytest.importorskip("pty")
    typed, stdin = pty.openpty()
    with open(stdin, encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)

        def type_text(text: str) -> None:
            os.write(typed, text.encode())

        yield type_text
    os.close(typed)


async def test_a_cancelled_question_leaves_what_is_typed_to_the_next_one(
    make_console: MakeConsole, keyboard: Callable[[str], object]
) -> None:
    console, _ = make_console(terminal=False)
    prompt = ElicitationPrompt(Terminal(console, nullcontext, closed=None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prompt, CONTEXT, form(a={}))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    keyboard("yes\n\n")
    with trio.fail_after(10):
        assert (await prompt(CONTEXT, form(a={}))).content == {"a": "yes"}


async def test_lines_of_a_file_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a line\n")
    with path.open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert await typed_line() == "a line"


async def test_who_closes_the_terminal_ends_all_questions(make_console: MakeConsole) -> None:
    console, file = make_console(terminal=False)
    terminal = Terminal(console, nullcontext, closed=None, read=trio.sleep_forever)
    answers = []

    async def one() -> None:
        answers.append(await ElicitationPrompt(terminal)(CONTEXT, form(a={})))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        terminal.close("it is night")
    assert [each.action for each in answers] == ["cancel", "cancel"]
    assert file.getvalue().count("asks:") == 1


def test_lines_are_read_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(writer, "ä\r\n\xff".encode() + b"\xff\n")
        os.close(writer)
        assert read_line() == "ä"
        assert read_line() == "\xff\ufffd"
        with pytest.raises(EOFError):
            read_line()
