"""Messages over a WebSocket (RFC 6455), one in each frame of text.

The specification leaves such transports to those who make them (26/basic/transports, "Custom Transports").
This is what servers out there do: the subprotocol `mcp`, and JSON-RPC as it is on every other transport.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import trio
from trio_websocket import ConnectionClosed

from ..deadlines import ConnectTimeout, Stalled, deadline
from ..errors import ConnectionLost, ConnectorError, MessageTooLarge
from ..supervision import FlatNursery, open_flat_nursery
from .websocket_handshake import Handshake, Link
from .websocket_stream import TooManyFrames
from .wires import Wire

__all__ = ["open_websocket"]

_LAST_WORDS: Final = 0.5  # seconds that the reader has to take in what came before the end
_ABNORMAL: Final = 1006  # the connection ended without a closing handshake (RFC 6455, 7.4.1)


@asynccontextmanager
async def open_websocket(
    make_handshake: Callable[[FlatNursery, int], Handshake],
    *,
    connect_timeout: float,
    ping_interval: float | None,
    max_message_size: int,
    grace: float,
) -> AsyncGenerator[Wire]:
    """A wire over a WebSocket, which is open for as long as the block.

    Args:
        make_handshake: makes the handshake, for a nursery and a limit to the characters of a message.
        connect_timeout: seconds for the handshake with all that an auth flow does.
        ping_interval: seconds between pings, and until the server must have been heard; None for no pings.
        max_message_size: bytes of a message.
        grace: seconds for the closing handshake.

    Raises:
        ConnectError, HTTPStatusError, AuthorizationError: see `Handshake.make`.
    """
    # A character has one byte or more; the one beside the limit tells our own limit from the server's.
    limit = max_message_size + 1
    async with open_flat_nursery() as nursery:
        handshake = make_handshake(nursery, limit)
        try:
            with deadline(connect_timeout, lambda: _too_slow(connect_timeout)):
                link = await handshake.make()
        finally:
            await handshake.aclose()  # noqa: ASYNC102 - it never waits
        wire = _WebSocketWire(link, max_message_size, f"Exceeded maximum message size: {limit} bytes")
        try:
            if ping_interval is not None:
                nursery.start_soon(wire.keep_alive, ping_interval)
            yield wire
        finally:
            await link.close(0 if wire.silent else grace)  # noqa: ASYNC102 - shielded and bounded
            nursery.cancel_scope.cancel(reason="the WebSocket is closed")


def _too_slow(seconds: float) -> ConnectTimeout:
    return ConnectTimeout(f"no WebSocket within {seconds:g} s (connect_timeout=)")


class _WebSocketWire(Wire):
    """Carries a message in each frame of text.

    Args:
        link: the WebSocket.
        max_message_size: bytes of a message.
        too_large: what trio-websocket closes with when a message is larger.

    Attributes:
        silent: whether the server counts as lost because nothing is heard of it.
    """

    def __init__(self, link: Link, max_message_size: int, too_large: str) -> None:
        self.silent: bool = False
        self._link = link
        self._socket = link.socket
        self._max_message_size = max_message_size
        self._too_large = too_large

    async def send(self, message: bytes) -> None:
        with suppress(ConnectionClosed):
            await self._socket.send_message(message.decode())
            return
        # What came before the end is still to be read, and may be the answer to a call.
        await trio.sleep(_LAST_WORDS)
        raise self._lost()

    async def receive(self) -> bytes:
        message: str | bytes | None = None
        with suppress(ConnectionClosed):
            message = await self._socket.get_message()
        if message is None:
            if self._socket.closed is None:  # the reader fails, and is about to tell
                await self._link.reader.ended.wait()
            raise self._lost() from self._link.reader.failure
        # A binary frame means the same: there are servers that send no other.
        data = message if isinstance(message, bytes) else message.encode()
        if len(data) > self._max_message_size:
            raise self._oversized()
        return data

    def redact(self, text: str) -> str:
        return self._link.redact(text)

    async def keep_alive(self, interval: float) -> None:
        """Ping the server, and give it up when nothing at all has come of it for `interval` seconds after."""
        while True:
            await trio.sleep(interval)
            with trio.move_on_after(interval) as scope:
                # A large message on a slow way holds up the pong, and is a sign of life as well.
                self._link.stream.on_data = partial(_postpone, scope, interval)
                with suppress(ConnectionClosed):
                    await self._socket.ping()
            if self._socket.closed is not None:
                await trio.sleep(_LAST_WORDS)  # the reader tells why, unless it is stuck in a reply
                raise self._lost()
            if scope.cancelled_caught:
                self.silent = True
                raise Stalled(
                    f"nothing was heard of the server for {interval:g} s after a ping (ping_interval=)"
                )

    def _lost(self) -> ConnectorError:
        """Why the connection has ended."""
        closed = self._socket.closed
        if closed is None and isinstance(self._link.reader.failure, TooManyFrames):
            return self._oversized()
        if closed is None:
            return ConnectionLost(f"the WebSocket connection broke: {self._link.reader.failure!r}")
        if closed.code == _ABNORMAL:
            return ConnectionLost("the connection broke: the WebSocket was not closed in order")
        if closed.reason == self._too_large:
            return self._oversized()
        reason = f": {self.redact(closed.reason)}" if closed.reason else ""
        return ConnectionLost(f"the WebSocket was closed with code {closed.code} ({closed.name}){reason}")

    def _oversized(self) -> MessageTooLarge:
        return MessageTooLarge(
            f"the server sent a message of more than {self._max_message_size} bytes; "
            "max_message_size raises the limit"
        )


def _postpone(scope: trio.CancelScope, seconds: float) -> None:
    scope.deadline = trio.current_time() + seconds
