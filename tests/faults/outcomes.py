"""What a fault is to come to for the caller, as the documentation says it; and whether it has."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import trio

from trio_mcp.errors import ConnectorError

__all__ = ["OK", "PATIENCE", "Attempt", "Fails", "Fine", "Outcome", "TimesOut", "attempt"]

PATIENCE: Final = 60.0
"""Seconds that the caller of each call allows it."""


@dataclass(frozen=True)
class Fine:
    """It succeeds.

    Args:
        within: seconds that it may take.
    """

    within: float = 3.0

    def __str__(self) -> str:
        return "ok"


@dataclass(frozen=True)
class Fails:
    """It raises.

    Args:
        kind: exactly this class, one of `trio_mcp.errors`, or a private one below it.
        says: a pattern of its message.
        cause: the class of its `__cause__`; None is no cause.
        within: seconds that it may take.
        attributes: of the error.
    """

    kind: type[ConnectorError]
    says: str = ""
    cause: type[BaseException] | None = None
    within: float = 3.0
    attributes: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.kind.__name__


@dataclass(frozen=True)
class TimesOut:
    """It goes on for as long as its caller lets it: a call has no deadline but its caller's."""

    def __str__(self) -> str:
        return "caller's deadline"


Outcome: TypeAlias = Fine | Fails | TimesOut
OK: Final = Fine()


@dataclass
class Attempt:
    """What came of something that was tried.

    Attributes:
        error: what it raised.
        seconds: how long it took, in virtual time.
        left: whether the caller left in its middle.
    """

    error: Exception | None
    seconds: float
    left: bool

    def deviations(self, expected: Outcome) -> list[str]:
        """How it differs from what was expected, in words."""
        error, found = self.error, []
        match expected:
            case TimesOut():
                if type(error) is not trio.TooSlowError:
                    return [f"ended by {error!r} and not by the caller's deadline"]
                return []
            case Fine():
                if error is not None:
                    return [f"raised {error!r} from {error.__cause__!r} after {self.seconds:g} s"]
            case Fails():
                if not _is_exactly(error, expected.kind):
                    what = "succeeded" if error is None else f"raised {error!r} from {error.__cause__!r}"
                    return [f"{what} after {self.seconds:g} s, where {expected.kind.__name__} was expected"]
                assert error is not None
                cause = error.__cause__
                if cause is not None if expected.cause is None else not isinstance(cause, expected.cause):
                    found.append(f"the cause of {error!r} is {cause!r}")
                if not re.search(expected.says, str(error)):
                    found.append(f"{str(error)!r} does not say {expected.says!r}")
                for name, value in expected.attributes.items():
                    if (actual := getattr(error, name)) != value:
                        found.append(f"{name} is {actual!r} and not {value!r}")
        if self.seconds > expected.within:
            found.append(f"it took {self.seconds:g} s, and not {expected.within:g} s at most")
        return found


def _is_exactly(error: Exception | None, kind: type[ConnectorError]) -> bool:
    """Whether it is of that class, or of one below it that has no public name."""
    return type(error) is kind or (isinstance(error, kind) and type(error).__name__.startswith("_"))


async def attempt(act: Callable[[], Awaitable[object]], leave_after: float | None = None) -> Attempt:
    """Try something, with a deadline, and leave it after `leave_after` seconds if that is given."""
    began, error = trio.current_time(), None
    with trio.CancelScope() as scope:
        if leave_after is not None:
            scope.deadline = began + leave_after
        try:
            with trio.fail_after(PATIENCE):
                await act()
        except Exception as exc:
            error = exc
    return Attempt(error, trio.current_time() - began, scope.cancelled_caught)
