"""What stands between trio-websocket and us: the stream under it, and the nursery that its reader runs in.

trio-websocket tells little of what goes wrong on its reader: an answer that is not HTTP 101 may be lost, and
a connection that ends during the handshake leaves the handshake waiting. Both are seen here instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..supervision import FlatNursery
from .base import nothing

__all__ = ["NotSwitched", "Reader", "TooManyFrames", "WatchedStream"]

_STATUS_LINE: Final = len(b"HTTP/1.1 101")


class NotSwitched(Exception):
    """The server answered by HTTP.

    Attributes:
        data: what has come of that.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__("the server answered by HTTP")
        self.data: bytes = data


class TooManyFrames(Exception):
    """A message has come in more frames than it may have bytes: most of them are empty."""


def _zero() -> int:
    return 0


class WatchedStream(trio.abc.Stream):
    """The stream under a WebSocket.

    Args:
        stream: what carries it.
        max_frames: frames that one message may have. trio-websocket keeps each until the last one, and
            counts only what is in them.

    Attributes:
        on_data: called whenever something has come.
        count_frames: how many frames of a message have come whose end has not; see `max_frames`.
        sent: whether anything has been sent.
        torn: whether a frame went out in part only: what is sent after that makes no sense.
    """

    def __init__(self, stream: trio.abc.Stream, max_frames: int) -> None:
        self.count_frames: Callable[[], int] = _zero
        self._max_frames = max_frames
        self.on_data: Callable[[], object] = nothing
        self.sent: bool = False
        self.torn: bool = False
        self._stream = stream
        self._switched = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.torn = True
        await self._stream.send_all(data)
        self.torn, self.sent = False, True

    async def wait_send_all_might_not_block(self) -> None:  # pragma: no cover - trio-websocket never asks
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As of any stream.

        Raises:
            NotSwitched: the server answers by HTTP. The rest can be read from the stream itself.
            TooManyFrames: a message has more than `max_frames`, and is not at its end.
        """
        if self.count_frames() > self._max_frames:
            raise TooManyFrames
        data = await self._stream.receive_some(max_bytes)
        if not self._switched:
            while 0 < len(data) < _STATUS_LINE:
                more = await self._stream.receive_some(max_bytes)
                if not more:
                    break
                data += more
            if data.startswith(b"HTTP/1.") and data[9:10] in (b"2", b"3", b"4", b"5"):
                raise NotSwitched(bytes(data))
            self._switched = True
        self.on_data()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class Reader:
    """Stands in for the nursery that trio-websocket starts its reader in.

    Cancelling the nursery leaves the reader alone, since the closing handshake needs it: it ends with its
    connection, or by `scope`.

    Args:
        nursery: where the reader really runs.

    Attributes:
        scope: around the reader.
        on_end: called when it has ended.
        ended: set then.
        failure: what it raised; None if it ended by itself.
    """

    def __init__(self, nursery: FlatNursery) -> None:
        self.scope: trio.CancelScope = trio.CancelScope(shield=True)
        self.on_end: Callable[[], object] = nothing
        self.ended: trio.Event = trio.Event()
        self.failure: Exception | None = None
        self._nursery = nursery

    def start_soon(self, read: Callable[[], Awaitable[object]]) -> None:
        """Start the reader."""
        self._nursery.start_soon(self._run, read)

    async def _run(self, read: Callable[[], Awaitable[object]]) -> None:
        try:
            with self.scope:
                await read()
        except Exception as exc:  # a reader that fails is a connection that is lost
            self.failure = exc
        finally:
            self.ended.set()
            self.on_end()
