"""A user's auth flow at work, with what it cannot be trusted to have: bounds in size and time.

A flow makes requests of its own, to any host, and reads whole bodies; and between two requests it may wait
for a human. So it is each request of it that is watched, and not the flow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from math import inf
from typing import Final

import httpx2
import trio

from ..deadlines import deadline
from .exchange import silent
from .failures import check_coding, too_large
from .tidy_stream import TidyStream

__all__ = ["BoundedFlow"]

_CODING: Final = "content-encoding"


class BoundedFlow(httpx2.Auth):
    """The flow of `auth` for one request.

    Args:
        auth: whose flow.
        timeouts: those of the flow's own requests.
        silence: the longest time in seconds in which nothing comes.
        max_size: bytes that a body may have which is read in the flow, once it is decoded.
        scope: its deadline becomes that of the request which is on its way; None if the transport watches.
    """

    def __init__(
        self,
        auth: httpx2.Auth,
        timeouts: httpx2.Timeout,
        silence: float,
        max_size: int,
        scope: trio.CancelScope | None,
    ) -> None:
        self._auth = auth
        self._silence = silence
        self._timeouts = timeouts
        self._max_size = max_size
        self._scope = scope

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """The flow, step by step."""
        self._watch(inf)
        flow = self._auth.async_auth_flow(request)
        try:
            asked = await anext(flow)
            while True:
                if "timeout" not in asked.extensions:
                    asked.extensions = {**asked.extensions, "timeout": self._timeouts.as_dict()}
                self._watch(self._silence)
                response = yield asked
                self._watch(inf)
                check_coding(response.headers.get(_CODING))
                body = _BoundedBody(response, self._max_size, self._silence)
                try:
                    asked = await flow.asend(response)
                except StopAsyncIteration:
                    body.give_back()
                    return
        finally:
            await flow.aclose()

    def _watch(self, seconds: float) -> None:
        if self._scope is not None:
            self._scope.deadline = trio.current_time() + seconds


class _BoundedBody(httpx2.AsyncByteStream):
    """Takes the place of the body of `response`, and decodes it, because decoded is how it is counted."""

    def __init__(self, response: httpx2.Response, max_size: int, silence: float) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._response = response
        self._stream: httpx2.AsyncByteStream = response.stream
        self._coding: str | None = response.headers.pop(_CODING, None)
        coding = {} if self._coding is None else {_CODING: self._coding}
        self._tidy = TidyStream(self._stream)
        self._pieces = httpx2.Response(200, headers=coding, stream=self._tidy).aiter_bytes()
        self._left = max_size
        self._max_size = max_size
        self._silence = silence
        response.stream = self

    def give_back(self) -> None:
        """The flow has ended, and this is its response: whoever reads it now has bounds of his own."""
        if not self._response.is_stream_consumed:
            self._response.stream = self._stream
            if self._coding is not None:
                self._response.headers[_CODING] = self._coding

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        with deadline(self._silence, partial(silent, self._silence)):
            piece = await anext(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        self._left -= len(piece)
        if self._left < 0:
            raise too_large(self._max_size)
        return piece

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await self._tidy.aclose()
