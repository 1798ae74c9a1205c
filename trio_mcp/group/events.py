"""What happens in a group: servers that come and go, and what changes at them."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import mcp_types as types
import trio

from ..errors import ConnectorError, NotConnected
from ..features.listening.events import Event, Gap
from ..features.listening.subscription import EventStream
from ..reconnecting import ReconnectPolicy
from ..supervision import open_flat_nursery
from .member import Member, may_pass
from .states import ServerState

__all__ = ["Change", "Down", "GroupEvent", "GroupEvents", "Up", "open_events"]

_TRIES: Final = ReconnectPolicy(attempts=None)  # for as long as the server is up
_LASTING: Final = 10.0  # seconds of a subscription, after which the waits begin anew


@dataclass(frozen=True, slots=True)
class Up:
    """The server is up. What it changes from now on is told; what was listed before may be out of date."""


@dataclass(frozen=True, slots=True)
class Down:
    """The server is not up any more, or has failed.

    Attributes:
        error: why.
        final: whether it is not going to be opened anew.
    """

    error: ConnectorError | None
    final: bool


Change: TypeAlias = Up | Down | Event


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """Something has happened at one server.

    Attributes:
        server: its name in the group.
        change: what; a `Gap` means that changes may have been missed.
    """

    server: str
    change: Change


class GroupEvents(EventStream[GroupEvent]):
    """The events of a group. Made by `ConnectorGroup.events` only.

    Up to 1,000 wait; then the oldest are forgotten, and a bare `Gap` tells so. The iteration ends with its
    own block, and with the group's.
    """


@asynccontextmanager
async def open_events(members: Iterable[Member]) -> AsyncGenerator[GroupEvents]:
    """Hear of all that happens within the block."""
    stream = GroupEvents()
    followers = [_Follower(member, stream) for member in members]
    async with open_flat_nursery() as nursery:
        nursery.start_soon(_until_closed, followers, stream)
        for follower in followers:
            nursery.start_soon(follower.run)
        for follower in followers:
            await follower.begun.wait()
        await trio.lowlevel.checkpoint()
        try:
            yield stream
        finally:
            stream.end(None)
        nursery.cancel_scope.cancel(reason="nobody listens any more")


async def _until_closed(followers: Iterable[_Follower], stream: GroupEvents) -> None:
    for follower in followers:
        await follower.ended.wait()
    stream.end(None)


class _Follower:
    """Tells a listener of one server.

    Attributes:
        begun: set when nothing that happens from now on is missed.
        ended: set when nothing more happens.
    """

    def __init__(self, member: Member, stream: GroupEvents) -> None:
        self.begun: trio.Event = trio.Event()
        self.ended: trio.Event = trio.Event()
        self._member = member
        self._stream = stream
        self._told_up = member.is_up  # the listener can see how it is

    async def run(self) -> None:
        state = self._member.state
        try:
            while state.status != "closed":
                if state.status == "up":
                    async with open_flat_nursery() as nursery:
                        nursery.start_soon(self._listen)
                        await self._member.until_changed(state)
                        nursery.cancel_scope.cancel(reason="the server is not up any more")
                else:
                    self.begun.set()
                    await self._member.until_changed(state)
                state = self._member.state
                self._tell_down(state)
        finally:
            self.begun.set()
            self.ended.set()

    def _tell_down(self, state: ServerState) -> None:
        if state.status == "failed" or (self._told_up and state.status in ("down", "opening")):
            self._told_up = False
            self._put(Down(state.error, final=state.status == "failed"))

    def _put(self, change: Change) -> None:
        self._stream.put(GroupEvent(self._member.name, change))

    def _established(self, gap: str | None) -> None:
        """Nothing is missed from now on."""
        self.begun.set()
        if not self._told_up:
            self._told_up = True
            self._put(Up())
        elif gap is not None:
            self._put(Gap(gap))

    async def _listen(self) -> None:
        """Hear of what changes at the server, for as long as it is up."""
        connector = self._member.connector
        lost: str | None = None
        attempt = 0
        while True:
            reason = "the server has ended the subscription"
            passes = True
            began = math.inf
            try:
                tools, prompts, resources = _told_by(connector.server_capabilities)
                if not (tools or prompts or resources):
                    break
                async with connector.listen(
                    tools=tools, prompts=prompts, resources=resources, reconnect=_TRIES
                ) as events:
                    self._established(lost)
                    began = trio.current_time()
                    async for event in events:
                        self._put(event)
            except NotConnected:
                await trio.sleep_forever()  # it is being closed: this is cancelled in a moment
            except ConnectorError as exc:
                reason, passes = str(exc), may_pass(exc)
            lost = f"what has changed may not have been told: {reason}"
            if not passes:
                break
            # The server may be on its way out: then this is cancelled.
            self.begun.set()
            if trio.current_time() - began >= _LASTING:
                attempt = 0
            await trio.sleep(_TRIES.delay(attempt, self._member.rng))
            attempt += 1
        self._established(lost)


def _told_by(capabilities: types.ServerCapabilities) -> tuple[bool, bool, bool]:
    """Whether a server tells of changes of its tools, its prompts and its resources."""
    offered = capabilities.tools, capabilities.prompts, capabilities.resources
    tools, prompts, resources = (bool(each is not None and each.list_changed) for each in offered)
    return tools, prompts, resources
