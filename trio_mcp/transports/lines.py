"""Messages as lines, over any stream of bytes: stdio's framing (26/basic/transports/stdio)."""

from __future__ import annotations

from typing import Final

import trio

from ..errors import ConnectionLost, MessageTooLarge
from .wires import Wire

__all__ = ["LineWire"]

_READ_SIZE: Final = 1 << 16
_PIECE: Final = 1 << 16  # bytes that are sent at once, so that a large message is seen to make progress

# What a stream may raise; the last two are those of streams that others have made.
_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)


class LineWire(Wire):
    """Carries a message on each line. Only a line feed ends one; empty lines mean nothing.

    Args:
        output: where messages are written; the wire does not close it.
        source: where they are read from; nor this.
        max_message_size: bytes that a line may have.
    """

    def __init__(
        self, output: trio.abc.SendStream, source: trio.abc.ReceiveStream, max_message_size: int
    ) -> None:
        self._output = output
        self._source = source
        self._max_message_size = max_message_size
        self._unread = bytearray()
        self._searched = 0  # bytes of it that have no line break in them

    async def send(self, message: bytes) -> None:
        line = message + b"\n"
        try:
            for start in range(0, len(line), _PIECE):
                await self._output.send_all(line[start : start + _PIECE])
                self.progressed()
        except _BROKEN as exc:
            raise ConnectionLost("the server no longer reads what it is sent") from exc

    async def receive(self) -> bytes:
        while True:
            end = self._unread.find(b"\n", self._searched)
            self._searched = len(self._unread)
            if (self._searched if end < 0 else end) > self._max_message_size:
                raise MessageTooLarge(
                    f"the server sent a line of more than {self._max_message_size} bytes; "
                    "max_message_size raises the limit"
                )
            if end < 0:
                await self._read()
                continue
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            self._searched = 0
            if line.strip():
                return line

    async def _read(self) -> None:
        try:
            data = await self._source.receive_some(_READ_SIZE)
        except _BROKEN as exc:
            raise ConnectionLost("the connection broke") from exc
        if not data:
            raise ConnectionLost("the server closed the connection")
        self._unread += data
