"""One open connection: its parts, put together, and the way that a request takes through them.

Connector ── Connection.request ── middleware ── Session ── Transport
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import mcp_types as types
import trio
from pydantic import BaseModel

from .callbacks import Callbacks, Caller, RequestContext, in_callback
from .deadlines import Stalled, deadline
from .dispatcher import Dispatcher
from .errors import ConnectorError, InvalidArguments, MCPError, UsageError
from .features.extensions import Extension, ExtensionResults
from .features.header_params import HeaderParams
from .features.input_rounds import InputRounds
from .features.listening import Listening
from .features.output_schemas import OutputSchemas
from .features.response_cache import INVALIDATING, CacheStore, ResponseCache
from .features.tasks import TASK_NOTIFICATIONS, TaskResults, Tasks
from .features.url_elicitations import URLElicitations
from .handling import PLAIN, Handling, Handshake, Resolver
from .middleware.base import Middleware, MiddlewareContext
from .middleware.chain import Chain, Hook
from .middleware.installed import installed
from .negotiation import Negotiated
from .protocol.headers import check_request_headers
from .protocol.versions import LATEST_MODERN_VERSION, is_modern
from .protocol.wire import JSONObject
from .server_requests import ServerRequests
from .session import Session
from .statistics import Statistics
from .supervision import Supervisor, open_supervisor
from .transports.base import Inbox, OneWay, Transport

__all__ = ["Connection", "Setup", "TransportFactory", "open_connection"]

T = TypeVar("T")
logger: Final = logging.getLogger("trio_mcp")

_MAX_UNAWAITED: Final = 32
"""Requests that nobody waits for, sent at a time."""
_UNAWAITED_TIMEOUT: Final = 10.0
"""Seconds for each of them."""

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
        rng: the source of jitter.
        tasks: whether the tasks extension is offered, and is ours to handle.
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
    rng: random.Random
    tasks: bool


class Connection:
    """What the methods of a connector work with, while it is open. Made by `open_connection` only.

    Attributes:
        identifier: what errors and people call the server.
        session: the conversation.
        dispatcher: takes what the server sends of its own accord.
        supervisor: where background tasks live.
        output_schemas: of the tools that were listed; None for no validation.
        header_params: which arguments of the tools that were listed go into headers.
        cache: results that may be kept; None for no cache.
        listening: those who listen.
        tasks: the tool calls that the server carries out as tasks.
    """

    def __init__(
        self,
        setup: Setup,
        session: Session,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        statistics: Statistics,
        chain: Chain | None,
        caller: Caller,
    ) -> None:
        self.identifier: str = setup.identifier
        self.session: Session = session
        self.dispatcher: Dispatcher = dispatcher
        self.supervisor: Supervisor = supervisor
        self.output_schemas: OutputSchemas | None = OutputSchemas() if setup.validate_output else None
        self.header_params: HeaderParams = HeaderParams(statistics)
        self.cache: ResponseCache | None = None
        if setup.cache is not None:
            self.cache = ResponseCache(setup.cache, *setup.audience)
        self.listening: Listening = Listening(
            session, dispatcher, supervisor, setup.rng, setup.connect_timeout
        )
        self.tasks: Tasks = Tasks(self, dispatcher, dispatcher.requests, caller, setup.tasks)
        self._chain = chain
        self._unawaited = trio.Semaphore(_MAX_UNAWAITED)

    @property
    def mirrors_arguments(self) -> bool:
        """Whether arguments of tools go into headers: modern Streamable HTTP alone has that."""
        session = self.session
        return session.transport.name == "streamable-http" and is_modern(session.negotiated.version)

    def learn(self, page: types.ListToolsResult) -> types.ListToolsResult:
        """Remember what calls of the listed tools need; gives the page without those not to be used."""
        if self.mirrors_arguments:
            tools = self.header_params.learn(page.tools)
            if len(tools) < len(page.tools):
                page = page.model_copy(update={"tools": tools})
        if self.output_schemas is not None:
            self.output_schemas.learn(page.tools)
        self.tasks.learn(page.tools)
        return page

    def heed(self, notification: str, params: JSONObject) -> None:
        """Forget what a notification of the server makes stale."""
        if self.cache is not None:
            self.cache.notified(notification)

    def request(
        self,
        method: str,
        params: JSONObject | None,
        result_type: type[T],
        *,
        meta: JSONObject | None = None,
        headers: Mapping[str, str] | None = None,
        how: Handling = PLAIN,
    ) -> Awaitable[T]:
        """Send a request through the middleware; see `Session.request`. To be awaited at once."""
        if headers:
            headers = check_request_headers(headers)
        if not isinstance(meta, Mapping | None):
            error = InvalidArguments(f"meta must be a mapping, not {type(meta).__name__}")
            raise error.locate(self.identifier, method)
        if self._chain is None:
            headers = self._mirrored(method, params, headers)
            return self.session.request(method, params, result_type, meta, headers, how)
        return self._request_within(self._chain, method, params, result_type, meta, headers, how)

    async def _request_within(
        self,
        chain: Chain,
        method: str,
        params: JSONObject | None,
        result_type: type[T],
        meta: JSONObject | None,
        headers: Mapping[str, str] | None,
        how: Handling,
    ) -> T:
        async def send(params: JSONObject | None, headers: Mapping[str, str], meta: JSONObject) -> T:
            checked = self._mirrored(method, params, check_request_headers(headers))
            return await self.session.request(method, params, result_type, meta, checked, how)

        try:
            if self.session.closed:
                await trio.lowlevel.checkpoint()
            with nullcontext() if how.errand else self.session.call():
                result = await chain.request(method, params, headers, meta, send)
            return _checked(result, (result_type, *how.unresolved.values()))
        except ConnectorError as exc:
            exc.locate(self.identifier, method)
            raise

    def _mirrored(
        self, method: str, params: JSONObject | None, headers: Mapping[str, str] | None
    ) -> Mapping[str, str] | None:
        """`headers`, and those that the tool asks for, of the arguments as they are sent.

        Middleware may have changed them. What the caller says of such a header is not changed.
        """
        if method != "tools/call" or params is None:
            return headers
        mirrored = self.header_params.headers(params.get("name"), params.get("arguments"))
        return {**mirrored, **(headers or {})} if mirrored else headers

    def request_soon(self, method: str, params: JSONObject) -> None:
        """Send a request whose answer nobody waits for, as an errand, and within a bound."""
        self.session.transport.errand(partial(self._request_unawaited, method, params))

    async def _request_unawaited(self, method: str, params: JSONObject) -> None:
        in_callback.set(True)  # it must not queue behind calls
        async with self._unawaited:
            with deadline(_UNAWAITED_TIMEOUT, lambda: Stalled(f"no answer to {method}")):
                try:
                    await self.request(method, params, dict[str, Any], how=Handling(errand=True))
                except MCPError as exc:
                    logger.debug("the server refused a request that nobody waits for: %r", exc)


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
        elicitations = URLElicitations(requests, dispatcher, connector)
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
            remedies={types.URL_ELICITATION_REQUIRED: elicitations.remedy},
        )
        supervisor.close = session.close
        supervisor.drain, supervisor.goodbye = dispatcher.drain, transport.goodbye
        connection = Connection(setup, session, dispatcher, supervisor, statistics, chain, connector)
        if setup.tasks:
            resolvers["task"] = TaskResults(connection.tasks)
        with (
            dispatcher.watch(INVALIDATING, connection.heed),
            dispatcher.watch(TASK_NOTIFICATIONS, connection.tasks.heed),
        ):
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

    return _checked(await chain.around("initialize", "initialize", params, None, last), (Negotiated,))


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


def _checked(result: T, kinds: Sequence[Any]) -> T:
    """`result`, if it is what the hooks were to give."""
    known = tuple(
        kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel | Negotiated)
    )
    if len(known) == len(kinds) and not isinstance(result, known):
        raise UsageError(
            f"a hook has returned {type(result).__name__} where {kinds[0].__name__} is expected: "
            "does it return what call_next gave?"
        )
    return result
