"""One open connection: its parts, put together, and the way that a request takes through them.

Connector ── Connection.request ── middleware ── Session ── Transport
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

import mcp_types as types
from pydantic import BaseModel

from .callbacks import Callbacks, Caller, ProgressCallback, RequestContext
from .dispatcher import Dispatcher
from .errors import ConnectorError, InvalidArguments, UsageError
from .features.extensions import Extension, ExtensionResults
from .features.input_rounds import InputRounds
from .features.output_schemas import OutputSchemas
from .features.response_cache import INVALIDATING, CacheStore, ResponseCache
from .middleware.base import Middleware, MiddlewareContext
from .middleware.chain import Chain, Hook
from .middleware.installed import installed
from .negotiation import Negotiated
from .protocol.headers import check_request_headers
from .protocol.versions import LATEST_MODERN_VERSION
from .protocol.wire import JSONObject
from .server_requests import ServerRequests
from .session import Handshake, Resolver, Session
from .statistics import Statistics
from .supervision import Supervisor, open_supervisor
from .transports.base import Inbox, OneWay, Transport

__all__ = ["Connection", "Setup", "TransportFactory", "open_connection"]

T = TypeVar("T")

TransportFactory: TypeAlias = Callable[[Inbox, Supervisor, Statistics], Transport]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a connector was told when it was made, checked.

    Attributes:
        identifier: what errors and people call the server; without secrets.
        callbacks: what the server may ask of us.
        pinned: the only protocol version to speak; None for the best one.
        client_info: who we say we are.
        connect_timeout: seconds that the handshake may take as a whole.
        goodbye_timeout: seconds that closing may wait for the server.
        validate_output: whether structured content is validated against the tool's output schema.
        middleware: what every request goes through.
        extensions: what is offered beyond the protocol.
        cache: where results are kept; None for nowhere.
        audience: which server, and whose credentials, in the keys of what is kept.
    """

    identifier: str
    callbacks: Callbacks
    pinned: str | None
    client_info: types.Implementation
    connect_timeout: float
    goodbye_timeout: float
    validate_output: bool
    middleware: tuple[Middleware | Hook, ...]
    extensions: Mapping[str, Extension]
    cache: CacheStore | None
    audience: tuple[str, str]


class Connection:
    """What the methods of a connector work with, while it is open. Made by `open_connection` only.

    Attributes:
        identifier: what errors and people call the server.
        session: the conversation.
        dispatcher: takes what the server sends of its own accord.
        supervisor: where background tasks live.
        output_schemas: of the tools that were listed; None for no validation.
        cache: results that may be kept; None for no cache.
    """

    def __init__(
        self,
        setup: Setup,
        session: Session,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        chain: Chain | None,
    ) -> None:
        self.identifier: str = setup.identifier
        self.session: Session = session
        self.dispatcher: Dispatcher = dispatcher
        self.supervisor: Supervisor = supervisor
        self.output_schemas: OutputSchemas | None = OutputSchemas() if setup.validate_output else None
        self.cache: ResponseCache | None = None
        if setup.cache is not None:
            self.cache = ResponseCache(setup.cache, *setup.audience)
        self._chain = chain

    def heed(self, notification: str, params: JSONObject) -> None:
        """Forget what a notification of the server makes stale."""
        if self.cache is not None:
            self.cache.notified(notification)

    async def request(
        self,
        method: str,
        params: JSONObject | None,
        result_type: type[T],
        *,
        progress_callback: ProgressCallback | None = None,
        meta: JSONObject | None = None,
        headers: Mapping[str, str] | None = None,
        unresolved: frozenset[str] = frozenset(),
    ) -> T:
        """Send a request through the middleware; see `Session.request`."""
        session = self.session
        if headers:
            headers = check_request_headers(headers)
        if not isinstance(meta, Mapping | None):
            error = InvalidArguments(f"meta must be a mapping, not {type(meta).__name__}")
            raise error.locate(self.identifier, method)
        if self._chain is None:
            return await session.request(
                method, params, result_type, progress_callback, meta, headers, unresolved=unresolved
            )

        async def send(params: JSONObject | None, headers: Mapping[str, str], meta: JSONObject) -> T:
            checked = check_request_headers(headers)
            return await session.request(
                method, params, result_type, progress_callback, meta, checked, unresolved=unresolved
            )

        try:
            with session.call():
                return _checked(await self._chain.request(method, params, headers, meta, send), result_type)
        except ConnectorError as exc:
            exc.locate(self.identifier, method)
            raise


@asynccontextmanager
async def open_connection(
    setup: Setup, make: TransportFactory, connector: Caller, statistics: Statistics
) -> AsyncGenerator[Connection]:
    """Put a connection together around the block; the handshake is left to it.

    Args:
        setup: how.
        make: makes the transport.
        connector: what callbacks may call back into.
        statistics: what to count in.
    """
    transport: Transport  # it needs the dispatcher, and the dispatcher needs it

    def deliver(message: OneWay) -> None:
        transport.deliver(message)

    middleware = (*setup.middleware, *installed(setup.middleware))
    chain = Chain(middleware, connector) if middleware else None
    extensions = setup.extensions.values()
    requests = ServerRequests(
        setup.callbacks,
        {method: handler for each in extensions for method, handler in each.requests.items()},
        partial(_around_server_request, chain)
        if chain is not None and chain.has("on_server_request")
        else None,
    )
    async with open_supervisor(setup.goodbye_timeout) as supervisor:
        dispatcher = Dispatcher(
            setup.callbacks,
            connector,
            deliver,
            supervisor,
            statistics,
            requests,
            {method: handler for each in extensions for method, handler in each.notifications.items()},
            partial(_around_notification, chain)
            if chain is not None and chain.has("on_notification")
            else None,
        )
        transport = make(dispatcher, supervisor, statistics)
        resolvers: dict[str, Resolver] = {
            kind: ExtensionResults(handler, connector)
            for each in extensions
            for kind, handler in each.results.items()
        }
        resolvers["input_required"] = InputRounds(requests, connector)
        session = Session(
            transport,
            dispatcher,
            supervisor,
            statistics,
            client_info=setup.client_info,
            callbacks=setup.callbacks,
            pinned=setup.pinned,
            connect_timeout=setup.connect_timeout,
            server=setup.identifier,
            around_handshake=_directly if chain is None else partial(_around_handshake, chain, setup),
            resolvers=resolvers,
        )
        supervisor.close = session.close
        supervisor.drain, supervisor.goodbye = dispatcher.drain, transport.goodbye
        connection = Connection(setup, session, dispatcher, supervisor, chain)
        with dispatcher.watch(INVALIDATING, connection.heed):
            try:
                yield connection
            finally:
                dispatcher.close()


async def _directly(handshake: Handshake) -> Negotiated:
    return await handshake(None, None)


async def _around_handshake(chain: Chain, setup: Setup, handshake: Handshake) -> Negotiated:
    version = setup.pinned or LATEST_MODERN_VERSION
    params = types.InitializeRequestParams(
        protocol_version=version,
        capabilities=setup.callbacks.capabilities(version),
        client_info=setup.client_info,
    )

    async def last(context: MiddlewareContext[types.InitializeRequestParams]) -> Negotiated:
        return await handshake(check_request_headers(context.headers), context.meta)

    return _checked(await chain.around("initialize", "initialize", params, None, last), Negotiated)


async def _around_notification(
    chain: Chain, method: str, params: Any, hand_on: Callable[[Any], Awaitable[None]]
) -> None:
    async def last(context: MiddlewareContext[Any]) -> None:
        await hand_on(context.params)

    meta = params.get("_meta") if isinstance(params, Mapping) else getattr(params, "meta", None)
    await chain.around("on_notification", method, params, meta, last)


async def _around_server_request(
    chain: Chain, method: str, params: Any, request: RequestContext, answer: Callable[[Any], Awaitable[Any]]
) -> Any:
    async def last(context: MiddlewareContext[Any]) -> Any:
        return await answer(context.params)

    return await chain.around("on_server_request", method, params, request.meta, last)


def _checked(result: T, kind: Any) -> T:
    """`result`, if it is what the hooks were to give."""
    if isinstance(kind, type) and issubclass(kind, BaseModel | Negotiated) and not isinstance(result, kind):
        raise UsageError(
            f"a hook has returned {type(result).__name__} where {kind.__name__} is expected: "
            "does it return what call_next gave?"
        )
    return result
