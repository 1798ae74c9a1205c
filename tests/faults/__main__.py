"""Runs the fault matrix and prints it: `python -m tests.faults`.

python -m tests.faults                  # a row for each phase
python -m tests.faults --cells          # a row for each cell
python -m tests.faults --only redirect  # cells whose names hold that
python -m tests.faults --seeds 20       # with the tasks in each of twenty orders
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence

from .cells import Cell, run
from .matrix import CELLS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the matrix")
    parser.add_argument("--only", default="", metavar="TEXT", help="cells whose names hold TEXT")
    parser.add_argument("--cells", action="store_true", help="print each cell")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="orders of tasks to try")
    options = parser.parse_args(arguments)
    gc.collect()
    gc.freeze()
    began, failed = time.monotonic(), 0
    cells = [cell for cell in CELLS if options.only in cell.name]
    passed: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        deviations = _deviations(cell, options.seeds)
        passed[cell.server, cell.phase] += not deviations
        failed += bool(deviations)
        if options.cells or deviations:
            print(f"{'FAILED' if deviations else 'ok':7}{cell.name} | {cell.expected}")
        for each in deviations:
            print(f"       {each}")
    if not options.cells:
        _print_phases(cells, passed)
    print(
        f"\n{len(cells)} cells, each also with its caller leaving in the middle, in {options.seeds} "
        f"order(s) of tasks: {failed} failed, in {time.monotonic() - began:.0f} s"
    )
    return 1 if failed else 0


def _deviations(cell: Cell, seeds: int) -> list[str]:
    for seed in range(seeds):
        try:
            played = run(cell, seed=seed)
            deviations = played.deviations
            left = run(cell, leave_after=played.middle, seed=seed).deviations
            deviations += [f"leaving: {each}" for each in left]
        except Exception as exc:
            deviations = [f"undocumented: {exc!r}"]
        if deviations:
            return [f"seed {seed}: {each}" for each in deviations]
    return []


def _print_phases(cells: Sequence[Cell], passed: Counter[tuple[str, str]]) -> None:
    totals = Counter((cell.server, cell.phase) for cell in cells)
    outcomes: dict[tuple[str, str], Counter[str]] = {}
    for cell in cells:
        outcomes.setdefault((cell.server, cell.phase), Counter())[str(cell.expected)] += 1
    print("| server | phase | cells | passed | what comes of them |\n| --- | --- | ---: | ---: | --- |")
    for key, total in totals.items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in outcomes[key].most_common())
        print(f"| {key[0]} | {key[1]} | {total} | {passed[key]} | {kinds} |")


if __name__ == "__main__":
    sys.exit(main())
