"""Tables of the documentation whose rows are checked, each by a check of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from trio_mcp.testing import ScriptedServer

__all__ = ["Checks", "cells", "read_tables"]

Check = Callable[[ScriptedServer], Awaitable[None]]


def cells(line: str) -> list[str]:
    """The cells of one line of a table."""
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def read_tables(page: Path, header: str) -> list[list[list[str]]]:
    """The tables of `page` under `header`, each a list of rows of cells."""
    found: list[list[list[str]]] = []
    inside = False
    for line in page.read_text("utf-8").splitlines():
        if line == header:
            found.append([])
        elif line.startswith("| ") and not line.startswith("| ---"):
            assert inside, line
            found[-1].append(cells(line))
        inside = line.startswith("|")
    return found


class Checks(dict[str, Check]):
    """Checks by the row that they are of: the table's number, and its first cell."""

    def row(self, key: str) -> Callable[[Check], Check]:
        """Marks the check of a row."""

        def mark(check: Check) -> Check:
            assert key not in self
            self[key] = check
            return check

        return mark
