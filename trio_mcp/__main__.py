"""`trio-mcp` and `python -m trio_mcp`: the way into the command line."""

from __future__ import annotations

import io
import sys
from typing import Final

__all__ = ["main"]

_EXTRA: Final = ("typer", "rich")


def main() -> None:
    """Run the command line on `sys.argv`.

    Raises:
        SystemExit: always; with 2 if the `cli` extra is not installed.
    """
    try:
        # Here, not above: the library works without typer and rich, and only the command needs them.
        from .cli.app import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write("the trio-mcp command needs more packages: pip install 'trio_mcp[cli]'\n")
        raise SystemExit(2) from None
    for stream in (sys.stdout, sys.stderr):
        # A server may send what the terminal's encoding has no bytes for; that must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="trio-mcp")


if __name__ == "__main__":  # pragma: no cover  (runs in a child process only: tests/cli/test_main.py)
    main()
