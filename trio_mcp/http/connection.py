"""A connection to a server: a stream, and what reads responses from it. It carries one exchange at a time."""

from __future__ import annotations

from typing import NamedTuple

import trio

from ..network import close_at_once
from .http11 import ResponseParser

__all__ = ["Connection", "Origin"]


class Origin(NamedTuple):
    """Where connections lead to: they are shared by all requests to the same one."""

    host: str
    port: int
    tls: bool


class Connection:
    """A connection.

    Args:
        origin: where it leads to.
        stream: what carries it; it is this connection's to close.

    Attributes:
        parser: reads one response after the other.
        idle_since: when it was last given back, on Trio's clock.
    """

    __slots__ = ("idle_since", "origin", "parser", "stream")

    def __init__(self, origin: Origin, stream: trio.abc.Stream) -> None:
        self.origin: Origin = origin
        self.stream: trio.abc.Stream = stream
        self.parser: ResponseParser = ResponseParser()
        self.idle_since: float = 0.0

    async def close(self) -> None:
        """Close at once; it never waits."""
        self.parser.release()
        await close_at_once(self.stream)
