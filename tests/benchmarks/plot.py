"""The CPU time of each client at each work, as a picture."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from .pythons import STATEMENTS
from .report import duration, title
from .results import Results
from .works import FLOOR, US, WORKS

PANELS: Final = ("sequential", "concurrent", "progress", "big", "opening", "import")
_COLUMNS: Final = 2

# Blue and orange of Okabe and Ito's palette, and greys: they can be told apart by everybody. Nothing is told
# by colour only.
_OURS: Final = "#0072B2"
_TARGET: Final = "#D55E00"
_OTHERS: Final = "#A8A8A8"
_FLOOR: Final = "#D9D9D9"
_INK: Final = "#222222"


class Unavailable(Exception):
    """There is no matplotlib."""


def draw(results: Results, path: Path) -> None:
    """Write the plot, a panel for each work.

    Raises:
        Unavailable: matplotlib is not installed.
    """
    try:
        # By name: it is in no environment that a type checker is run in.
        matplotlib: Any = importlib.import_module("matplotlib")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError as exc:
        raise Unavailable("the plot needs matplotlib: pip install --group bench") from exc
    # The same results give the same file.
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "trio_mcp", "font.size": 9, "text.color": _INK})
    keys = [key for key in PANELS if any(series.rounds for series in results.works.get(key, {}).values())]
    lines = -(-len(keys) // _COLUMNS)
    figure, axes = pyplot.subplots(
        lines, _COLUMNS, figsize=(10, 2.25 * lines + 0.5), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(keys) :]:
        axis.remove()
    for key, axis in zip(keys, axes.flat, strict=False):
        _panel(results, key, axis)
    mark = pyplot.Line2D([], [], color=_TARGET, linewidth=2.5, marker="|", linestyle="none", markersize=11)
    mark.set_markeredgewidth(2.5)
    # A legend outside of the panels makes room for itself; the title, on the same line, needs none.
    figure.legend([mark], ["what trio_mcp is to stay below"], loc="outside upper right", frameon=False)
    figure.text(0.008, 0.992, "CPU time of the client for one operation: less is better", va="top", size=11)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _panel(results: Results, key: str, axis: Any) -> None:
    found = {name: series for name in results.works[key] if (series := results.series(key, name)) is not None}
    costs = [series.cpu for series in found.values()]
    colours = [{US: _OURS, FLOOR: _FLOOR}.get(name, _OTHERS) for name in found]
    names = [STATEMENTS[name].split()[1] if key == "import" else title(results, key, name) for name in found]
    limit = _limit(results, key)
    axis.barh(range(len(costs)), costs, color=colours, height=0.72)
    axis.set_yticks(range(len(costs)), names)
    axis.invert_yaxis()
    for row, (name, cost) in enumerate(zip(found, costs, strict=True)):
        weight = "bold" if name == US else "normal"
        end = max(cost, limit or 0.0) if name == US else cost
        axis.annotate(
            duration(cost), (end, row), xytext=(5, 0), textcoords="offset points", va="center", weight=weight
        )
        axis.get_yticklabels()[row].set_fontweight(weight)
    axis.set_xlim(0, max(costs) * 1.25)
    axis.set_xticks([])
    axis.tick_params(left=False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title(WORKS[key].title, loc="left", fontsize=9.5, weight="bold")
    if limit is not None and US in found:
        row = list(found).index(US)
        axis.plot([limit, limit], [row - 0.48, row + 0.48], color=_TARGET, linewidth=2.5)


def _limit(results: Results, key: str) -> float | None:
    """The strictest of trio_mcp's targets, in seconds of CPU."""
    limits = [
        target.limit * other.cpu
        for target in WORKS[key].targets
        if target.figure == "cpu" and (other := results.series(key, target.against or "")) is not None
    ]
    return min(limits, default=None)
