"""One negotiated conversation: requests with ids and envelopes, typed results, expired sessions renewed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final, TypeVar

import mcp_types as types
import trio
from mcp_types import LOG_LEVEL_META_KEY

from .callbacks import Callbacks, ProgressCallback
from .deadlines import ConnectTimeout, deadline
from .dispatcher import Dispatcher, Progress
from .errors import (
    ConnectorError,
    MCPError,
    UnsupportedFeature,
)
from .handling import PLAIN, AroundHandshake, Handling, Remedy, Resolver, typed
from .in_flight import Call, InFlight
from .negotiation import Negotiated, Negotiator
from .protocol.envelope import envelope, with_meta
from .protocol.versions import has_method, is_modern
from .protocol.wire import JSONObject, Notification, Request, RequestId
from .renewal import LASTING, Renewals
from .statistics import Statistics
from .supervision import Supervisor, open_flat_nursery
from .transports.base import Transport

__all__ = ["Session"]

T = TypeVar("T")
M = TypeVar("M", Request, Notification)
logger: Final = logging.getLogger("trio_mcp")

_SUBJECT: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Session:
    """A conversation over one transport.

    Args:
        transport: what carries it.
        dispatcher: what takes the server's own messages.
        supervisor: where background tasks live.
        statistics: what to count in.
        client_info: who we say we are.
        callbacks: what the server may ask of us.
        pinned: the only protocol version to accept; None for the best one.
        connect_timeout: seconds that a handshake may take as a whole.
        server: what errors call the server.
        around_handshake: what is to be done around each handshake.
        resolvers: what deals with results that are not complete, by their type.
        remedies: what deals with errors that ask for something, by their code.

    Attributes:
        negotiated: what the handshake established; there once `open` has returned.
        log_level: what a modern server is to log with each request; None for nothing.
    """

    def __init__(
        self,
        transport: Transport,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        statistics: Statistics,
        *,
        client_info: types.Implementation,
        callbacks: Callbacks,
        pinned: str | None,
        connect_timeout: float,
        server: str,
        around_handshake: AroundHandshake,
        resolvers: Mapping[str, Resolver],
        remedies: Mapping[int, Remedy],
    ) -> None:
        self.transport: Transport = transport
        # Who gives a callback for logs wants some: a modern server sends none that is not asked for.
        self.log_level: types.LoggingLevel | None = "info" if callbacks.logging else None
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._statistics = statistics
        self._client_info = client_info
        self._callbacks = callbacks
        self._connect_timeout = connect_timeout
        self._server = server
        self._ids = itertools.count(1)
        self._negotiator = Negotiator(
            transport, self.next_id, client_info, callbacks, pinned, patience=connect_timeout / 3
        )
        self._around_handshake = around_handshake
        self._resolvers = resolvers
        self._remedies = remedies
        self.negotiated: Negotiated
        self._envelope: Mapping[str, Any] = {}
        self._renewals = Renewals(
            transport,
            dispatcher,
            supervisor,
            statistics,
            handshake=self._open_anew,
            next_id=self.next_id,
            patience=connect_timeout,
        )
        self._in_flight = InFlight()

    def next_id(self) -> RequestId:
        """An id that no request has had."""
        return next(self._ids)

    # Opening and closing

    async def open(self) -> None:
        """Make the handshake, within `connect_timeout`.

        Raises:
            ConnectTimeout: it took longer.
            ConnectorError: it failed.
        """
        try:
            with deadline(self._connect_timeout, self._too_slow):
                await self.transport.open()
                self._adopt(await self._around_handshake(self._negotiator.negotiate))
                self.transport.reopened = self._reopened
        except ConnectorError as exc:
            exc.locate(self._server)
            raise

    async def _open_anew(self) -> None:
        with deadline(self._connect_timeout, self._too_slow):
            self._adopt(await self._around_handshake(self._negotiator.initialize))

    def _reopened(self) -> None:
        """The transport has a new connection, to a server that knows nothing of the old one."""
        if self.closed:
            return
        if self._envelope:
            self._dispatcher.interrupted("the connection was lost and opened again")
        else:
            self._renewals.begin_anew()

    def _too_slow(self) -> ConnectTimeout:
        return ConnectTimeout(f"no handshake within {self._connect_timeout:g} s (connect_timeout=)")

    def _adopt(self, negotiated: Negotiated) -> None:
        self.negotiated = negotiated
        version = self._dispatcher.version = negotiated.version
        capabilities = self._dispatcher.requests.declared = self._callbacks.capabilities(version)
        self._envelope = envelope(version, self._client_info, capabilities) if is_modern(version) else {}

    async def close(self) -> None:
        """End all calls that are still in flight; their callers get `NotConnected`."""
        await self._in_flight.close()

    async def until_closed(self) -> None:
        """Wait until the connection is closed.

        Raises:
            NotConnected: it is.
        """
        with self._in_flight.call():
            await trio.sleep_forever()

    @property
    def closed(self) -> bool:
        """Whether calls are taken no more."""
        return self._in_flight.closed

    def call(self) -> Call:
        """A block that ends with `NotConnected` when the session is closed; see `InFlight.call`."""
        return self._in_flight.call()

    # Requests

    async def request(
        self,
        method: str,
        params: JSONObject | None,
        result_type: type[T],
        meta: JSONObject | None = None,
        headers: Mapping[str, str] | None = None,
        how: Handling = PLAIN,
    ) -> T:
        """Send a request, and give its result as `result_type`; see `Connector.request`."""
        version = self.negotiated.version
        if not has_method(method, version):
            raise UnsupportedFeature(f"protocol version {version} has no {method}").locate(self._server)
        log_level = {LOG_LEVEL_META_KEY: self.log_level} if self._envelope and self.log_level else None
        self._statistics.requests += 1
        self._statistics.requests_in_flight += 1
        try:
            if self.closed:
                await trio.lowlevel.checkpoint()  # the caller may have been cancelled together with it
            with nullcontext() if how.errand else self._in_flight.call():
                if how.progress_callback is None:
                    params = with_meta(params, log_level, meta, self._envelope)
                    result = await self._settle(method, params, headers, how)
                else:
                    token = self.next_id()
                    params = with_meta(params, log_level, meta, self._envelope, {"progressToken": token})
                    async with self._progress(token, how.progress_callback):
                        result = await self._settle(method, params, headers, how)
            return typed(result, result_type, how.unresolved)
        except trio.Cancelled:
            self._statistics.requests_cancelled += 1
            raise
        except Exception as exc:
            self._statistics.requests_failed += 1
            if isinstance(exc, ConnectorError):
                exc.locate(self._server, _describe(method, params))
            raise
        finally:
            self._statistics.requests_in_flight -= 1

    async def notify(self, method: str, params: JSONObject | None) -> None:
        """Send a notification; see `Connector.notify`."""
        message = Notification(method, params)
        try:
            if self.closed:
                await trio.lowlevel.checkpoint()
            with self._in_flight.call():
                await self._renewals.send(self.transport.notify, message)
        except ConnectorError as exc:
            exc.locate(self._server, method)
            raise

    async def _settle(
        self, method: str, params: JSONObject | None, headers: Mapping[str, str] | None, how: Handling
    ) -> JSONObject:
        """Send a request, and whatever more it takes until its result is complete."""
        request = Request(how.request_id or self.next_id(), method, params, headers)
        if how.augmentation is not None:
            send = partial(how.augmentation.send, self.transport.request)
            return await how.augmentation.resolve((await self._renewals.send(send, request)).result)
        try:
            result = (await self._renewals.send(self.transport.request, request)).result
        except MCPError as exc:
            if exc.code not in self._remedies:
                raise
            result = await self._remedies[exc.code](exc, partial(self._again, method, headers, params))
        if params is None:
            return result
        if method in LASTING:
            self._renewals.remember(method, params)
        while (kind := result.get("resultType", "complete")) != "complete" and kind not in how.unresolved:
            resolver = self._resolvers.get(kind) if self._envelope and isinstance(kind, str) else None
            if resolver is None or method not in (resolver.methods or (method,)):
                break
            try:
                result = await resolver.resolve(result, partial(self._again, method, headers), method, params)
            except ConnectorError as exc:
                exc.begun = True
                raise
        return result

    async def _again(
        self, method: str, headers: Mapping[str, str] | None, params: JSONObject | None
    ) -> JSONObject:
        request = Request(self.next_id(), method, params, headers)
        return (await self._renewals.send(self.transport.request, request)).result

    @asynccontextmanager
    async def _progress(self, token: RequestId, callback: ProgressCallback) -> AsyncGenerator[None]:
        """Report progress to `callback`, in order, and all of it before the block is left."""

        async def report(progress: Progress) -> None:
            await callback(*progress)

        async with open_flat_nursery() as nursery:
            # It reads from a mailbox that is there already: nothing is lost before it runs.
            nursery.start_soon(self._dispatcher.watch_progress(token).serve, report)  # noqa: ASYNC113
            try:
                yield
            finally:
                self._dispatcher.end_progress(token)


def _describe(method: str, params: JSONObject | None) -> str:
    subject = (params or {}).get(_SUBJECT.get(method, ""))
    return method if subject is None else f"{method} {subject!r}"
