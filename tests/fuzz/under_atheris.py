"""One target in libFuzzer's hands: `run.py` starts it, because libFuzzer ends the process that it runs in.

    python under_atheris.py TARGET FILE [options of libFuzzer] [folders of cases]

What breaks a promise is written to FILE: libFuzzer itself would not always live to do that.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

with atheris.instrument_imports(include=["trio_mcp", "json", "h11"]):
    from tests.fuzz.corpus import load

    module = load(sys.argv.pop(1))

found = Path(sys.argv.pop(1))


def target(data: bytes) -> None:
    try:
        module.target(data)
    except BaseException:
        found.write_bytes(data)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
