"""The streams of httpx2's clients, so that one can let go of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final

import httpx2
import trio

__all__ = ["TidyStream"]

_MAX_STEPS: Final = 10_000


class TidyStream(httpx2.AsyncByteStream):
    """A response's stream that can be closed half-way.

    The streams of httpx2's own transport are generators in generators: closing the outer one leaves the inner
    ones suspended, and the connection with them, to the garbage collector. A cancelled scope around their
    next step ends them all.
    """

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream
        self._pieces = stream.__aiter__()
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except BaseException:
            self._ended = True
            raise

    async def aclose(self) -> None:
        """Let go at once; it never waits and raises nothing."""
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel(reason="the exchange was left half-way")
            steps = 0  # not without end: there are streams that never checkpoint
            while not self._ended and steps < _MAX_STEPS:
                steps += 1
                await anext(self)
            if isinstance(self._pieces, AsyncGenerator):  # pragma: no branch - others have nothing to close
                await self._pieces.aclose()
        with trio.CancelScope(shield=True) as scope, suppress(Exception):
            scope.cancel(reason="the exchange was left half-way")
            await self._stream.aclose()
