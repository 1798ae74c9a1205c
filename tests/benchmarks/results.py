"""What a run has found: rounds, series of them and their medians, and whether the targets are reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .works import US, WIDE, WORKS, Target


@dataclass
class Round:
    """One round of one client.

    Attributes:
        operations: how many there were.
        cpu: seconds of CPU that the client's process took for all of them.
        wall: seconds that they took.
        peak: the most bytes that the process has had in memory.
        failed: how many operations failed, where that does not end the round.
        error: what the first failure was.
        lost: progress notifications that did not reach the callback before the call returned.
        held: the most calls that the server had at a time.
        grown: bytes by which the process's memory grew.
        faults: pages of memory that the system had to bring in, without reading a disk.
        overshoot: the longest time in seconds from a deadline until the cancelled task was back.
    """

    operations: int
    cpu: float
    wall: float
    peak: int
    failed: int = 0
    error: str | None = None
    lost: int = 0
    held: int | None = None
    grown: int | None = None
    faults: int = 0
    overshoot: float | None = None


@dataclass
class Series:
    """The rounds of one client at one work; `error` is why there are no more."""

    rounds: list[Round] = field(default_factory=list)
    error: str | None = None

    @property
    def cpu(self) -> float:
        """Seconds of CPU for an operation: the median of the rounds."""
        return statistics.median(each.cpu / each.operations for each in self.rounds)

    @property
    def cpu_quartiles(self) -> tuple[float, float]:
        """Half of the rounds lie between these."""
        return _quartiles([each.cpu / each.operations for each in self.rounds])

    @property
    def wall(self) -> float:
        return statistics.median(each.wall / each.operations for each in self.rounds)

    @property
    def overshoot(self) -> float:
        """The longest overshoot of all rounds: a deadline that is missed once is missed."""
        return max(each.overshoot or 0.0 for each in self.rounds)

    @property
    def usual_overshoot(self) -> float:
        """The longest overshoot of a round: the median of the rounds."""
        return statistics.median(each.overshoot or 0.0 for each in self.rounds)

    @property
    def memory_per_call(self) -> float:
        return statistics.median((each.grown or 0) / each.operations for each in self.rounds)

    @property
    def fastest(self) -> float:
        """Seconds of CPU for an operation in the round that was disturbed least."""
        return min(each.cpu / each.operations for each in self.rounds)

    @property
    def faults(self) -> tuple[float, float]:
        """Page faults for an operation: the fewest and the most of a round."""
        counts = [each.faults / each.operations for each in self.rounds]
        return min(counts), max(counts)

    @property
    def failed(self) -> float:
        """Operations that failed in a round, in the worst case."""
        return max(each.failed for each in self.rounds)

    @property
    def lost(self) -> int:
        return sum(each.lost for each in self.rounds)

    @property
    def held(self) -> int:
        return max(each.held or 0 for each in self.rounds)

    @property
    def peak(self) -> int:
        return max(each.peak for each in self.rounds)


@dataclass
class Player:
    """A client that takes part: the protocol version that it negotiated, and the versions of its parts."""

    title: str
    protocol: str
    packages: Mapping[str, str]


@dataclass
class Results:
    """A whole run.

    Attributes:
        machine: what it ran on, in general terms.
        command: how it was asked for.
        seconds: how long it took.
        players: who took part.
        absent: who did not, and why.
        works: the series of each work, by client.
        changed: whether trio_mcp's source changed meanwhile, so that the figures are of no one version.
    """

    machine: Mapping[str, str]
    command: str
    seconds: float = 0.0
    players: dict[str, Player] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    works: dict[str, dict[str, Series]] = field(default_factory=dict)
    changed: bool = False

    def series(self, work: str, name: str) -> Series | None:
        """The series of a client that has one with at least one round."""
        found = self.works.get(work, {}).get(name)
        return found if found is not None and found.rounds else None

    def as_json(self) -> dict[str, Any]:
        """Everything, with the medians and the verdicts beside the rounds that they come from."""
        plain = asdict(self)
        for work, by_name in self.works.items():
            for name, series in by_name.items():
                if series.rounds:
                    plain["works"][work][name] |= {"cpu": series.cpu, "wall": series.wall}
        plain["verdicts"] = [
            {"work": each.work, "target": str(each.target), "value": each.value, "outcome": each.outcome}
            for each in judge(self)
        ]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Results:
        """What `as_json` gave."""
        works = {
            work: {
                name: Series([Round(**each) for each in series["rounds"]], series["error"])
                for name, series in by_name.items()
            }
            for work, by_name in plain["works"].items()
        }
        players = {name: Player(**each) for name, each in plain["players"].items()}
        return cls(
            plain["machine"],
            plain["command"],
            plain["seconds"],
            players,
            dict(plain["absent"]),
            works,
            plain["changed"],
        )


Outcome = Literal["yes", "no", "unclear", "failed", "not measured"]


@dataclass(frozen=True)
class Verdict:
    """A target and what came of it.

    Attributes:
        value: the figure or, where the target is a ratio, the ratio of the medians.
        spread: half of the rounds, each with the other client's next to it, have a ratio between these.
        fastest: the ratio of the rounds that were disturbed least.
        outcome: "yes" or "no" only if all of these say the same. What disturbs a machine adds the same to
            both sides of a ratio, and so brings it nearer to 1: a median alone can be flattered by that.
            "failed" if a round broke off, whatever the others say.
    """

    work: str
    name: str
    target: Target
    outcome: Outcome
    value: float | None = None
    spread: tuple[float, float] | None = None
    fastest: float | None = None


def judge(results: Results) -> list[Verdict]:
    """All targets of the works that were run."""
    return [
        _verdict(results, work, name, target)
        for work in results.works
        for target in WORKS[work].targets
        for name in (US, WIDE)
        if name in WORKS[work].names
    ]


def _verdict(results: Results, work: str, name: str, target: Target) -> Verdict:
    whole = results.works[work].get(name)
    if whole is not None and whole.error is not None:
        return Verdict(work, name, target, "failed")
    ours = results.series(work, name)
    other = results.series(work, target.against) if target.against is not None else None
    if ours is None or (target.against is not None and other is None):
        return Verdict(work, name, target, "not measured")
    if other is None:
        value: float = getattr(ours, target.figure)
        return Verdict(work, name, target, "yes" if value <= target.limit else "no", value)
    value, fastest = ours.cpu / other.cpu, ours.fastest / other.fastest
    pairs = zip(ours.rounds, other.rounds, strict=False)
    spread = _quartiles([a.cpu / a.operations / (b.cpu / b.operations) for a, b in pairs])
    below = {each <= target.limit for each in (value, fastest, *spread)}
    outcome: Outcome = "unclear" if len(below) > 1 else "yes" if below.pop() else "no"
    return Verdict(work, name, target, outcome, value, spread, fastest)


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
