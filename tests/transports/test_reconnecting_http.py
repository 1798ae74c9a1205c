"""`reconnect=` and `connection_callback` over Streamable HTTP: streams that break, sessions that end."""

from __future__ import annotations

import mcp_types as types
import pytest
import trio
import trio.testing

from tests.conftest import Serve
from trio_mcp import ConnectionChange, ConnectionLost, HTTPStatusError, ReconnectPolicy, RequestContext
from trio_mcp.testing import CUT, HANG, Call, Reply, ScriptedServer
from trio_mcp.testing.messages import event, notification

from .test_legacy_http import DONE, VERSION, a_server, streams

CHANGED = notification("notifications/tools/list_changed")
EVEN = ReconnectPolicy(initial=2, maximum=20, factor=10, jitter=0, attempts=4)


@pytest.fixture
def server(serve: Serve) -> ScriptedServer:
    return a_server(serve, VERSION)


class Changes:
    """A `connection_callback` that remembers."""

    def __init__(self) -> None:
        self.seen: list[ConnectionChange] = []

    async def __call__(self, change: ConnectionChange) -> None:
        self.seen.append(change)

    @property
    def connected(self) -> list[bool]:
        return [change.connected for change in self.seen]


def times(server: ScriptedServer) -> list[float]:
    return [seen.time for seen in server.all("GET")]


# The policy


async def test_the_get_stream_comes_back_as_the_policy_says(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[(CUT,)] * 99)
    async with server.connect(reconnect=EVEN) as c:
        await trio.sleep(1000)
        assert c.statistics().stream_reconnects == 4
    assert times(server) == [0, 2, 4, 24, 44]


async def test_the_server_s_own_retry_is_stronger_than_the_policy(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[(event(CHANGED, retry=7000),)] * 3, (HANG,))
    async with server.connect(reconnect=EVEN):
        await trio.sleep(100)
    assert times(server) == [0, 7, 14, 21]


@pytest.mark.parametrize("attempts", [None, 100])
async def test_attempts_may_be_without_end(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock, attempts: int | None
) -> None:
    streams(server, *[503] * 999)
    policy = ReconnectPolicy(maximum=10, jitter=0, attempts=attempts)
    async with server.connect(reconnect=policy):
        await trio.sleep(10_000)
    assert (len(server.all("GET")) > 900) is (attempts is None)


async def test_without_reconnecting_a_get_stream_that_was_lost_is_left_alone(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[(CUT,)] * 9)
    async with server.connect(reconnect=False) as c:
        await trio.sleep(1000)
        await c.call_tool("x")
        assert c.statistics().stream_reconnects == 0
    assert len(server.all("GET")) == 1


async def test_a_call_s_stream_is_resumed_as_the_policy_says(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, 405, *[(CUT,)] * 99)
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="a"), CUT)
    async with server.connect(reconnect=EVEN) as c:
        with pytest.raises(ConnectionLost):
            await c.call_tool("x")
    # Until something new has come for the first time, it is asked as for a server that polls.
    assert times(server)[1:] == [2, 4, 24, 44]


async def test_without_reconnecting_a_call_whose_stream_breaks_is_lost_at_once(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="a"), CUT)
    async with server.connect(reconnect=False) as c:
        with pytest.raises(ConnectionLost):
            await c.call_tool("x")
        assert trio.current_time() == 0


# Who hears of it


async def test_the_loss_and_the_return_of_the_get_stream_are_told(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, (5, CUT), 503, (CUT,), (HANG,))
    changes = Changes()
    async with server.connect(reconnect=EVEN, connection_callback=changes) as c:
        await trio.sleep(100)
        assert c.is_connected
    assert changes.connected == [False, True, False, True]
    assert changes.seen[0].reason.startswith("the server's GET stream was lost: the server closed")
    assert changes.seen[1].reason == "the server's GET stream is open again"


@pytest.mark.parametrize("status", [405, 503])
async def test_a_get_stream_that_there_never_was_is_not_lost(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock, status: int
) -> None:
    streams(server, *[status] * 99)
    changes = Changes()
    async with server.connect(connection_callback=changes):
        await trio.sleep(1000)
    assert not changes.seen


async def test_a_get_stream_that_is_offered_no_more_is_lost(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, (event(CHANGED, id="a"),), 405)
    changes = Changes()
    async with server.connect(connection_callback=changes) as c:
        await trio.sleep(1000)
        await c.call_tool("x")
    assert [(each.connected, each.reason) for each in changes.seen] == [
        (False, "the server's GET stream was lost: HTTP 405")
    ]


async def test_a_server_that_has_its_client_come_back_for_more_has_lost_nothing(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[(event(CHANGED, id=str(n), retry=1000),) for n in range(5)], (HANG,))
    changes = Changes()
    async with server.connect(connection_callback=changes) as c:
        await trio.sleep(100)
        assert c.statistics().stream_reconnects == 5
    assert not changes.seen


async def test_the_end_of_a_session_and_the_new_one_are_told(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    changes = Changes()
    async with server.connect(connection_callback=changes) as c:
        await server.restart()
        await c.call_tool("x")
        assert c.statistics().reinitializations == 1
    assert [(each.connected, each.reason) for each in changes.seen] == [
        (False, "the server has ended the session"),
        (True, "there is a new session"),
    ]


async def test_a_restart_that_is_met_in_many_ways_is_one_loss_and_one_return(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.listen()
    changes = Changes()
    async with server.connect(connection_callback=changes) as c:
        await server.restart()
        await trio.sleep(10)  # the GET is refused by then
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(c.call_tool, "x")
        await trio.sleep(10)
    assert changes.connected == [False, True]


async def test_a_new_session_that_is_refused_is_no_return(server: ScriptedServer) -> None:
    changes = Changes()
    async with server.connect(connection_callback=changes) as c:
        await server.restart()
        server.on["initialize"] = lambda seen: seen.reply(status=503)
        for _ in range(2):
            with pytest.raises(HTTPStatusError):
                await c.call_tool("x")
    assert changes.connected == [False]


async def test_a_lost_get_stream_disturbs_no_answer_to_the_server(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    """What a call's own stream asked is answered, whatever becomes of the other one."""
    asked = trio.Event()
    answers: list[object] = []

    async def list_roots(context: RequestContext) -> types.ListRootsResult:
        asked.set()
        await trio.sleep(60)
        return types.ListRootsResult(roots=[])

    async def ask(seen: Call) -> Reply:
        answers.append((await seen.ask("roots/list")).get("result"))
        return seen.result(DONE)

    server.on["tools/call"] = ask
    server.listen()
    async with server.connect(list_roots_callback=list_roots) as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "x")
        await asked.wait()
        get = server.all("GET")[-1]
        get._reset()
        await get.closed.wait()
    assert answers == [{"roots": []}]
