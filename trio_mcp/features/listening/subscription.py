"""The events of one listener, as they come."""

from __future__ import annotations

from typing import Final, Self

import mcp_types as types
import trio

from ...errors import ConnectorError
from .events import Event, Gap

__all__ = ["Subscription"]

_CAPACITY: Final = 1000


class Subscription:
    """Events, as they come: `async for event in subscription`. Made by `Connector.listen` only.

    Up to 1,000 wait; then the oldest are forgotten, and a `Gap` tells so. The iteration ends when the server
    ends the subscription in order. Where it is lost for good, the iteration raises the reason.

    Attributes:
        honoured: what the server agreed to tell of; it may be less than was asked for.
    """

    def __init__(self) -> None:
        self.honoured: types.SubscriptionFilter = types.SubscriptionFilter()
        self._send, self._receive = trio.open_memory_channel[Event](_CAPACITY)
        self._overflow = False
        self._failure: ConnectorError | None = None

    async def receive(self) -> Event:
        """The next event.

        Raises:
            trio.EndOfChannel: the server has ended the subscription.
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

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def put(self, event: Event) -> None:
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
        """No more events come."""
        self._failure = failure
        self._send.close()
