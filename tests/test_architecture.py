"""A room imports only what stands below it (docs/architecture.md, "The layers")."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent / "trio_mcp"

LAYERS: Final = [
    ["__main__"],
    ["cli"],
    ["testing"],
    ["config"],
    ["group"],
    ["agents"],
    ["opening"],
    ["http_connector", "memory_connector", "stdio_connector", "stream_connector", "websocket_connector"],
    ["pipe_connector"],
    ["connector"],
    ["options"],
    ["methods"],
    ["connection"],
    ["middleware"],
    ["features"],
    ["session"],
    ["renewal", "handling"],
    ["negotiation"],
    ["dispatcher"],
    ["server_requests"],
    ["transports"],
    ["http"],
    ["auth"],
    ["callbacks"],
    [
        "block",
        "supervision",
        "mailbox",
        "statistics",
        "deadlines",
        "in_flight",
        "nearest",
        "network",
        "origin",
        "reconnecting",
    ],
    ["protocol"],
    ["errors"],
    ["text", "_version"],
]
"""From top to bottom. Only what is a package may import within its own layer."""

LEVEL: Final = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module but the package itself, which only gathers names: "protocol.wire" and so on."""
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in ROOT.rglob("*.py")
    }
    del found["__init__"]
    return found


def imports(module: str, path: Path) -> Iterator[str]:
    """What the module imports, by full name, wherever in its code; what only a type checker reads apart."""
    package = ["trio_mcp", *module.split(".")]
    if path.name != "__init__.py":
        package.pop()
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for outer in node.body
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


MODULES: Final = modules()
IMPORTS: Final = {
    module: {
        name.removeprefix("trio_mcp.")
        for name in imports(module, path)
        if name.removeprefix("trio_mcp.") in MODULES and name.startswith("trio_mcp.")
    }
    - {module}
    for module, path in MODULES.items()
}


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_a_layer() -> None:
    assert {room(module) for module in MODULES} <= LEVEL.keys()


def test_imports_are_found_at_all() -> None:
    assert "protocol.wire" in IMPORTS["transports.streamable_http"]
    assert {"protocol", "protocol.headers"} <= IMPORTS["transports.streamable_http"]
    assert "http" in IMPORTS["transports.event_stream"]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    level = LEVEL[room(module)]
    upwards = {name for name in IMPORTS[module] if room(name) != room(module) and LEVEL[room(name)] <= level}
    assert not upwards


def test_there_is_no_circle_of_imports() -> None:
    # A package's own module imports its members, and a member does not import its package.
    left = {module: set(names) for module, names in IMPORTS.items()}
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            continue
        left[module].discard(module.rpartition(".")[0])
    while free := {module for module, names in left.items() if not names}:
        left = {module: names - free for module, names in left.items() if module not in free}
    assert not left


@pytest.mark.parametrize(
    "module", sorted(name for name in MODULES if room(name) in {"protocol", "errors", "text"})
)
def test_the_pure_rooms_know_neither_trio_nor_http(module: str) -> None:
    libraries = {name.partition(".")[0] for name in imports(module, MODULES[module])}
    assert not libraries & {"trio", "anyio", "httpx", "httpx2", "asyncio", "socket", "time"}


def test_no_module_imports_the_package_itself() -> None:
    for module, path in MODULES.items():
        if room(module) not in {"cli", "__main__"}:
            assert "trio_mcp" not in {name for name in imports(module, path) if name == "trio_mcp"}


def test_importing_trio_mcp_leaves_the_heavy_libraries_alone() -> None:
    heavy = ["mcp", "typer", "rich", "jsonschema", "httpx", "starlette", "uvicorn", "opentelemetry"]
    heavy += ["trio_websocket", "wsproto", "h11", "anyio"]
    script = f"import sys, trio_mcp; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
