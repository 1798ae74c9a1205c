"""The calls that are under way, and how they end when their connection is closed."""

from __future__ import annotations

from types import TracebackType

import trio

from .errors import NotConnected

__all__ = ["InFlight"]


class InFlight:
    """Calls of one connection.

        with in_flight.call():
            ...                    # ends with NotConnected when `close` is called

    Attributes:
        closed: whether calls are taken no more.
    """

    def __init__(self) -> None:
        self.closed: bool = False
        self._scopes: set[trio.CancelScope] = set()
        self._idle = trio.Event()

    def call(self) -> Call:
        """A block that is one call.

        Raises:
            NotConnected: the connection is closed.
        """
        if self.closed:
            raise NotConnected("the connector was closed")
        return Call(self)

    async def close(self) -> None:
        """Take no more calls, and end those that are under way."""
        self.closed = True
        for scope in self._scopes:
            scope.cancel(reason="the connector was closed")
        if self._scopes:  # they leave at once: cancelling never waits for the peer
            await self._idle.wait()

    def add(self, scope: trio.CancelScope) -> None:
        """A call begins."""
        self._scopes.add(scope)

    def remove(self, scope: trio.CancelScope) -> None:
        """A call has ended."""
        self._scopes.remove(scope)
        if self.closed and not self._scopes:
            self._idle.set()


class Call:
    """One call, as a block: a class, since every call of the connection pays for it."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._scope = trio.CancelScope()

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._in_flight.add(self._scope)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._in_flight.remove(self._scope)
        swallowed = self._scope.__exit__(kind, exc, traceback)
        if self._scope.cancelled_caught:
            raise NotConnected("the connector was closed while this was in flight")
        return swallowed
