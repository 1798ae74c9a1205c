"""Fuzz what reads bytes from others, led by what they cover (atheris, which is libFuzzer).

    python tests/fuzz/run.py                      # every target, 60 s each
    python tests/fuzz/run.py sse wire --seconds 600
    python tests/fuzz/run.py --seconds 8          # what .ci/run does

A target is a function in `targets/` that takes bytes, and raises if they break a promise. What breaks one is
made smaller, written into `found/`, and from then on a case of the tests: commit it with what mends it.

Exit code: 0 if nothing was found, 1 if something was, 77 if atheris is not there (`pip install --group
fuzz`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.fuzz.corpus import TARGETS, add, cases, load  # noqa: E402 - it is found by the line above

GRACE: Final = 120  # seconds beyond its time after which a run is given up
SLOWEST: Final = 5  # seconds for one input


class Report(NamedTuple):
    executions: int
    seconds: float
    problem: str | None


def fuzz(name: str, seconds: int, seed: int, max_size: int) -> Report:
    """One run of one target. What it finds becomes a case."""
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as place:
        folder = Path(place)
        (folder / "cases").mkdir()
        for number, case in enumerate(cases(name)):
            (folder / "cases" / f"{number:04}").write_bytes(case[:max_size])
        tokens = {
            re.sub(r"[^ !#-\[\]-~]", lambda c: f"\\x{ord(c[0]):02x}", t.decode("latin-1"))
            for t in load(name).TOKENS
        }
        (folder / "tokens").write_text("".join(f'"{token}"\n' for token in sorted(tokens)), "ascii")
        begun = time.monotonic()
        output, status = _run(
            name,
            str(folder / "found-by-raising"),
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={max_size}",
            f"-timeout={SLOWEST}",
            f"-dict={folder / 'tokens'}",
            f"-artifact_prefix={folder}/found-",
            "-print_final_stats=1",
            str(folder / "cases"),
            limit=seconds + GRACE,
        )
        took = time.monotonic() - begun
        executions = max(
            map(int, re.findall(r"^(?:#|stat::number_of_executed_units: )(\d+)", output, re.MULTILINE)),
            default=0,
        )
        if status == 0:
            return Report(executions, took, None)
        artifacts = sorted(folder.glob("found-*"))
        if not artifacts:
            return Report(executions, took, f"it ended with {status}:\n{output[-4000:]}")
        data = _smaller(name, artifacts[0].read_bytes())
        reason = _reason(output) or artifacts[0].name
        path = add(name, data, reason)
        return Report(
            executions, took, f"{reason}\n  {data[:500]!r}\n  in {path.relative_to(ROOT)}\n{output[-3000:]}"
        )


def _run(name: str, *options: str, limit: float) -> tuple[str, int]:
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/fuzz/under_atheris.py"), name, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    try:
        output, _ = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
    return output.decode(errors="replace"), child.returncode


def _reason(output: str) -> str | None:
    """What was raised, out of a traceback."""
    found = re.findall(r"^(\w[\w.]*(?:Error|Exception|Group)\b.*)$", output, re.MULTILINE)
    return found[0] if found else None


def _smaller(name: str, data: bytes) -> bytes:
    """`data` with everything taken out that can be while it fails in the same way."""
    target = load(name).target

    def kind(candidate: bytes) -> type[BaseException] | None:
        try:
            target(candidate)
        except Exception as exc:
            return type(exc)
        return None

    wanted, end = kind(data), time.monotonic() + 20
    size = len(data) // 2 if wanted else 0
    while size:
        start = 0
        while start < len(data) and time.monotonic() < end:
            shorter = data[:start] + data[start + size :]
            if kind(shorter) is wanted:
                data = shorter
            else:
                start += size
        size //= 2
    return data


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}; all unless given"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer (1); 0 for another one each time")
    parser.add_argument("--max-size", type=int, default=600, help="bytes of an input (600)")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        print(f"atheris is not installed for this Python {version}: pip install --group fuzz")
        return 77
    problems = 0
    for name in arguments.targets or TARGETS:
        report = fuzz(name, arguments.seconds, arguments.seed, arguments.max_size)
        problems += report.problem is not None
        what = "nothing found" if report.problem is None else f"FOUND: {report.problem}"
        print(f"{name:12} {report.executions:>9,} executions in {report.seconds:.0f} s: {what}", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
