"""OAuth over HTTP+SSE of 2024-11-05, whose stream is asked for by GET, and needs a token itself."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from tests.auth.world import ISSUER, PRM, AuthorizationServer
from tests.transports.sse_server import SseServer
from trio_mcp import OAuth
from trio_mcp.testing import HttpExchange


@pytest.fixture
def server(nursery: trio.Nursery) -> SseServer:
    return SseServer(nursery)


@pytest.fixture
def auth(server: SseServer, nursery: trio.Nursery) -> AuthorizationServer:
    """It protects the stream of `server`."""
    auth = AuthorizationServer(server.network)
    auth.resource["resource"] = "http://server.test/sse"
    nursery.start_soon(auth.run)

    async def on_get(exchange: HttpExchange) -> None:
        if exchange.request.headers.get("authorization", "").removeprefix("Bearer ") in auth.valid:
            await server.open_stream(exchange)
        else:
            await exchange.respond(401, [("www-authenticate", f'Bearer resource_metadata="{PRM}"')])

    server.on_get = on_get
    return auth


def oauth(auth: AuthorizationServer) -> OAuth:
    return OAuth(on_redirect=auth.browse, issuer=ISSUER)


@pytest.mark.parametrize("transport", ["sse", "auto"])
async def test_the_stream_leads_to_a_login(
    server: SseServer,
    auth: AuthorizationServer,
    autojump_clock: MockClock,
    transport: Literal["sse", "auto"],
) -> None:
    async with server.connect(auth=oauth(auth), transport=transport) as c:
        await c.call_tool("x")
    assert len(auth.logins) == 1
    assert {posted.headers["authorization"] for posted in server.posted} == {"Bearer token-1"}


async def test_the_login_may_take_longer_than_any_other_deadline(
    server: SseServer, auth: AuthorizationServer, autojump_clock: MockClock
) -> None:
    async def slowly(url: str) -> str:
        await trio.sleep(200)
        return await auth.browse(url)

    config = OAuth(on_redirect=slowly, issuer=ISSUER)
    async with server.connect(auth=config, timeout=1, connect_timeout=3, sse_read_timeout=2) as c:
        await c.call_tool("x")


async def test_a_stream_that_is_opened_again_is_worth_a_refresh_and_a_login(
    server: SseServer, auth: AuthorizationServer, autojump_clock: MockClock
) -> None:
    # Nothing goes on without it.
    async with server.connect(auth=oauth(auth)) as c:
        auth.valid.clear()
        server.link.reset()
        await trio.sleep(10)
        await c.call_tool("x")
        assert server.posted[-1].headers["authorization"] == "Bearer token-2"
        auth.valid.clear()
        auth.refresh.clear()
        server.link.reset()
        await trio.sleep(10)
        await c.call_tool("x")
        assert server.posted[-1].headers["authorization"] == "Bearer token-3"
    assert len(auth.logins) == 2
