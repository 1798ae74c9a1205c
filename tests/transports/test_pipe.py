"""What all transports have in common that are one pipe: whose each message is, and cancelling."""

from __future__ import annotations

import mcp_types as types
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_mcp import (
    MCPError,
    ReconnectPolicy,
)
from trio_mcp.protocol.wire import Response

from .wires import LEGACY, MODERN, TEXT, Call, Gate, MemoryConnector, WireServer, both_eras, named

settle = trio.testing.wait_all_tasks_blocked

POLICY = ReconnectPolicy(initial=1, jitter=0)


# Routing


@both_eras
async def test_answers_find_their_calls_in_whatever_order_they_come(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    done: list[str] = []

    async def use(c: MemoryConnector, tool: str) -> None:
        await c.call_tool(tool)
        done.append(tool)

    async with server.connect() as c, trio.open_nursery() as nursery:
        for tool in "abc":
            nursery.start_soon(use, c, tool)
        await server.saw("tools/call", 3)
        for tool in "cab":
            server.wire.respond(named(server.wire, tool))
            await settle()
    assert done == ["c", "a", "b"]


@both_eras
async def test_an_error_is_raised_by_its_call_alone(version: str, autojump_clock: MockClock) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        bad, good = Call(nursery, c, "bad"), Call(nursery, c, "good")
        await server.saw("tools/call", 2)
        error = {"code": -32602, "message": "no such tool", "data": 1}
        server.wire.say({"jsonrpc": "2.0", "id": named(server.wire, "bad"), "error": error})
        server.wire.respond(named(server.wire, "good"))
    assert isinstance(bad.error, MCPError)
    assert (bad.error.code, bad.error.message, bad.error.data) == (-32602, "no such tool", 1)
    assert good.result


@both_eras
async def test_answers_that_nobody_waits_for_are_dropped_and_counted(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        left, call = Call(nursery, c, "left"), Call(nursery, c, "call")
        await server.saw("tools/call", 2)
        left.scope.cancel()
        await settle()
        server.wire.respond(named(server.wire, "left"))  # late
        server.wire.respond(9999)
        server.wire.respond(str(named(server.wire, "call")))  # an id is what it was, type and all
        server.wire.say({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what?"}})
        await settle()
        assert not call.result
        assert c.statistics().unknown_messages == 4
        server.wire.respond(named(server.wire, "call"))
    assert call.result


@both_eras
async def test_junk_is_dropped_and_counted(version: str, autojump_clock: MockClock) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        call = Call(nursery, c)
        await server.saw("tools/call")
        junk = [b"Listening on port 3000", b"{", b"\xff\xfe", b"[]", b"3", b'{"jsonrpc":"1.0"}', b"\x00"]
        for data in junk:
            server.wire.say_raw(data)
        server.wire.respond(named(server.wire, "x"))
        await settle()
        assert call.result
        assert c.statistics().unknown_messages == len(junk)


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY, MODERN])
async def test_a_batch_is_taken_where_the_version_has_batches(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        call = Call(nursery, c)
        await server.saw("tools/call")
        answer = {"jsonrpc": "2.0", "id": named(server.wire, "x"), "result": TEXT}
        server.wire.say([answer, {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}])
        await settle()
        statistics = c.statistics()
        assert bool(call.result) == (version == "2025-03-26")
        assert statistics.unknown_messages == (version != "2025-03-26")
        call.scope.cancel()


async def test_the_server_is_heard_and_answered_while_calls_wait(autojump_clock: MockClock) -> None:
    server = WireServer(LEGACY)
    heard: list[str] = []

    async def hear(notification: types.ServerNotification) -> None:
        heard.append(notification.method)

    async with server.connect(message_handler=hear, roots=[]) as c, trio.open_nursery() as nursery:
        call = Call(nursery, c)
        await server.saw("tools/call")
        server.wire.notify("notifications/tools/list_changed")
        server.wire.ask("r", "roots/list")
        server.wire.ask("p", "ping")
        await settle()
        answers = {message["id"]: message["result"] for message in server.wire.seen if "result" in message}
        assert answers == {"r": {"roots": []}, "p": {}}
        assert heard == ["notifications/tools/list_changed"]
        call.scope.cancel()


@both_eras
async def test_an_answer_is_not_held_up_by_a_callback(version: str, autojump_clock: MockClock) -> None:
    server = WireServer(version)

    async def hear(notification: types.ServerNotification) -> None:
        await trio.sleep_forever()

    async with server.connect(message_handler=hear, goodbye_timeout=0.1) as c:
        async with trio.open_nursery() as nursery:
            call = Call(nursery, c)
            await server.saw("tools/call")
            for _ in range(3000):
                server.wire.notify("notifications/tools/list_changed")
            server.wire.respond(named(server.wire, "x"))
        assert call.ended_at == 0
        statistics = c.statistics()
        assert (statistics.notifications, statistics.notifications_dropped) == (3000, 1999)


async def test_a_burst_gives_quick_callbacks_their_turns(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    heard: list[str] = []

    async def hear(notification: types.ServerNotification) -> None:
        heard.append(notification.method)

    async with server.connect(message_handler=hear) as c:
        for _ in range(5000):
            server.wire.notify("notifications/tools/list_changed")
        await settle()
        assert c.statistics().notifications_dropped == 0
    assert len(heard) == 5000


async def test_a_modern_server_gets_no_answers_to_what_it_may_not_ask(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    async with server.connect(roots=[]) as c:
        server.wire.ask("r", "roots/list")
        server.wire.ask("p", "ping")
        await settle()
        assert server.wire.methods() == ["server/discover"]
        assert c.statistics().unknown_messages == 2


# Cancelling


@both_eras
async def test_a_call_that_is_cancelled_before_it_was_written_is_never_sent(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        gate = Gate(server)
        first, second = Call(nursery, c, "first"), None
        await settle()
        second = Call(nursery, c, "second")
        await settle()
        second.scope.cancel()
        await settle()
        assert second.ended_at == 0
        gate.open()
        await settle()
        assert [each["params"]["name"] for each in server.wire.all("tools/call")] == ["first"]
        assert "notifications/cancelled" not in server.wire.methods()
        server.wire.respond(named(server.wire, "first"))
    assert first.result


@both_eras
async def test_a_call_that_is_cancelled_while_it_is_written_is_sent_whole_and_then_cancelled(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        gate = Gate(server)
        call = Call(nursery, c)
        await settle()
        assert gate.waiting == ["tools/call"]
        call.scope.cancel()
        await settle()
        assert call.ended_at == 0  # without waiting for the server
        gate.open()
        await settle()
        assert server.wire.methods()[-2:] == ["tools/call", "notifications/cancelled"]


@both_eras
async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        left, stays = Call(nursery, c, "left"), Call(nursery, c, "stays")
        await server.saw("tools/call", 2)
        left.scope.cancel()
        cancelled = await server.saw("notifications/cancelled")
        assert cancelled["params"]["requestId"] == named(server.wire, "left")
        server.wire.respond(named(server.wire, "stays"))
    assert stays.result
    assert server.wire.methods().count("notifications/cancelled") == 1


@both_eras
async def test_a_call_whose_answer_has_come_is_not_cancelled_any_more(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect() as c, trio.open_nursery() as nursery:
        call = Call(nursery, c)
        await server.saw("tools/call")
        await settle()
        call.scope.cancel()
        answer = Response(named(server.wire, "x"), TEXT)
        c._live().session.transport._take_in(answer)  # type: ignore[attr-defined]
        await settle()
        assert call.ended_at == 0
        assert call.result is None
        assert "notifications/cancelled" not in server.wire.methods()


async def test_a_handshake_that_is_given_up_is_not_cancelled_at_the_server(autojump_clock: MockClock) -> None:
    server = WireServer(LEGACY)
    del server.on["initialize"]
    with trio.move_on_after(1) as scope:
        async with server.connect():
            pass
    assert scope.cancelled_caught
    assert server.wire.methods() == ["initialize"]


async def test_a_probe_without_an_answer_is_cancelled_and_initialize_follows(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)
    async with server.connect(protocol_version="auto", connect_timeout=6) as c:
        assert trio.current_time() == 2
        assert c.protocol_version == LEGACY
    assert sorted(server.wire.methods()) == [
        "initialize",
        "notifications/cancelled",
        "notifications/initialized",
        "server/discover",
    ]
