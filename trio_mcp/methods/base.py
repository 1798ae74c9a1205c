"""What the client's methods are made of: one request, one notification, all pages of a list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import trio
from mcp_types import INVALID_PARAMS, CacheableResult, PaginatedResult

from ..callbacks import ProgressCallback
from ..connection import Connection
from ..errors import ConnectorError, MCPError, NotConnected, ProtocolError
from ..features.response_cache import CacheMode
from ..handling import PLAIN, Handling

__all__ = ["MAX_PAGES", "Requester", "at", "handling"]

T = TypeVar("T")
R = TypeVar("R", bound=CacheableResult)
Page = TypeVar("Page", bound=PaginatedResult)

MAX_PAGES: Final = 1000
"""Pages that listing everything takes at most."""


class Requester(ABC):
    """Sends; what is sent is the business of the classes that build on this."""

    @abstractmethod
    def _live(self) -> Connection:
        """The open connection.

        Raises:
            NotConnected: there is none.
        """

    async def _reached(self) -> Connection:
        """The open connection; see `_live`.

        Where there is none, this is a checkpoint: whoever is cancelled together with the connection gets
        `Cancelled`, however soon it has ended.
        """
        try:
            return self._live()
        except NotConnected:
            await trio.lowlevel.checkpoint()  # noqa: ASYNC120 - being cancelled matters more
            raise

    @property
    def protocol_version(self) -> str:
        """The negotiated protocol version, such as "2026-07-28"."""
        return self._live().session.negotiated.version

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        result_type: type[T],
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send any request: the way to what has no method of its own here.

        Args:
            method: such as "tools/list".
            params: a JSON object, or None. The protocol's own `_meta` entries are added.
            result_type: what to validate the result as: a pydantic model, or any type that pydantic knows.
            progress_callback: awaited with `(progress, total, message)`, in order, and all of it before this
                returns. An exception that it raises comes out of this call.
            meta: further `_meta` entries.
            headers: further headers of the HTTP request; other transports have none.

        Raises:
            MCPError: the server answered with an error.
            TransportError: the exchange failed; see `errors.py` for its kinds.
            ProtocolError: the answer breaks the protocol, or is not a `result_type`.
            UsageError: what was asked cannot be sent.
        """
        return await (await self._reached()).request(
            method, params, result_type, meta=meta, headers=headers, how=handling(progress_callback)
        )

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send any notification.

        Raises:
            TransportError: it could not be delivered.
            UsageError: it cannot be sent.
        """
        await (await self._reached()).session.notify(method, params)

    def _located(self, error: ConnectorError, request: str | None = None) -> ConnectorError:
        return error.locate(self._live().identifier, request)

    async def _cached(
        self, method: str, params: Mapping[str, Any] | None, result_type: type[R], mode: CacheMode
    ) -> R:
        """The result of a request that may be kept; see `ResponseCache.fetch`."""
        cache = (await self._reached()).cache
        if cache is None:
            return await self.request(method, params, result_type)
        return await cache.fetch(
            method, params, result_type, mode, partial(self.request, method, params, result_type)
        )

    async def _all_pages(
        self,
        page_at: Callable[[str | None, CacheMode], Awaitable[Page]],
        items: Callable[[Page], list[T]],
        cache: CacheMode,
    ) -> list[T]:
        # Only an absent cursor ends the list, and "" does not (26/server/utilities/pagination).
        found: list[T] = []
        seen: set[str] = set()
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                page = await page_at(cursor, cache)
            except MCPError as exc:
                if (
                    self._live().cache is None
                    or cache != "use"
                    or cursor is None
                    or exc.code != INVALID_PARAMS
                ):
                    raise
                # A cursor that was kept may be good no more: all pages anew, past the cache.
                return await self._all_pages(page_at, items, "refresh")
            found += items(page)
            cursor = page.next_cursor
            if cursor is None:
                return found
            if cursor in seen:
                raise self._located(
                    ProtocolError(f"the server's pages repeat: it gave the cursor {cursor!r} twice")
                )
            seen.add(cursor)
        raise self._located(ProtocolError(f"the server's list has more than {MAX_PAGES} pages"))


def handling(progress_callback: ProgressCallback | None) -> Handling:
    """How a request is dealt with, of whose progress the caller may want to know."""
    return PLAIN if progress_callback is None else Handling(progress_callback=progress_callback)


def at(cursor: str | None) -> dict[str, Any] | None:
    """The params of a request for the page at `cursor`."""
    return None if cursor is None else {"cursor": cursor}
