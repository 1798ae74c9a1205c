"""The cases of a target: those that were written by hand, and those that fuzzing has found.

What was found stands in `found/<target>.txt`: on each line a case, as Python writes bytes,
or a comment behind `#`.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Final, Protocol, cast

__all__ = ["TARGETS", "Target", "add", "cases", "load"]

TARGETS: Final = ("sse", "wire", "http11", "challenges", "config")

_FOUND: Final = Path(__file__).parent / "found"


class Target(Protocol):
    """A module of `targets/`."""

    CASES: list[bytes]
    """Where to begin."""
    TOKENS: list[bytes]
    """What the format is made of."""

    def target(self, data: bytes) -> None:
        """Raise if `data` breaks a promise."""


def load(name: str) -> Target:
    return cast(Target, importlib.import_module(f"tests.fuzz.targets.{name}"))


def cases(name: str) -> list[bytes]:
    """All cases of a target."""
    return [*load(name).CASES, *found(name)]


def found(name: str) -> list[bytes]:
    path = _FOUND / f"{name}.txt"
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def add(name: str, data: bytes, comment: str) -> Path:
    """Keep what has broken a promise, for the next one who runs the tests."""
    path = _FOUND / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    if data not in found(name):
        with path.open("a", encoding="ascii", errors="backslashreplace") as file:
            file.write(f"# {' '.join(comment.split())[:200]}\n{data!r}\n")
    return path
