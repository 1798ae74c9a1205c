"""Server-sent events: bytes in, events out.

Follows "Interpreting an event stream" of the WHATWG HTML standard, with what MCP needs beyond it: bad
UTF-8 is an error and not a replacement character, and everything is bounded.

    decoder = SSEDecoder(max_event_size=1 << 24)
    for event in decoder.feed(chunk):
        ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import MessageTooLarge, ProtocolError

__all__ = ["RETRY_CEILING", "RETRY_FLOOR", "SSEDecoder", "ServerSentEvent"]

RETRY_FLOOR: Final = 0.1
"""Seconds: `retry: 0` must not turn into a flood of requests."""
RETRY_CEILING: Final = 300.0
"""Seconds: nor may a server send its client to sleep for good."""

# LF, CR and CRLF end a line, and nothing else does: str.splitlines() would cut at U+2028.
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its type ("message" unless named) and its data, as UTF-8."""

    type: str
    data: bytes


class SSEDecoder:
    """An incremental decoder for one stream.

    Args:
        max_event_size: bytes that the data of one event, field names included, may take, or any line.

    Attributes:
        last_event_id: the latest event's id; "" if none has come, or if the server took it back.
        retry: the server's reconnection time in seconds, between floor and ceiling, if it gave one.
    """

    def __init__(self, max_event_size: int) -> None:
        self.last_event_id: str = ""
        self.retry: float | None = None
        self._max_event_size = max_event_size
        self._line: list[bytes] = []  # pieces of the line that has not ended yet
        self._line_size = 0
        self._skip_newline = False  # the last chunk ended in CR, so an LF now belongs to it
        self._at_start = True
        self._id = ""  # takes effect when its event is complete: resuming must not skip a half one
        self._error: ProtocolError | None = None
        self._clear_event()

    def _clear_event(self) -> None:
        self._type = ""
        self._data: list[bytes] = []
        self._size = 0
        self._has_data = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes.

        Raises:
            MessageTooLarge: one event takes more than `max_event_size` bytes.
            ProtocolError: an id or event type is not UTF-8.

            What came whole before an error is given first; the error is raised by `check`, and by the next
            call.
        """
        self.check()
        events: list[ServerSentEvent] = []
        try:
            self._feed(chunk, events)
        except ProtocolError as exc:
            if not events:
                raise
            self._error = exc
        return events

    def check(self) -> None:
        """Raise the error that what came whole before it has held back, if there is one."""
        if self._error is not None:
            raise self._error

    def _feed(self, chunk: bytes, events: list[ServerSentEvent]) -> None:
        if not chunk:
            return
        rest = chunk.removeprefix(b"\n") if self._skip_newline else chunk
        self._skip_newline = chunk.endswith(b"\r")
        *ended, rest = _LINE_END.split(rest)
        for piece in ended:
            self._take_piece(piece)
            line = b"".join(self._line)
            self._line.clear()
            self._line_size = 0
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(_BOM)
            if line:
                self._field(line)
            else:
                self.last_event_id = self._id
                if self._has_data:
                    events.append(ServerSentEvent(self._type or "message", b"\n".join(self._data)))
                self._clear_event()
        if rest:
            self._take_piece(rest)

    def _take_piece(self, piece: bytes) -> None:
        self._line.append(piece)
        self._line_size += len(piece)
        if self._size + self._line_size > self._max_event_size:
            raise MessageTooLarge(
                f"the server sent an event of more than {self._max_event_size} bytes; "
                "max_message_size raises the limit"
            )

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._has_data = True
                self._data.append(value)
                self._size += len(line)
            case b"event":
                self._type = _text(value)
            case b"id" if b"\0" not in value:
                self._id = _text(value)
            case b"retry" if value.isdigit():
                # Not converted whole: int() refuses, or takes its time over, thousands of digits.
                digits = value.lstrip(b"0")
                milliseconds = int(digits or b"0") if len(digits) < 10 else 10**9
                self.retry = min(max(milliseconds / 1000, RETRY_FLOOR), RETRY_CEILING)
            case _:
                pass  # a comment, or a field that the standard does not know


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ProtocolError("the server sent an event stream that is not UTF-8") from exc
