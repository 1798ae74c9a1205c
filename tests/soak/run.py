"""Very many calls through connections that break, and an account of each of them.

    python tests/soak/run.py --calls 100000 --connections 2000
    python tests/soak/run.py --calls 5000 --connections 100 --with-others --with-fastmcp
    python tests/soak/run.py --in-memory         # on the mock clock; what the interpreter allocates
    python tests/soak/run.py --week              # a simulated week with daily restarts, in seconds

The server, in a child process on a loopback socket, resets connections before it has read a call and after it
has carried it out, breaks answers off, refuses, takes its time, and restarts every so often; some calls are
cancelled in their first milliseconds. Each call carries a number, and the server keeps a ledger of those that
it has carried out. Each client has a process of its own, and measures itself while it is at rest.

Exit code: 0 if the books of trio_mcp agree (each call has ended once, by a result, a documented error or its
cancellation; none was carried out twice, and none lost) and it has grown by less than the bounds; else 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":  # as a program it finds its siblings as the tests do, from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.benchmarks.processes import Broken, Child, accepted
from tests.benchmarks.pythons import python_with
from tests.soak.ledger import Audit, audit
from tests.soak.memory import soak_in_memory
from tests.soak.virtual import ERAS, Week, simulate_week

_PACKAGE: Final = "tests.soak"
_START_SECONDS: Final = 60.0
_MEMORY_BOUND: Final = 8 * 2**20
"""Bytes that a client may grow by from its first tenth to its end; a leak of 100 bytes a call is more."""
_OTHERS: Final = ("mcp-trio", "mcp-asyncio")


@dataclass(frozen=True)
class Figures:
    """What one client's soak has brought.

    Attributes:
        told: what the worker told.
        audit: the account.
        restarts: how often the server was restarted.
        faults: what the server has done to calls.
    """

    told: dict[str, Any]
    audit: Audit
    restarts: int
    faults: dict[str, int]

    @property
    def growth(self) -> dict[str, int]:
        """What there was more of at the end than when the first tenth was over, the client being at rest."""
        first, last = self.told["rests"][0], self.told["rests"][-1]
        return {name: last[name] - first[name] for name in first}

    @property
    def sound(self) -> bool:
        """Whether the books agree, and nothing has grown."""
        growth = self.growth
        return (
            self.audit.sound
            and growth["memory"] < _MEMORY_BOUND
            and growth["descriptors"] <= 0
            and growth["tasks"] <= 0
        )


def soak(
    name: str,
    *,
    calls: int,
    connections: int,
    era: str = "modern",
    seed: int = 0,
    between: int = 2500,
    seconds: float = 3600,
    python: str = sys.executable,
) -> Figures:
    """Let one client make so many calls over so many connections.

    Args:
        name: the client; see `tests/benchmarks/contenders`.
        calls: a multiple of `connections`.
        connections: how many are opened, one after the other, ten at a time.
        era: of the server: "modern" or "legacy".
        seed: of the faults.
        between: calls between two restarts; 0 for none.
        seconds: how long it may take.
        python: the interpreter of the client.

    Raises:
        Broken: the client is not installed, or its process has failed.
    """
    with Child("server", str(seed), era, str(between), package=_PACKAGE) as server:
        base = f"http://127.0.0.1:{int(server.line(_START_SECONDS))}"
        with Child("worker", name, python=python, package=_PACKAGE) as worker:
            accepted(worker.line(_START_SECONDS))
            command = {"url": f"{base}/mcp", "calls": calls, "connections": connections, "seed": seed}
            worker.tell(json.dumps({**command, "seconds": seconds}))
            told = accepted(worker.line(seconds + 30))
        books = _books(base)
    ledger = {int(number): count for number, count in books["ledger"].items()}
    return Figures(told, audit(told.pop("outcomes"), ledger), books["restarts"], books["faults"])


def _books(base: str) -> dict[str, Any]:
    for _ in range(50):  # it may be restarting
        try:
            with urllib.request.urlopen(f"{base}/ledger", timeout=10) as answer:
                books: dict[str, Any] = json.load(answer)
                return books
        except OSError:
            time.sleep(0.1)
    raise Broken("the server has gone, and its ledger with it")


def report(figures: Figures) -> str:
    """What to print about a client."""
    told, growth = figures.told, figures.growth
    latencies = ", ".join(f"{name} {value:.2f} ms" for name, value in told["latencies"].items())
    faults = ", ".join(f"{count} {name}" for name, count in sorted(figures.faults.items()))
    lines = [
        f"{told['title']} ({', '.join(f'{key} {value}' for key, value in told['packages'].items())})",
        f"  books: {'they agree' if figures.audit.sound else 'THEY DO NOT AGREE'}. {figures.audit}",
        f"  server: {figures.restarts} restarts; {faults}",
        f"  growth at rest: {growth['memory'] / 2**20:+.1f} MiB, {growth['objects']:+} objects, "
        f"{growth['descriptors']:+} descriptors, {growth['tasks']:+} tasks",
        f"  latency of results: {latencies}",
        f"  connections: {told['deaths']} died with their calls, {told['failed_to_open']} could not be had",
        f"  {told['wall']:.0f} s, {told['cpu']:.0f} s of CPU",
    ]
    lines += [f"    {count} of {error}" for error, count in told["errors"].items()]
    return "\n".join(lines)


def report_week(week: Week) -> str:
    """What to print about a simulated week."""
    return (
        f"a week with a {week.era} server, {week.calls} calls: {week.results} results, {week.errors} errors "
        f"(while it was away), {week.restarts} restarts, {week.refreshes} tokens refreshed, {week.logins} "
        f"login(s), {week.reinitializations} sessions opened anew, {week.twice} calls twice, "
        f"{week.tasks:+} tasks, {week.objects:+} objects; "
        f"{week.virtual / 86400:.1f} days in {week.wall:.1f} s"
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--calls", type=int, default=100_000, metavar="N")
    parser.add_argument("--connections", type=int, default=2000, metavar="N")
    parser.add_argument("--era", choices=ERAS, help="of the server; both unless set")
    parser.add_argument("--seed", type=int, help="of the faults; a new one unless set")
    parser.add_argument(
        "--with-others", action="store_true", help="mcp.Client as well, on Trio and on asyncio"
    )
    parser.add_argument("--with-fastmcp", action="store_true", help="fastmcp.Client as well")
    parser.add_argument("--in-memory", action="store_true", help="in memory, and nothing else")
    parser.add_argument("--week", action="store_true", help="a simulated week, and nothing else")
    options = parser.parse_args(arguments)
    if options.connections < 10 or options.calls % options.connections:
        parser.error("--connections is 10 at least, and --calls a multiple of it")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    options = parse(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    eras = [options.era] if options.era else list(ERAS)
    if options.week:
        weeks = [simulate_week(era, seed=seed) for era in eras]
        print("\n".join(map(report_week, weeks)))
        return 0 if all(week.sound for week in weeks) else 1
    if options.in_memory:
        found = [
            soak_in_memory(era, calls=options.calls, connections=options.connections, seed=seed)
            for era in eras
        ]
        print("\n".join(map(str, found)))
        return 0 if all(each.audit.sound and max(each.left) <= 0 for each in found) else 1
    pythons = {"trio_mcp": sys.executable}
    if options.with_others:
        pythons |= dict.fromkeys(_OTHERS, sys.executable)
    if options.with_fastmcp:
        pythons["fastmcp"] = python_with("fastmcp")
    sound = True
    for era in eras:
        print(f"# a {era} server, seed {seed}", flush=True)
        for name, python in pythons.items():
            try:
                figures = soak(
                    name,
                    calls=options.calls,
                    connections=options.connections,
                    era=era,
                    seed=seed,
                    python=python,
                )
            except Broken as exc:
                print(f"{name}: {exc}")
                sound = sound and name != "trio_mcp"
                continue
            print(report(figures), flush=True)
            if name == "trio_mcp":
                sound = sound and figures.sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
