"""A server as a child process, spoken to on its standard input and output (26/basic/transports/stdio)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from ..errors import ConfigurationError, ConnectError, ConnectionLost
from ..supervision import open_flat_nursery
from .lines import LineWire
from .stderr import LastWords, Stderr
from .wires import Wire

__all__ = ["StdioServer", "open_process"]

_WINDOWS: Final = sys.platform == "win32"
_INHERITED: Final = tuple(
    (
        "APPDATA HOMEDRIVE HOMEPATH LOCALAPPDATA PATH PATHEXT PROCESSOR_ARCHITECTURE SYSTEMDRIVE SYSTEMROOT "
        "TEMP USERNAME USERPROFILE"
        if _WINDOWS
        else "HOME LANG LC_ALL LC_CTYPE LOGNAME PATH SHELL TERM TMPDIR USER"
    ).split()
)
# A group of its own: Ctrl-C is for us, and the end is for all that it has started.
_APART: Final[Mapping[str, Any]] = (
    {
        "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        | getattr(subprocess, "CREATE_NO_WINDOW", 0)
    }
    if _WINDOWS
    else {"start_new_session": True}
)
_ALIVE: Final = 0
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)

_ASKED: Final = 0.3  # the part of its time that a server has to exit when its stdin is closed
_TOLD: Final = 0.6  # ... and then at SIGTERM
_POLL: Final = 0.01  # seconds between two looks at what a server has left behind
_REAPED: Final = 1.0  # seconds that the system has to end a process that was killed
_BURIED: Final = 0.1  # ... and then what it has started; a container may have nobody who buries the dead
_EXIT_PATIENCE: Final = 0.5  # seconds for the rest of what is known of a process's end


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A server that is a program to be started.

    Args:
        command: the program, found on PATH.
        args: its arguments.
        env: variables beside those that every program needs; nothing else is inherited, since what the
            environment holds of secrets is not the server's business. None is none.
        cwd: the directory that it is started in; None for the current one.

    Raises:
        ConfigurationError: something is of a wrong type.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.command, str) or not self.command:
            raise ConfigurationError(f"command must be the name of a program, not {self.command!r}")
        if not isinstance(self.args, list | tuple) or not all(isinstance(each, str) for each in self.args):
            raise ConfigurationError("args must be a list of str; a shell's line is not taken apart")
        if self.env is not None and (
            not isinstance(self.env, Mapping)
            or not all(isinstance(each, str) for pair in self.env.items() for each in pair)
        ):
            raise ConfigurationError("env must be a mapping of str to str")
        if not isinstance(self.cwd, str | os.PathLike | None):
            raise ConfigurationError(f"cwd must be a path, not {type(self.cwd).__name__}")

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it gets."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, **(self.env or {})}


@asynccontextmanager
async def open_process(
    server: StdioServer, stderr: Stderr, max_message_size: int, grace: float
) -> AsyncGenerator[Wire]:
    """A wire to a process, which lives for as long as the block.

    In the end its stdin is closed. What of its process group is left then is terminated, and then killed,
    within `grace` seconds; at once, if the block's end is cancelled.

    Raises:
        ConnectError: it could not be started.
    """
    process = await _start(server)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        words = LastWords(process.stderr, stderr)
        async with open_flat_nursery() as nursery:
            nursery.start_soon(words.collect)
            nursery.start_soon(_close_when_ended, process, process.stdout)
            try:
                yield _ProcessWire(process, process.stdin, process.stdout, max_message_size, words)
            finally:
                nursery.start_soon(_drain, process.stdout)
                await _end(process, process.stdin, grace)  # noqa: ASYNC102 - bounded, and may be cancelled
                nursery.cancel_scope.cancel(reason="the process has ended")
    finally:
        # Whatever came in between, nothing is left. A group's number is not given away while it has members,
        # and if it has none any more, the one who has it now would have to be new in this very moment.
        _signal(process, _KILL)
        with trio.move_on_after(_REAPED, shield=True):
            await process.wait()
            with trio.move_on_after(_BURIED):
                await _until_empty(process)
        with trio.CancelScope(shield=True):  # closing does not wait
            for stream in (process.stdin, process.stdout, process.stderr):
                await trio.aclose_forcefully(stream)


async def _start(server: StdioServer) -> trio.Process:
    environment = server.environment
    command = server.command
    if _WINDOWS:  # pragma: no cover - there npx is npx.cmd, which is not found by its name alone
        command = shutil.which(command, path=environment.get("PATH")) or command
    try:
        return await trio.lowlevel.open_process(
            [command, *server.args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=server.cwd,
            **_APART,
        )
    except (OSError, ValueError) as exc:  # a ValueError is a NUL, or a variable with a = in its name
        why = str(exc)
        if isinstance(exc, OSError):
            # It names the program or, where that does not exist, the directory.
            why = f"{exc.strerror}" + (f": {exc.filename}" if exc.filename != command else "")
        raise ConnectError(f"the server {server.command!r} could not be started: {why}") from exc


async def _end(process: trio.Process, stdin: trio.abc.SendStream, grace: float) -> None:
    """Have a process exit, and what it has started with it."""
    await stdin.aclose()
    with trio.move_on_after(grace * _ASKED):
        await process.wait()
    if _signal(process, signal.SIGTERM):
        with trio.move_on_after(grace * _TOLD):
            await process.wait()
            await _until_empty(process)


async def _until_empty(process: trio.Process) -> None:
    """Wait until all members of the process's group have ended. They are not our children: nothing tells."""
    while _signal(process, _ALIVE):  # noqa: ASYNC110
        await trio.sleep(_POLL)


def _signal(process: trio.Process, number: int) -> bool:
    """Send a signal to the process's group; whether there was anybody in it."""
    if _WINDOWS:  # pragma: no cover - there are no groups that could be signalled, nor a gentle way
        if process.poll() is None and number != _ALIVE:
            process.kill()
        return process.poll() is None
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def _drain(stdout: trio.abc.ReceiveStream) -> None:
    """Read what nobody wants any more, so that a process that still writes can come to its end."""
    try:
        while await stdout.receive_some(1 << 16):
            pass
    except trio.ClosedResourceError:
        pass


async def _close_when_ended(process: trio.Process, stdout: trio.abc.ReceiveStream) -> None:
    """Where a process has exited, end its output too, though one that it has started may hold it open."""
    await process.wait()
    await trio.sleep(_EXIT_PATIENCE)
    await stdout.aclose()


class _ProcessWire(LineWire):
    """Lines to and from a process; where they end, the reason is what became of it."""

    def __init__(
        self,
        process: trio.Process,
        stdin: trio.abc.SendStream,
        stdout: trio.abc.ReceiveStream,
        max_message_size: int,
        words: LastWords,
    ) -> None:
        super().__init__(stdin, stdout, max_message_size)
        self._process = process
        self._words = words

    async def send(self, message: bytes) -> None:
        try:
            await super().send(message)
        except ConnectionLost:
            # The reader knows more about it in a moment; if the process is still there, this is the reason.
            await trio.sleep(2 * _EXIT_PATIENCE)  # noqa: ASYNC120 - cancelled, nobody asks for the reason
            raise

    async def receive(self) -> bytes:
        try:
            return await super().receive()
        except ConnectionLost as exc:
            cause = exc.__cause__
        with trio.move_on_after(_EXIT_PATIENCE):
            await self._process.wait()
            await self._words.ended.wait()
        raise ConnectionLost(self._epitaph()) from cause

    def _epitaph(self) -> str:
        code = self._process.returncode
        if code is None:
            what = "the server closed its output"
        elif code < 0:
            what = f"the server was ended by signal {-code} ({signal.strsignal(-code)})"
        else:
            what = f"the server exited with code {code}"
        words = str(self._words)
        return f"{what}; the last it wrote to stderr:\n{words}" if words else what
