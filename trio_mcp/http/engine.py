"""The seam between a transport's exchange and whatever sends it.

There are two engines: `PoolEngine` on our own connections, and `ClientEngine` on an httpx2 client. Both take
the same request and give the same kind of reply, so that nothing above them knows which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["MAX_SIZE", "Engine", "HttpRequest", "Reply", "nothing"]

MAX_SIZE: Final = 1 << 24
"""Bytes that a body may have, unless somebody says otherwise."""


def nothing() -> None:
    """Whom it does not concern."""


@dataclass(slots=True)
class HttpRequest:
    """What to send, and how long to wait.

    Attributes:
        method: the HTTP method.
        url: where to.
        headers: all but those that frame the body.
        body: the content; None for none.
        timeout: seconds for connecting, and for each step of sending.
        silence: the longest time in seconds in which nothing comes.
        repeatable: whether it does the same twice as it does once.
        on_sent: called when it has been sent whole, or may have been where that is not known: before that,
            no server can have understood it.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    silence: float
    repeatable: bool
    on_sent: Callable[[], object] = nothing


class Reply(Protocol):
    """A response whose headers have come."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def fields(self) -> Mapping[str, str]:
        """The headers, to be asked for in lower case; the values of repeated ones joined by commas."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the body has been read to its end, or let go."""
        ...

    async def receive(self) -> bytes:
        """The next piece of the body, decoded; b"" at its end.

        Raises:
            ConnectionLost: the connection broke, or nothing came for `silence` seconds (`Stalled`).
            ProtocolError: broken HTTP, or a broken content encoding.
        """
        ...

    async def close(self) -> None:
        """Let go at once. It never waits and raises nothing."""
        ...


class Engine(Protocol):
    """Sends requests."""

    async def send(self, request: HttpRequest) -> tuple[Reply, Mapping[str, str]]:
        """Send `request`; the reply, and the headers that were sent.

        Raises:
            ConnectError: no connection.
            ConnectionLost: it broke, or somebody was silent for too long (`Stalled`).
            ConfigurationError: the request cannot be sent.
        """
        ...
