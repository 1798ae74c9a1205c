"""What happens in a group, as its listeners hear of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.conftest import Serve
from tests.group.groups import (
    EVERYTHING,
    declares,
    hangs,
    make_group,
    refuses,
    statuses,
    until,
    wire_server,
)
from tests.transports.wires import MODERN
from trio_mcp import ConnectionLost, Gap, PromptsChanged, ResourcesChanged, ToolsChanged
from trio_mcp.group import Down, GroupEvent, GroupEvents, Up, open_connectors
from trio_mcp.testing import Call
from trio_mcp.testing.messages import notification

Clock = trio.testing.MockClock


def changed(kind: str) -> str:
    return f"notifications/{kind}/list_changed"


async def take(events: GroupEvents, server: str = "a") -> object:
    event = await events.receive()
    assert isinstance(event, GroupEvent)
    assert event.server == server
    return event.change


async def test_changes_are_told_with_the_servers_name(autojump_clock: Clock) -> None:
    a, b = (declares(wire_server(), **EVERYTHING) for _ in "ab")
    async with make_group({"a": a, "b": b}) as group, group.events() as events, group.events() as others:
        a.wire.notify(changed("tools"))
        assert await take(events, "a") == ToolsChanged()
        b.wire.notify(changed("prompts"))
        assert await take(events, "b") == PromptsChanged()
        b.wire.notify(changed("resources"))
        assert await take(events, "b") == ResourcesChanged()
        assert await take(others, "a") == ToolsChanged()


async def test_a_server_that_goes_and_comes_back_is_told_of(autojump_clock: Clock) -> None:
    server = declares(wire_server(), tools={"listChanged": True})
    async with make_group({"a": server}) as group, group.events() as events:
        server.wire.break_off()
        down = await take(events)
        assert isinstance(down, Down)
        assert isinstance(down.error, ConnectionLost)
        assert not down.final
        assert trio.current_time() == 0
        assert await take(events) == Up()
        assert trio.current_time() == 1
        server.wire.notify(changed("tools"))
        assert await take(events) == ToolsChanged()


async def test_a_server_that_tells_of_no_changes_is_told_of_too(autojump_clock: Clock) -> None:
    server = declares(wire_server(), tools={})
    async with make_group({"a": server}) as group, group.events() as events:
        server.wire.break_off()
        assert isinstance(await take(events), Down)
        assert await take(events) == Up()


async def test_a_server_that_has_failed_is_told_of_once(autojump_clock: Clock) -> None:
    server = refuses(hangs(wire_server(), 5))
    async with make_group({"a": server}, optional=["a"]) as group:
        assert statuses(group) == {"a": "down"}
        async with group.events() as events:
            down = await take(events)
            assert isinstance(down, Down)
            assert down.final
            assert down.error is group.states["a"].error
            with trio.move_on_after(1000) as scope:
                await events.receive()
            assert scope.cancelled_caught


async def test_a_server_that_comes_late_is_told_of(autojump_clock: Clock) -> None:
    server = declares(hangs(wire_server(), 5), **EVERYTHING)
    async with make_group({"a": server}, optional=["a"], deadline=3) as group:
        assert trio.current_time() == 3
        hangs(server, 1)
        async with group.events() as events:
            assert await take(events) == Up()
            assert statuses(group) == {"a": "up"}


async def test_the_iteration_ends_with_the_groups_block(autojump_clock: Clock, nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        async with group.events() as events:
            task_status.started()
            async for _ in events:
                raise AssertionError("nothing has happened")
        ended.set()

    async with make_group({"a": declares(wire_server(), **EVERYTHING)}) as group:
        await nursery.start(listen)
    await ended.wait()


async def test_the_iteration_ends_with_its_own_block(autojump_clock: Clock) -> None:
    async with make_group({"a": declares(wire_server(), **EVERYTHING)}) as group:
        async with group.events() as events:
            pass
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


async def test_events_that_nobody_takes_are_a_gap(autojump_clock: Clock) -> None:
    server = declares(wire_server(), **EVERYTHING)
    async with make_group({"a": server}) as group, group.events() as events:
        for _ in range(1001):
            server.wire.notify(changed("tools"))
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(await events.receive(), Gap)
        assert await take(events) == ToolsChanged()


async def test_what_the_body_of_a_listening_block_raises_comes_out(autojump_clock: Clock) -> None:
    async with make_group({"a": declares(wire_server(), **EVERYTHING)}) as group:
        with pytest.raises(ZeroDivisionError):
            async with group.events():
                raise ZeroDivisionError


async def test_a_connector_that_is_being_closed_has_missed_nothing(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make_group({"a": declares(wire_server(), **EVERYTHING)})
    monkeypatch.setattr(group._members["a"], "_until_lost", trio.sleep_forever)  # the listener is faster
    async with group:
        async with group.events() as events:
            await group["a"]._live().session.close()
            with trio.move_on_after(1000) as scope:
                await events.receive()
        assert scope.cancelled_caught


# Servers that do not let themselves be listened to


async def test_a_server_that_refuses_to_tell_is_a_gap(autojump_clock: Clock) -> None:
    server = declares(wire_server(version=MODERN), tools={"listChanged": True})

    def refuse(message: Any) -> None:
        server.wire.say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}})

    server.on["subscriptions/listen"] = refuse
    async with make_group({"a": server}) as group, group.events() as events:
        gap = await take(events)
        assert isinstance(gap, Gap)
        assert "may not have been told: " in gap.reason
        server.wire.break_off()
        assert isinstance(await take(events), Down)
        assert await take(events) == Up()


def subscription_of(seconds: float) -> Any:
    """Has a server end each subscription in order, after so long."""
    id_key = "io.modelcontextprotocol/subscriptionId"

    def stream(call: Call) -> object:
        ack = notification(
            "notifications/subscriptions/acknowledged",
            {"notifications": call.params["notifications"], "_meta": {id_key: call.id}},
        )
        return call.sse(ack, seconds, call.response({"resultType": "complete", "_meta": {id_key: call.id}}))

    return stream


async def test_a_subscription_that_the_server_ends_is_taken_up_again(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(capabilities={"tools": {"listChanged": True}})
    server.on["subscriptions/listen"] = subscription_of(5)
    async with (
        open_connectors({"a": server.url}, network=server.network) as group,
        group.events() as events,
    ):
        gap = await take(events)
        assert isinstance(gap, Gap)
        assert gap.reason.endswith("the server has ended the subscription")
        assert 6 <= trio.current_time() <= 6.25


async def test_a_subscription_that_lasts_is_taken_up_again_at_once_each_time(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(capabilities={"tools": {"listChanged": True}})
    server.on["subscriptions/listen"] = subscription_of(20)
    async with (
        open_connectors({"a": server.url}, network=server.network) as group,
        group.events() as events,
    ):
        for _ in range(5):
            assert isinstance(await take(events), Gap)
        assert 5 * 21 <= trio.current_time() <= 5 * 21.25


async def test_a_server_that_is_away_for_a_moment_delays_no_listener(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(capabilities={"tools": {"listChanged": True}})
    async with open_connectors({"a": server.url}, network=server.network) as group:
        server.link.reset()
        server.link.refuse()
        async with group.events() as events:
            assert trio.current_time() == 0
            server.link.refusing = False
            with trio.move_on_after(1000) as scope:
                assert isinstance(await take(events), Gap)  # it knows of no subscriptions, after all
            assert not scope.cancelled_caught
        assert statuses(group) == {"a": "up"}
        await until(group, "a", "up")
