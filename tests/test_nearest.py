"""The names that may have been meant."""

from __future__ import annotations

from trio_mcp.nearest import nearest_names


def test_the_names_that_are_most_like_it_come_first() -> None:
    assert nearest_names("creat", ["x", "create_it", "create", "creates", "cream"]) == [
        "create",
        "creates",
        "cream",
    ]
    assert nearest_names("creat", ["create", "creates"], 1) == ["create"]
    assert nearest_names("creat", []) == []


def test_neither_many_names_nor_long_ones_are_compared() -> None:
    assert nearest_names("a" * 100, ["a" * 101]) == []
    assert nearest_names("a" * 1000, ["a" * 100]) == ["a" * 100]
    assert nearest_names("name", (f"{number}" for number in range(10**9))) == []
