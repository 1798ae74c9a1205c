"""One server of a group at work: opened, watched, and opened anew."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from typing import Final

import trio

from ..connector import Connector
from ..errors import (
    ConnectError,
    ConnectionLost,
    ConnectorError,
    HTTPStatusError,
    InternalError,
    NotConnected,
    ServerUnavailable,
)
from ..reconnecting import ReconnectPolicy
from .states import ServerState, Status

__all__ = ["Member", "may_pass"]

logger: Final = logging.getLogger("trio_mcp")

_LASTING: Final = 10.0  # seconds for which a server was up, after which attempts are counted anew


class Member:
    """A server of a group.

    Args:
        name: in the group.
        connector: to it; its block is entered once for each time that the server is opened.
        required: whether the group cannot be without it.
        policy: how it is opened anew; None for not at all.
        deadline: seconds for its part in a listing, and for those who wait for it in the beginning.
        allows: whether a tool may be used, by its own name.
        rng: the source of jitter.

    Attributes:
        state: how it is.
        settled: set when it is up for the first time, or could not be opened, which of a required one is the
            end of the group.
        openings: how often it has come up, in all blocks of the group.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        *,
        required: bool,
        policy: ReconnectPolicy | None,
        deadline: float,
        allows: Callable[[str], bool],
        rng: random.Random,
    ) -> None:
        self.name: str = name
        self.connector: Connector = connector
        self.required: bool = required
        self.deadline: float = deadline
        self.allows: Callable[[str], bool] = allows
        self.rng: random.Random = rng
        self.openings: int = 0
        self._policy = policy
        self.reset()

    def reset(self) -> None:
        """Be as new, for the next block of the group."""
        self.state: ServerState = ServerState("closed")
        self.settled: trio.Event = trio.Event()
        self._changed = trio.Event()
        self._leaving = False
        self._scope = trio.CancelScope()
        self._service = trio.CancelScope()

    @property
    def is_up(self) -> bool:
        """Whether it can be asked."""
        return self.state.status == "up"

    def live(self) -> Connector:
        """The connector.

        Raises:
            ServerUnavailable: it is not up; says why, and when it is opened anew.
            NotConnected: the group's block has not begun, or has ended.
        """
        state = self.state
        match state.status:
            case "up":
                return self.connector
            case "closed":
                error: ConnectorError = NotConnected("not connected: the group's block is not open")
            case status:
                how = "is being opened" if status == "opening" else f"is {status}"
                if state.retry_at is not None:
                    left = max(state.retry_at - trio.current_time(), 0)
                    how += f", and opened anew in {left:.3g} s"
                reason = "" if state.error is None else f": {state.error}"
                error = ServerUnavailable(f"server {self.name!r} {how}{reason}", self.name, status)
        raise error.locate(self.connector.public_identifier) from state.error

    async def until_changed(self, seen: ServerState) -> None:
        """Wait until the state is another one than the one that was seen."""
        while self.state is seen:
            await self._changed.wait()

    def leave(self) -> None:
        """The group's block ends: `run` is to say goodbye, and to end."""
        # What is up ends in order, so that callbacks see what has come; anything else is cancelled.
        scope = self._service if self.is_up else self._scope
        self._change("closed")
        self._leaving = True
        scope.cancel(reason="the group's block has ended")

    async def run(self) -> None:
        """Be the server's supervisor, for as long as the group's block.

        Raises:
            ConnectorError: it is required, and cannot be had.
            Exception: what a callback has raised.
        """
        with self._scope:
            await self._supervise()

    async def _supervise(self) -> None:
        attempt = 0
        lost: ConnectorError | None = None
        while True:
            self._change("opening", lost)
            lost, lasted = await self._open_once()
            if lost is None or self._leaving:
                return
            attempt = 0 if lasted >= _LASTING else attempt
            fatal = self.required and not self.settled.is_set()
            if fatal or self._policy is None or not may_pass(lost) or not self._policy.allows(attempt):
                break
            delay = self._policy.delay(attempt, self.rng)
            if isinstance(lost, HTTPStatusError) and lost.retry_after is not None:
                delay = max(delay, min(lost.retry_after, self._policy.maximum))
            attempt += 1
            logger.warning("server %r of the group is opened anew in %.3g s: %s", self.name, delay, lost)
            self._change("down", lost, trio.current_time() + delay)
            self.settled.set()
            await trio.sleep(delay)
        if self.required:
            lost.add_note(f"this is server {self.name!r} of the group, which is required")
            raise lost
        logger.warning("server %r of the group has failed: %s", self.name, lost)
        self._change("failed", lost)
        self.settled.set()

    async def _open_once(self) -> tuple[ConnectorError | None, float]:
        """Open it, and be there until it is lost or let go of.

        Returns:
            why it was lost, None if it was let go of; and for how many seconds it was up.
        """
        lost: ConnectorError | None = None
        began = math.inf
        try:
            async with self.connector:
                began = trio.current_time()
                self.openings += 1
                self._change("up")
                self.settled.set()
                with trio.CancelScope() as self._service:
                    lost = await self._until_lost()
                    self._change("down", lost)
        except InternalError:
            raise
        except ConnectorError as exc:
            if began < math.inf:
                raise  # it comes from a callback, and ends the block, as any exception of one
            lost = exc
        return lost, trio.current_time() - began

    async def _until_lost(self) -> ConnectorError:
        try:
            return await self.connector.until_lost()
        except NotConnected as exc:
            return exc  # the program itself has closed it

    def _change(
        self, status: Status, error: ConnectorError | None = None, retry_at: float | None = None
    ) -> None:
        if self._leaving:
            return
        self.state = ServerState(status, error, None if status == "closed" else trio.current_time(), retry_at)
        self._changed.set()
        self._changed = trio.Event()


def may_pass(error: ConnectorError) -> bool:
    """Whether what a server was lost by, or could not be opened by, may be over in a moment."""
    if isinstance(error, HTTPStatusError):
        return error.status_code in (408, 429) or error.status_code >= 500
    return isinstance(error, ConnectionLost | ConnectError)
