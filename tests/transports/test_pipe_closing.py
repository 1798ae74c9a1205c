"""The end of a pipe, whenever it comes."""

from __future__ import annotations

from contextlib import suppress

import mcp_types as types
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_mcp import (
    ConnectionChange,
    ConnectionLost,
    NotConnected,
    ReconnectPolicy,
)

from .wires import LEGACY, MODERN, TEXT, Call, Gate, WireServer, both_eras

settle = trio.testing.wait_all_tasks_blocked

POLICY = ReconnectPolicy(initial=1, jitter=0)


# Closing


@both_eras
@pytest.mark.parametrize("stuck", [False, True])
async def test_closing_ends_the_calls_in_flight_in_its_time(
    version: str, stuck: bool, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    connector = server.connect(goodbye_timeout=3)
    async with trio.open_nursery() as nursery:
        async with connector as c:
            calls = [Call(nursery, c) for _ in range(10)]
            await server.saw("tools/call", 10)
            if stuck:
                Gate(server)
                server.on_close = trio.sleep_forever
        assert trio.current_time() == (3 if stuck else 0)
    assert {call.ended_at for call in calls} == {0}
    assert {type(call.error) for call in calls} == {NotConnected}
    assert server.wire.closed
    if not stuck:
        assert server.wire.methods().count("notifications/cancelled") == 10


async def test_closing_is_no_loss_that_the_callback_is_told_of(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    heard: list[ConnectionChange] = []

    async def hear(change: ConnectionChange) -> None:
        heard.append(change)

    async with server.connect(connection_callback=hear) as c:
        pass
    assert not heard
    assert c.statistics().notifications_dropped == 0


async def test_a_wire_has_time_to_take_leave(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    left: list[float] = []

    async def leave() -> None:
        await trio.sleep(0.7)
        left.append(trio.current_time())

    server.on_close = leave
    async with server.connect(goodbye_timeout=1):
        pass
    assert left == [0.7]


@pytest.mark.parametrize("state", ["waiting", "opening", "ending"])
async def test_closing_while_there_is_no_connection_does_not_wait_for_one(
    state: str, autojump_clock: MockClock
) -> None:
    server = WireServer(LEGACY)
    async with server.connect(reconnect=POLICY):
        if state == "opening":
            server.on_open = trio.sleep_forever
        elif state == "ending":
            server.on_close = trio.sleep_forever
        server.wire.break_off()
        await trio.sleep(0.5 if state == "waiting" else 1.5)
        began = trio.current_time()
    assert trio.current_time() == began


async def test_a_connection_that_comes_back_while_closing_begins_no_session(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)

    async def hear(notification: types.ServerNotification) -> None:
        await trio.sleep_forever()

    async with server.connect(reconnect=POLICY, message_handler=hear, goodbye_timeout=6):
        server.wire.notify("notifications/tools/list_changed")
        server.wire.break_off()
        await settle()
    assert len(server.wires) == 2
    assert server.wire.methods() == []
    assert server.wire.closed


@pytest.mark.parametrize("peer", ["willing", "silent", "lost", "stuck"])
@both_eras
def test_cancelled_at_any_moment_it_leaves_nothing_and_takes_no_longer_than_it_may(
    version: str, peer: str
) -> None:
    """After each number of scheduler turns, until the program gets through without having been cancelled."""

    async def use(server: WireServer, scope: trio.CancelScope) -> None:
        with scope:
            async with server.connect(goodbye_timeout=1, reconnect=POLICY) as c:
                if peer == "lost":
                    server.wire.break_off()
                if peer == "stuck":
                    Gate(server)
                    server.on_close = trio.sleep_forever
                with trio.move_on_after(2), suppress(ConnectionLost):
                    await c.call_tool("x")

    async def main(turns: int) -> bool:
        server = WireServer(version)
        if peer != "silent":
            server.on["tools/call"] = lambda message: TEXT
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, server, scope)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            began = trio.current_time()
            scope.cancel()
        assert trio.current_time() <= began + 1.0001
        assert all(wire.closed for wire in server.wires)
        return scope.cancelled_caught

    for turns in range(100):
        if not trio.run(main, turns, clock=trio.testing.MockClock(autojump_threshold=0)):
            break
    if peer == "willing":
        assert 10 < turns < 99
