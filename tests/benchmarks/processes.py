"""The runner's child processes: the server, and a worker for each client. None outlives its block."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGE: Final = __name__.rpartition(".")[0]
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 2.0
_GRACE_SECONDS: Final = 10.0
"""A worker bounds its rounds itself; when this is over too, it hangs."""


class Broken(Exception):
    """A child did not do what it was asked for; the message says why."""


class Child:
    """A module of this package, or of another one, as a child process that tells a line at a time."""

    def __init__(
        self, module: str, *arguments: str, python: str = sys.executable, package: str = _PACKAGE
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (`stop` closes it)
        self._unread = b""
        self._process = subprocess.Popen(
            [python, "-m", f"{package}.{module}", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Nobody has asked to be reported on, and a test's coverage would be charged to the client.
            env={name: value for name, value in os.environ.items() if not name.startswith("COV_")},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Broken(f"its process ended: {self._last_words()}") from None

    def line(self, seconds: float) -> str:
        """The next line that it prints.

        Raises:
            Broken: it did not print one within `seconds`, or ended.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], seconds)
            if not ready:
                self._process.kill()  # it may wake up yet, and answer the wrong question
                raise Broken(f"nothing came from its process for {seconds:g} s")
            data = os.read(descriptor, 1 << 16)
            if not data:
                raise Broken(f"its process ended: {self._last_words()}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def stop(self) -> None:
        """End it: it does so itself when its standard input ends, and is killed if not."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._log.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip()
        return words.splitlines()[-1] if words else "without a word"


class Server(Child):
    """The server of all clients, which listens when this is made."""

    def __init__(self) -> None:
        super().__init__("server")
        try:
            self.url = f"http://127.0.0.1:{int(self.line(_START_SECONDS))}/mcp"
        except BaseException:
            self.stop()
            raise


class Worker(Child):
    """A client.

    Raises:
        Broken: it is not installed.
    """

    def __init__(self, name: str, python: str = sys.executable) -> None:
        super().__init__("worker", name, python=python)
        try:
            accepted(self.line(_START_SECONDS))
        except BaseException:
            self.stop()
            raise

    def ask(self, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Have a round made, and give what came of it.

        Raises:
            Broken: it failed, or was not done within `seconds`.
        """
        self.tell(json.dumps({**command, "seconds": seconds}))
        return accepted(self.line(seconds + _GRACE_SECONDS))


def accepted(line: str) -> dict[str, Any]:
    """What a worker has told.

    Raises:
        Broken: it has refused.
    """
    told: dict[str, Any] = json.loads(line)
    if "refusal" in told:
        raise Broken(told["refusal"])
    return told
