"""Names of tools as names of functions."""

from __future__ import annotations

import re

import pytest

from trio_mcp import ConfigurationError
from trio_mcp.agents.names import function_names

from .helpers import tool


def test_a_name_that_fits_is_kept() -> None:
    names = ["add", "get-user_2", "x" * 64, "1st"]
    assert list(function_names(map(tool, names))) == names


@pytest.mark.parametrize("letter_first", [False, True])
def test_any_name_becomes_one_that_fits(letter_first: bool) -> None:
    names = ["files.read", "x" * 65, "grüße", "a b/c", "", "-x", "9", "äöü.", "\ud800"]
    found = function_names([tool(name) for name in names], letter_first=letter_first)
    assert [each.name for each in found.values()] == names
    for name in found:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)
        assert not letter_first or re.match(r"[a-zA-Z_]", name)
    assert "files_read" in found


def test_names_that_would_be_the_same_are_told_apart_whatever_the_order() -> None:
    tools = [tool(name) for name in ("a.b", "a_b", "a/b", "c.d", "c/d")]
    found = function_names(tools)
    assert len(found) == 5
    assert found["a_b"].name == "a_b"
    assert all(re.fullmatch(r"[ac]_[bd](_[0-9a-f]{8})?", name) for name in found)
    assert function_names(reversed(tools)) == found


@pytest.mark.parametrize("like", ["_", "."])
def test_a_tool_that_is_called_as_another_ones_digest_is_does_not_hide_it(like: str) -> None:
    tools = [tool("a.b"), tool("a_b")]
    digested = next(name for name, each in function_names(tools).items() if each.name == "a.b")
    tools.append(tool(digested.replace("_", like, 1)))
    assert list(function_names(tools).values()) == tools


def test_long_names_with_the_same_beginning_stay_different() -> None:
    assert len(function_names(tool("x" * 100 + end) for end in "abc")) == 3


def test_a_tool_that_is_listed_twice_is_one_and_two_with_one_name_are_an_error() -> None:
    assert list(function_names([tool("a"), tool("a")])) == ["a"]
    with pytest.raises(ConfigurationError, match="two tools 'a'.*open_connectors"):
        function_names([tool("a"), tool("a", "another one")])
