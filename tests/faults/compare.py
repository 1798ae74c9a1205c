"""The same misbehaving answers to one call, given to several clients: `python -m tests.faults.compare`.

    python -m tests.faults.compare                  # trio_mcp and the official SDK's client
    python -m tests.faults.compare --with-fastmcp   # installs fastmcp into a cache folder first
    python -m tests.faults.compare --cases          # what became of each

Over real loopback sockets, each client in a process of its own, with its own defaults. Each answer is given
to a call on a connection of its own, and then another call is made on it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.processes import Broken, Child
from tests.benchmarks.pythons import python_with

from .compare_server import CASES, Case

_NAMES: Final = ("trio_mcp", "mcp-trio", "mcp-asyncio", "fastmcp")
_ERAS: Final = ("modern", "legacy")
_SECONDS: Final = 130.0
_PATIENCE: Final = 30.0

VERDICTS: Final = {
    "right": "right: the answer, or an error by itself that tells of the status",
    "dead": "the whole client is dead: the next call fails, or its block raises",
    "waited": "waited for the caller's timeout, though all had been said",
    "hidden": "an error that hides the HTTP status",
    "accepted": "took for an answer what is none",
    "refused": "refused a right answer",
}


_WAITS: Final = (
    ("the next call after a cancelled one, where the notice of that is not answered", _PATIENCE),
    ("closing, where DELETE is not answered", 60.0),
)


class _Process(Child):
    def __init__(self, module: str, *arguments: str, python: str = sys.executable) -> None:
        super().__init__(module, *arguments, python=python, package=str(__package__))

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Have a case made."""
        self.tell(json.dumps(command))
        seen: dict[str, Any] = json.loads(self.line(_SECONDS))
        return seen


@contextmanager
def _client(name: str, python: str, era: str, *unanswered: str) -> Generator[_Process]:
    """A client, and the server that it is to call."""
    with _Process("compare_server", era, *unanswered) as server:
        url = f"http://127.0.0.1:{int(server.line(_SECONDS))}/mcp"
        with _Process("compare_client", name, url, python=python) as client:
            yield client


def compare(name: str, python: str, era: str) -> Iterator[tuple[Case, str, str]]:
    """What became of each case with a client: the case, the verdict, and what was seen."""
    with _client(name, python, era) as client:
        for case in CASES:
            yield case, *judge(case, client.ask({"tool": case.tool, "patience": 2}))


def waits(name: str, python: str) -> tuple[float, float]:
    """Seconds that a call after a cancelled one takes, and closing, each where a courtesy is not answered."""
    with _client(name, python, "legacy", "notifications/cancelled") as client:
        next_call = client.ask({"tool": "stuck", "patience": _PATIENCE})["next"]
    with _client(name, python, "legacy", "DELETE") as client:
        closing = client.ask({"tool": "quick", "patience": 2})["closing"]
    return next_call, closing


def judge(case: Case, seen: dict[str, Any]) -> tuple[str, str]:
    """The verdict about a case, and what was seen in a word."""
    call, text = seen["call"], seen["text"]
    if not seen["alive"]:
        return "dead", text
    if call == "timeout":
        return "waited", text
    if case.is_right:
        return ("right" if call == "ok" else "refused"), text
    if call == "ok":
        return "accepted", text
    if case.status is not None and not re.search(rf"\b{case.status}\b", text):
        return "hidden", text
    return "right", text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="misbehaving answers, and what clients make of them")
    parser.add_argument("--with-fastmcp", action="store_true", help="compare fastmcp.Client too")
    parser.add_argument("--cases", action="store_true", help="print what became of each")
    options = parser.parse_args(arguments)
    print(f"{len(CASES)} answers to a call, in each era: {len(CASES) * len(_ERAS)} cases\n")
    table: dict[str, Counter[str]] = {}
    times: dict[str, tuple[float, float]] = {}
    for name in _NAMES:
        try:
            python = sys.executable
            if name == "fastmcp":
                if not options.with_fastmcp:
                    continue
                python = python_with("fastmcp")
            counted = table[name] = Counter()
            for era in _ERAS:
                for case, verdict, text in compare(name, python, era):
                    counted[verdict] += 1
                    if options.cases:
                        print(f"{name:12} {era:7} {verdict:9} {case.name}: {text:.100}")
            times[name] = waits(name, python)
        except Broken as exc:
            print(f"{name}: {exc}", file=sys.stderr)
            return 1
    print_table(table, times)
    return 0


def print_table(table: dict[str, Counter[str]], times: dict[str, tuple[float, float]]) -> None:
    """The figures, as a table of Markdown."""
    print("| what became of it | " + " | ".join(table) + " |")
    print("| --- |" + " ---: |" * len(table))
    for verdict, says in VERDICTS.items():
        print(f"| {says} | " + " | ".join(str(counted[verdict]) for counted in table.values()) + " |")
    for number, (says, bound) in enumerate(_WAITS):
        took = [min(times[name][number], bound) for name in table]
        cells = [f"over {bound:g} s" if each == bound else f"{each:.1f} s" for each in took]
        print(f"| {says} | " + " | ".join(cells) + " |")


assert set(_NAMES) <= CONTENDERS.keys()

if __name__ == "__main__":
    sys.exit(main())
