"""Hearing of what changes at the server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import mcp_types as types

from ..errors import UsageError
from ..features.listening import Subscription
from ..reconnecting import ReconnectPolicy, check_reconnect
from .base import Requester

__all__ = ["ListeningMethods"]


class ListeningMethods(Requester):
    """The method about subscriptions (26/basic/patterns/subscriptions)."""

    def listen(
        self,
        *,
        tools: bool = False,
        prompts: bool = False,
        resources: bool = False,
        uris: Sequence[str] = (),
        tasks: Sequence[str] = (),
        reconnect: bool | ReconnectPolicy = True,
    ) -> AbstractAsyncContextManager[Subscription]:
        """Listen to the server within a block:

            async with c.listen(tools=True, uris=["file:///notes.txt"]) as events:
                async for event in events:
                    match event:
                        case ToolsChanged(): ...
                        case ResourceUpdated(uri=uri): ...
                        case Gap(): ...  # events may have been missed: look again

        What the cache holds is forgotten before the event is seen. There may be several listeners at a time.
        With a legacy server the same is made of `resources/subscribe` and of what it tells by itself, as far
        as it declares that it does.

        Args:
            tools: whether the list of tools changes.
            prompts: whether the list of prompts changes.
            resources: whether the list of resources changes.
            uris: resources whose contents may change.
            tasks: ids of tasks whose status may change, at a modern server that has tasks.
            reconnect: whether a lost stream is taken up again, and how. Without, iterating raises what it was
                lost by. A stream on which nothing comes for `sse_read_timeout` counts as lost.

        Raises:
            UsageError: there is nothing to listen to.
            MCPError: the server refused.
            ConnectTimeout: it did not acknowledge the subscription within `connect_timeout`.
            ConnectorError: see `request`.
        """
        if isinstance(uris, str) or isinstance(tasks, str):
            raise UsageError("uris and tasks are lists of str, not a str")
        wanted = types.SubscriptionFilter(
            tools_list_changed=tools or None,
            prompts_list_changed=prompts or None,
            resources_list_changed=resources or None,
            resource_subscriptions=[str(uri) for uri in uris] or None,
        )
        if tasks:
            wanted = wanted.model_copy(update={"taskIds": list(tasks)})
        if not (tools or prompts or resources or uris or tasks):
            raise UsageError("nothing to listen to: ask for tools, prompts, resources, uris or tasks")
        return self._live().listening.open(wanted, check_reconnect(reconnect))
