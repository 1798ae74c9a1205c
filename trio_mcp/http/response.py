"""A response as the transports see it: its body piece by piece or whole, and what of it may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, unquote_plus, urlsplit

import trio

from .engine import Reply
from .failures import too_large

__all__ = ["SECRET_HEADER", "HttpResponse"]

_DRAIN_SECONDS: Final = 0.25
_DRAIN_BYTES: Final = 1 << 16
_EXCERPT_LENGTH: Final = 200
SECRET_HEADER: Final = re.compile(
    "(^|-)(auth|authorization|cookie|key|apikey|password|secret|token)(-|$)|session-id$"
)
"""What is found in the name of a header, in lower case, whose value is a secret."""
# A user and a password, a query, a fragment.
_PRIVATE: Final = re.compile("(?<=//)[^/?#]*@|[?#].*")
# A shorter value would be found in any text.
_SECRET_LENGTH: Final = 6


class HttpResponse:
    """A response whose headers have come. Made by `HttpClient.send` only.

    It is a block, and leaving that early never waits for the peer. Without an exception, the rest is read
    aside for a moment, so that the connection can serve again; with one, or a cancellation, the connection is
    closed at once.

    Attributes:
        status: the HTTP status code.
        headers: to be asked for in lower case; the values of repeated ones joined by commas.
        request_headers: the headers that were sent.
    """

    def __init__(
        self,
        reply: Reply,
        request_headers: Mapping[str, str],
        max_size: int,
        linger: Callable[[HttpResponse], bool],
        url: str = "",
    ) -> None:
        self.status: int = reply.status
        self.headers: Mapping[str, str] = reply.fields
        self.request_headers: Mapping[str, str] = request_headers
        self._reply = reply
        self._max_size = max_size
        self._linger = linger
        self._urls = [url]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._reply.ended and (exc is not None or not self._linger(self)):
            await self._reply.close()  # noqa: ASYNC102 - shielded, and never waits

    @property
    def ended(self) -> bool:
        """Whether the body has come to its end, or was let go."""
        return self._reply.ended

    @property
    def content_type(self) -> str:
        """The media type, in lower case and without parameters; "" if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def receive(self) -> bytes:
        """The next piece of the body, decoded; b"" at its end. See `Reply.receive`."""
        return await self._reply.receive()

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            MessageTooLarge: it is larger than the limit.
        """
        pieces: list[bytes] = []
        size = 0
        while chunk := await self._reply.receive():
            size += len(chunk)
            if size > self._max_size:
                raise too_large(self._max_size)
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self) -> None:
        """Read to the end for a moment, then let go."""
        read = 0
        try:
            with trio.move_on_after(_DRAIN_SECONDS), suppress(Exception):
                while read < _DRAIN_BYTES and (chunk := await self._reply.receive()):
                    read += len(chunk)
        finally:
            await self._reply.close()  # noqa: ASYNC102 - shielded, and never waits

    async def abandon(self) -> None:
        """Let go at once; the connection is closed if the body was not at its end."""
        await self._reply.close()

    # For errors

    def public_headers(self) -> dict[str, str]:
        """The headers that an error may show."""
        shown = {
            name.lower(): self.redact(value)
            for name, value in self.headers.items()
            if name.lower() not in ("set-cookie", "mcp-session-id")
        }
        if "location" in shown:
            shown["location"] = _PRIVATE.sub("", shown["location"])
        return shown

    def excerpt(self, body: str) -> str:
        """The beginning of `body`, for an error message."""
        text = " ".join(body.split())
        return text if len(text) <= _EXCERPT_LENGTH else text[:_EXCERPT_LENGTH] + "…"

    def keep_secret(self, url: str) -> None:
        """Have `redact` take out what stands in the query of `url`, too."""
        self._urls.append(url)

    def redact(self, text: str) -> str:
        """`text`, which the server sent, without what the request kept secret in headers and the query."""
        for secret in self._secrets():
            if len(secret) >= _SECRET_LENGTH:
                text = text.replace(secret, "[secret]")
        return text

    def _secrets(self) -> Iterator[str]:
        for name, value in self.request_headers.items():
            if SECRET_HEADER.search(name.lower()):
                # The last word of "Bearer x", the values of "a=x; b=y", and then all of it.
                yield value.rpartition(" ")[2]
                yield from (part.rpartition("=")[2] for part in value.split("; "))
                yield value
        for url in self._urls:
            for field in urlsplit(url).query.split("&"):
                # As it was sent, and as the server reads it. A field without a name is all value.
                name, _, value = field.partition("=")
                yield value or name
                yield unquote(value or name)
                yield unquote_plus(value or name)
