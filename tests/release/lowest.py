"""Run the tests with the lowest version of each dependency that pyproject.toml allows.

    python tests/release/lowest.py            # all tests but those marked "real": some minutes
    python tests/release/lowest.py --short    # what each dependency is used for: a minute
    python tests/release/lowest.py --python python3.12

What the dependencies depend on, and what only the tests need, is as new as may be: a bound of ours says
something of our own dependencies only. Needs a package index; the environment is thrown away.

Exit code: 0 if all is well, 1 if not.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SUBSET: Final = {
    "anyio": "tests/transports/test_memory.py",
    "filelock": "tests/auth/test_file_storage.py",
    "httptools": "tests/http/test_http11.py",
    "httpx": "tests/auth/test_credentials.py",
    "httpx2": "tests/http/test_engine.py",
    "jsonschema": "tests/features/test_output_schemas.py",
    "keyring": "tests/auth/test_keyring_storage.py",
    "mcp": "tests/transports/test_memory.py",
    "platformdirs": "tests/auth/test_file_storage.py",
    "pydantic": "tests/test_methods.py",
    "pyjwt": "tests/auth/test_grants.py",
    "regex": "tests/features/test_output_schemas.py",
    "rich": "tests/cli/test_output.py",
    "trio": "tests/test_supervision.py",
    "trio-websocket": "tests/transports/test_websocket.py",
    "typer": "tests/cli/test_commands.py",
    "uritemplate": "tests/features/test_uri_templates.py",
    "uvicorn": "tests/cli/test_demo_server.py",
}
"""The tests of what each dependency is used for."""

TOOLS: Final = [
    "coverage",
    "h11",
    "hypothesis",
    "opentelemetry-sdk",
    "pexpect",
    "pytest",
    "pytest-trio",
    "trustme",
]


def bounds() -> dict[str, str]:
    """The lowest version of each dependency, those of extras included."""
    extras = PROJECT["optional-dependencies"].values()
    found = {}
    for each in [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]:
        match = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", each)
        assert match is not None, f"{each!r} is no dependency with a lower bound, and nothing else"
        found[match[1]] = match[2]
    return found


def numbers(version: str) -> list[int]:
    """A version to be compared: 4.10 is 4.10.0."""
    parts = [int(each) for each in re.findall(r"\d+", version)]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def run(*command: str | Path, cwd: Path, seconds: float = 600, quiet: bool = True) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        timeout=seconds,
    )
    if done.returncode != 0:
        raise SystemExit(
            f"wrong: exit code {done.returncode}: {' '.join(map(str, command))[:300]}\n{done.stdout or ''}"
        )
    return done.stdout or ""


def install(python: str, scratch: Path) -> Path:
    """An environment with the lowest versions, and its Python."""
    run(python, "-I", "-m", "venv", scratch / "tools", cwd=scratch)
    run(scratch / "tools/bin/python", "-m", "pip", "install", "-q", "uv", cwd=scratch)
    run(python, "-I", "-m", "venv", "--without-pip", scratch / "lowest", cwd=scratch)
    own = scratch / "lowest/bin/python"
    uv = (scratch / "tools/bin/uv", "pip", "install", "-q", "--python", own)
    extras = ",".join(PROJECT["optional-dependencies"])
    run(*uv, "--resolution", "lowest-direct", f"{ROOT}[{extras}]", cwd=scratch)
    run(*uv, *TOOLS, cwd=scratch)
    return own


def check_versions(python: Path, scratch: Path) -> None:
    """Each bound is a version that can be had: else something needs a newer one, and it says nothing."""
    wanted = bounds()
    assert wanted.keys() == SUBSET.keys(), "SUBSET has not the same dependencies as pyproject.toml"
    script = f"import importlib.metadata as m; print(*(m.version(each) for each in {[*wanted]!r}))"
    versions = run(python, "-I", "-c", script, cwd=scratch).split()
    for (name, bound), version in zip(wanted.items(), versions, strict=True):
        print(f"  {name} {version}")
        if numbers(version) != numbers(bound):
            raise SystemExit(f"wrong: {name}>={bound} can only be had as {version}, so that is the bound")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Run the tests with the lowest versions of all dependencies."
    )
    parser.add_argument("--short", action="store_true", help="only what each dependency is used for")
    parser.add_argument("--python", default=sys.executable, metavar="COMMAND", help="which Python to use")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trio_mcp-lowest-") as name:
        start, scratch = time.monotonic(), Path(name)
        python = install(options.python, scratch)
        check_versions(python, scratch)
        print(f"installed in {time.monotonic() - start:.0f} s", flush=True)
        what = sorted({*SUBSET.values()}) if options.short else ["tests"]
        pytest = (python, "-m", "pytest", "-q", "-m", "not real", "-p", "no:cacheprovider")
        run(*pytest, *what, cwd=ROOT, seconds=1800, quiet=False)
        print(f"all is well, in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
