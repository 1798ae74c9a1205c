"""One request and its response on one connection.

An exchange is made by its caller's own task, and no other stands between: cancelling the caller ends it. Its
connection is then closed; read to its end, it gives the connection back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import Final

import trio

from ..deadlines import Stalled, deadline
from ..errors import ConnectionLost
from ..supervision import open_flat_nursery
from .connection import Connection
from .failures import root_cause

__all__ = ["AT_ONCE", "Exchange", "no_answer", "silent"]

AT_ONCE: Final = 1 << 14
"""A request of so many bytes fits into the buffers of any connection: sending it is no step of its own."""


class Exchange:
    """A response whose headers have come, and the rest of it as it comes. Made by `Pool.exchange` only.

    Args:
        connection: it is this exchange's, until it is given back or closed.
        method: the request's.
        give_back: takes the connection, if it can carry another exchange.
        on_sent: called when the request has been sent whole.

    Attributes:
        status: the status code.
        fields: the headers: names in lower case, the values of repeated ones joined by commas.
        headers: the headers as they came.
        sent: whether the request has been sent whole.
        ended: whether the response has come whole, or was let go. The connection may be another's then.
    """

    status: int
    fields: Mapping[str, str]
    headers: list[tuple[bytes, bytes]]

    def __init__(
        self,
        connection: Connection,
        method: bytes,
        give_back: Callable[[Connection], Awaitable[None]],
        on_sent: Callable[[], object],
    ) -> None:
        self.sent: bool = False
        self.ended: bool = False
        self._connection = connection
        self._give_back = give_back
        self._on_sent = on_sent
        self._silence = 0.0
        self._rest = b""  # of a body that had come whole when the connection was let go
        self._broken: BaseException | None = None
        connection.parser.begin(method)

    @property
    def unanswered(self) -> bool:
        """Whether no byte of the response has come; to be asked before the end."""
        return not self._connection.parser.started

    async def open(self, request: bytes, send_timeout: float, silence: float) -> None:
        """Send `request`, and wait for the headers of its response.

        Args:
            request: all of it.
            send_timeout: seconds in which the server takes nothing of it, where it is large.
            silence: seconds in which nothing comes, once it is sent.

        Raises:
            ConnectionLost: the connection broke, or somebody was silent for too long (`Stalled`).
            ProtocolError: what came is not HTTP.
        """
        self._silence = silence
        parser = self._connection.parser
        with trio.move_on_after(silence) as scope:
            if len(request) <= AT_ONCE:
                await self._send(request)
                self._is_sent()
                await self._read()
                while not parser.status:  # interim responses, headers in pieces: each is a sign of life
                    scope.deadline = trio.current_time() + silence
                    await self._read()
            else:
                scope.deadline = inf
                async with open_flat_nursery() as nursery:
                    # A server may refuse a large request, or answer it, before it has read it.
                    nursery.start_soon(self._send_in_pieces, request, send_timeout, scope)
                    await self._read()
                    while not parser.status:
                        if scope.deadline < inf:  # all has been sent
                            scope.deadline = trio.current_time() + silence
                        await self._read()
                    if parser.status >= 300 or parser.ended:
                        nursery.cancel_scope.cancel(reason="the server answered before it had read all")
        if scope.cancelled_caught:
            raise no_answer(silence, send_timeout)
        self.status, self.fields, self.headers = parser.status, parser.fields, parser.headers
        if parser.ended:
            await self._end()

    async def _send(self, data: bytes | memoryview) -> None:
        try:
            await self._connection.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._broken = exc  # there may be an answer all the same, such as 413

    def _is_sent(self) -> None:
        if self._broken is None:
            self.sent = True
            self._on_sent()

    async def _send_in_pieces(self, request: bytes, send_timeout: float, scope: trio.CancelScope) -> None:
        rest = memoryview(request)
        while rest and self._broken is None:
            with deadline(send_timeout, partial(_not_taken, send_timeout)):
                await self._send(rest[:AT_ONCE])
            rest = rest[AT_ONCE:]
        self._is_sent()
        scope.deadline = trio.current_time() + self._silence

    async def receive(self) -> bytes:
        """The next piece of the body; b"" at its end.

        Raises:
            ConnectionLost: the connection broke, or nothing came for `silence` seconds (`Stalled`).
            ProtocolError: what came is not HTTP.
        """
        if self.ended:
            rest, self._rest = self._rest, b""
            return rest
        parser = self._connection.parser
        while not (data := parser.take()) and not parser.ended:
            with deadline(self._silence, partial(silent, self._silence)):
                await self._read()
        if parser.ended:
            await self._end()
        return data

    async def _read(self) -> None:
        connection = self._connection
        try:
            connection.parser.feed(await connection.stream.receive_some())
        except EOFError:
            raise self._hung_up() from self._broken
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            cause = self._broken or exc  # with TLS, the second one does not say why
            raise ConnectionLost(f"the connection broke: {root_cause(cause)}") from cause

    def _hung_up(self) -> ConnectionLost:
        when = "without an answer" if self.unanswered else "in the middle of its response"
        return ConnectionLost(f"the server closed the connection {when}")

    async def _end(self) -> None:
        """Let go of the connection, which the response has come over whole."""
        self.ended = True
        parser = self._connection.parser
        self._rest = parser.take()
        if parser.reusable and self.sent:
            await self._give_back(self._connection)
        else:
            await self._connection.close()

    async def close(self) -> None:
        """Let go at once. It never waits; the connection is closed if the response was not at its end."""
        if not self.ended:
            self.ended = True
            await self._connection.close()


def no_answer(silence: float, timeout: float) -> Stalled:
    """The error where a request was sent and nothing came back."""
    option = "timeout=" if silence == timeout else "sse_read_timeout="
    return Stalled(f"the server did not answer for {silence:g} s ({option})")


def silent(silence: float) -> Stalled:
    """The error where a response has begun and nothing more came."""
    return Stalled(
        f"the server fell silent for {silence:g} s in the middle of its response (sse_read_timeout=)"
    )


def _not_taken(timeout: float) -> Stalled:
    return Stalled(f"the server took nothing of the request for {timeout:g} s (timeout=)")
