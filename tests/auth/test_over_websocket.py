"""Authorization of a WebSocket's handshake."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream

from tests.transports.websocket_servers import Json, scripted
from trio_mcp import AccessDenied, ConnectTimeout, LoginTimeout, OAuthError, ReconnectPolicy, open_connector

from .world import PRM, World

HOST, PORT = "127.0.0.1", 8100
URL = f"ws://{HOST}:{PORT}/mcp"


class Site:
    """A WebSocket server that takes the authorization server's tokens only."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self.world = world
        self.seen: list[str | None] = []
        self.connections: list[trio.CancelScope] = []
        world.auth.resource["resource"] = f"http://{HOST}:{PORT}/mcp"
        nursery.start_soon(trio.serve_listeners, self._serve, [world.network.listen(HOST, PORT)])

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with stream, trio.open_nursery() as nursery:
            with suppress(ConnectionClosed, trio.BrokenResourceError):
                self.connections.append(nursery.cancel_scope)
                await self._judge(await wrap_server_stream(nursery, stream))
            nursery.cancel_scope.cancel()

    async def _judge(self, request: WebSocketRequest) -> None:
        headers = {name.decode(): value.decode() for name, value in request.headers}
        self.seen.append(headers.get("authorization"))
        if (self.seen[-1] or "").partition(" ")[2] not in self.world.auth.valid:
            challenge = f'Bearer resource_metadata="{PRM}"'
            await request.reject(401, extra_headers=[(b"www-authenticate", challenge.encode())])
            return
        socket = await request.accept(subprotocol="mcp")
        await scripted(tools__call=_done)(socket)

    def connect(self, **options: Any) -> Any:
        options.setdefault("auth", self.world.oauth())
        return open_connector(URL, network=self.world.network, protocol_version="2025-11-25", **options)


async def _done(message: Json) -> Json:
    return {"content": []}


@pytest.fixture
def site(nursery: trio.Nursery) -> Site:
    return Site(World(nursery), nursery)


async def test_a_refused_handshake_leads_to_a_token_and_is_made_again(
    site: Site, autojump_clock: MockClock
) -> None:
    async with site.connect() as c:
        await c.call_tool("x")
    assert site.seen == [None, "Bearer token-1"]
    assert site.world.auth.logins[0]["resource"] == f"http://{HOST}:{PORT}/mcp"


async def test_a_token_that_has_ended_is_refreshed_before_the_connection_is_made_anew(
    site: Site, autojump_clock: MockClock
) -> None:
    async with site.connect(reconnect=ReconnectPolicy(initial=4000, maximum=4000)) as c:
        site.connections[1].cancel()
        await trio.sleep(1)  # until it is noticed
        await c.call_tool("x")
    assert site.seen == [None, "Bearer token-1", "Bearer token-2"]
    assert len(site.world.auth.logins) == 1


async def test_a_login_may_take_longer_than_connecting(site: Site, autojump_clock: MockClock) -> None:
    async def slowly(url: str) -> str:
        await trio.sleep(200)
        return await site.world.auth.browse(url)

    async with site.connect(auth=site.world.oauth(on_redirect=slowly)) as c:
        await c.call_tool("x")
    with pytest.raises(LoginTimeout):
        async with site.connect(auth=site.world.oauth(on_redirect=slowly, login_timeout=100)):
            pass


async def test_a_login_that_fails_is_the_error_of_the_connection(
    site: Site, autojump_clock: MockClock
) -> None:
    site.world.auth.answer = lambda parameters: {"error": "access_denied", "state": parameters["state"]}
    with pytest.raises(OAuthError, match="access_denied"):
        async with site.connect():
            pass


async def test_a_server_that_takes_no_token_is_not_asked_for_ever(
    site: Site, autojump_clock: MockClock
) -> None:
    tokens = iter(range(100))
    with pytest.raises(AccessDenied):
        async with site.connect(auth=lambda: f"bad-{next(tokens)}"):
            pass
    assert site.seen == ["Bearer bad-0", "Bearer bad-1"]


async def test_a_function_is_asked_again_for_each_token_that_is_refused(
    site: Site, autojump_clock: MockClock
) -> None:
    site.world.auth.valid["good"] = frozenset()
    tokens = iter(["bad", "good"])
    async with site.connect(auth=lambda: next(tokens)) as c:
        await c.call_tool("x")
    assert site.seen == ["Bearer bad", "Bearer good"]


async def test_an_authorization_server_that_hangs_does_not_hang_the_connection(
    site: Site, autojump_clock: MockClock
) -> None:
    site.world.auth.delay = 10_000
    began = trio.current_time()
    with pytest.raises((OAuthError, ConnectTimeout)):
        async with site.connect():
            pass
    assert trio.current_time() - began <= 60
