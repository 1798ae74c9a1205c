"""What a pipe carries its messages over, and a message on its way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import trio

from ..errors import ConnectorError
from ..protocol.wire import ErrorResponse, Request, Response, encode
from .base import OneWay, nothing

__all__ = ["OpenWire", "Outgoing", "Wire"]


class Wire(ABC):
    """One connection that carries whole messages.

    Attributes:
        progressed: to be called by `send` when a part of a message has gone, where there are several.
    """

    progressed: Callable[[], object] = staticmethod(nothing)

    @abstractmethod
    async def send(self, message: bytes) -> None:
        """Send one message. Called by one task only.

        Raises:
            ConnectionLost: the other side is gone.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """The next message. Called by one task only.

        Raises:
            ConnectionLost: there is none, because the connection has ended; says why.
            MessageTooLarge: it is larger than the limit.
        """

    def redact(self, text: str) -> str:
        """`text`, which the server sent, without what it was sent in secret."""
        return text


OpenWire: TypeAlias = Callable[[], AbstractAsyncContextManager[Wire]]
"""Connects for a block, or raises `ConnectError`.

The block's end may take leave of the other side. It is cancelled when the time for that is over; then it
does not wait any more.
"""


class Outgoing:
    """A message on its way out, and what comes of it."""

    __slots__ = ("abandoned", "data", "done", "in_progress", "message", "outcome", "sending", "wants_answer")

    def __init__(self, message: Request | OneWay) -> None:
        self.message: Request | OneWay = message
        self.data: bytes = encode(message)
        self.wants_answer: bool = isinstance(message, Request)
        self.sending: trio.CancelScope | None = None  # around the sending, if that is not to outlast it
        self.abandoned: bool = False  # its caller has left
        self.in_progress: bool = False  # the other side may be at work on it
        self.done: trio.Event = trio.Event()
        self.outcome: Response | ErrorResponse | ConnectorError | None = None

    def begin(self) -> None:
        """The other side may be at work on it from now on."""
        self.in_progress = self.wants_answer and not self.done.is_set()

    def end(self, outcome: Response | ErrorResponse | ConnectorError | None) -> None:
        """Wake the caller; the first outcome counts."""
        if not self.done.is_set():
            self.in_progress = False
            self.outcome = outcome
            self.done.set()
            if self.sending is not None:
                self.sending.cancel(reason="the message has come to its end")
