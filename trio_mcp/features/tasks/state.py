"""What the server says of a task, in whichever form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import mcp_types as types

from ...protocol.wire import JSONObject

__all__ = ["SHORTEST_INTERVAL", "TaskState", "interval"]

SHORTEST_INTERVAL: Final = 0.1
"""Seconds between two looks at a task, whatever its server asks for and however often it notifies."""
_LONGEST_INTERVAL: Final = 600.0
_DEFAULT_INTERVAL: Final = 1.0

_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """A task at some moment.

    Attributes:
        status: where it stands.
        message: the server's words on that.
        interval: seconds to wait before the next look.
        result: the raw result of the call, once it is known.
        error: code, message and data of the error that the call ended with.
        questions: what the server wants to know, by key.
    """

    status: types.TaskStatus
    message: str | None = None
    interval: float = _DEFAULT_INTERVAL
    result: JSONObject | None = None
    error: tuple[int, str, object] | None = None
    questions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it stays as it is."""
        return self.status in _ENDED


def interval(milliseconds: float | None) -> float:
    """The server's poll interval in seconds, within bounds of ours; that of none is ours as well."""
    if milliseconds is None:
        return _DEFAULT_INTERVAL
    return min(max(milliseconds / 1000, SHORTEST_INTERVAL), _LONGEST_INTERVAL)
