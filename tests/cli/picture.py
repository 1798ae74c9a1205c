"""Draws docs/demo.svg: what `trio-mcp demo` shows in a terminal. Run it when the demo has changed.

python tests/cli/picture.py
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pexpect
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent.parent / "docs" / "demo.svg"
WIDTH = 100


def record() -> list[str]:
    """The lines of the demo, as they stand in the end."""
    command = [sys.executable, "-m", "trio_mcp", "demo"]
    child = pexpect.spawn(command[0], command[1:], dimensions=(40, WIDTH), encoding="utf-8", timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert child.before is not None
    lines = child.before.replace("\x1b[?25l", "").replace("\x1b[?25h", "").split("\r\n")
    # A bar is drawn over and over in its line.
    return [line.rpartition("\r\x1b[2K")[2] for line in lines]


def draw(lines: list[str]) -> str:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    text = "\n".join(lines).strip("\n")
    console.print(Text.from_ansi(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8000", text)))
    svg = console.export_svg(title="trio-mcp demo", unique_id="demo")
    # No fonts from elsewhere.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace(
        "Fira Code, monospace", "monospace"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(record()), "utf-8")
