"""A server as a child process, spoken to on its standard input and output (26/basic/transports/stdio)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TextIO, TypeAlias

import trio

from ..errors import ConfigurationError, ConnectError, ConnectionLost
from ..supervision import open_flat_nursery
from .lines import LineWire
from .pipe import Wire

__all__ = ["StderrOption", "StdioServer", "open_process"]

StderrOption: TypeAlias = TextIO | Callable[[str], Awaitable[None]] | None
"""Where a server's stderr goes, by line: a file such as `sys.stderr`, a callback, or None for the log."""

logger: Final = logging.getLogger("trio_mcp.stderr")

_WINDOWS: Final = sys.platform == "win32"
_INHERITED: Final = tuple(
    (
        "APPDATA HOMEDRIVE HOMEPATH LOCALAPPDATA PATH PATHEXT PROCESSOR_ARCHITECTURE SYSTEMDRIVE SYSTEMROOT "
        "TEMP USERNAME USERPROFILE"
        if _WINDOWS
        else "HOME LANG LC_ALL LC_CTYPE LOGNAME PATH SHELL TERM TMPDIR USER"
    ).split()
)
_LAST_WORDS: Final = 10  # lines of stderr that are kept for an error
_LONGEST_LINE: Final = 1000  # characters of such a line
_EXIT_PATIENCE: Final = 0.5  # seconds that a process has to exit when it has closed its stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioServer:
    """A server that is a program to be started.

    Args:
        command: the program, found on PATH.
        args: its arguments.
        env: variables beside those that every program needs; nothing else is inherited, since what the
            environment holds of secrets is not the server's business.
        cwd: the directory that it is started in; None for the current one.

    Raises:
        ConfigurationError: something is of a wrong type.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.command, str) or not self.command:
            raise ConfigurationError(f"command must be the name of a program, not {self.command!r}")
        if isinstance(self.args, str) or not all(isinstance(each, str) for each in self.args):
            raise ConfigurationError("args must be a list of str; a shell's line is not taken apart")
        if not all(isinstance(each, str) for pair in self.env.items() for each in pair):
            raise ConfigurationError("env must be a mapping of str to str")

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it gets."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, **self.env}


@asynccontextmanager
async def open_process(
    server: StdioServer, stderr: StderrOption, max_message_size: int, grace: float
) -> AsyncGenerator[Wire]:
    """A wire to a process, which lives for as long as the block.

    In the end its stdin is closed; if it has not exited then, its whole process group is terminated, and then
    killed, within `grace` seconds.

    Raises:
        ConnectError: it could not be started.
    """
    process = await _start(server)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    words = _LastWords(process.stderr, stderr)
    try:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(words.collect)
            yield _ProcessWire(process, process.stdin, process.stdout, max_message_size, words)
            nursery.cancel_scope.cancel(reason="the process is ended")
    finally:
        with trio.CancelScope(shield=True):
            await _end(process, grace)


async def _start(server: StdioServer) -> trio.Process:
    try:
        return await trio.lowlevel.open_process(
            [server.command, *server.args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=server.environment,
            cwd=server.cwd,
            # A group of its own: Ctrl-C is for us, and the end is for all that it has started.
            start_new_session=not _WINDOWS,
        )
    except (OSError, ValueError) as exc:  # a ValueError is a NUL in an argument
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise ConnectError(f"the server {server.command!r} could not be started: {why}") from exc


async def _end(process: trio.Process, grace: float) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    for send, share in ((None, 0.5), (signal.SIGTERM, 0.4)):
        if send is not None:
            _signal(process, send)
        with trio.move_on_after(grace * share):
            await process.wait()
            break
    _signal(process, None)  # what it has left behind, too
    with trio.move_on_after(grace):
        await process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        await stream.aclose()


def _signal(process: trio.Process, number: signal.Signals | None) -> None:
    """Send a signal to the process's group, or kill that."""
    with suppress(ProcessLookupError, PermissionError):
        if _WINDOWS:  # pragma: no cover - there are no groups to be signalled
            process.terminate() if number is not None else process.kill()
        else:
            os.killpg(process.pid, number or signal.SIGKILL)


class _LastWords:
    """Passes on what a process says on its stderr, and remembers the end of it."""

    def __init__(self, source: trio.abc.ReceiveStream, sink: StderrOption) -> None:
        self.ended = trio.Event()
        self._source = source
        self._sink = sink
        self._lines: deque[str] = deque(maxlen=_LAST_WORDS)

    async def collect(self) -> None:
        unread = b""
        async for data in self._source:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                await self._take(line)
            if len(unread) > 1 << 16:
                await self._take(unread)
                unread = b""
        if unread:
            await self._take(unread)
        self.ended.set()

    async def _take(self, data: bytes) -> None:
        line = data.decode("utf-8", "replace").rstrip("\r")
        self._lines.append(line[:_LONGEST_LINE])
        if self._sink is None:
            logger.debug("%s", line)
        elif callable(self._sink):
            await self._sink(line)
        else:
            self._sink.write(line + "\n")
            self._sink.flush()

    def __str__(self) -> str:
        return "\n".join(self._lines)


class _ProcessWire(LineWire):
    """Lines to and from a process; where they end, the reason is what became of it."""

    def __init__(
        self,
        process: trio.Process,
        stdin: trio.abc.SendStream,
        stdout: trio.abc.ReceiveStream,
        max_message_size: int,
        words: _LastWords,
    ) -> None:
        super().__init__(stdin, stdout, max_message_size)
        self._process = process
        self._words = words

    async def send(self, message: bytes) -> None:
        try:
            await super().send(message)
        except ConnectionLost:
            # The reader knows more about it in a moment; if the process is still there, this is the reason.
            with trio.move_on_after(_EXIT_PATIENCE):
                await trio.sleep_forever()
            raise

    async def receive(self) -> bytes:
        try:
            return await super().receive()
        except ConnectionLost as exc:
            with trio.move_on_after(_EXIT_PATIENCE):
                await self._process.wait()
                await self._words.ended.wait()
            raise ConnectionLost(self._epitaph()) from exc.__cause__

    def _epitaph(self) -> str:
        code = self._process.returncode
        if code is None:
            what = "the server closed its output"
        elif code < 0:
            what = f"the server was ended by signal {-code}"
        else:
            what = f"the server exited with code {code}"
        words = str(self._words)
        return f"{what}; the last it wrote to stderr:\n{words}" if words else what
