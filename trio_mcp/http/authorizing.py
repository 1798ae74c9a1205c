"""What authorizes one connection's requests, with what it sends its own requests by."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import httpx2

from ..auth import AskedToken, Authorizer, OAuth
from ..network import Network
from ..supervision import Supervisor
from .engine import Engine
from .setup import directly

__all__ = ["Dial", "MakeAuthorizer", "open_authorizing"]

Dial: TypeAlias = Callable[[Network], Network]
"""What to make of a network before it is dialled with."""

MakeAuthorizer: TypeAlias = Callable[[Supervisor], Authorizer | None]


OpenEngine: TypeAlias = Callable[[Dial], AbstractAsyncContextManager[Engine]]
"""Opens an engine of its own for requests to hosts that servers name: no cookies nor connections in common
with another, and nothing that a client of the user's sends to the MCP server."""


@asynccontextmanager
async def open_authorizing(
    endpoint: httpx2.URL, authorization: OAuth | AskedToken | None, open_engine: OpenEngine, timeout: float
) -> AsyncGenerator[tuple[MakeAuthorizer, Dial]]:
    """What makes the authorizer of a connection, and what the connection's own requests are to be dialled by.

    Args:
        endpoint: the MCP server's URL.
        authorization: what `auth=` came to, where that is no flow of httpx2's.
        open_engine: for what an OAuth flow has to ask.
        timeout: seconds for connecting and for sending there.
    """
    if not isinstance(authorization, OAuth):
        yield (lambda supervisor: authorization), directly
        return
    # Imported where they are used: they bring what most connectors need not wait for.
    from ..auth.fetcher import Fetcher
    from ..auth.guard import Guard
    from ..auth.oauth import OAuthAuthorizer
    from .fetch import EngineSend

    guard = Guard(str(endpoint), authorization.trusted_urls)
    async with open_engine(guard.guarded) as engine:
        fetcher = Fetcher(EngineSend(engine, timeout), guard)

        def make(supervisor: Supervisor) -> Authorizer:
            return OAuthAuthorizer(
                str(endpoint),
                authorization,
                fetcher,
                services=supervisor.services.start_soon,
                errands=supervisor.errands.start_soon,
            )

        yield make, guard.watched
