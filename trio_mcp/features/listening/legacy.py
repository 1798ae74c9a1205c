"""Listening to a legacy server: asked for its resources one by one, it tells of its lists by itself.

2511/server/resources, "Subscriptions"; the notifications come on its GET stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import mcp_types as types
import trio

from ...dispatcher import INTERRUPTED, Dispatcher
from ...errors import ConnectorError, NotConnected
from ...protocol.wire import JSONObject
from ...session import Session
from ...supervision import Supervisor
from .events import EVENTS, Gap, ResourceUpdated, event_of
from .subscription import Subscription

__all__ = ["LegacyListening"]

_COURTESY: Final = 5.0  # seconds that the end of a subscription may take


class LegacyListening:
    """The listeners of one connection, who share its subscriptions.

    Args:
        session: the conversation.
        dispatcher: tells of notifications.
        supervisor: where courtesies are sent from.
    """

    def __init__(self, session: Session, dispatcher: Dispatcher, supervisor: Supervisor) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._subscribed: Counter[str] = Counter()
        self._changing = trio.Lock()  # or a new subscription could overtake the end of an old one

    async def follow(self, subscription: Subscription) -> None:
        """End `subscription` when the connection is closed."""
        try:
            await self._session.until_closed()
        except NotConnected as exc:
            subscription.end(exc)

    @asynccontextmanager
    async def open(
        self, subscription: Subscription, wanted: types.SubscriptionFilter
    ) -> AsyncGenerator[None]:
        """Have the server tell of what is wanted, within the block."""
        honoured = subscription.honoured = _offered(wanted, self._session.negotiated.capabilities)
        lists = _lists(honoured)
        uris = honoured.resource_subscriptions or []

        def hear(method: str, params: JSONObject) -> None:
            if method == INTERRUPTED:
                subscription.put(Gap(params["reason"]))
                return
            event = event_of(method, params)
            if method in lists or (isinstance(event, ResourceUpdated) and event.uri.startswith(tuple(uris))):
                subscription.put(event)

        with self._dispatcher.watch([*EVENTS, INTERRUPTED], hear):
            taken: list[str] = []
            try:
                for uri in uris:
                    async with self._changing:
                        taken.append(uri)
                        self._subscribed[uri] += 1
                        if self._subscribed[uri] == 1:
                            await self._session.request(
                                "resources/subscribe", {"uri": uri}, types.EmptyResult
                            )
                yield
            finally:
                for uri in taken:
                    self._let_go(uri)

    def _let_go(self, uri: str) -> None:
        self._subscribed[uri] -= 1
        if self._subscribed[uri] == 0:
            with suppress(RuntimeError):  # goodbye is being said already
                self._supervisor.errands.start_soon(self._unsubscribe, uri)

    async def _unsubscribe(self, uri: str) -> None:
        with suppress(ConnectorError), trio.move_on_after(_COURTESY):
            async with self._changing:
                if self._subscribed[uri]:
                    return  # somebody has come back
                await self._session.request("resources/unsubscribe", {"uri": uri}, types.EmptyResult)


def _offered(
    wanted: types.SubscriptionFilter, capabilities: types.ServerCapabilities
) -> types.SubscriptionFilter:
    """What of `wanted` a legacy server can tell of."""
    tools, prompts, resources = capabilities.tools, capabilities.prompts, capabilities.resources
    return types.SubscriptionFilter(
        tools_list_changed=(wanted.tools_list_changed and tools is not None and tools.list_changed) or None,
        prompts_list_changed=(wanted.prompts_list_changed and prompts is not None and prompts.list_changed)
        or None,
        resources_list_changed=(
            wanted.resources_list_changed and resources is not None and resources.list_changed
        )
        or None,
        resource_subscriptions=wanted.resource_subscriptions
        if resources is not None and resources.subscribe
        else None,
    )


def _lists(honoured: types.SubscriptionFilter) -> set[str]:
    """The notifications of the lists that are listened to."""
    wanted = {
        "notifications/tools/list_changed": honoured.tools_list_changed,
        "notifications/prompts/list_changed": honoured.prompts_list_changed,
        "notifications/resources/list_changed": honoured.resources_list_changed,
    }
    return {method for method, asked in wanted.items() if asked}
