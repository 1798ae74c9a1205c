"""How a server of a group is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import ConnectorError

__all__ = ["ServerState", "Status"]

Status: TypeAlias = Literal["closed", "opening", "up", "down", "failed"]


@dataclass(frozen=True, slots=True)
class ServerState:
    """How a server of a group is.

    Attributes:
        status: "closed" outside of the group's block; "opening", for the first time or anew; "up"; "down",
            between two attempts to open it; "failed", when there will be none.
        error: why it is not up, as far as that is known.
        since: since when that is so, on Trio's clock; None outside of the block.
        retry_at: when it is opened anew, if it is down.
    """

    status: Status
    error: ConnectorError | None = None
    since: float | None = None
    retry_at: float | None = None

    def __str__(self) -> str:
        return self.status if self.error is None else f"{self.status} ({self.error})"
