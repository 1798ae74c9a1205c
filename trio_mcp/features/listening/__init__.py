"""Listening: the server's events as a block, in the same way whichever era the server is of."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import mcp_types as types

from ...deadlines import ConnectTimeout, deadline
from ...dispatcher import Dispatcher
from ...protocol.versions import is_modern
from ...reconnecting import ReconnectPolicy
from ...session import Session
from ...supervision import Supervisor, open_flat_nursery
from .legacy import LegacyListening
from .stream import Stream
from .subscription import Subscription

__all__ = ["Listening", "Subscription"]


class Listening:
    """The listeners of one connection.

    Args:
        session: the conversation.
        dispatcher: tells of notifications.
        supervisor: where courtesies are sent from.
        rng: the source of jitter.
        patience: seconds to wait for the server's acknowledgement.
    """

    def __init__(
        self,
        session: Session,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        rng: random.Random,
        patience: float,
    ) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._rng = rng
        self._patience = patience
        self._legacy = LegacyListening(session, dispatcher, supervisor)

    @asynccontextmanager
    async def open(
        self, wanted: types.SubscriptionFilter, policy: ReconnectPolicy | None
    ) -> AsyncGenerator[Subscription]:
        """Listen within the block; see `Connector.listen`."""
        subscription = Subscription()
        async with open_flat_nursery() as nursery:
            try:
                if is_modern(self._session.negotiated.version):
                    stream = Stream(self._session, self._dispatcher, subscription, wanted, self._rng, policy)
                    nursery.start_soon(stream.follow)
                    with deadline(self._patience, self._unacknowledged):
                        await stream.opened.wait()
                    yield subscription
                else:
                    nursery.start_soon(self._legacy.follow, subscription)
                    async with self._legacy.open(subscription, wanted):
                        yield subscription
            finally:
                subscription.end(None)
            nursery.cancel_scope.cancel(reason="nobody listens any more")

    def _unacknowledged(self) -> ConnectTimeout:
        return ConnectTimeout(
            f"the server did not acknowledge the subscription within {self._patience:g} s (connect_timeout=)"
        )
