"""Each row of docs/security.md names tests that there are, and each dependency is in its table."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from .tables import read_tables

TESTS: Final = Path(__file__).parent
PAGE: Final = TESTS.parent / "docs" / "security.md"
ROWS: Final = [
    row for table in read_tables(PAGE, "| threat | what stands against it | shown by |") for row in table
]
NAME: Final = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file below `tests/`."""
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 60
    assert len({threat for threat, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[threat for threat, *_ in ROWS])
def test_a_threat_has_a_defence_and_tests_that_there_are(row: list[str]) -> None:
    _, defence, shown = row
    assert defence
    named = NAME.findall(shown)
    assert shown == ", ".join(f"`{file}::{name}`" for file, name in named) != ""
    assert [name for file, name in named if name not in names_in(file)] == []


def test_every_dependency_is_told_of() -> None:
    told = re.findall(
        r"^- `([\w-]+)`: ", PAGE.read_text("utf-8").partition("## Dependencies")[2], re.MULTILINE
    )
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(each for extra in extras for each in extra)]
    assert told == [each.partition(">=")[0].partition("[")[0] for each in needed]
