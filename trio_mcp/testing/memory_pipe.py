"""One direction of a connection in memory: bytes in flight, then bytes that have arrived.

Nothing runs in the background. What is sent is kept with the time of its arrival, and who waits for it
waits until then: on virtual time, which a mock clock can jump to.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

import trio

__all__ = ["Conditions", "End", "Pipe", "park"]

_EXPECTED: Final = {
    "latency": "seconds, 0 or more",
    "jitter": "seconds, 0 or more",
    "bandwidth": "bytes per second, more than 0, or None",
    "window": "an int of bytes, more than 0",
    "refuse_rate": "a chance, 0 to 1",
    "reset_rate": "a chance, 0 to 1",
}


@dataclass(slots=True)  # so that a setting whose name is misspelt is an error
class Conditions:
    """What a link does to each of its connections. Changed, it is so for what is sent from then on.

    Attributes:
        latency: seconds that a byte is under way. Connecting takes two of these.
        jitter: seconds that come on top of the latency at most, drawn for each piece that is sent. Bytes of
            one connection never overtake each other.
        bandwidth: bytes per second of each connection in each direction; None is no limit. What is sent at
            once arrives as a whole, when its last byte does.
        window: bytes that may be unread by the peer, in flight or arrived. A sender waits while there are
            more. When the peer reads, the sender knows it at once.
        refuse_rate: the chance, 0 to 1, that a connection is refused.
        reset_rate: the chance, 0 to 1, that a connection is reset when a piece is sent.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float | None = None
    window: int = 65536
    refuse_rate: float = 0.0
    reset_rate: float = 0.0

    def __setattr__(self, name: str, value: object) -> None:
        if name in _EXPECTED and not _makes_sense(name, value):
            raise ValueError(f"{name} must be {_EXPECTED[name]}, not {value!r}")
        object.__setattr__(self, name, value)


def _makes_sense(name: str, value: object) -> bool:
    if value is None:
        return name == "bandwidth"
    if isinstance(value, bool) or not isinstance(value, int if name == "window" else int | float):
        return False
    if name in ("bandwidth", "window"):
        return isfinite(value) and value > 0
    return isfinite(value) and 0 <= value <= (1 if name.endswith("_rate") else inf)


class End(enum.Enum):
    """What a sender's last piece says."""

    EOF = enum.auto()
    """It sends no more, and still reads."""
    CLOSE = enum.auto()
    """It has gone."""


class Pipe:
    """From one stream to its peer.

    Attributes:
        arrived: pieces that can be read now, as of the last `settle`.
        unread: bytes sent and not yet read.
        eof: the sender's end has arrived.
        closed: the sender's closing has arrived.
        broken: the connection was reset.
        readers: where the receiving task waits.
        writers: where the sending task waits.
    """

    def __init__(self, conditions: Callable[[], Conditions], rng: random.Random) -> None:
        self._conditions = conditions
        self._rng = rng
        self._flight: deque[tuple[float, bytes | memoryview | End]] = deque()
        self._last_arrival = 0.0
        self._line_free_at = 0.0
        self._closing_at = inf
        self._stopped_at: float | None = None
        self._allowance: float = inf
        self._on_spent: Callable[[], None] | None = None
        self.arrived: deque[bytes | memoryview] = deque()
        self.unread: int = 0
        self.eof: bool = False
        self.closed: bool = False
        self.broken: bool = False
        self.readers: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self.writers: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return max(0, self._conditions().window - self.unread)

    @property
    def next_arrival(self) -> float:
        """When the next piece arrives, if nothing changes meanwhile. It lies ahead after `settle`."""
        return self._flight[0][0] if self._flight and self._stopped_at is None else inf

    @property
    def closing_at(self) -> float:
        """When the sender's closing arrives, if nothing changes meanwhile."""
        return self._closing_at if self._stopped_at is None else inf

    def put(self, piece: bytes | memoryview | End) -> None:
        """Send `piece`, which must not change any more. Behind a closing it is lost."""
        if self.broken or self.closed or self._closing_at < inf:
            return
        conditions = self._conditions()
        now = trio.current_time() if self._stopped_at is None else self._stopped_at
        self._line_free_at = max(now, self._line_free_at)
        if not isinstance(piece, End):
            self.unread += len(piece)
            if conditions.bandwidth is not None:
                self._line_free_at += len(piece) / conditions.bandwidth
        arrival = self._line_free_at + conditions.latency
        if conditions.jitter:
            arrival += self._rng.uniform(0, conditions.jitter)
        self._last_arrival = arrival = max(arrival, self._last_arrival)
        if piece is End.CLOSE:
            self._closing_at = arrival
        if not self._flight:
            # Who waits for an earlier piece waits for the right time already.
            self.readers.unpark_all()
        self._flight.append((arrival, piece))

    def settle(self) -> None:
        """Let arrive what is due."""
        if not self._flight or self._stopped_at is not None:
            return
        now = trio.current_time()
        while self._flight and self._flight[0][0] <= now:
            _, piece = self._flight.popleft()
            if isinstance(piece, End):
                self.eof = True
                self.closed = piece is End.CLOSE
            else:
                self.arrived.append(piece)

    def take(self, limit: int) -> bytes:
        """Read up to `limit` bytes of what has arrived."""
        left = min(limit, self._allowance)
        parts: list[bytes | memoryview] = []
        while self.arrived and left:
            piece = self.arrived.popleft()
            if len(piece) > left:
                view = memoryview(piece)
                piece = view[: int(left)]
                self.arrived.appendleft(view[int(left) :])
            parts.append(piece)
            left -= len(piece)
        data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        self.unread -= len(data)
        self._allowance -= len(data)
        self.writers.unpark_all()
        self._check_allowance()
        return data

    def allow(self, size: int, then: Callable[[], None]) -> None:
        """Call `then` once `size` more bytes have been read, which is at once for none."""
        self._allowance, self._on_spent = size, then
        self._check_allowance()

    def _check_allowance(self) -> None:
        if self._on_spent is not None and not self._allowance:
            spent, self._on_spent, self._allowance = self._on_spent, None, inf
            spent()

    def finish(self) -> None:
        """What has not been read is lost, and the sender's closing has arrived."""
        self._clear()
        self.eof = self.closed = True
        self.wake()

    def break_off(self) -> None:
        """What has not been read is lost, and the connection is broken."""
        self._clear()
        self.broken = True
        self.wake()

    def _clear(self) -> None:
        self._flight.clear()
        self.arrived.clear()
        self.unread = 0

    def stop(self) -> None:
        """Let nothing more arrive."""
        self.settle()
        self._stopped_at = trio.current_time()
        self.wake()

    def go_on(self) -> None:
        """What is in flight takes its flight up where it stood."""
        assert self._stopped_at is not None
        pause = trio.current_time() - self._stopped_at
        self._flight = deque((at + pause, piece) for at, piece in self._flight)
        self._last_arrival += pause
        self._line_free_at += pause
        self._closing_at += pause
        self._stopped_at = None
        self.wake()

    def wake(self) -> None:
        """Let who waits look again."""
        self.readers.unpark_all()
        self.writers.unpark_all()


async def park(lot: trio.lowlevel.ParkingLot, until: float) -> None:
    """Wait in `lot` to be woken, or for the time `until`."""
    if until == inf:
        await lot.park()
    else:
        with trio.move_on_at(until):
            await lot.park()
