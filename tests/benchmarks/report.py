"""What a run has found, on the terminal; and the tables that the documentation has too."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .contenders import CONTENDERS
from .pythons import STATEMENTS
from .results import Results, Series, Verdict, judge
from .works import FLOOR, IN_FLIGHT, SDK, US, WORKS

Table = Sequence[Sequence[str]]
"""Rows of cells; the first row is the heading."""


def print_progress(text: str) -> None:
    """Say what is being done, in one line that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def print_report(results: Results) -> None:
    """Print who took part, a table for each work, and the targets."""
    print(f"{', '.join(f'{name} {value}' for name, value in results.machine.items())}\n")
    print_table(players_table(results))
    for work in results.works:
        print(f"\n{WORKS[work].title}")
        print_table(work_table(results, work))
        for line in failures(results, work):
            print(f"  {line}")
    if verdicts := judge(results):
        print("\ntargets of trio_mcp")
        print_table(verdicts_table(results, verdicts))
    if results.changed:
        print("\ntrio_mcp's source changed while it was measured: these figures are of no one version")
    print(f"\nmeasured in {results.seconds:.0f} s")


def print_table(table: Table) -> None:
    """Print it in columns: figures to the right, words to the left."""
    columns = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    sides = [">" if is_figures(column) else "<" for column in columns]
    for row in table:
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())


def is_figures(column: Sequence[str]) -> bool:
    """Whether a column, heading first, has nothing but figures in it."""
    return all(not cell or cell[0].isdigit() for cell in column[1:])


def players_table(results: Results) -> Table:
    """Who took part, with which protocol version and which parts."""
    rows = [("client", "protocol", "made of")]
    for name in CONTENDERS:
        if name in results.players:
            player = results.players[name]
            parts = ", ".join(f"{package} {version}" for package, version in player.packages.items())
            rows.append((player.title, player.protocol, parts))
        elif name in results.absent:
            rows.append((name, "skipped", results.absent[name]))
    return rows


def work_table(results: Results, work: str) -> Table:
    """A row for each client that was measured at a work."""
    headings = [
        "client",
        "CPU",
        "quartiles",
        "time",
        "CPU / mcp on Trio",
        "CPU / floor",
        *_extra_headings(work),
    ]
    rows = [headings]
    for name in results.works[work]:
        series = results.series(work, name)
        if series is not None:
            low, high = series.cpu_quartiles
            spread = f"{duration(low)} - {duration(high)}"
            ratios = [_ratio(series, results.series(work, other)) for other in (SDK, FLOOR)]
            cells = [title(results, work, name), duration(series.cpu), spread, duration(series.wall)]
            rows.append([*cells, *ratios, *_extra_cells(work, series)])
    empty = {index for index in range(len(headings)) if not any(row[index] for row in rows[1:])}
    return [[cell for index, cell in enumerate(row) if index not in empty] for row in rows]


def title(results: Results, work: str, name: str) -> str:
    return f"`{STATEMENTS[name]}`" if work == "import" else results.players[name].title


def _ratio(series: Series, other: Series | None) -> str:
    if other is None or other is series:
        return "" if other is None else "1"
    return f"{series.cpu / other.cpu:.2f}"


def _extra_headings(work: str) -> list[str]:
    match work:
        case "in-flight":
            return ["failed", "at the server at a time", "memory per call", "peak memory"]
        case "cancel":
            return ["late, worst of a round", "late, worst of all", "peak memory"]
        case "progress":
            return ["lost notifications", "peak memory"]
        case "big":
            return ["peak memory", "page faults"]
        case _:
            return ["peak memory"]


def _extra_cells(work: str, series: Series) -> list[str]:
    peak = f"{series.peak / 2**20:.0f} MiB"
    match work:
        case "in-flight":
            return [
                f"{series.failed:g}",
                f"{series.held:,}",
                f"{series.memory_per_call / 1024:.1f} KiB",
                peak,
            ]
        case "cancel":
            return [duration(series.usual_overshoot), duration(series.overshoot), peak]
        case "progress":
            return [f"{series.lost:,}", peak]
        case "big":
            fewest, most = series.faults
            return [peak, f"{fewest:.0f} - {most:.0f}"]
        case _:
            return [peak]


def failures(results: Results, work: str) -> list[str]:
    """A sentence for each client that failed."""
    told = []
    for name, series in results.works[work].items():
        if series.error is not None:
            told.append(f"{title(results, work, name)} could not do it: {series.error}")
        worst = max(series.rounds, key=lambda each: each.failed, default=None)
        if worst is not None and worst.error is not None:
            share = f"{worst.failed} of {worst.operations:,} failed"
            told.append(f"{title(results, work, name)}: {share}, the first with {worst.error}")
    return told


def verdicts_table(results: Results, verdicts: Sequence[Verdict]) -> Table:
    """A row for each target."""
    rows = [("work", "target", "measured", "quartiles", "fastest rounds", "reached")]
    for each in verdicts:
        what = WORKS[each.work].title
        if each.name != US and each.name in results.players:
            what += f" ({results.players[each.name].title})"
        spread = f"{each.spread[0]:.2f} - {each.spread[1]:.2f}" if each.spread else ""
        fastest = f"{each.fastest:.2f} x" if each.fastest is not None else ""
        rows.append((what, str(each.target), _value(each), spread, fastest, each.outcome))
    return rows


def _value(verdict: Verdict) -> str:
    value = verdict.value
    if value is None:
        return ""
    match verdict.target.figure:
        case "failed":
            return f"{value:g} of {IN_FLIGHT:,}"
        case "overshoot":
            return duration(value)
        case _:
            return f"{value:.2f} x"


def duration(seconds: float) -> str:
    """Seconds for a reader: in three digits."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    value, unit = (seconds * 1e3, "ms") if seconds >= 1e-3 else (seconds * 1e6, "µs")
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"
