"""The library's own log on stderr: its warnings, or all of it where that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console

from ..text import one_line
from .output import print_text

__all__ = ["shown_log"]


class _Lines(logging.Handler):
    def __init__(self, console: Console, level: int) -> None:
        super().__init__(level)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(f"{record.levelname.lower()}: {record.name}: {record.getMessage()}")
        print_text(self._console, text, style="dim")


@contextmanager
def shown_log(console: Console, *, verbose: bool) -> Generator[None]:
    """Print what trio_mcp logs within the block."""
    logger = logging.getLogger("trio_mcp")
    level = logging.DEBUG if verbose else logging.WARNING
    handler, before = _Lines(console, level), logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, before) if before else level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
