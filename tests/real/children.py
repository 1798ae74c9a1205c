"""Servers as child processes on free loopback ports, and connections to what they serve."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import trio
from typing_extensions import Unpack

from trio_mcp import Connector, open_connector
from trio_mcp.opening import HttpOptions

MCP_SERVER = Path(__file__).with_name("mcp_server.py")
FASTMCP_SERVER = Path(__file__).with_name("fastmcp_server.py")
_START_SECONDS = 20.0
_STOP_SECONDS = 3.0


@dataclass
class Child:
    """A server that listens on `port` of 127.0.0.1."""

    process: subprocess.Popen[bytes]
    port: int
    path: str = "/mcp"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def kill(self) -> None:
        self.process.kill()
        self._clean_up()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._clean_up()

    def _clean_up(self) -> None:
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


StartServer = Callable[..., Child]


def start_mcp_server(*flags: str, python: str = sys.executable, script: Path = MCP_SERVER) -> Child:
    """Run a server that prints its port, and return when it listens."""
    process = subprocess.Popen([python, script, *flags], stdout=subprocess.PIPE)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
    line = process.stdout.readline() if ready else b""
    child = Child(process, int(line or 0), "/sse" if "--sse" in flags else "/mcp")
    if not child.port:
        child.kill()
        raise RuntimeError(f"{script.name} did not start: exit code {process.returncode}")
    return child


def start_on_free_port(
    command: Sequence[str], env: Mapping[str, str], *, path: str = "/mcp", says: str, attempts: int = 3
) -> Child:
    """Run a server that must be told its port, by `PORT`; return when its stderr `says` that it listens."""
    for _ in range(attempts):
        port = free_port()
        # A file and not a pipe: nobody reads on, and some servers die of that.
        with TemporaryFile() as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, **env, "PORT": str(port)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
            deadline = time.monotonic() + _START_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                said = os.pread(log.fileno(), 1 << 16, 0)
                if says.format(port=port).encode() in said:
                    return Child(process, port, path)
                time.sleep(0.02)
        process.kill()
        process.wait()
    raise RuntimeError(f"{command} did not start: {said!r}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def connected(url: str, **options: Unpack[HttpOptions]) -> AsyncGenerator[Connector]:
    """A connection to `url`, under the deadline that every test of this folder keeps."""
    with trio.fail_after(20):
        async with open_connector(url, **options) as c:
            yield c
