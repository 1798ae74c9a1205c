"""Listening to a modern server: a stream for each listener (26/basic/patterns/subscriptions)."""

from __future__ import annotations

import random
from typing import Final

import mcp_types as types
import trio
from pydantic import ValidationError

from ...dispatcher import Dispatcher
from ...errors import ConnectError, ConnectionLost, ConnectorError, HTTPStatusError, ProtocolError
from ...handling import Handling
from ...protocol.envelope import dump
from ...protocol.validation import first_error
from ...protocol.wire import JSONObject
from ...reconnecting import ReconnectPolicy
from ...session import Session
from .events import EVENTS, Gap, event_of
from .subscription import Subscription

__all__ = ["Stream"]

_SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_CANCELLED: Final = "notifications/cancelled"
_LASTING: Final = 10.0  # seconds after which a stream counts as having been of use, though it brought nothing


class Stream:
    """One subscription, through all the streams that carry it one after the other.

    Args:
        session: the conversation.
        dispatcher: tells of notifications.
        subscription: takes the events.
        wanted: what to listen to.
        rng: the source of jitter.
        policy: how to take a lost stream up again; None for not at all.

    Attributes:
        opened: set when the server has acknowledged the first stream.
    """

    def __init__(
        self,
        session: Session,
        dispatcher: Dispatcher,
        subscription: Subscription,
        wanted: types.SubscriptionFilter,
        rng: random.Random,
        policy: ReconnectPolicy | None,
    ) -> None:
        self.opened: trio.Event = trio.Event()
        self._session = session
        self._dispatcher = dispatcher
        self._subscription = subscription
        self._wanted = wanted
        self._rng = rng
        self._policy = policy
        self._attempt = 0
        self._acknowledged: float | None = None
        self._lost: ConnectorError | None = None

    async def follow(self) -> None:
        """Listen until the server ends it in order, or it is lost for good."""
        while True:
            try:
                await self._listen_once()
            except ConnectorError as exc:
                if not self.opened.is_set():
                    raise  # out of the block's beginning
                self._lost = exc
                if not await self._pause(exc):
                    self._subscription.end(exc)
                    return
            else:
                self._subscription.end(None)
                return

    async def _pause(self, lost: ConnectorError) -> bool:
        """Wait before the next attempt; False if there is none."""
        if self._acknowledged is not None and trio.current_time() - self._acknowledged >= _LASTING:
            self._attempt = 0
        if (
            self._policy is None
            or self._session.transport.given_up
            or not _may_pass(lost)
            or not self._policy.allows(self._attempt)
        ):
            return False
        delay = self._policy.delay(self._attempt, self._rng)
        self._attempt += 1
        await trio.sleep(delay)
        return True

    async def _listen_once(self) -> None:
        request_id = self._session.next_id()
        self._acknowledged, broken = None, None

        def hear(method: str, params: JSONObject) -> None:
            nonlocal broken
            if method == _CANCELLED:
                if params["requestId"] == request_id:
                    scope.cancel(reason="the server has ended the subscription")
                return
            if (params.get("_meta") or {}).get(_SUBSCRIPTION_ID) != request_id:
                return
            if method == _ACKNOWLEDGED:
                try:
                    self._begin(params)
                except ProtocolError as exc:
                    broken = exc
                    scope.cancel(reason="the server broke the protocol")
            elif self._acknowledged is not None:
                self._attempt = 0
                self._subscription.put(event_of(method, params))

        with self._dispatcher.watch([*EVENTS, _ACKNOWLEDGED, _CANCELLED], hear), trio.CancelScope() as scope:
            await self._session.request(
                "subscriptions/listen",
                {"notifications": dump(self._wanted)},
                types.SubscriptionsListenResult,
                how=Handling(request_id=request_id),
            )
        if broken is not None:
            raise broken
        if self._acknowledged is None:
            raise ProtocolError("the server ended a subscription that it had not acknowledged")

    def _begin(self, params: JSONObject) -> None:
        try:
            acknowledged = types.SubscriptionsAcknowledgedNotificationParams.model_validate(params)
        except ValidationError as exc:
            # pydantic's own error quotes what the server sent, which may be anything.
            raise ProtocolError(f"the server acknowledged nonsense: {first_error(exc)}") from None
        self._subscription.honoured = acknowledged.notifications
        self._acknowledged = trio.current_time()
        if self.opened.is_set():
            self._subscription.put(Gap(f"the subscription was lost and taken up again: {self._lost}"))
        self.opened.set()


def _may_pass(error: ConnectorError) -> bool:
    """Whether what ended a stream may be over in a moment."""
    if isinstance(error, HTTPStatusError):
        return error.status_code == 429 or error.status_code >= 500
    return isinstance(error, ConnectionLost | ConnectError)
