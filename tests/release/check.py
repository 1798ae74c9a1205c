"""Build the wheel and the sdist, look into them, install them in clean environments, and try what is there.

    python tests/release/check.py                  # on the oldest and the newest supported Python here
    python tests/release/check.py --keep dist      # and keep what was built, to be uploaded
    python tests/release/check.py --python 3.12    # on this one only

Nothing of the tree is changed, and nothing of it is in reach of what is tried. Needs a package index.

Exit code: 0 if all is well, 1 if not.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION: Final = re.findall(r'__version__ = "(.+)"', (ROOT / "trio_mcp/_version.py").read_text())[0]
SUPPORTED: Final = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
_SECONDS: Final = 300.0

SMOKE: Final = """
import importlib.metadata, sys
import trio, trio.testing
import trio_mcp
from trio_mcp.testing import ScriptedServer

async def main():
    async with ScriptedServer() as server:
        server.on["tools/call"] = lambda call: call.text("done")
        async with server.connect() as c:
            return (await c.call_tool("x")).content[0].text

assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == "done"
assert trio_mcp.__version__ == importlib.metadata.version("trio_mcp") == sys.argv[1]
assert trio_mcp.__file__.startswith(sys.prefix), trio_mcp.__file__
"""


class Wrong(Exception):
    """What must not be in a release."""


def run(*command: str | Path, cwd: Path, exit_code: int = 0) -> str:
    """What the command says.

    Raises:
        Wrong: it ends with another exit code.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode != exit_code:
        words = " ".join(map(str, command))
        raise Wrong(f"exit code {done.returncode}: {textwrap.shorten(words, 200)}\n{done.stdout[-4000:]}")
    return done.stdout


def make_environment(python: str | Path, place: Path) -> Path:
    """A clean environment, and its Python."""
    run(python, "-I", "-m", "venv", place, cwd=place.parent)
    return place / "bin" / "python"


# Building, and what is in it


def build(scratch: Path) -> tuple[Path, Path]:
    """The wheel and the sdist; and the sdist must give the same wheel."""
    tools = make_environment(sys.executable, scratch / "tools")
    run(tools, "-m", "pip", "install", "-q", *PROJECT["build-system"]["requires"], cwd=scratch)
    run(tools, "-m", "hatchling", "build", "-d", scratch / "dist", cwd=ROOT)
    wheel = scratch / "dist" / f"trio_mcp-{VERSION}-py3-none-any.whl"
    sdist = scratch / "dist" / f"trio_mcp-{VERSION}.tar.gz"
    if {*(scratch / "dist").iterdir()} != {wheel, sdist}:
        raise Wrong(f"other files were built than {wheel.name} and {sdist.name}")
    run(
        tools,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "again",
        sdist,
        cwd=scratch,
    )
    again, here = checksums(scratch / "again" / wheel.name), checksums(wheel)
    if again != here:
        raise Wrong(f"the sdist gives another wheel: {sorted({*again.items()} ^ {*here.items()})}")
    return wheel, sdist


def checksums(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {each.filename: each.CRC for each in archive.infolist()}


def sources(*places: str) -> set[str]:
    """The files of the tree below these places."""
    files = [file for each in places for file in [ROOT / each, *(ROOT / each).rglob("*")] if file.is_file()]
    return {str(file.relative_to(ROOT)) for file in files if file.parent.name != "__pycache__"}


def check_files(wheel: Path, sdist: Path) -> None:
    """The package, all of it and nothing else, in the wheel; the whole project in the sdist."""
    info = f"trio_mcp-{VERSION}.dist-info"
    own = {
        f"{info}/{each}" for each in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    package = sources("trio_mcp", "trio_mcp_pytest.py")
    compare("wheel", {*checksums(wheel)}, package | own)
    if strays := {each for each in package if not each.endswith((".py", "/py.typed"))}:
        raise Wrong(f"these are no part of the package: {sorted(strays)}")
    if "trio_mcp/py.typed" not in package:
        raise Wrong("trio_mcp/py.typed is missing: type checkers would not look at the package")
    with tarfile.open(sdist) as archive:
        inside = {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}
    wanted = [each.strip("/") for each in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
    compare("sdist", inside, sources(*wanted) | {"PKG-INFO", "pyproject.toml", ".gitignore"})


def compare(name: str, there: set[str], wanted: set[str]) -> None:
    if there != wanted:
        raise Wrong(f"{name}: too much {sorted(there - wanted)}, missing {sorted(wanted - there)}")


def check_metadata(wheel: Path) -> None:
    """What an index shows, and what pip goes by."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"trio_mcp-{VERSION}.dist-info/METADATA").decode()
    metadata, project = HeaderParser().parsestr(text), PROJECT["project"]
    for name, wanted in {
        "Name": "trio_mcp",
        "Version": VERSION,
        "Summary": project["description"],
        "License-Expression": "MIT",
        "License-File": "LICENSE",
        "Requires-Python": f">={SUPPORTED[0]}",
        "Description-Content-Type": "text/markdown",
    }.items():
        if metadata[name] != wanted:
            raise Wrong(f"METADATA: {name} is {metadata[name]!r}, and not {wanted!r}")
    if metadata.get_all("Classifier") != project["classifiers"]:
        raise Wrong("METADATA: other classifiers than in pyproject.toml")
    if set(metadata.get_all("Provides-Extra", [])) != {*project["optional-dependencies"]}:
        raise Wrong("METADATA: other extras than in pyproject.toml")
    if metadata.get_payload() != (ROOT / "README.md").read_text():
        raise Wrong("METADATA: another description than README.md")
    if f"\n## {VERSION}" not in (ROOT / "CHANGELOG.md").read_text():
        raise Wrong(f"CHANGELOG.md says nothing of {VERSION}")


# Installing it, and trying what is there


def find_python(version: str) -> str | None:
    """An interpreter of that version that can make environments, by PATH or from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [*os.get_exec_path(), *map(str, sorted(pyenv.glob(f"{version}.*/bin")))]
    found = [shutil.which(f"python{version}", path=each) for each in places]
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        found.insert(0, sys.executable)
    return next((each for each in found if each is not None and works(each)), None)


def works(python: str) -> bool:
    # A shim of pyenv's may know of no such version; and Debian has venv without ensurepip.
    done = subprocess.run([python, "-I", "-c", "import venv, ensurepip"], capture_output=True)
    return done.returncode == 0


def oldest_and_newest() -> Iterator[tuple[str, str]]:
    """Versions and interpreters."""
    found = {version: python for version in SUPPORTED if (python := find_python(version)) is not None}
    for version in SUPPORTED:
        if version not in found:
            print(f"Python {version}: not tried, there is none here")
    ends = [*found][:1] + [*found][1:][-1:]
    yield from ((version, found[version]) for version in ends)


def try_release(python: str, wheel: Path, sdist: Path, scratch: Path) -> None:
    """The wheel bare, then with the command line; then the sdist in its place."""
    own = make_environment(python, scratch / "environment")
    command = own.with_name("trio-mcp")

    def pip(*arguments: str | Path) -> None:
        run(own, "-I", "-m", "pip", *arguments, cwd=scratch)

    def smoke() -> None:
        run(own, "-I", "-c", SMOKE, VERSION, cwd=scratch)

    pip("install", "-q", wheel)
    smoke()
    if "trio_mcp[cli]" not in run(command, "--version", cwd=scratch, exit_code=2):
        raise Wrong("without its extra, the command does not say what it needs")
    pip("install", "-q", f"{wheel}[cli]")
    pip("check")
    pip("uninstall", "-q", "-y", "trio_mcp")
    pip("install", "-q", "--no-deps", sdist)
    smoke()
    if run(command, "--version", cwd=scratch).strip() != f"trio_mcp {VERSION}":
        raise Wrong("trio-mcp --version says something else")
    run(command, "demo", cwd=scratch)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build a release, and try it in clean environments.")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="copy the wheel and the sdist there")
    parser.add_argument("--python", metavar="VERSION", choices=SUPPORTED, help="try it on this version only")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="trio_mcp-release-") as name:
            scratch = Path(name)
            wheel, sdist = build(scratch)
            check_files(wheel, sdist)
            check_metadata(wheel)
            print(f"built: {wheel.name}, {sdist.name}")
            if options.python is None:
                pythons = [*oldest_and_newest()]
            else:
                pythons = [(options.python, find_python(options.python) or f"python{options.python}")]
            for version, python in pythons:
                start, place = time.monotonic(), scratch / version
                place.mkdir()
                try_release(python, wheel, sdist, place)
                print(f"Python {version}: installed and tried in {time.monotonic() - start:.0f} s")
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                for each in (wheel, sdist):
                    print(f"kept: {shutil.copy(each, options.keep)}")
    except (Wrong, OSError, subprocess.TimeoutExpired) as exc:
        print(f"wrong: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
