"""One whole exchange over an engine: for the small requests of an OAuth flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..auth.fetcher import MAX_DOCUMENT, Answer
from ..deadlines import Stalled, deadline
from ..errors import MessageTooLarge
from .engine import Engine, HttpRequest

__all__ = ["EngineSend"]

_SECONDS: Final = 30.0


class EngineSend:
    """Sends the requests of a flow; an `auth.fetcher.Send`.

    Args:
        engine: what sends.
        timeout: seconds for connecting and for sending.
    """

    def __init__(self, engine: Engine, timeout: float) -> None:
        self._engine = engine
        self._timeout = timeout

    async def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """See `Send.__call__`; within 30 s."""
        request = HttpRequest(method, url, headers, body, self._timeout, _SECONDS, method == "GET")
        with deadline(_SECONDS, _too_slow):
            reply, _ = await self._engine.send(request)
            pieces: list[bytes] = []
            try:
                while chunk := await reply.receive():
                    pieces.append(chunk)
                    if sum(map(len, pieces)) > MAX_DOCUMENT:
                        raise MessageTooLarge(f"more than {MAX_DOCUMENT} bytes")
            finally:
                await reply.close()  # noqa: ASYNC102 - shielded, and never waits
        return Answer(reply.status, reply.fields, b"".join(pieces))


def _too_slow() -> Stalled:
    return Stalled(f"no whole answer within {_SECONDS:g} s")
