"""What a session needs of a transport."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal, Protocol, TypeAlias

import trio

from ..errors import ConnectorError, MCPError, ProtocolError
from ..protocol.wire import (
    ErrorResponse,
    Incoming,
    Message,
    Notification,
    Request,
    RequestId,
    Response,
)
from ..statistics import Statistics
from ..supervision import Supervisor

__all__ = ["Inbox", "OneWay", "Transport", "TransportName", "nothing"]

logger: Final = logging.getLogger("trio_mcp")

TransportName: TypeAlias = Literal["streamable-http", "sse", "websocket", "stdio", "stream", "memory"]
OneWay: TypeAlias = Notification | Response | ErrorResponse
"""What is sent without an answer being expected."""

_MAX_POSTS: Final = 32
"""Messages that are delivered in the background at a time."""
_MAX_ERRANDS: Final = 1000
"""Errands that may be waiting or under way; what is to be delivered beyond that is dropped and counted."""


def nothing() -> None:
    """Stands where nobody wants to be called."""


class Inbox(Protocol):
    """Takes what the server sends of its own accord."""

    def receive(self, message: Incoming) -> None:
        """Take a message. A reader calls it: it never waits and never raises."""
        ...

    def interrupted(self, reason: str) -> None:
        """Messages that the server sent of its own accord may have been lost."""
        ...

    def forget_requests(self) -> None:
        """The server that asked is gone, and wants no answers."""
        ...

    def connection_changed(self, connected: bool, reason: str) -> None:
        """The connection was lost, or is there again."""
        ...

    async def breathe(self) -> None:
        """Let the callbacks catch up for a moment, if they have fallen behind: for a reader amid a burst."""
        ...


class Transport(ABC):
    """A way to the server. It is opened and closed by the connector that owns it.

    Args:
        inbox: takes the messages that are not answers.
        supervisor: where background tasks live.
        statistics: what to count in.

    Attributes:
        name: what kind it is.
        legacy: whether it exists in the legacy era only: then nothing modern is asked over it.
        reopened: called when a new connection has taken the place of one that was lost, before anything
            can be sent over it.
    """

    name: TransportName
    legacy: bool = False

    def __init__(self, inbox: Inbox, supervisor: Supervisor, statistics: Statistics) -> None:
        self._inbox = inbox
        self._supervisor = supervisor
        self._statistics = statistics
        self._posts = trio.Semaphore(_MAX_POSTS)
        self.reopened: Callable[[], object] = nothing

    async def open(self) -> None:
        """Connect, where there is a connection that all messages share.

        Raises:
            ConnectError: it could not be made.
        """
        await self.ready()

    @property
    def connected(self) -> bool:
        """Whether there is a way to the server at this moment, as far as that is known."""
        return True

    @property
    def given_up(self) -> bool:
        """Whether the connection was lost, and none will take its place."""
        return False

    async def ready(self) -> None:
        """Wait until there is a way to the server, where one that was lost is being replaced.

        Raises:
            ConnectorError: there will be none; says why.
        """
        await trio.lowlevel.checkpoint()

    async def until_lost(self) -> ConnectorError:
        """Wait until the way to the server is lost for good, as `given_up` tells; gives the reason.

        Where each request has a way of its own that is never.
        """
        await trio.sleep_forever()

    @abstractmethod
    async def request(self, message: Request) -> Response:
        """Send `message` and wait for its answer.

        A caller that is cancelled leaves at once; telling the server is an errand.

        Raises:
            MCPError: the server answered with a JSON-RPC error.
            TransportError, ProtocolError: there was no answer that could be understood.
        """

    @abstractmethod
    async def notify(self, message: OneWay) -> None:
        """Send `message`, which has no answer.

        Raises:
            TransportError: it could not be delivered.
        """

    @abstractmethod
    def adopt(self, version: str) -> None:
        """From now on the connection speaks `version`."""

    @abstractmethod
    async def start(self) -> None:
        """The handshake is done: begin to listen for what the server sends of its own accord."""

    @abstractmethod
    async def goodbye(self) -> None:
        """Take leave of the server. The caller bounds it."""

    def deliver(self, message: OneWay) -> None:
        """Send `message` as an errand: in the background, bounded, its failure counted and logged."""
        self.errand(partial(self._post, message))

    def errand(self, tell: Callable[[], Awaitable[object]]) -> None:
        """Have something told to the server in the background, its failure counted and logged."""
        errands = self._supervisor.errands
        try:
            if errands.busy < _MAX_ERRANDS:
                errands.start_soon(self._tell, tell)
                return
        except RuntimeError:
            pass  # goodbye is being said already, and errands are taken no more
        self._statistics.undelivered += 1

    async def _post(self, message: OneWay) -> None:
        async with self._posts:
            await self.notify(message)

    async def _tell(self, tell: Callable[[], Awaitable[object]]) -> None:
        try:
            await tell()
        except Exception as exc:  # one lost courtesy must not end the connection
            self._statistics.undelivered += 1
            logger.warning("a message to the server was not delivered: %r", exc)

    def _take(self, received: Message, wanted: RequestId) -> Response | None:
        """The answer to `wanted`, if `received` is it; what the server sends beside it goes to the inbox."""
        match received:
            case Response(id) if id == wanted:
                return received
            case ErrorResponse(id, code, text, data) if id is None or id == wanted:
                raise MCPError(code, text, data)
            case Response(id) | ErrorResponse(id):
                raise ProtocolError(f"the server answered {_named(id)} where request {wanted!r} was asked")
            case _:
                self._inbox.receive(received)
        return None


def _named(request: RequestId | None) -> str:
    """A request as an error names it: an id of text that is none of ours may be anything, and so a secret."""
    is_ours = isinstance(request, int) or (request is not None and request.isdigit())
    return f"request {request!r}" if is_ours else "some other request"
