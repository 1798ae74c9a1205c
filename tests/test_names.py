"""The package's own names, those that are imported late too."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trio_mcp


@pytest.mark.parametrize("name", trio_mcp.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(trio_mcp)
    assert getattr(trio_mcp, name) is getattr(trio_mcp, name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'trio_mcp' has no attribute 'open_conector'"):
        trio_mcp.open_conector  # noqa: B018  # type: ignore[attr-defined]


def test_what_not_every_program_needs_is_imported_when_it_is_asked_for() -> None:
    late = [
        f"trio_mcp.{name}" for name in ("group", "config", "agents", "cli", "testing", "auth.file_storage")
    ]
    script = f"import sys, trio_mcp; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
