"""What transports share that are one pipe for all messages: stdio, WebSocket, HTTP+SSE, a server in memory.

One task reads, and hands each answer to the call that waits for it, by its id. One task writes, so that a
caller who is cancelled leaves at once, and no message is ever half written. When the pipe breaks, every call
that waits ends with the reason; where there is a policy, a new pipe takes its place.
"""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, TypeAlias

import trio

from ..deadlines import Stalled, deadline
from ..errors import ConnectorError, InternalError, MCPError, NotConnected, ProtocolError
from ..protocol.versions import has_batches
from ..protocol.wire import ErrorResponse, Message, Notification, Request, RequestId, Response, decode, encode
from ..reconnecting import ReconnectPolicy
from ..statistics import Statistics
from ..supervision import Supervisor, open_flat_nursery
from .base import Inbox, OneWay, Transport, TransportName, logger

__all__ = ["OpenWire", "Pipe", "Wire"]

_OUTBOX: Final = 100  # messages that wait to be written; who has one more waits, too
_BURST: Final = 50  # messages after which the reader lets others have a turn


class Wire(ABC):
    """One connection that carries whole messages."""

    @abstractmethod
    async def send(self, message: bytes) -> None:
        """Send one message. Called by one task only.

        Raises:
            ConnectionLost: the other side is gone.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """The next message. Called by one task only.

        Raises:
            ConnectionLost: there is none, because the connection has ended; says why.
            MessageTooLarge: it is larger than the limit.
        """


OpenWire: TypeAlias = Callable[[], AbstractAsyncContextManager[Wire]]
"""Connects for a block, or raises `ConnectError`. The block's end never waits for long."""


class Pipe(Transport):
    """Carries all messages of a connection over one wire at a time.

    Args:
        name: what kind it is.
        open_wire: connects.
        inbox: takes the messages that are not answers.
        supervisor: where the tasks of the pipe live.
        statistics: what to count in.
        send_timeout: seconds in which the other side takes nothing of a message.
        policy: how to replace a wire that was lost; None for not at all.
        rng: the source of jitter.
    """

    def __init__(
        self,
        name: TransportName,
        open_wire: OpenWire,
        *,
        inbox: Inbox,
        supervisor: Supervisor,
        statistics: Statistics,
        send_timeout: float,
        policy: ReconnectPolicy | None,
        rng: random.Random,
    ) -> None:
        super().__init__(inbox, supervisor, statistics)
        self.name = name
        self._open_wire = open_wire
        self._send_timeout = send_timeout
        self._policy = policy
        self._rng = rng
        self._version: str | None = None
        self._waiting: dict[RequestId | _Outgoing, _Outgoing] = {}
        self._outbox: trio.MemorySendChannel[_Outgoing] | None = None  # None while there is no wire
        self._changed = trio.Event()  # set, and replaced, when a wire comes or is given up
        self._failure: ConnectorError | None = None  # why there is none, and will be none
        self._wires = 0
        self._served = False  # whether the wire has brought anything
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    # What the session calls

    async def open(self) -> None:
        self._ended = trio.Event()
        self._supervisor.services.start_soon(self._serve)
        await self._ready()

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    def adopt(self, version: str) -> None:
        self._version = version

    async def start(self) -> None:
        pass  # there is nothing to be opened: the server's own messages come as they are

    async def request(self, message: Request) -> Response:
        outgoing = _Outgoing(message)
        outbox = await self._ready()
        try:
            answer = await self._wait(message.id, outbox, outgoing)
        except trio.Cancelled:
            # Where the wire is another one by now, the server that worked on it is gone.
            if outgoing.begun and message.method != "initialize" and self._outbox is outbox:
                params = {"requestId": message.id, "reason": "the caller was cancelled"}
                self.deliver(Notification("notifications/cancelled", params))
            raise
        if isinstance(answer, ErrorResponse):
            raise MCPError(answer.code, answer.message, answer.data)
        assert answer is not None
        return answer

    async def notify(self, message: OneWay) -> None:
        outgoing = _Outgoing(message)
        await self._wait(outgoing, await self._ready(), outgoing)

    async def _wait(
        self, key: RequestId | _Outgoing, outbox: trio.MemorySendChannel[_Outgoing], outgoing: _Outgoing
    ) -> Response | ErrorResponse | None:
        """Have a message sent, and wait for its answer, if it wants one.

        Raises:
            ConnectorError: the wire was lost before that.
        """
        self._waiting[key] = outgoing
        try:
            await self._send(outbox, outgoing)
            await outgoing.done.wait()
        finally:
            outgoing.abandoned = True
            del self._waiting[key]
        if isinstance(outgoing.outcome, ConnectorError):
            # Each call gets an error of its own: one object raised in many tasks would mix their stories.
            raise copy.copy(outgoing.outcome) from outgoing.outcome.__cause__
        return outgoing.outcome

    async def _send(self, outbox: trio.MemorySendChannel[_Outgoing], outgoing: _Outgoing) -> None:
        """Have a message sent. If the wire is lost meanwhile, that ends the message."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await outbox.send(outgoing)

    async def goodbye(self) -> None:
        self._scope.cancel(reason="the connection is closed")
        await self._ended.wait()

    async def _ready(self) -> trio.MemorySendChannel[_Outgoing]:
        """The way out, as soon as there is one."""
        while self._outbox is None:
            if self._failure is not None:
                raise copy.copy(self._failure) from self._failure.__cause__
            await self._changed.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._outbox

    # The wire

    async def _serve(self) -> None:
        try:
            with self._scope:
                self._give_up(await self._carry_on())
            if self._scope.cancelled_caught:
                self._give_up(NotConnected("the connection is closed"))
        finally:
            self._ended.set()

    async def _carry_on(self) -> ConnectorError:
        """Have one wire after the other carry messages; gives the reason when there will be no other one."""
        attempt = 0
        while True:
            wires = self._wires
            lost = await self._carry()
            if self._wires > wires:
                self._inbox.connection_changed(False, str(lost))
            if self._served:
                attempt = 0
            if self._policy is None or self._wires == 0 or not self._policy.allows(attempt):
                return lost
            logger.warning("the connection was lost, and is opened again: %s", lost)
            self._served = False
            await trio.sleep(self._policy.delay(attempt, self._rng))
            attempt += 1

    async def _carry(self) -> ConnectorError:
        """Have one wire carry messages; gives the reason when it breaks, or cannot be had."""
        try:
            async with self._open_wire() as wire:
                await self._use(wire)
        except ConnectorError as exc:
            self._lose(exc)
            return exc
        raise InternalError("a wire ended without a reason")

    async def _use(self, wire: Wire) -> None:
        send, receive = trio.open_memory_channel[_Outgoing](_OUTBOX)
        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._write, wire, receive)
                nursery.start_soon(self._read, wire)
                self._outbox = send
                self._tell()
                self._wires += 1
                if self._wires > 1:
                    self._statistics.reconnects += 1
                    self._inbox.connection_changed(True, "the connection was opened again")
                    self.reopened()
        finally:
            self._outbox = None
            send.close()
            receive.close()

    async def _write(self, wire: Wire, outbox: trio.MemoryReceiveChannel[_Outgoing]) -> None:
        async for outgoing in outbox:
            if outgoing.abandoned:
                continue
            outgoing.begun = True
            with deadline(self._send_timeout, self._not_taken):
                await wire.send(outgoing.data)
            if not outgoing.wants_answer:
                outgoing.end(None)

    def _not_taken(self) -> Stalled:
        return Stalled(f"the server took nothing of a message for {self._send_timeout:g} s (timeout=)")

    async def _read(self, wire: Wire) -> None:
        taken = 0
        while True:
            data = await wire.receive()
            try:
                messages = decode(data, batches=has_batches(self._version))
            except ProtocolError as exc:
                # Whose it was cannot be known; a program's print() on its stdout is nobody's.
                self._statistics.unknown_messages += 1
                logger.debug("something that the server sent was dropped: %s", exc)
                continue
            self._served = True
            for message in messages:
                self._take_in(message)
            taken += len(messages)
            if taken >= _BURST:
                taken = 0
                await self._inbox.breathe()

    def _take_in(self, message: Message) -> None:
        if isinstance(message, Request | Notification):
            self._inbox.receive(message)
            return
        waiting = self._waiting.get(message.id) if message.id is not None else None
        if waiting is None:
            self._statistics.unknown_messages += 1  # an answer to a call that was cancelled, most likely
        else:
            waiting.end(message)

    def _lose(self, reason: ConnectorError) -> None:
        """End all calls that wait for an answer."""
        for waiting in self._waiting.values():
            waiting.end(reason)

    def _give_up(self, reason: ConnectorError) -> None:
        """There is no wire, and will be none."""
        self._failure = reason
        self._lose(reason)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _Outgoing:
    """A message on its way out, and what comes of it."""

    __slots__ = ("abandoned", "begun", "data", "done", "message", "outcome", "sending", "wants_answer")

    def __init__(self, message: Request | OneWay) -> None:
        self.message = message
        self.data = encode(message)
        self.wants_answer = isinstance(message, Request)
        self.sending: trio.CancelScope | None = None  # around the sending, if that is not to outlast it
        self.abandoned = False  # its caller has left
        self.begun = False  # the other side may have seen of it
        self.done = trio.Event()
        self.outcome: Response | ErrorResponse | ConnectorError | None = None

    def end(self, outcome: Response | ErrorResponse | ConnectorError | None) -> None:
        """Wake the caller; the first outcome counts."""
        if not self.done.is_set():
            self.outcome = outcome
            self.done.set()
            if self.sending is not None:
                self.sending.cancel(reason="the message has come to its end")
