"""The servers of a group: opened, watched, opened anew, closed."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from tests.group.groups import STEADY, hangs, make_group, refuses, statuses, until, wire_server
from tests.transports.wires import MODERN
from trio_mcp import (
    AccessDenied,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HTTPStatusError,
    InternalError,
    NotConnected,
    ReconnectPolicy,
    UsageError,
)
from trio_mcp.errors import ServerUnavailable, UnknownName

Clock = trio.testing.MockClock


# Opening


async def test_all_servers_are_opened_at_the_same_time(autojump_clock: Clock) -> None:
    servers = {f"s{number}": hangs(wire_server("t"), 2) for number in range(50)}
    async with make_group(servers) as group:
        assert trio.current_time() == 2
        assert statuses(group) == dict.fromkeys(servers, "up")
        assert list(group) == list(servers)
        assert len(group) == 50
        assert "s7" in group
        assert "t7" not in group
        assert group["s7"].is_connected
        assert len(await group.list_tools()) == 50
        for server in servers.values():  # and each says goodbye for half a second

            async def slow() -> None:
                await trio.sleep(0.5)

            server.on_close = slow
    assert trio.current_time() == 2.5
    assert statuses(group) == dict.fromkeys(servers, "closed")


async def test_a_group_of_no_servers_is_empty(autojump_clock: Clock) -> None:
    group = make_group({})
    assert repr(group) == "<ConnectorGroup of no servers>"
    async with group:
        assert await group.list_tools() == []
        with pytest.raises(UnknownName):
            await group.call_tool("x")


async def test_a_required_server_that_cannot_be_opened_is_the_error_of_the_block(
    autojump_clock: Clock,
) -> None:
    good, hanging = wire_server(), hangs(wire_server())
    group = make_group({"good": good, "bad": refuses(hangs(wire_server(), 1)), "hanging": hanging})
    with pytest.raises(ConnectError, match="refused") as caught:
        async with group:
            raise AssertionError("the block has begun")
    assert caught.value.__notes__ == ["this is server 'bad' of the group, which is required"]
    assert caught.value.server == "wires"
    assert trio.current_time() == 0
    assert good.wire.closed
    assert statuses(group) == dict.fromkeys(("good", "bad", "hanging"), "closed")


async def test_of_several_errors_the_first_one_comes_out(autojump_clock: Clock) -> None:
    servers = {str(number): refuses(wire_server(), ConnectError(f"refused {number}")) for number in range(3)}
    with pytest.raises(ConnectError, match=r"refused \d") as caught:
        async with make_group(servers):
            raise AssertionError("the block has begun")
    assert trio.current_time() == 0
    assert caught.value.__notes__[0].startswith("this is server")


async def test_an_optional_server_that_cannot_be_opened_is_a_state(autojump_clock: Clock) -> None:
    servers = {"good": wire_server("t"), "bad": refuses(wire_server())}
    async with make_group(servers, optional=["bad"], policy=None) as group:
        assert statuses(group) == {"good": "up", "bad": "failed"}
        assert str(group.states["bad"]) == "failed (wires: refused)"
        assert str(group.states["good"]) == "up"
        assert repr(group) == "<ConnectorGroup good: up, bad: failed>"
        with pytest.raises(
            ServerUnavailable, match="^wires: server 'bad' is failed: wires: refused$"
        ) as caught:
            group["bad"]
        assert isinstance(caught.value.__cause__, ConnectError)
        assert (caught.value.name, caught.value.status) == ("bad", "failed")


async def test_a_slow_optional_server_delays_nobody_longer_than_its_deadline(autojump_clock: Clock) -> None:
    slow = wire_server("t")
    slow.on["initialize"] = lambda message: None
    async with make_group({"good": wire_server(), "slow": slow}, optional=["slow"], deadline=3) as group:
        assert trio.current_time() == 3
        await trio.testing.wait_all_tasks_blocked()
        assert statuses(group)["slow"] == "down"
        assert isinstance(group.states["slow"].error, ConnectTimeout)
        slow.on = wire_server("t").on
        assert await until(group, "slow", "up") == 4
        assert [tool.name for tool in await group.list_tools()] == ["slow__t"]


async def test_who_waits_for_a_person_is_waited_for_no_longer_than_its_deadline(
    autojump_clock: Clock,
) -> None:
    from trio_mcp.deadlines import paused

    async def log_in() -> None:
        with paused():
            await trio.sleep(100)

    slow = wire_server("t")
    slow.on_open = log_in
    async with make_group({"slow": slow}, optional=["slow"], deadline=3) as group:
        assert trio.current_time() == 3
        with pytest.raises(ServerUnavailable, match="'slow' is being opened$"):
            group["slow"]
        # The pipe is opened by a task of its own, which the clock of the handshake does not stop for.
        assert group.states["slow"].since == 0


async def test_a_block_that_is_cancelled_while_it_opens_leaves_nothing(autojump_clock: Clock) -> None:
    good, slow = wire_server(), hangs(wire_server())
    group = make_group({"good": good, "slow": slow})
    with trio.move_on_after(5) as scope:
        async with group:
            raise AssertionError("the block has begun")
    assert scope.cancelled_caught
    assert good.wire.closed
    assert trio.current_time() < 6
    slow.on_open = good.on_open
    async with group:  # and it can be opened again
        assert statuses(group) == {"good": "up", "slow": "up"}


async def test_a_group_is_used_in_its_block_only(autojump_clock: Clock) -> None:
    group = make_group({"a": wire_server("t")})
    with pytest.raises(NotConnected):
        group["a"]
    with pytest.raises(NotConnected):
        group.events()
    assert set((await group.list_tools()).missing) == {"a"}
    async with group:
        with pytest.raises(UsageError, match="open already"):
            async with group:
                pass
        with pytest.raises(UnknownName, match="no server 'b' in the group$") as caught:
            group["b"]
        assert isinstance(caught.value, KeyError)
        with pytest.raises(UnknownName, match="the nearest: 'a'"):
            group["aa"]
    with pytest.raises(NotConnected, match="the group's block is not open"):
        await group.call_tool("a__t")


# Losing servers


async def test_a_lost_server_is_opened_anew(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    server = wire_server("t")
    async with make_group({"a": server}) as group:
        connector = group["a"]
        await group.call_tool("a__t")
        server.wire.break_off()
        await until(group, "a", "down")
        with pytest.raises(ServerUnavailable, match="'a' is down.*: the cable was cut") as caught:
            await group.call_tool("a__t")
        assert isinstance(caught.value.__cause__, ConnectionLost)
        await trio.sleep(0.25)
        with pytest.raises(ServerUnavailable, match=r"opened anew in 0\.75 s"):
            group["a"]
        assert group.states["a"].retry_at == 1
        assert await until(group, "a", "up") == 1
        assert group["a"] is connector
        assert group.states["a"].error is None
        await group.call_tool("a__t")
    assert "server 'a' of the group is opened anew in 1 s" in caplog.text


async def test_the_waits_grow_and_attempts_end(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server = wire_server("t")
    policy = ReconnectPolicy(jitter=0, attempts=3)
    async with make_group({"a": server}, optional=["a"], policy=policy) as group:
        refuses(server)
        server.wire.break_off()
        assert await until(group, "a", "failed") == 1 + 2 + 4
        assert isinstance(group.states["a"].error, ConnectError)
        await trio.sleep(1000)
        assert len(server.wires) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 4


async def test_waits_are_jittered_by_the_given_generator(autojump_clock: Clock) -> None:
    times = []
    for _ in range(2):
        server = wire_server()
        began = trio.current_time()
        async with make_group({"a": server}, policy=ReconnectPolicy()) as group:
            server.wire.break_off()
            await until(group, "a", "down")
            times.append(await until(group, "a", "up") - began)
    assert times[0] == pytest.approx(times[1])
    assert 1 < times[0] < 1.25


async def test_attempts_are_counted_anew_when_a_server_has_lasted(autojump_clock: Clock) -> None:
    server = wire_server()
    policy = ReconnectPolicy(jitter=0, attempts=2)
    async with make_group({"a": server}, optional=["a"], policy=policy) as group:
        for wait in (1, 2):  # it does not last
            server.wire.break_off()
            began = await until(group, "a", "down")
            assert await until(group, "a", "up") == began + wait
        await trio.sleep(10)
        server.wire.break_off()
        began = await until(group, "a", "down")
        assert await until(group, "a", "up") == began + 1
        server.wire.break_off()
        await until(group, "a", "down")
        await until(group, "a", "up")
        server.wire.break_off()
        await until(group, "a", "failed")


async def test_a_required_server_that_is_lost_for_good_ends_the_block(autojump_clock: Clock) -> None:
    server = wire_server()
    with pytest.raises(ConnectionLost, match="the cable was cut") as caught:
        async with make_group({"a": server, "b": wire_server()}, policy=None):
            server.wire.break_off()
            await trio.sleep_forever()
    assert "server 'a' of the group, which is required" in caught.value.__notes__[0]


async def test_what_will_not_pass_is_not_tried_again(autojump_clock: Clock) -> None:
    denied = refuses(wire_server(), AccessDenied("no", 401, {}))
    busy = refuses(wire_server(), AccessDenied("later", 503, {}))
    async with make_group({"denied": denied, "busy": busy}, optional=["denied", "busy"]) as group:
        assert statuses(group) == {"denied": "failed", "busy": "down"}


@pytest.mark.parametrize(("asked", "wait"), [("0", 1), ("30", 30), ("86400", 60), ("soon", 1)])
async def test_a_server_that_asks_for_time_is_given_some(
    autojump_clock: Clock, asked: str, wait: float
) -> None:
    server = refuses(wire_server(), HTTPStatusError("later", 503, {"retry-after": asked}))
    async with make_group({"a": server}, optional=["a"]) as group:
        assert group.states["a"].retry_at == trio.current_time() + wait


async def test_a_server_that_the_program_closes_has_failed(autojump_clock: Clock) -> None:
    async with make_group({"a": wire_server()}, optional=["a"]) as group:
        await group["a"].aclose()
        await until(group, "a", "failed")
        assert isinstance(group.states["a"].error, NotConnected)


async def test_a_bug_of_ours_ends_the_block(autojump_clock: Clock) -> None:
    server = refuses(wire_server(), ZeroDivisionError("a bug"))
    with pytest.raises(InternalError):
        async with make_group({"a": server}, optional=["a"]):
            raise AssertionError("the block has begun")


# The end


@pytest.mark.parametrize("status", ["opening", "down"])
async def test_the_end_of_the_block_waits_for_no_attempt(status: str, autojump_clock: Clock) -> None:
    server = wire_server()
    async with make_group({"a": server}, optional=["a"], policy=STEADY) as group:
        hangs(server)
        server.wire.break_off()
        await until(group, "a", status)
        began = trio.current_time()
    assert trio.current_time() <= began + 1
    assert statuses(group) == {"a": "closed"}


async def test_a_block_is_cancelled_while_a_server_is_opened_anew(autojump_clock: Clock) -> None:
    server = wire_server()
    with trio.move_on_after(10) as scope:
        async with make_group({"a": server}) as group:
            hangs(server)
            server.wire.break_off()
            await until(group, "a", "opening")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() <= 11


async def test_what_the_body_raises_comes_out_as_it_is(autojump_clock: Clock) -> None:
    error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError) as caught:
        async with make_group({"a": wire_server(), "b": wire_server()}):
            raise error
    assert caught.value is error
    assert error.__context__ is None


async def test_calls_in_flight_end_with_the_block(autojump_clock: Clock, nursery: trio.Nursery) -> None:
    server = wire_server("t")
    server.on["tools/call"] = lambda message: None
    ended = trio.Event()

    async def call() -> None:
        with pytest.raises(NotConnected):
            await group.call_tool("a__t")
        ended.set()

    async with make_group({"a": server}) as group:
        nursery.start_soon(call)
        await server.saw("tools/call")
    await ended.wait()


# Callbacks


async def test_what_a_callback_raises_ends_the_block(autojump_clock: Clock) -> None:
    async def callback(message: object) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    for error in (ZeroDivisionError(), ConnectError("of the callback's own")):
        server = wire_server()
        with pytest.raises(type(error)) as caught:
            async with make_group({"a": server, "b": wire_server()}, message_handler=callback):
                server.wire.notify("notifications/tools/list_changed")
                await trio.sleep_forever()
        assert caught.value is error


async def test_notifications_that_have_come_are_seen_at_the_end(autojump_clock: Clock) -> None:
    seen: list[object] = []

    async def callback(message: object) -> None:
        await trio.sleep(0.1)
        seen.append(message)

    server = wire_server()
    async with make_group({"a": server}, message_handler=callback):
        server.wire.notify("notifications/tools/list_changed")
        await trio.testing.wait_all_tasks_blocked()
    assert len(seen) == 1


async def test_a_cancelled_call_is_cancelled_at_its_server(autojump_clock: Clock) -> None:
    server, other = wire_server("t", version=MODERN), wire_server("t", version=MODERN)
    server.on["tools/call"] = lambda message: None
    async with make_group({"a": server, "b": other}) as group:
        with trio.move_on_after(5):
            await group.call_tool("a__t")
        await server.saw("notifications/cancelled")
        await group.call_tool("b__t")
    assert "notifications/cancelled" not in other.wires[0].methods()


async def test_a_server_that_is_lost_as_the_block_ends_is_let_go_of(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make_group({"a": wire_server()}, policy=None)
    member = group._members["a"]
    ends, ended = trio.Event(), trio.Event()

    async def lost() -> ConnectionLost:
        await ends.wait()
        member.leave()
        ended.set()
        return ConnectionLost("too late")

    monkeypatch.setattr(member, "_until_lost", lost)
    async with group:
        ends.set()
        await ended.wait()
        assert statuses(group) == {"a": "closed"}
    assert trio.current_time() == 0
