"""One target in libFuzzer's hands: `run.py` starts it, because libFuzzer ends the process that it runs in.

python under_atheris.py TARGET [options of libFuzzer] [folders of cases]
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

with atheris.instrument_imports(include=["trio_mcp", "json", "h11"]):
    from tests.fuzz.corpus import load

    module = load(sys.argv.pop(1))

if __name__ == "__main__":
    atheris.Setup(sys.argv, module.target)
    atheris.Fuzz()
