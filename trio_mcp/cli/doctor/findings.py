"""What an examination finds, step by step, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import trio
from rich.console import Console

from ...text import one_line
from ..exits import DONE, in_words
from ..output import print_text

__all__ = ["Finding", "Findings", "State", "Stopwatch"]

State: TypeAlias = Literal["ok", "note", "failed"]

_STYLES: Final = {"ok": "green", "note": "yellow", "failed": "bold red"}
_WORDS: Final = {"ok": "ok", "note": "note", "failed": "FAILED"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One step.

    Attributes:
        step: its name, such as "TLS".
        state: "ok"; "note" for what works and could be better; "failed" for what keeps the server from being
            used.
        text: what was found, in a sentence.
        seconds: how long it took; None if that says nothing.
        advice: what to do about it.
        code: the exit code that goes with a failure.
    """

    step: str
    state: State
    text: str
    seconds: float | None = None
    advice: str | None = None
    code: int = 1

    def as_object(self) -> dict[str, Any]:
        """For machines."""
        found: dict[str, Any] = {"step": self.step, "state": self.state, "text": self.text}
        if self.seconds is not None:
            found["milliseconds"] = round(self.seconds * 1000, 3)
        if self.advice is not None:
            found["advice"] = self.advice
        return found


class Findings(list[Finding]):
    """All steps so far; each is shown as soon as it is known.

    Args:
        console: where to; None for not at all.
    """

    def __init__(self, console: Console | None) -> None:
        super().__init__()
        self._console = console

    def add(
        self,
        step: str,
        state: State,
        text: str,
        seconds: float | None = None,
        advice: str | None = None,
        code: int = 1,
    ) -> bool:
        """Add a `Finding`, and show it; whether one can go on from there."""
        finding = Finding(step, state, one_line(in_words(text)), seconds, advice, code)
        self.append(finding)
        if self._console is not None:
            time = "" if seconds is None else f" ({seconds * 1000:.0f} ms)"
            line = f"{_WORDS[state]:<7}{step:<14}{finding.text}{time}"
            print_text(self._console, line, _STYLES[state] if state != "ok" else "")
        return state != "failed"

    @property
    def failure(self) -> Finding | None:
        """The first step that failed: what comes after it follows from it."""
        return next((each for each in self if each.state == "failed"), None)

    @property
    def code(self) -> int:
        """The exit code."""
        return DONE if self.failure is None else self.failure.code

    def conclude(self) -> None:
        """Show what it comes to."""
        assert self._console is not None
        print_text(self._console, "")
        advised = [each for each in self if each.advice is not None]
        if self.failure is None:
            print_text(self._console, "It works.", "bold green")
        else:
            print_text(self._console, f"What is wrong: {self.failure.text}", "bold red")
        for each in advised:
            if self.failure is None or each.state == "failed":
                print_text(self._console, one_line(f"What to do: {each.advice}"))


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = trio.current_time()

    @property
    def seconds(self) -> float:
        """How many."""
        return trio.current_time() - self._began
