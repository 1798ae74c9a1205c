"""How a lost connection or stream is taken up again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from .errors import ConfigurationError

__all__ = ["ReconnectPolicy", "check_reconnect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectPolicy:
    """The waits between attempts, in seconds on Trio's clock, and how many attempts there are.

    Args:
        initial: before the first attempt.
        maximum: the longest one.
        factor: how much longer each wait is than the one before.
        jitter: the part of a wait that is added at random, so that a thousand clients do not return in step.
        attempts: in a row that may fail; None for no limit.

    Raises:
        ConfigurationError: a number that makes no sense.
    """

    initial: float = 1.0
    maximum: float = 60.0
    factor: float = 2.0
    jitter: float = 0.25
    attempts: int | None = 6

    def __post_init__(self) -> None:
        waits = (self.initial, self.maximum, self.factor, self.jitter)
        if (
            not all(math.isfinite(each) and each >= 0 for each in waits)
            or not 0 < self.initial <= self.maximum
            or self.factor < 1
            or (self.attempts is not None and self.attempts < 1)
        ):
            raise ConfigurationError(
                "a ReconnectPolicy has 0 < initial <= maximum, factor >= 1, jitter >= 0 and attempts >= 1, "
                f"all of them finite; not {self}"
            )

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait before an attempt; the first one in a row is 0."""
        return self.jittered(self.grown(self.initial, self.maximum, attempt), rng)

    def grown(self, first: float, longest: float, attempt: int) -> float:
        """The wait before an attempt, without jitter: `first` before the first one, and at most `longest`."""
        too_long = attempt * math.log(self.factor) > math.log(
            longest / first
        )  # the power itself may overflow
        return longest if too_long else first * self.factor**attempt

    def jittered(self, wait: float, rng: random.Random) -> float:
        """`wait`, and at random a part of it more."""
        return wait * (1 + rng.random() * self.jitter)

    def allows(self, attempt: int) -> bool:
        """Whether there is such an attempt; the first one in a row is 0."""
        return self.attempts is None or attempt < self.attempts


def check_reconnect(option: bool | ReconnectPolicy, name: str = "reconnect") -> ReconnectPolicy | None:
    """The policy that `option`, which is called `name`, means: the default one for True, None for False.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(option, bool):
        return ReconnectPolicy() if option else None
    if not isinstance(option, ReconnectPolicy):
        raise ConfigurationError(f"{name} must be a bool or a ReconnectPolicy, not {option!r:.50}")
    return option
