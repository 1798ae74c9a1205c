"""Interpreters: how long one takes to import a client, and one with an environment for another client."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from .processes import Broken
from .results import Round

STATEMENTS: Final = {
    "httpx2": "import httpx2",
    "trio_mcp": "from trio_mcp import open_connector",
    "mcp-trio": "from mcp import Client",
    "fastmcp": "from fastmcp import Client",
}
"""What a user of each client writes. (A plain `import fastmcp` would put off most of its work.)"""

_MACHINE: Final = Path(__file__).with_name("machine.py").read_text("utf-8")

_RUN_SECONDS: Final = 60
_INSTALL_SECONDS: Final = 300


def import_round(name: str, python: str) -> Round:
    """Import a client in a fresh interpreter; less what an empty interpreter takes."""
    empty_cpu, empty_wall = _run(python, "")
    cpu, wall = _run(python, STATEMENTS[name])
    peak = int(_output(python, f"{_MACHINE}\n{STATEMENTS[name]}\nprint(peak_memory())"))
    return Round(1, max(0.0, cpu - empty_cpu), max(0.0, wall - empty_wall), peak)


def _output(python: str, code: str) -> str:
    # -I: nothing but what is installed, wherever the runner was started.
    command = [python, "-I", "-c", code]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_RUN_SECONDS)
    except (OSError, subprocess.SubprocessError) as exc:
        raise Broken(f"{code.splitlines()[-1:]} failed: {type(exc).__name__}") from exc
    return done.stdout


def _run(python: str, code: str) -> tuple[float, float]:
    """The seconds of CPU and of time that running `code` takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _output(python, code)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def python_with(package: str) -> str:
    """An interpreter that has the newest `package`, in a cache folder; made when it is first asked for.

    It has an environment of its own so that what it needs does not decide what the others get.

    Raises:
        Broken: it could not be made.
    """
    home = Path(os.environ.get("TRIO_MCP_BENCHMARKS_HOME") or Path.home() / ".cache" / "trio_mcp-benchmarks")
    folder = home.absolute() / f"{package}-python{sys.version_info.major}.{sys.version_info.minor}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        print(f"installing {package} into {folder}", file=sys.stderr)
        try:
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                [str(python), "-m", "pip", "install", "-q", package],
            ):
                subprocess.run(command, check=True, stdout=sys.stderr, timeout=_INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as exc:
            # Not the error's text, which has the folder's name in it.
            raise Broken(f"it could not be installed: {type(exc).__name__}") from exc
        done.touch()
    return str(python)
