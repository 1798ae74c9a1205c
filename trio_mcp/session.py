"""One negotiated conversation: requests with ids and envelopes, typed results, expired sessions renewed."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import mcp_types as types
import trio
from mcp_types import LOG_LEVEL_META_KEY
from pydantic import BaseModel, ValidationError

from .callbacks import Callbacks, ProgressCallback, in_callback
from .deadlines import ConnectTimeout, deadline
from .dispatcher import Dispatcher, Progress
from .errors import (
    ConnectorError,
    MCPError,
    NotConnected,
    ProtocolError,
    SessionExpired,
    UnsupportedFeature,
    UsageError,
)
from .in_flight import Call, InFlight
from .negotiation import Negotiated, Negotiator
from .protocol.envelope import envelope, with_lawful_ttl, with_meta
from .protocol.validation import adapter_of, first_error
from .protocol.versions import has_method, is_modern
from .protocol.wire import JSONObject, Notification, Request, RequestId, Response
from .statistics import Statistics
from .supervision import Supervisor, open_flat_nursery
from .transports.base import Transport

__all__ = [
    "AroundHandshake",
    "Augmentation",
    "Handling",
    "Handshake",
    "PLAIN",
    "Remedy",
    "Resolver",
    "Session",
    "typed",
]

T = TypeVar("T")
M = TypeVar("M", Request, Notification)
logger: Final = logging.getLogger("trio_mcp")

# What a new session is told again.
_LASTING: Final = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})
_SUBJECT: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


Handshake: TypeAlias = Callable[[Mapping[str, str] | None, JSONObject | None], Awaitable[Negotiated]]
"""Makes a handshake, with further HTTP headers and `_meta` entries."""
AroundHandshake: TypeAlias = Callable[[Handshake], Awaitable[Negotiated]]
"""Has a handshake made, and does what is to be done around it."""


Remedy: TypeAlias = Callable[[MCPError, Callable[[], Awaitable[JSONObject]]], Awaitable[JSONObject]]
"""Does what the server's error asks for, and gives what the request brings then; or raises an error."""


class Resolver(Protocol):
    """Brings a request to its end whose result says, by its `resultType`, that there is more to do.

    Attributes:
        methods: the requests that may have such a result; None for any.
    """

    @property
    def methods(self) -> frozenset[str] | None: ...

    async def resolve(
        self,
        result: JSONObject,
        again: Callable[[JSONObject], Awaitable[JSONObject]],
        method: str,
        params: JSONObject,
    ) -> JSONObject:
        """The result that comes in the end, or one of another type.

        Args:
            result: what the request has brought so far.
            again: sends it again, with other params.
            method: the request's.
            params: the request's.
        """
        ...


class Augmentation(Protocol):
    """Takes part in a request that asks for a task (2511/basic/utilities/tasks)."""

    async def send(self, exchange: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """Have the exchange made."""
        ...

    async def resolve(self, result: JSONObject) -> JSONObject:
        """The result that is to be typed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """How a request is dealt with.

    Attributes:
        progress_callback: takes the progress of the call.
        request_id: its id, which `Session.next_id` gave; None for a new one.
        unresolved: types of results that are not resolved, and as what they are given to the caller.
        augmentation: takes part in it.
        errand: whether it goes on while the connection is being closed.
    """

    progress_callback: ProgressCallback | None = None
    request_id: RequestId | None = None
    unresolved: Mapping[str, type[Any]] = field(default_factory=dict)
    augmentation: Augmentation | None = None
    errand: bool = False


PLAIN: Final = Handling()
"""In no way out of the ordinary."""


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
        self._renewal: _Renewal | None = None
        self._standing: dict[str, tuple[str, JSONObject]] = {}
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
            with self._in_flight.call():
                await self._with_session(self.transport.notify, message)
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
            return await how.augmentation.resolve((await self._with_session(send, request)).result)
        try:
            result = (await self._with_session(self.transport.request, request)).result
        except MCPError as exc:
            if exc.code not in self._remedies:
                raise
            result = await self._remedies[exc.code](exc, partial(self._again, method, headers, params))
        if params is None:
            return result
        if method in _LASTING:
            self._remember(method, params)
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
        return (await self._with_session(self.transport.request, request)).result

    def _remember(self, method: str, params: JSONObject) -> None:
        """Keep what a new session is to be told, should the server end this one."""
        match method:
            case "logging/setLevel":
                self._standing["level"] = (method, params)
            case "resources/subscribe":
                self._standing[f"uri {params.get('uri')}"] = (method, params)
            case _:
                self._standing.pop(f"uri {params.get('uri')}", None)

    async def _with_session(self, send: Callable[[M], Awaitable[T]], message: M) -> T:
        """`send(message)`, and again with a new session if the server has ended the one that there was."""
        renewal = None
        if self._renewal is not None or not self.transport.connected:
            renewal = await self._settled()
        try:
            return await send(message)
        except SessionExpired:
            # The server refused it unread, so it is safe to send again, once.
            await self._renewed_since(renewal)
            if isinstance(message, Request):
                message.id = self.next_id()
            return await send(message)

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

    # Sessions that the server has ended

    async def _settled(self) -> _Renewal | None:
        """Wait until there is a connection, and a session on it; gives the renewal that it came of."""
        while True:
            if not self.transport.connected:
                await self.transport.ready()
            renewal = self._renewal
            if renewal is not None:
                await self._await_renewal(renewal)
                if renewal.error is not None and self.transport.connected and renewal is self._renewal:
                    await self._renewed_since(renewal)
            # From here to the sending there is no checkpoint: what is sent goes to whom this session is with.
            latest = self._renewal
            if self.transport.connected and (latest is None or (latest.done.is_set() and not latest.error)):
                return latest

    async def _await_renewal(self, renewal: _Renewal) -> None:
        if renewal.task is trio.lowlevel.current_task() and not renewal.done.is_set():
            raise NotConnected("a hook around the handshake cannot use the session that is being opened")
        await renewal.done.wait()

    async def _renewed_since(self, seen: _Renewal | None) -> None:
        """Have the session renewed, unless that happened since `seen` was the latest renewal.

        However many calls find the session expired, there is one handshake; it is a task of the
        connection, so that no caller's cancellation ends it for the others.
        """
        renewal = self._renewal
        if renewal is seen or renewal is None:
            renewal = self._renewal = _Renewal()
            self._dispatcher.connection_changed(False, "the server has ended the session")
            self._dispatcher.forget_requests()
            self._supervisor.errands.start_soon(self._renew, renewal)
        await self._await_renewal(renewal)
        # Each caller gets an error of its own: one object raised in many tasks would mix their stories.
        if isinstance(renewal.error, ConnectorError):
            error = copy.copy(renewal.error)
            error.message = f"the server ended the session, and a new one was refused: {error.message}"
            error.__notes__ = [*getattr(error, "__notes__", ())]  # as notes are for one caller, too
            raise error from renewal.error
        if renewal.error is not None:
            raise UsageError(
                f"the server ended the session, and opening a new one failed: {type(renewal.error).__name__}"
            ) from renewal.error

    def _reopened(self) -> None:
        """The transport has a new connection, to a server that knows nothing of the old one."""
        if self.closed:
            return
        if self._envelope:
            self._dispatcher.interrupted("the connection was lost and opened again")
        else:
            if self._renewal is not None:
                self._renewal.scope.cancel(reason="the connection that this was for is lost")
            self._renewal = _Renewal()
            self._supervisor.errands.start_soon(self._renew, self._renewal)

    async def _renew(self, renewal: _Renewal) -> None:
        in_callback.set(True)  # calls wait for this: it must not queue behind them
        renewal.task = trio.lowlevel.current_task()
        try:
            with renewal.scope:
                with deadline(self._connect_timeout, self._too_slow):
                    self._adopt(await self._around_handshake(self._negotiator.initialize))
                self._statistics.reinitializations += 1
                self._dispatcher.connection_changed(True, "there is a new session")
                self._dispatcher.interrupted("the server had ended the session, and there is a new one")
                with trio.move_on_after(self._connect_timeout):
                    await self._restore()
        except Exception as exc:  # also what a hook around the handshake raises: it is for those who wait
            renewal.error = exc
        finally:
            renewal.done.set()

    async def _restore(self) -> None:
        """Tell the new session what the old one was to remember."""
        for key, (method, params) in list(self._standing.items()):
            try:
                await self.transport.request(Request(self.next_id(), method, params))
            except ConnectorError as exc:
                if not self.transport.connected:
                    return  # the next connection has a session of its own, which is told all of it
                self._standing.pop(key, None)
                logger.warning("the new session refused %s: %s", method, exc)


class _Renewal:
    """One handshake that opens an expired session anew."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.error: Exception | None = None
        self.task: trio.lowlevel.Task | None = None  # which makes it, and must not wait for itself


def typed(result: JSONObject, kind: type[T], unresolved: Mapping[str, type[Any]] = _NONE) -> T:
    """`result`, validated once, straight into the type that the caller gets.

    Raises:
        ProtocolError: it is not one, or its `resultType` is none of `unresolved`.
    """
    result_type = result.get("resultType", "complete")
    if result_type != "complete":
        if result_type not in unresolved:
            raise ProtocolError(
                f"the server answered with a result of type {result_type!r}, which was not asked for"
            )
        kind = unresolved[result_type]
    result = with_lawful_ttl(result)
    try:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_validate(result, by_name=False)
        value: T = adapter_of(kind).validate_python(result)
        return value
    except ValidationError as exc:
        raise ProtocolError(f"the server's result is not valid at {first_error(exc)}") from exc


def _describe(method: str, params: JSONObject | None) -> str:
    subject = (params or {}).get(_SUBJECT.get(method, ""))
    return method if subject is None else f"{method} {subject!r}"
