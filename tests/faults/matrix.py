"""All cells."""

from __future__ import annotations

from typing import Final

from . import outages, phases, pipe_phases
from .cells import Cell

__all__ = ["CELLS"]

CELLS: Final[list[Cell]] = [*outages.CELLS, *phases.CELLS, *pipe_phases.CELLS]
