"""The fault matrix (docs/reliability.md): each cell, and once more with its caller leaving in the middle."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from .cells import Cell, run
from .matrix import CELLS


@pytest.fixture(scope="module", autouse=True)
def _cheap_collections() -> Iterator[None]:
    """Each cell collects garbage, to see what it has left: what was there before need not be looked at."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_what_is_documented_comes_of_a_fault_and_of_leaving_in_its_middle(cell: Cell) -> None:
    played = run(cell)
    assert played.deviations == []
    left = run(cell, leave_after=played.middle)
    assert left.deviations == []


def test_the_cells_have_names_of_their_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)
