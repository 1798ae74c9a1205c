"""The servers of these tests: each is started when it is first asked for, and ended with the session."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from trio_mcp import StdioServer

from .children import Child, StartServer, start_mcp_server
from .ways import Kit


@pytest.fixture(scope="session")
def shared_server() -> Generator[StartServer]:
    """Gives the `mcp_server.py` that runs with some flags; all tests share it."""
    with ExitStack() as stack:

        @cache
        def get(*flags: str) -> Child:
            child = start_mcp_server(*flags)
            stack.callback(child.stop)
            return child

        yield get


@pytest.fixture
def own_server() -> Generator[StartServer]:
    """Starts an `mcp_server.py` for one test, which may do with it what it likes."""
    with ExitStack() as stack:

        def start(*flags: str) -> Child:
            child = start_mcp_server(*flags)
            stack.callback(child.stop)
            return child

        yield start


@pytest.fixture(scope="session")
def stdio_forks(tmp_path_factory: pytest.TempPathFactory) -> Generator[StdioServer]:
    """The server of `mcp_stdio_server.py` as a program that is quick to start."""
    script = Path(__file__).with_name("stdio_forks.py")
    path = str(tmp_path_factory.mktemp("forks") / "socket")
    with subprocess.Popen([sys.executable, script, "serve", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield StdioServer(sys.executable, ["-I", "-S", str(script), "connect", path])
        process.terminate()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def kit(
    shared_server: StartServer,
    own_server: StartServer,
    stdio_forks: StdioServer,
    authority: trustme.CA,
    tmp_path: Path,
) -> Kit:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return Kit(shared_server, own_server, stdio_forks, authority, path)


@pytest.fixture
def static_server() -> Generator[Callable[[int, dict[str, str], bytes], str]]:
    """Starts an HTTP server with one answer to everything, and gives its URL."""
    with ExitStack() as stack:

        def start(status: int, headers: dict[str, str], body: bytes) -> str:
            class Handler(BaseHTTPRequestHandler):
                def _answer(self) -> None:
                    self.rfile.read(int(self.headers.get("content-length", 0)))
                    self.send_response(status)
                    for name, value in {"content-length": str(len(body)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

                do_GET = do_POST = do_DELETE = _answer  # noqa: N815

                def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                    pass

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/mcp"

        yield start
