"""A connection in memory and its two streams, which behave as TCP's do."""

from __future__ import annotations

import errno
import operator
import os
import random
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, final

import trio

from .memory_pipe import Conditions, End, Pipe, park

__all__ = ["Connection", "MemoryStream", "Side", "check_cut"]

Side: TypeAlias = Literal["client", "server"]

_RECEIVE_SIZE: Final = 65536
"""As many bytes as a `trio.SocketStream` reads at most."""


@final
class MemoryStream(trio.abc.HalfCloseableStream):
    """One side of a connection. Made by `MemoryNetwork` only.

    It does what a `trio.SocketStream` does, errors included, and every method is a checkpoint on every path.
    As with TCP, what is left of a `send_all` that was cancelled may have been sent or not.

    Differences to TCP: bytes that were unread when their receiver closed do not make its closing a reset,
    and the first `send_all` after the peer's closing has arrived fails, not the second.

    Attributes:
        side: "client" or "server".
        connection: what it is one side of, with the faults that it can suffer.
    """

    def __init__(self, connection: Connection, side: Side, incoming: Pipe, outgoing: Pipe) -> None:
        self.side: Final = side
        self.connection: Final = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._eof_sent = False
        self._sending = _Exclusive("another task is sending on this stream")
        self._receiving = _Exclusive("another task is receiving on this stream")

    def __repr__(self) -> str:
        return (
            f"<MemoryStream #{self.connection.number} {self.side} of {self.connection.address}: "
            f"{self._state}, {self._incoming.unread} B incoming, {self._outgoing.unread} B outgoing>"
        )

    @property
    def _state(self) -> str:
        if self._closed:
            return "closed"
        if self._incoming.broken:
            return "reset"
        if self._incoming.closed:
            return "closed by the peer"
        if self._eof_sent or self._incoming.eof:
            ends = [("sent", self._eof_sent), ("received", self._incoming.eof)]
            return f"half-closed (EOF {' and '.join(word for word, true in ends if true)})"
        return "open"

    def is_readable(self) -> bool:
        """Whether something waits to be read now: bytes, the end or a reset."""
        self._incoming.settle()
        return self._closed or bool(self._incoming.arrived) or self._incoming.eof or self._incoming.broken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, waiting while more than the link's `window` bytes are unread by the peer.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: this side is closed, perhaps meanwhile, or has sent EOF.
            trio.BrokenResourceError: the connection was reset, or the peer has closed.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            # What is in flight must not change, and a slice of bytes needs no copy.
            frozen = data if type(data) is bytes else bytes(data)
            view = memoryview(frozen)
            room = self._room()
            while view:
                if room:
                    piece = frozen if room >= len(frozen) == len(view) else view[:room]
                    view = view[len(piece) :]
                    self._send(piece)
                else:
                    await park(self._outgoing.writers, self._incoming.closing_at)
                room = self._room()

    def _send(self, piece: bytes | memoryview) -> None:
        self.connection.report(f"{self.side} sends {len(piece)} B")
        self._outgoing.put(piece)
        self.connection.tempt_fate()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the peer has room for a byte. Raises what `send_all` does."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            while not self._room():
                await park(self._outgoing.writers, self._incoming.closing_at)

    def _room(self) -> int:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._eof_sent:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        if self._outgoing.broken:
            raise _broken(errno.ECONNRESET)
        self._incoming.settle()
        if self._incoming.closed:
            raise _broken(errno.EPIPE)
        return self._outgoing.room

    async def send_eof(self) -> None:
        """Tell the peer that nothing more is sent; reading goes on. Sent before, it is not sent again.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: this side is closed.
            trio.BrokenResourceError: the connection was reset, or the peer has closed.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._eof_sent and not self._closed:
                return
            self._room()
            self._eof_sent = True
            self.connection.report(f"{self.side} sends EOF")
            self._outgoing.put(End.EOF)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, waiting for the first byte; b"" when the peer has ended.

        Args:
            max_bytes: how many bytes at most; 64 KiB unless set.

        Raises:
            ValueError: `max_bytes` is less than 1.
            trio.BusyResourceError: another task is receiving.
            trio.ClosedResourceError: this side is closed, perhaps meanwhile.
            trio.BrokenResourceError: the connection was reset.
        """
        limit = _RECEIVE_SIZE if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError("max_bytes must be >= 1")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while not self.is_readable():
                await park(self._incoming.readers, self._incoming.next_arrival)
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            if self._incoming.broken:
                raise _broken(errno.ECONNRESET)
            if not self._incoming.arrived:
                self.connection.report(f"{self.side} receives the end")
                return b""
            data = self._incoming.take(limit)
            self.connection.report(f"{self.side} receives {len(data)} B")
            return data

    async def aclose(self) -> None:
        """Close this side, at once. The peer gets what is in flight, and then the end."""
        if not self._closed:
            self._closed = True
            self.connection.report(f"{self.side} closes")
            self._outgoing.put(End.CLOSE)
            # The own tasks that wait, and the peer's sender, who waits until the closing arrives.
            self._outgoing.writers.unpark_all()
            self._incoming.wake()
            self.connection.side_closed()
        await trio.lowlevel.checkpoint()


@final
class Connection:
    """Two streams, and what can befall them. Made by `MemoryNetwork` only.

    Every fault happens at once, at both sides, whatever the latency is, unless it says otherwise.

    Attributes:
        number: 1 for the network's first connection.
        host: the server's, as the client named it.
        port: the server's.
        client: the stream that `open_stream` returned.
        server: the stream that the listener accepted.
        dropped: whether nothing gets through.
    """

    def __init__(
        self,
        number: int,
        host: str,
        port: int,
        *,
        conditions: Callable[[], Conditions],
        rng: random.Random,
        report: Callable[[str], None],
        is_link_dropped: Callable[[], bool],
        on_end: Callable[[Connection], None],
    ) -> None:
        self.number: Final = number
        self.host: Final = host
        self.port: Final = port
        self.dropped: bool = False
        self._drop_asked_for = False
        self._conditions = conditions
        self._rng = rng
        self._report = report
        self._is_link_dropped = is_link_dropped
        self._on_end = on_end
        self._to_server = Pipe(conditions, rng)
        self._to_client = Pipe(conditions, rng)
        self._pipes = (self._to_server, self._to_client)
        self._open_sides = 2
        self.client: Final = MemoryStream(self, "client", self._to_client, self._to_server)
        self.server: Final = MemoryStream(self, "server", self._to_server, self._to_client)

    @property
    def address(self) -> str:
        """The server's host and port."""
        return f"{self.host}:{self.port}"

    @property
    def is_live(self) -> bool:
        """Whether it was not reset, and a side is open."""
        return bool(self._open_sides)

    def __repr__(self) -> str:
        state = "over" if not self.is_live else "dropped" if self.dropped else "live"
        return f"<Connection #{self.number} to {self.address}: {state}>"

    def drop(self) -> None:
        """Let nothing through, in both directions and without a word, until `heal`.

        Nothing is lost: as TCP sends again what got lost, all bytes of this time, and those that were in
        flight, arrive after healing.
        """
        self._drop_asked_for = True
        self.refresh()

    def heal(self) -> None:
        """Undo `drop`. What a link dropped stays so until that link is healed."""
        self._drop_asked_for = False
        self.refresh()

    def reset(self) -> None:
        """Break the connection. What has not been read is lost."""
        if self._open_sides:
            self.report("reset")
            for pipe in self._pipes:
                pipe.break_off()
            self._end()

    def close(self) -> None:
        """Tell each side that the other one has closed, as a proxy does that goes down.

        Each gets what is in flight first, and the end when that has arrived; what it sends later is lost.
        """
        self.report("closed")
        for pipe in self._pipes:
            pipe.put(End.CLOSE)
            pipe.wake()

    def reset_after(self, size: int, *, to: Side) -> None:
        """Reset the connection when one side has read so much.

        Args:
            size: bytes, counted from now on; 0 is at once.
            to: the side that reads them.

        Raises:
            ValueError: that is no size, or no side.
        """
        check_cut(size, to)
        self._pipe(to).allow(size, self.reset)

    def close_after(self, size: int, *, to: Side) -> None:
        """End the connection when one side has read so much: both sides see the other one's closing.

        Args:
            size: bytes, counted from now on; 0 is at once. Those behind them are lost.
            to: the side that reads them.

        Raises:
            ValueError: that is no size, or no side.
        """
        check_cut(size, to)

        def end() -> None:
            self._pipe(to).finish()
            self.close()

        self._pipe(to).allow(size, end)

    def _pipe(self, to: Side) -> Pipe:
        return self._to_client if to == "client" else self._to_server

    def refresh(self) -> None:
        """Follow what was asked for here and on the links: it is for the network's own use."""
        dropped = self._drop_asked_for or self._is_link_dropped()
        if dropped != self.dropped:
            self.dropped = dropped
            self.report("dropped" if dropped else "healed")
            for pipe in self._pipes:
                if dropped:
                    pipe.stop()
                else:
                    pipe.go_on()

    def widen(self) -> None:
        """Let senders look at the window again: it is for the network's own use."""
        for pipe in self._pipes:
            pipe.writers.unpark_all()

    def report(self, event: str) -> None:
        """Tell the network's listener: it is for the streams' own use."""
        self._report(f"#{self.number} {event}")

    def tempt_fate(self) -> None:
        """Draw whether the connection is reset: it is for the streams' own use."""
        rate = self._conditions().reset_rate
        if rate and self._rng.random() < rate:
            self.reset()

    def side_closed(self) -> None:
        """One side has closed: it is for the streams' own use."""
        if self._open_sides == 1:
            self._end()
        elif self._open_sides:
            self._open_sides = 1

    def _end(self) -> None:
        self._open_sides = 0
        self._on_end(self)


def check_cut(size: int, to: Side) -> None:
    """Make sure that a connection can be cut there.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"size must be an int of bytes, 0 or more, not {size!r}")
    if to not in ("client", "server"):
        raise ValueError(f'to must be "client" or "server", not {to!r}')


class _Exclusive:
    """A block for one task at a time, as `trio.SocketStream` has them."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(self._message)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


def _broken(number: int) -> trio.BrokenResourceError:
    """The error that a socket's makes."""
    cause = OSError(number, os.strerror(number))
    error = trio.BrokenResourceError(f"socket connection broken: {cause}")
    error.__cause__ = cause
    return error
