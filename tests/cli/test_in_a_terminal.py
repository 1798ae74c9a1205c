"""The command in a real terminal, where a person types."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from ..real.children import Child
from .helpers import LEGACY
from .test_tools import cancelled_calls

pexpect = pytest.importorskip("pexpect")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal"),
    # Python 3.12 and later warn of forking where there are threads; it becomes another program at once.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

COLOUR = "\x1b["


class Screen:
    """A terminal in which the command runs."""

    def __init__(self, *arguments: str) -> None:
        self._child = pexpect.spawn(
            sys.executable, ["-m", "trio_mcp", *arguments], timeout=20, encoding="utf-8", dimensions=(40, 100)
        )

    def sees(self, text: str) -> str:
        """Wait until `text`, a regular expression, is shown; what came before it."""
        self._child.expect(text)
        return str(self._child.before) + str(self._child.after)

    def types(self, text: str) -> None:
        """Type a line, or a control character such as Ctrl-C."""
        if len(text) == 1 and not text.isprintable():
            self._child.send(text)
        else:
            self._child.sendline(text)

    def end(self) -> tuple[str, int]:
        """Wait for the end; what was shown till then, and the exit code."""
        self._child.expect(pexpect.EOF)
        self._child.close()
        return str(self._child.before), self._child.exitstatus

    def close(self) -> None:
        self._child.close(force=True)


CTRL_C, CTRL_D, TAB = "\x03", "\x04", "\t"


@contextmanager
def terminal(*arguments: str) -> Generator[Screen]:
    screen = Screen(*arguments)
    try:
        yield screen
    finally:
        screen.close()


def test_a_form_is_filled_in(url: str) -> None:
    with terminal("call", url, "book_table", *LEGACY) as screen:
        screen.sees("A table is free tonight")
        screen.sees(r"Guests \(integer, default 2\):")
        screen.types("99")
        screen.sees("at most 20, please")
        screen.types("3")
        screen.sees(r"Name \(string\):")
        screen.types("Ada")
        screen.sees(r"Send this\? \[Y/n\]")
        screen.types("")
        shown, code = screen.end()
    assert code == 0
    assert "booked a table for 3, in the name of Ada" in shown


def test_a_person_is_the_model(full_server: Child) -> None:
    with terminal("call", full_server.url, "sample", *LEGACY) as screen:
        shown = screen.sees("a line with a dot ends it")
        assert "system: be brief" in shown
        assert "user: say it" in shown
        screen.types("It.")
        screen.types(".")
        shown, code = screen.end()
    assert code == 0
    assert "It." in shown


def test_a_progress_bar_is_drawn_and_taken_away(url: str) -> None:
    with terminal("call", url, "copy_files", "files=3", "pause=0.05") as screen:
        drawn = screen.sees("3/3")
        assert "━" in drawn
        assert COLOUR in drawn
        shown, code = screen.end()
    assert code == 0
    assert "copied 3 files" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_no_colour(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal("tools", url) as screen:
        shown, _ = screen.end()
    assert "Add two whole numbers." in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", shown)


def test_ctrl_c_cancels_at_the_server(url: str) -> None:
    before = trio.run(cancelled_calls, url, 0)
    with terminal("call", url, "copy_files", "files=2000") as screen:
        screen.sees("2/2000")
        screen.types(CTRL_C)
        _, code = screen.end()
    assert code == 130
    trio.run(cancelled_calls, url, before + 1)


def test_the_repl(url: str) -> None:
    before = trio.run(cancelled_calls, url, 0)
    with terminal("repl", url, *LEGACY) as screen:
        screen.sees("trio_mcp demo, protocol version 2025-11-25")
        screen.sees("mcp> ")
        screen.types("add a=1 b=2")
        screen.sees('"result": 3')
        screen.sees("mcp> ")
        screen._child.send("copy_")
        screen.sees("copy_")
        screen.types(CTRL_C)
        screen.sees(r"\(Ctrl-D leaves, Ctrl-U clears the line\)")
        screen.sees("mcp> copy_")
        screen.types("files files=2000")
        screen.sees("2/2000")
        screen.types(CTRL_C)
        screen.sees("cancelled")
        screen.sees("mcp> ")
        screen.types("book_table")
        screen.sees("Guests")
        screen.types("4")
        screen.sees("Name")
        screen.types("Eve")
        screen.sees("Send this")
        screen.types("y")
        screen.sees("booked a table for 4, in the name of Eve")
        screen.sees("mcp> ")
        screen.types("book_table")
        screen.sees("Guests")
        screen.types(CTRL_C)
        screen.sees("cancelled")
        screen.sees("mcp> ")
        screen.types("add a=2 b=3")  # which nobody takes for an answer any more
        screen.sees('"result": 5')
        screen.sees("mcp> ")
        screen.types("copyfiles")
        screen.sees("nearest: copy_files")
        screen.sees("mcp> ")
        screen._child.send("can" + TAB)
        screen.sees("cancelled_calls")
        screen.types("")
        screen.sees('"result": [0-9]+')
        screen.sees("mcp> ")
        screen.types(CTRL_D)
        _, code = screen.end()
    assert code == 0
    assert trio.run(cancelled_calls, url, before + 1) == before + 1


HOSTILE = ("--", sys.executable, str(Path(__file__).with_name("hostile_server.py")))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tools",), "described"),
        (("prompts",), "prompt"),
        (("read", "memo://evil"), "content"),
        (("call", "evi"), "nearest: evil"),
        (("doctor",), "hostile"),
    ],
    ids=" ".join,
)
def test_a_hostile_server_does_not_steer_the_terminal(arguments: tuple[str, ...], expected: str) -> None:
    with terminal(*arguments, *HOSTILE) as screen:
        shown, _ = screen.end()
    assert expected in shown
    assert "stderr" in shown
    assert_harmless(shown)


def test_a_hostile_call_does_not_steer_the_terminal() -> None:
    with terminal("call", "evil", *LEGACY, *HOSTILE) as screen:
        shown = screen.sees("asked")
        shown += screen.sees(r"Answer.*\(string\):")
        screen.types("x")
        shown += screen.sees("Send this")
        screen.types("")
        shown += screen.end()[0]
    for text in ("progress", "logged", "result"):
        assert text in shown
    assert_harmless(shown)


def assert_harmless(shown: str) -> None:
    """Nothing but what rich draws with: colours, the cursor, lines that are erased."""
    assert not re.search("[\x07\x80-\x9f\u202e]", shown)
    assert not re.search(r"\x1b(?!\[[0-9;?]*[mhlAKG])", shown)
    assert "owned" in shown
