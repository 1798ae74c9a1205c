"""docs/benchmarks.md and its plot, from the results of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from .plot import Unavailable, draw
from .report import Table, failures, is_figures, players_table, verdicts_table, work_table
from .results import Results, judge
from .works import AT_A_TIME, CANCEL_AFTER, IN_FLIGHT, PROGRESS_COUNT, WORKS

_START: Final = """\
# Benchmarks

What a call costs the program that makes it, with trio_mcp and with other clients. This page is written by

    .venv/bin/python tests/benchmarks/run.py {command}

and its figures are those of one run, against one server. `--help` tells what else the program can do; a
rough answer (`--quick`) takes under a minute. The plot needs matplotlib.

![CPU time of each client at each work](benchmarks.svg)
"""

_VERDICT: Final = """\
"Measured" is the ratio of the medians. "Quartiles": half of the rounds, each with the other client's next to
it, have a ratio between these. "Fastest rounds" is the ratio of the rounds that were disturbed least: what
disturbs a machine adds about the same to both sides, which brings a ratio nearer to 1 and can flatter a
median. So "of the floor" says most where the client never waits for the server, as with many calls at a
time. "Reached" says yes or no only where all of these agree, and else "unclear".
"""

_METHOD: Final = f"""\
## How it is measured

- **The server** (`tests/benchmarks/server.py`) is written by hand, runs in
  a process of its own on 127.0.0.1, and has its answers ready. What a real server and a network take comes
  on top, and is the same for all clients.
- **Each client** runs in a process of its own, with its defaults, as its users write it
  (`tests/benchmarks/contenders/`). Rounds alternate between the clients, so that what
  disturbs the machine for a while disturbs all of them; a warm-up round comes first and does not count. The
  processes are started anew several times in a run.
- **A large answer** costs more where the allocator gives its memory back and gets it anew for each call.
  That differs from one process of the same client to the next, with the layout of its memory: the page
  faults of an operation, the fewest and the most of a round, show it.
- **The figures** are medians of the rounds, for one operation; half of the rounds lie between the
  quartiles. CPU is what the client's process takes (user and system, `time.process_time`); time is what
  passes, and has the server in it. Python's garbage collector runs as always.
- **The floor** is no client. It is the least that can be done on Trio with the parts that trio_mcp is made
  of: a socket stream, `httptools`, `pydantic_core.from_json`, and one validation into the type that the
  user gets. It checks nothing, has no deadlines, and cannot recover from anything. "Bare httpx2" sends the
  same requests through the HTTP library that `mcp` stands on, and takes the JSON as `json` reads it.
- **{AT_A_TIME} calls at a time**: {AT_A_TIME} tasks in a nursery (or a task group) make one call each, again
  and again.
- **Progress**: an SSE response with {PROGRESS_COUNT} notifications, written by the server at once. "Lost"
  are those that had not reached the callback when the call returned.
- **Opening**: what the client does until a call can be made, and closing it again. It includes reading the
  certificates that are trusted, where a client does that for a plain `http://` URL too.
- **In flight**: {IN_FLIGHT:,} tasks make a call at the same time. The server answers when no further call
  has come for a while, and tells how many it held. "Memory per call" is by how much the process grew at
  most, divided by the calls. A client that has fewer connections than calls has the others wait; trio_mcp
  has `max_connections=100` unless told otherwise. The time is mostly the server's waiting. The floor opens a
  connection for each call: only with `max_connections=1000` is that comparable with trio_mcp.
- **Import**: CPU time of a fresh interpreter that runs the line, less that of one that runs nothing. The peak
  memory is of all of it.
- **Cancelling**: the deadline is {CANCEL_AFTER * 1000:g} ms after the call began; "late" is how long after it
  the task was back; the target is for the worst of all. The CPU is for the call and its cancellation,
  connecting anew included.
"""


def write_docs(results: Results, folder: Path) -> None:
    """Write the page and the plot into `folder`; without matplotlib the plot stays as it is."""
    (folder / "benchmarks.md").write_text(page(results), "utf-8")
    try:
        draw(results, folder / "benchmarks.svg")
    except Unavailable as exc:
        print(f"benchmarks.svg was not written: {exc}", file=sys.stderr)


def page(results: Results) -> str:
    """The whole page."""
    verdicts = judge(results)
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    parts = [
        _START.format(command=results.command),
        "## What trio_mcp is to reach\n",
        markdown(verdicts_table(results, verdicts)),
        f"{sum(each.outcome == 'yes' for each in verdicts)} of {len(verdicts)} targets were reached.\n",
        _VERDICT,
        "## Who took part\n",
        f"Measured in {results.seconds:.0f} s on a machine of this kind: {machine}.\n",
        markdown(players_table(results)),
        "## The figures\n",
    ]
    for work in results.works:
        parts += [f"### {heading(work)}\n", markdown(work_table(results, work))]
        if told := failures(results, work):
            parts.append("\n".join(f"- {line}" for line in told) + "\n")
    parts.append(_METHOD)
    return "\n".join(parts)


def heading(work: str) -> str:
    title = WORKS[work].title
    return title[0].upper() + title[1:]


def markdown(table: Table) -> str:
    """A table as Markdown, figures to the right."""
    marks = ["---:" if is_figures(column) else "---" for column in zip(*table, strict=True)]
    rows = [table[0], marks, *table[1:]]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows)
