"""Compare MCP clients: what a call costs, against the same server, in one run.

    python tests/benchmarks/run.py                          # about five minutes
    python tests/benchmarks/run.py --quick                  # about 40 seconds; the figures are rougher
    python tests/benchmarks/run.py --only sequential,big
    python tests/benchmarks/run.py --with-fastmcp           # installs fastmcp into a cache folder first
    python tests/benchmarks/run.py --with-fastmcp --write-docs

Each client has a process of its own, and rounds alternate between the clients, so that what disturbs the
machine for a while disturbs all of them. Figures are medians of the rounds. The cost is CPU time: on one
machine, the time that a call takes is that of the server too.

The plot of --write-docs needs matplotlib (the dependency group `bench`).

Exit code: 0 if trio_mcp could be measured at each work, whether it reaches its targets or not; 1 if a round
of it failed or its source changed meanwhile (then no documentation is written); 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # as a program it finds its siblings as the tests do, from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.docs import write_docs
from tests.benchmarks.processes import ROOT, Broken, Server, Worker
from tests.benchmarks.pythons import import_round, python_with
from tests.benchmarks.report import print_progress, print_report
from tests.benchmarks.results import Player, Results, Round, Series
from tests.benchmarks.works import US, WIDE, WORKS

_ROUND_SECONDS: Final = 90.0
"""A round that takes longer hangs."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        generations: how often the clients' processes are started anew. Where a process has its memory, and
            so what a large answer costs it, is mostly the same for its whole life: the rounds of one process
            are not so many samples. It also spreads the rounds of each work over the whole run.
        rounds: of each client at each work, in each generation.
        fresh_rounds: the same, where a round has a process of its own.
        seconds: how long a round should take; how many operations it has follows from that.
    """

    generations: int
    rounds: int
    fresh_rounds: int
    seconds: float


FULL: Final = Effort(generations=4, rounds=3, fresh_rounds=1, seconds=0.25)
QUICK: Final = Effort(generations=1, rounds=3, fresh_rounds=1, seconds=0.12)


class Runner:
    """One generation: the server and the workers live until `stack` is left."""

    def __init__(self, effort: Effort, results: Results, stack: ExitStack) -> None:
        self._effort = effort
        self._results = results
        self._stack = stack
        self._url = stack.enter_context(Server()).url
        self._pythons: dict[str, str] = {}
        self._workers: dict[str, Worker] = {}

    def introduce(self, name: str, python: str = sys.executable) -> None:
        """Start a client, or note why it takes no part."""
        try:
            worker = self._stack.enter_context(Worker(name, python))
            told = worker.ask({"work": "introduction", "url": self._url}, _ROUND_SECONDS)
        except Broken as exc:
            self._results.absent[name] = str(exc)
            self._results.players.pop(name, None)
            return
        self._pythons[name], self._workers[name] = python, worker
        self._results.players[name] = Player(**told)

    def measure(self, key: str) -> None:
        """Make the rounds of a work, in turns; a client that fails takes no further part in it."""
        work = WORKS[key]
        found = self._results.works.setdefault(key, {})
        all_series = {name: found.setdefault(name, Series()) for name in work.names if name in self._workers}
        operations = dict.fromkeys(all_series, work.most)
        rounds = self._effort.fresh_rounds if work.fresh else self._effort.rounds
        for count in range(0 if work.fresh else -1, rounds):
            for name, series in all_series.items():
                if series.error is not None:
                    continue
                print_progress(f"{work.title}: {name}, round {count + 1} of {rounds}")
                try:
                    if count < 0:  # the warm-up, which also tells how much a round can hold
                        operations[name] = self._calibrate(key, name)
                    else:
                        series.rounds.append(self._round(key, name, operations[name]))
                except Broken as exc:
                    series.error = str(exc)
        print_progress("")

    def _calibrate(self, key: str, name: str) -> int:
        """How many operations fill the time of a round."""
        work = WORKS[key]
        tried = self._round(key, name, work.fewest)
        steps = self._effort.seconds * work.fewest / max(tried.wall, 1e-6) / work.step
        return min(work.most, max(work.fewest, math.floor(steps) * work.step))

    def _round(self, key: str, name: str, operations: int) -> Round:
        python = self._pythons[name]
        if key == "import":
            return import_round(name, python)
        if not WORKS[key].fresh:
            return self._ask(self._workers[name], key, operations)
        with Worker(name, python) as worker:
            return self._ask(worker, key, operations)

    def _ask(self, worker: Worker, key: str, operations: int) -> Round:
        command = {"work": key, "url": self._url, "operations": operations}
        return Round(**worker.ask(command, _ROUND_SECONDS))


def run(keys: Sequence[str], effort: Effort, with_fastmcp: bool, command: str) -> Results:
    """Measure some works."""
    results, began, source = Results(describe_machine(), command), time.monotonic(), digest_of_source()
    pythons = choose_pythons(keys, with_fastmcp, results)
    for _ in range(effort.generations):
        with ExitStack() as stack:
            runner = Runner(effort, results, stack)
            for name, python in pythons.items():
                print_progress(f"starting {name}")
                runner.introduce(name, python)
            for key in keys:
                runner.measure(key)
    results.seconds = time.monotonic() - began
    results.changed = digest_of_source() != source
    return results


def choose_pythons(keys: Sequence[str], with_fastmcp: bool, results: Results) -> dict[str, str]:
    """The interpreter of each client that these works need; notes who has none."""
    needed = [name for name in CONTENDERS if any(name in WORKS[key].names for key in keys)]
    pythons = dict.fromkeys(needed, sys.executable)
    if "fastmcp" in pythons:
        try:
            if not with_fastmcp:
                raise Broken("not asked for (--with-fastmcp)")
            pythons["fastmcp"] = python_with("fastmcp")
        except Broken as exc:
            results.absent["fastmcp"] = str(exc)
            del pythons["fastmcp"]
    return pythons


def digest_of_source() -> str:
    """Tells one state of trio_mcp's source from another; of what no connection imports, nothing is told."""
    digest, package = hashlib.sha256(), ROOT / "trio_mcp"
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in ("cli", "testing"):
            digest.update(str(name).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def describe_machine() -> dict[str, str]:
    """What the figures depend on, in terms that tell nobody whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "system": f"{platform.system()} on {platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def command(options: argparse.Namespace) -> str:
    """The options that decide what is measured: no names of files, which are nobody's business."""
    told = {
        "--quick": options.quick,
        f"--only {options.only}": options.only,
        f"--rounds {options.rounds}": options.rounds,
        "--with-fastmcp": options.with_fastmcp,
        "--write-docs": options.write_docs,
    }
    return " ".join(words for words, given in told.items() if given)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    works = "\n".join(f"  {key:11} {work.title}" for key, work in WORKS.items())
    parser.epilog = f"works:\n{works}"
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", metavar="WORK,…", help="these works")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="rounds of each client at each work, in each generation of processes",
    )
    parser.add_argument("--with-fastmcp", action="store_true", help="compare fastmcp.Client too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="measure nothing: tell of that --json file"
    )
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and .svg")
    options = parser.parse_args(arguments)
    options.works = options.only.split(",") if options.only else list(WORKS)
    if unknown := set(options.works) - set(WORKS):
        parser.error(f"there is no work {', '.join(sorted(unknown))}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    options = parse(arguments)
    if options.replay:
        results = Results.from_json(json.loads(options.replay.read_text("utf-8")))
    else:
        effort = QUICK if options.quick else FULL
        if options.rounds is not None:
            effort = replace(effort, rounds=options.rounds, fresh_rounds=options.rounds)
        results = run(options.works, effort, options.with_fastmcp, command(options))
    print_report(results)
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=1) + "\n", "utf-8")
    if not sound(results):
        print("these figures are not sound: see above", file=sys.stderr)
        return 1
    if options.write_docs:
        write_docs(results, ROOT / "docs")
    return 0


def sound(results: Results) -> bool:
    """Whether all of trio_mcp's rounds were made, and with one version of it."""
    return not results.changed and all(
        results.series(key, name) is not None and results.works[key][name].error is None
        for key in results.works
        for name in (US, WIDE)
        if name in WORKS[key].names
    )


if __name__ == "__main__":
    sys.exit(main())
