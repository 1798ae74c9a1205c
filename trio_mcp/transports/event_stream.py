"""An SSE response as JSON-RPC messages, and when to come back to a stream that broke.

A cursor belongs to one logical stream and outlives the connections that carry it
(2511/basic/transports, "Resumability and Redelivery").
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from ..http import HttpResponse
from ..protocol.headers import is_plain
from ..protocol.sse import SSEDecoder
from ..protocol.wire import Message, decode
from ..reconnecting import ReconnectPolicy

__all__ = ["StreamCursor", "read_messages"]

T = TypeVar("T")

_LONGEST_POLL: Final = 5.0
_BURST: Final = 50  # messages after which the reader lets others have a turn
_LASTING: Final = 10.0  # seconds after which a connection counts as having been of use


class StreamCursor:
    """Where a stream stands.

    Args:
        policy: how to come back to it; None for not at all. What the server asks for is stronger.
        rng: the source of jitter.

    Attributes:
        last_event_id: the place to resume from; "" if there is none.
    """

    def __init__(self, policy: ReconnectPolicy | None, rng: random.Random) -> None:
        self.last_event_id: str = ""
        self._policy = policy
        self._rng = rng
        self._retry: float | None = None
        self._fruitless = 0  # connections in a row that brought nothing
        self._quiet = 0  # connections in a row that brought no message, be it a new place to resume from
        self._opened: float | None = None

    @property
    def resumable(self) -> bool:
        """Whether the server gave a place to resume from that a header can carry."""
        return is_plain(self.last_event_id)

    def opened(self) -> None:
        """A connection begins to carry the stream."""
        self._opened = trio.current_time()

    def advance(self, decoder: SSEDecoder, *, delivered: bool) -> None:
        """Note how far `decoder` has come, and whether it brought a message."""
        if decoder.retry is not None:
            self._retry = decoder.retry
        if decoder.last_event_id and decoder.last_event_id != self.last_event_id:
            self.last_event_id = decoder.last_event_id
            self._fruitless = 0
        if delivered:
            self._fruitless = self._quiet = 0

    async def pause(self) -> bool:
        """Wait before the next connection; False if so many brought nothing that it is no use.

        The server's `retry` is kept to; without one, or where connections bring nothing, the delay grows
        and is jittered, so that a thousand clients do not return in step.
        """
        opened, self._opened = self._opened, None
        if opened is not None and trio.current_time() - opened >= _LASTING:
            self._fruitless = self._quiet = 0
        if self._policy is None or not self._policy.allows(self._fruitless):
            return False
        policy, base = self._policy, self._policy.initial if self._retry is None else self._retry
        longest = policy.maximum if self._fruitless else min(policy.maximum, _LONGEST_POLL)
        delay = policy.grown(base, max(base, longest), max(self._quiet - 1, 0))
        if self._quiet or self._retry is None:
            delay = policy.jittered(delay, self._rng)
        self._fruitless += 1
        self._quiet += 1
        await trio.sleep(delay)
        return True


async def read_messages(
    response: HttpResponse,
    cursor: StreamCursor,
    max_message_size: int,
    batches: bool,
    take: Callable[[Message], T | None],
    breathe: Callable[[], Awaitable[None]],
) -> T | None:
    """Hand each message of `response` to `take`, until it returns something or the stream ends.

    Raises:
        ProtocolError: what came is not an event stream of JSON-RPC messages.
        TransportError: the connection broke.
    """
    decoder = SSEDecoder(max_message_size)
    cursor.opened()
    taken = 0
    while chunk := await response.receive():
        for event in decoder.feed(chunk):
            # An event without data only marks a place to resume from.
            messages = decode(event.data, batches=batches) if event.data and event.type == "message" else []
            cursor.advance(decoder, delivered=bool(messages))
            for message in messages:
                result = take(message)
                if result is not None:
                    return result
                taken += 1
                if taken % _BURST == 0:
                    await breathe()
        cursor.advance(decoder, delivered=False)
        decoder.check()
    return None
