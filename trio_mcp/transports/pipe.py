"""What transports share that are one pipe for all messages: stdio, WebSocket, HTTP+SSE, a server in memory.

One task reads, and hands each answer to the call that waits for it, by its id. One task writes, so that a
caller who is cancelled leaves at once, and no message is ever half written. When the pipe breaks, every call
that waits ends with the reason; where there is a policy, a new pipe takes its place.
"""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from ..deadlines import Stalled, deadline
from ..errors import (
    ConnectionLost,
    ConnectorError,
    InternalError,
    MCPError,
    MessageTooLarge,
    NotConnected,
    ProtocolError,
)
from ..protocol.versions import has_batches, is_modern
from ..protocol.wire import (
    ErrorResponse,
    JSONObject,
    Message,
    Notification,
    Request,
    RequestId,
    Response,
    decode,
)
from ..reconnecting import ReconnectPolicy
from ..statistics import Statistics
from ..supervision import Supervisor, open_flat_nursery
from .base import Inbox, OneWay, Transport, TransportName, logger
from .refusals import redacted
from .wires import OpenWire, Outgoing, Wire

__all__ = ["Pipe"]

_OUTBOX: Final = 100  # messages that wait to be written; who has one more waits, too
_BURST: Final = 50  # messages after which the reader lets others have a turn


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
        self.name: TransportName = name
        self._open_wire = open_wire
        self._send_timeout = send_timeout
        self._policy = policy
        self._rng = rng
        self._version: str | None = None
        self._waiting: dict[RequestId | Outgoing, Outgoing] = {}
        self._outbox: trio.MemorySendChannel[Outgoing] | None = None  # None while there is no wire
        self._lost: ConnectorError = NotConnected("the connection has not been opened")  # why there is none
        self._given_up = False
        self._changed = trio.Event()  # set, and replaced, when a wire comes or is given up
        self._wires = 0
        self._served = False  # whether the wire has brought anything
        self._leaving = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()

    # What the session calls

    async def open(self) -> None:
        self._ended = trio.Event()
        self._supervisor.services.start_soon(self._serve)
        await self.ready()

    @property
    def connected(self) -> bool:
        return self._outbox is not None

    @property
    def given_up(self) -> bool:
        return self._given_up

    async def ready(self) -> None:
        while self._outbox is None:
            if self._given_up:
                raise self._own(self._lost)
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    async def until_lost(self) -> ConnectorError:
        while not self._given_up:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
        return self._own(self._lost)

    def adopt(self, version: str) -> None:
        self._version = version

    async def start(self) -> None:
        # There is nothing to be opened: the server's messages come as they are.
        await trio.lowlevel.checkpoint()

    async def request(self, message: Request) -> Response:
        outgoing = Outgoing(message)
        try:
            answer = await self._wait(message.id, outgoing)
        except trio.Cancelled:
            if outgoing.in_progress and message.method != "initialize":
                params = {"requestId": message.id, "reason": "the caller was cancelled"}
                self.deliver(Notification("notifications/cancelled", params))
            raise
        if isinstance(answer, ErrorResponse):
            raise MCPError(answer.code, answer.message, answer.data)
        assert answer is not None
        return answer

    async def notify(self, message: OneWay) -> None:
        outgoing = Outgoing(message)
        await self._wait(outgoing, outgoing)

    async def _wait(self, key: RequestId | Outgoing, outgoing: Outgoing) -> Response | ErrorResponse | None:
        """Have a message sent, and wait for its answer, if it wants one.

        It never waits for another wire: what was meant for one server must not reach the next one unasked.

        Raises:
            ConnectorError: there is no wire, or it was lost before that.
        """
        if self._outbox is None:
            await trio.lowlevel.checkpoint()
            raise self._own(self._lost)
        self._waiting[key] = outgoing
        try:
            await self._send(outgoing)
            await outgoing.done.wait()
        finally:
            outgoing.abandoned = True
            del self._waiting[key]
        if isinstance(outgoing.outcome, ConnectorError):
            raise self._own(outgoing.outcome)
        return outgoing.outcome

    def _own(self, reason: ConnectorError) -> ConnectorError:
        """An error for one caller: one object raised in many tasks would mix their stories."""
        own = copy.copy(reason)
        own.__cause__ = reason.__cause__
        return own

    async def _send(self, outgoing: Outgoing) -> None:
        """Have a message sent. If the wire is lost meanwhile, that ends the message."""
        assert self._outbox is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._outbox.send(outgoing)

    async def goodbye(self) -> None:
        self._leaving.set()
        if self._outbox is None:
            self._scope.cancel(reason="the connection is closed")  # a wire is being opened, or waited for
        await self._ended.wait()

    # The wire

    async def _serve(self) -> None:
        try:
            with self._scope:
                self._give_up(await self._carry_on())
            if self._scope.cancelled_caught:
                self._give_up(_closed())
        finally:
            self._ended.set()

    async def _carry_on(self) -> ConnectorError:
        """Have one wire after the other carry messages; gives the reason when there will be no other one."""
        attempt = 0
        while True:
            lost = await self._carry()
            if self._served:
                attempt = 0
            if (
                self._leaving.is_set()
                or self._policy is None
                or self._wires == 0
                or not self._policy.allows(attempt)
            ):
                return lost
            logger.warning("the connection was lost, and is opened again: %r", lost)
            self._served = False
            await trio.sleep(self._policy.delay(attempt, self._rng))
            attempt += 1

    async def _carry(self) -> ConnectorError:
        """Have one wire carry messages; gives the reason when it breaks, or cannot be had."""
        try:
            async with self._open_wire() as wire:
                await self._use(wire)
        except ConnectorError as exc:
            return exc
        raise InternalError("a wire ended without a reason")

    async def _use(self, wire: Wire) -> None:
        send, receive = trio.open_memory_channel[Outgoing](_OUTBOX)
        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._write, wire, receive)
                nursery.start_soon(self._read, wire)
                nursery.start_soon(self._until_left)
                self._begin(send)
        except ConnectorError as exc:
            self._outbox = None
            self._lose(exc)
            self._inbox.forget_requests()
            if not self._leaving.is_set():
                self._inbox.connection_changed(False, str(exc))
            raise
        finally:
            self._outbox = None
            send.close()
            receive.close()

    def _begin(self, outbox: trio.MemorySendChannel[Outgoing]) -> None:
        """There is a wire."""
        self._outbox = outbox
        self._wires += 1
        if self._wires > 1:
            self._statistics.reconnects += 1
            self._inbox.connection_changed(True, "the connection was opened again")
            self.reopened()
        self._notice()

    async def _until_left(self) -> None:
        await self._leaving.wait()
        raise _closed()

    async def _write(self, wire: Wire, outbox: trio.MemoryReceiveChannel[Outgoing]) -> None:
        async for outgoing in outbox:
            if outgoing.abandoned:
                continue
            outgoing.begin()
            with deadline(self._send_timeout, self._not_taken) as scope:
                wire.progressed = partial(self._extend, scope)
                await wire.send(outgoing.data)
            if not outgoing.wants_answer:
                outgoing.end(None)

    def _extend(self, scope: trio.CancelScope) -> None:
        scope.deadline = trio.current_time() + self._send_timeout

    def _not_taken(self) -> Stalled:
        return Stalled(f"the server took nothing of a message for {self._send_timeout:g} s (timeout=)")

    async def _read(self, wire: Wire) -> None:
        taken = 0
        while True:
            try:
                data = await wire.receive()
            except MessageTooLarge as exc:
                raise _TooLargeToGoOn(exc.message) from exc
            taken += 1
            try:
                messages = decode(data, batches=has_batches(self._version))
            except ProtocolError as exc:
                # Whose it was cannot be known; a program's print() on its stdout is nobody's.
                self._statistics.unknown_messages += 1
                logger.debug("something that the server sent was dropped: %r", exc)
                messages = []
            self._served = self._served or bool(messages)
            for message in messages:
                if isinstance(message, ErrorResponse):
                    message = redacted(message, wire.redact)
                self._take_in(message)
            if taken >= _BURST:
                taken = 0
                await self._inbox.breathe()

    def _take_in(self, message: Message) -> None:
        if isinstance(message, Request | Notification):
            if isinstance(message, Notification) and message.method == "notifications/cancelled":
                self._let_go(message.params or {})
            self._inbox.receive(message)
            return
        waiting = self._waiting.get(message.id) if message.id is not None else None
        if waiting is None:
            self._statistics.unknown_messages += 1  # an answer to a call that was cancelled, most likely
        else:
            waiting.end(message)

    def _let_go(self, params: JSONObject) -> None:
        """The server has ended a subscription: it is not to be told so (26/basic/patterns/cancellation)."""
        request_id = params.get("requestId")
        # In the legacy era the id is one of the server's own requests.
        if self._version is not None and is_modern(self._version) and isinstance(request_id, int | str):
            waiting = self._waiting.get(request_id)
            if waiting is not None:
                waiting.in_progress = False

    def _lose(self, reason: ConnectorError) -> None:
        """End all calls that wait for an answer."""
        self._lost = reason
        for waiting in self._waiting.values():
            waiting.end(reason)

    def _give_up(self, reason: ConnectorError) -> None:
        """There is no wire, and will be none."""
        self._given_up = True
        self._lose(reason)
        self._notice()

    def _notice(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _closed() -> NotConnected:
    return NotConnected("the connection is closed")


class _TooLargeToGoOn(ConnectionLost, MessageTooLarge):
    """A message that is too large ends the connection: whom it was for, nobody knows."""
