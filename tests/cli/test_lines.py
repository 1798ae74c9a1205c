import io
import sys
from typing import Any

import pytest

from trio_mcp.cli import lines


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "is_at_terminal", lambda: True)
    termios = pytest.importorskip("termios")
    kept: list[Any] = []
    monkeypatch.setattr(termios, "tcgetattr", lambda file: ["before"])
    monkeypatch.setattr(termios, "tcsetattr", lambda file, when, what: kept.append(what))


async def test_lines_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["a", "b"])

    def read() -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(lines, "is_at_terminal", lambda: False)
    monkeypatch.setattr(lines, "read_line", read)
    with lines.open_lines(lambda line, text: []) as found:
        assert not found.interactive
        assert [await found.read() for _ in range(3)] == ["a", "b", None]


async def test_the_prompt_is_on_stderr_if_stdout_is_no_terminal(
    at_a_terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lines, "read_line", lambda: "typed")
    with lines.open_lines(lambda line, text: []) as found:
        assert found.interactive
        assert await found.read() == "typed"
    assert capsys.readouterr() == ("", "mcp> ")


async def test_at_a_terminal_it_is_readline(at_a_terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setattr("builtins.input", lambda prompt: f"typed after {prompt}")
    with lines.open_lines(lambda line, text: []) as found:
        assert await found.read() == "typed after mcp> "


async def test_the_prompt_is_shown_again_with_what_is_typed_so_far(
    at_a_terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readline = pytest.importorskip("readline")
    monkeypatch.setattr(readline, "get_line_buffer", lambda: "too")
    with lines.open_lines(lambda line, text: []) as found:
        found.redraw()
        assert capsys.readouterr() == ("", "mcp> ")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        found.redraw()
        assert capsys.readouterr() == ("mcp> too", "")


def test_lines_of_a_pipe_have_no_prompt_to_show_again(capsys: pytest.CaptureFixture[str]) -> None:
    lines.Lines(lambda: "", interactive=False).redraw()
    assert capsys.readouterr() == ("", "")


def test_the_tab_key(monkeypatch: pytest.MonkeyPatch) -> None:
    readline = pytest.importorskip("readline")
    seen = []

    def complete(line: str, text: str) -> list[str]:
        seen.append((line, text))
        return ["tools", "tool"]

    before = readline.get_completer()
    monkeypatch.setattr(readline, "get_line_buffer", lambda: "a to and more")
    monkeypatch.setattr(readline, "get_endidx", lambda: 4)
    with lines._tab_key(complete):
        completer = readline.get_completer()
        assert [completer("to", state) for state in range(3)] == ["tools", "tool", None]
    assert seen == [("a to", "to")]
    assert readline.get_completer() is before
