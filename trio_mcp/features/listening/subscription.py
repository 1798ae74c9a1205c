"""The events of one listener, as they come."""

from __future__ import annotations

from typing import Final, Generic, Self, TypeVar

import mcp_types as types
import trio

from ...errors import ConnectorError
from .events import Event, Gap

__all__ = ["EventStream", "Subscription"]

E = TypeVar("E")

_CAPACITY: Final = 1000


class EventStream(Generic[E]):
    """Events, as they come: `async for event in stream`.

    Up to 1,000 wait; then the oldest are forgotten, and a `Gap` tells so.
    """

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[E](_CAPACITY)
        self._overflow = False
        self._failure: ConnectorError | None = None

    async def receive(self) -> E | Gap:
        """The next event.

        Raises:
            trio.EndOfChannel: it has ended in order.
            ConnectorError: it was lost.
        """
        if self._overflow:
            self._overflow = False
            await trio.lowlevel.checkpoint()
            return Gap(f"more than {_CAPACITY} events were waiting")
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._failure is not None:
                raise self._failure from self._failure.__cause__
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E | Gap:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def put(self, event: E) -> None:
        """An event has come."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._receive.receive_nowait()
            self._overflow = True
            self._send.send_nowait(event)
        except trio.ClosedResourceError:
            pass

    def end(self, failure: ConnectorError | None) -> None:
        """No more events come. What ended them first is what counts."""
        if self._failure is None:
            self._failure = failure
        self._send.close()


class Subscription(EventStream[Event]):
    """The events of one server. Made by `Connector.listen` only.

    The iteration ends with its block, and when the server ends the subscription in order. Where it is lost
    for good, the iteration raises the reason.

    Attributes:
        honoured: what the server agreed to tell of; it may be less than was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.honoured: types.SubscriptionFilter = types.SubscriptionFilter()
