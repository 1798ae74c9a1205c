"""examples/middleware.py does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "middleware.py"


def test_the_example_runs_as_it_stands() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parent.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    for total in (40, 41, 42):
        assert f"{total} for examples" in done.stdout
    assert done.stdout.count("tools/call 'add' on http://server.test/mcp: ok in ") == 3
    assert "3 calls, 0 failed" in done.stdout
