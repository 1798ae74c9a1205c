"""The account of a soak: what each call came to, against how often the server has carried it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["Audit", "Outcome", "audit"]


class Outcome(StrEnum):
    """How a call ended; the letter stands for it in what a worker tells."""

    RESULT = "r"
    WRONG = "w"
    """A result, and not its own."""
    ERROR = "e"
    """An error that the client documents."""
    STRANGE = "s"
    """Another exception."""
    CANCELLED = "c"
    HUNG = "h"
    """It was given up after a time that no call takes."""
    DEAD = "d"
    """Its connection's block had ended before it could be made."""
    MISSING = "."
    """It has not ended at all."""


_UNKNOWN: Final = frozenset({Outcome.ERROR, Outcome.CANCELLED, Outcome.STRANGE, Outcome.HUNG})


@dataclass(frozen=True)
class Audit:
    """What came of all calls.

    Attributes:
        calls: how many there were.
        outcomes: how they ended.
        carried_out: how many of them the server has carried out.
        unknown: how many the server has carried out without its client's getting the result.
        twice: how many it has carried out more than once.
        lost: how many have a result, and were not carried out.
    """

    calls: int
    outcomes: Counter[Outcome]
    carried_out: int
    unknown: int
    twice: int
    lost: int

    @property
    def sound(self) -> bool:
        """Whether each call has ended once, as it is documented, and was carried out once at most."""
        wrong = (Outcome.WRONG, Outcome.STRANGE, Outcome.HUNG, Outcome.DEAD, Outcome.MISSING)
        return not (self.twice or self.lost or any(self.outcomes[each] for each in wrong))

    def __str__(self) -> str:
        told = ", ".join(
            f"{self.outcomes[each]} {each.name.lower()}" for each in Outcome if self.outcomes[each]
        )
        return (
            f"{self.calls} calls: {told}; the server has carried out {self.carried_out}, {self.unknown} of "
            f"them without the client's getting the result, {self.twice} twice, {self.lost} lost"
        )


def audit(outcomes: str, ledger: Mapping[int, int]) -> Audit:
    """Compare both sides' books.

    Args:
        outcomes: a letter for each call, by its number.
        ledger: how often the server has carried out each number.
    """
    found = [Outcome(letter) for letter in outcomes]
    return Audit(
        calls=len(found),
        outcomes=Counter(found),
        carried_out=sum(1 for count in ledger.values() if count),
        unknown=sum(1 for number in ledger if found[number] in _UNKNOWN),
        twice=sum(1 for count in ledger.values() if count > 1),
        lost=sum(
            1 for number, outcome in enumerate(found) if outcome is Outcome.RESULT and number not in ledger
        ),
    )
