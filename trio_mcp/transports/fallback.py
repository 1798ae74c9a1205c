"""Streamable HTTP first, and HTTP+SSE where the server does not know it.

26/basic/transports/streamable-http, "Backward Compatibility": if the POSTed `initialize` is answered by
400, 404 or 405, and not by an error that only a modern server knows, then the server may be one of
2024-11-05, whose event stream a GET of the same URL opens. No other answer says so: 401 asks for
credentials, 5xx and 429 are outages, and neither they nor a broken connection tell what a server speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from ..errors import ConnectorError, HTTPStatusError, MCPError
from ..protocol.versions import MODERN_ERRORS
from ..protocol.wire import Request, Response
from ..statistics import Statistics
from ..supervision import Supervisor
from .base import Inbox, OneWay, Transport, TransportName, logger
from .legacy_sse import NoEventStream

__all__ = ["WithFallback"]

MakeTransport: TypeAlias = Callable[[], Transport]

_REFUSED: Final = frozenset({400, 404, 405})


class WithFallback(Transport):
    """The first transport; or the second one, if the first one's `initialize` is refused.

    For the session it is one transport: the two share the handshake, its deadline and its middleware.

    Args:
        first: Streamable HTTP.
        make_second: makes HTTP+SSE.
    """

    def __init__(
        self,
        first: Transport,
        make_second: MakeTransport,
        *,
        inbox: Inbox,
        supervisor: Supervisor,
        statistics: Statistics,
    ) -> None:
        super().__init__(inbox, supervisor, statistics)
        self._make_second = make_second
        self._chosen = False
        self._use(first)

    def _use(self, transport: Transport) -> None:
        self._current = transport
        self.name: TransportName = transport.name
        transport.reopened = self._reopened

    def _reopened(self) -> None:
        self.reopened()

    async def open(self) -> None:
        await self._current.open()

    @property
    def connected(self) -> bool:
        return self._current.connected

    @property
    def given_up(self) -> bool:
        return self._current.given_up

    async def ready(self) -> None:
        await self._current.ready()

    async def until_lost(self) -> ConnectorError:
        return await self._current.until_lost()

    def request(self, message: Request) -> Coroutine[Any, Any, Response]:
        # Not a coroutine of its own: a call need not pass through one more.
        if self._chosen or message.method != "initialize":
            return self._current.request(message)
        return self._initialize(message)

    def notify(self, message: OneWay) -> Coroutine[Any, Any, None]:
        return self._current.notify(message)

    def adopt(self, version: str) -> None:
        self._chosen = True
        self._current.adopt(version)

    async def start(self) -> None:
        await self._current.start()

    async def goodbye(self) -> None:
        await self._current.goodbye()

    async def _initialize(self, message: Request) -> Response:
        try:
            return await self._current.request(message)
        except (HTTPStatusError, MCPError) as exc:
            if not _means_another_transport(exc):
                raise
            refused = exc
        logger.debug("Streamable HTTP was refused, and HTTP+SSE is tried: %r", refused)
        self._chosen, opened = True, False
        self._use(self._make_second())
        try:
            await self._current.open()
            opened = True
            return await self._current.request(message)
        except ConnectorError as exc:
            if opened or not _means_no_event_stream(exc):
                exc.message += f"; HTTP+SSE was tried as Streamable HTTP was refused: {refused.message}"
                raise exc from exc.__cause__ or refused
            refused.message += f"; HTTP+SSE was tried as well: {exc.message}"
            raise refused from refused.__cause__ or exc


def _means_another_transport(exc: HTTPStatusError | MCPError) -> bool:
    if isinstance(exc, MCPError):
        return exc.http_status in _REFUSED and exc.code not in MODERN_ERRORS
    return exc.status_code in _REFUSED


def _means_no_event_stream(exc: ConnectorError) -> bool:
    """Whether the server does not know HTTP+SSE either: then what it said first says more."""
    return isinstance(exc, NoEventStream) or (
        isinstance(exc, HTTPStatusError) and exc.status_code in {*_REFUSED, 406}
    )
