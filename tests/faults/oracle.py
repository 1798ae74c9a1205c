"""What every cell must hold: nothing is left, nothing secret is told, nothing is warned of."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

from trio_mcp.errors import ConnectorError

from .server import MARK

__all__ = ["Watch", "count_tasks"]

_LOUD: Final = ("asyncio", "trio")


class Watch(logging.Handler):
    """Hears and sees what happens in one run.

    Attributes:
        errors: what the client's calls raised: the cell's to fill.
        texts: what else must hold no secret, such as reprs: the cell's to fill.
        records: every log record, of every logger and level.
        warned: every warning.
    """

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.errors: list[BaseException] = []
        self.texts: list[str] = []
        self.records: list[logging.LogRecord] = []
        self.warned: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # trio-websocket says at DEBUG what frames hold: that is for who turns it on.
        if record.name != "trio-websocket" or record.levelno > logging.DEBUG:
            self.records.append(record)

    @contextmanager
    def on(self) -> Generator[None]:
        """Watch the block, which runs Trio."""
        root, hook = logging.getLogger(), sys.unraisablehook
        level = root.level
        descriptors = _open_descriptors()
        root.addHandler(self)
        root.setLevel(logging.NOTSET)
        sys.unraisablehook = lambda unraisable: self.warned.append(f"unraisable: {unraisable.exc_value!r}")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
                gc.collect()  # what was not awaited, or not closed, is told of when it is collected
            self.warned += [str(warning.message) for warning in caught]
        finally:
            sys.unraisablehook = hook
            root.setLevel(level)
            root.removeHandler(self)
        if (left := _open_descriptors() - descriptors) > 0:
            self.warned.append(f"{left} file descriptors were left open")

    def deviations(self) -> list[str]:
        """What should not have been, in words."""
        found = [f"warned: {text}" for text in self.warned]
        found += [
            f"{record.name} logged {record.getMessage()!r}"
            for record in self.records
            if record.name.partition(".")[0] in _LOUD and record.levelno >= logging.WARNING
        ]
        formatter = logging.Formatter()
        told = [*self.texts, *(formatter.format(record) for record in self.records)]
        for error in self.errors:
            told += _texts(error)
        return found + [f"a secret is told: {text!r:.500}" for text in told if MARK in text]


def _texts(error: BaseException) -> Iterator[str]:
    """Everything that an error tells to somebody who looks."""
    yield "".join(traceback.format_exception(error))
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield f"{each} {each!r}"
        if isinstance(each, ConnectorError):
            yield f"{each.args!r} {vars(each)!r}"
        pending += [each.__cause__, None if each.__suppress_context__ else each.__context__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions


def count_tasks(servers: trio.Nursery) -> int:
    """The tasks of this run, but those of `servers`."""
    count, pending = 0, [trio.lowlevel.current_root_task()]
    while pending:
        task: Any = pending.pop()
        count += 1
        nurseries = [nursery for nursery in task.child_nurseries if nursery is not servers]
        pending += [child for nursery in nurseries for child in nursery.child_tasks]
    return count


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0  # there is no such directory everywhere
