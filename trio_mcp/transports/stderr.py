"""What a server says on its stderr: passed on by line, and the end of it remembered for an error.

26/basic/transports/stdio: a server may write there what it likes, and nothing need be wrong.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TextIO, TypeAlias

import trio

from ..mailbox import Mailbox
from ..statistics import Statistics
from ..supervision import Supervisor
from ..text import printable

__all__ = ["LastWords", "Stderr", "StderrOption"]

StderrOption: TypeAlias = TextIO | Callable[[str], Awaitable[None]] | None
"""Where a server's stderr goes, by line: a file such as `sys.stderr`, a callback, or None for the log."""

logger: Final = logging.getLogger("trio_mcp.stderr")

_LAST_WORDS: Final = 10  # lines that are kept for an error
_LONGEST_LINE: Final = 1000  # characters of such a line
_LONGEST_PIECE: Final = 1 << 16  # bytes of a line that has no end; more of it counts as a line of its own
_MAILBOX_CAPACITY: Final = 1000  # lines that wait for the callback; then the oldest are forgotten
_BURST: Final = 50  # lines after which the callback is given a moment, if it has fallen behind
_MAX_BREATHS: Final = 100
_SECRET_LENGTH: Final = 8  # what is shorter is too common to be found again


class Stderr:
    """Where the lines go, through all processes of one connection.

    Args:
        option: the user's.
        env: the variables that the server was given. Their values are kept out of the log and of errors.
        supervisor: where the callback runs; what it raises ends the block.
        statistics: what to count in.
    """

    def __init__(
        self, option: StderrOption, env: Mapping[str, str], supervisor: Supervisor, statistics: Statistics
    ) -> None:
        self._secrets = {value: name for name, value in env.items() if len(value) >= _SECRET_LENGTH}
        self._statistics = statistics
        self._file: TextIO | None = None
        self._mailbox: Mailbox[str] | None = None
        if callable(option):
            self._mailbox = Mailbox(_MAILBOX_CAPACITY, self._count_drop)
            supervisor.callbacks.start_soon(self._mailbox.serve, option)
        else:
            self._file = option

    def _count_drop(self) -> None:
        self._statistics.stderr_dropped += 1

    def put(self, line: str) -> None:
        """Pass a line on. Never waits for the callback, and never raises."""
        if self._mailbox is not None:
            self._mailbox.put(line)
            return
        if self._file is not None:
            try:
                self._file.write(line + "\n")
                self._file.flush()
                return
            except Exception as exc:  # it must not be the cause of an error
                logger.warning(
                    "the file for the server's stderr failed, so the log has it from here: %r", exc
                )
                self._file = None
        logger.debug("%s", printable(self.redact(line)))

    async def breathe(self) -> None:
        """Let the callback catch up: some turns of the scheduler, and none on one that sleeps."""
        for _ in range(_MAX_BREATHS):
            if self._mailbox is None or not self._mailbox.filling:
                break
            await trio.lowlevel.checkpoint()

    def redact(self, line: str) -> str:
        """`line`, with the name of a variable in the place of its value."""
        for value in sorted(self._secrets, key=len, reverse=True):
            line = line.replace(value, f"${{{self._secrets[value]}}}")
        return line


class LastWords:
    """Reads one process's stderr, and remembers the end of it.

    Args:
        source: the stderr.
        stderr: where the lines go.

    Attributes:
        ended: set when there is no more.
    """

    def __init__(self, source: trio.abc.ReceiveStream, stderr: Stderr) -> None:
        self.ended: trio.Event = trio.Event()
        self._source = source
        self._stderr = stderr
        self._lines: deque[str] = deque(maxlen=_LAST_WORDS)

    async def collect(self) -> None:
        """Read until the end."""
        unread = b""
        async for data in self._source:
            *lines, unread = (unread + data).split(b"\n")
            for count, line in enumerate(lines, 1):
                self._take(line)
                if count % _BURST == 0:
                    await self._stderr.breathe()
            if len(unread) > _LONGEST_PIECE:
                self._take(unread)
                unread = b""
        if unread:
            self._take(unread)
        self.ended.set()

    def _take(self, data: bytes) -> None:
        line = data.decode("utf-8", "replace").rstrip("\r")
        self._lines.append(self._stderr.redact(line)[:_LONGEST_LINE])
        self._stderr.put(line)

    def __str__(self) -> str:
        return "\n".join(self._lines)
