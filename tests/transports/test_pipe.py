"""What all transports have in common that are one pipe: routing, cancelling, losing and closing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_mcp import (
    ConnectError,
    ConnectionChange,
    ConnectionLost,
    ConnectorError,
    InternalError,
    MCPError,
    MessageTooLarge,
    NotConnected,
    ReconnectPolicy,
    RequestContext,
    Stalled,
)
from trio_mcp.protocol.wire import Response
from trio_mcp.transports.pipe import Wire

from .wires import LEGACY, MODERN, TEXT, MemoryConnector, ScriptedWire, WireServer

both_eras = pytest.mark.parametrize("version", [MODERN, LEGACY])
settle = trio.testing.wait_all_tasks_blocked

POLICY = ReconnectPolicy(initial=1, jitter=0)


class Call:
    """A call in a task of its own, and what came of it."""

    def __init__(self, nursery: trio.Nursery, c: MemoryConnector, name: str = "x") -> None:
        self.result: types.CallToolResult | None = None
        self.error: Exception | None = None
        self.scope = trio.CancelScope()
        self.ended_at: float | None = None
        nursery.start_soon(self._make, c, name)

    async def _make(self, c: MemoryConnector, name: str) -> None:
        with self.scope:
            try:
                self.result = await c.call_tool(name)
            except ConnectorError as exc:
                self.error = exc
        self.ended_at = trio.current_time()


def named(wire: ScriptedWire, tool: str) -> Any:
    """The id of the call to `tool`."""
    (call,) = [each for each in wire.all("tools/call") if each["params"]["name"] == tool]
    return call["id"]


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


async def test_a_modern_server_gets_no_answers_to_what_it_may_not_ask(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    async with server.connect(roots=[]) as c:
        server.wire.ask("r", "roots/list")
        server.wire.ask("p", "ping")
        await settle()
        assert server.wire.methods() == ["server/discover"]
        assert c.statistics().unknown_messages == 2


# Cancelling


class Gate:
    """Lets messages through to the wire only while it is open."""

    def __init__(self, server: WireServer) -> None:
        self.waiting: list[str] = []
        self._opened = trio.Event()
        server.on_send = self._pass

    async def _pass(self, message: dict[str, Any]) -> None:
        self.waiting.append(message.get("method", "answer"))
        await self._opened.wait()

    def open(self) -> None:
        self._opened.set()


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


# Stalling and losing


@both_eras
async def test_a_server_that_takes_nothing_loses_the_connection(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect(timeout=7) as c, trio.open_nursery() as nursery:
        Gate(server)
        calls = [Call(nursery, c) for _ in range(3)]
        await trio.sleep(10)
        errors = [call.error for call in calls]
        assert all(isinstance(error, Stalled) and isinstance(error, trio.TooSlowError) for error in errors)
        assert {call.ended_at for call in calls} == {7}
        assert len({id(error) for error in errors}) == 3
        assert "(timeout=)" in str(errors[0])
        assert not c.is_connected


@both_eras
async def test_a_lost_wire_ends_all_calls_with_the_reason(version: str, autojump_clock: MockClock) -> None:
    server = WireServer(version)

    async def close_slowly() -> None:
        await trio.sleep(0.2)

    server.on_close = close_slowly
    async with server.connect() as c:
        async with trio.open_nursery() as nursery:
            calls = [Call(nursery, c) for _ in range(100)]
            await server.saw("tools/call", 100)
            cause = OSError("unplugged")
            lost = ConnectionLost("the cable was cut")
            lost.__cause__ = cause
            server.wire.break_off(lost)
        assert {call.ended_at for call in calls} == {0}  # they do not wait for the wire's end
        errors = [call.error for call in calls]
        assert {type(error) for error in errors} == {ConnectionLost}
        assert {str(error) for error in errors} == {"tools/call 'x' on wires: the cable was cut"}
        assert len({id(error) for error in errors}) == 100
        assert {error.__cause__ for error in errors if error} == {cause}
        assert not c.is_connected
        with pytest.raises(ConnectionLost, match="the cable was cut"):
            await c.call_tool("x")
        assert trio.current_time() == pytest.approx(0.2)


async def test_more_messages_than_may_wait_to_be_written_end_with_the_wire_as_well(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(MODERN)
    async with server.connect() as c, trio.open_nursery() as nursery:
        Gate(server)
        calls = [Call(nursery, c) for _ in range(150)]
        await settle()
        server.wire.break_off()
        await settle()
        assert {type(call.error) for call in calls} == {ConnectionLost}


async def test_a_message_that_is_too_large_loses_the_connection(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    async with server.connect() as c, trio.open_nursery() as nursery:
        call = Call(nursery, c)
        await server.saw("tools/call")
        server.wire.break_off(MessageTooLarge("too large"))
        await settle()
        assert isinstance(call.error, MessageTooLarge)
        assert isinstance(call.error, ConnectionLost)


@both_eras
async def test_a_wire_that_is_lost_in_the_handshake_is_the_error_of_opening(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    server.on.clear()

    async def lose() -> None:
        await trio.sleep(1)
        server.wire.break_off()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        with pytest.raises(ConnectionLost, match="wires: the cable was cut"):
            async with server.connect(reconnect=True):
                pass
    assert trio.current_time() == 1


async def test_what_keeps_the_first_wire_from_being_opened_is_raised_at_once(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(MODERN)

    async def refuse() -> None:
        raise ConnectError("nobody there")

    server.on_open = refuse
    with pytest.raises(ConnectError, match="wires: nobody there"):
        async with server.connect(reconnect=True):
            pass
    assert trio.current_time() == 0


async def test_a_wire_that_ends_without_a_reason_is_a_bug(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)

    class Swallowing(MemoryConnector):
        @asynccontextmanager
        async def _open_wire(self) -> AsyncGenerator[Wire]:
            async with server.open_wire() as wire:
                with suppress(ConnectionLost):
                    yield wire

    with pytest.raises(InternalError, match="a wire ended without a reason"):
        async with Swallowing(server, protocol_version=MODERN):
            server.wire.break_off()
            await trio.sleep_forever()


# Reconnecting


@both_eras
async def test_a_call_while_the_connection_is_lost_waits_for_the_next(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect(reconnect=POLICY) as c, trio.open_nursery() as nursery:
        lost = Call(nursery, c)
        await server.saw("tools/call")
        server.wire.break_off()
        await settle()
        assert not c.is_connected
        waiting = Call(nursery, c, "waiting")
        server.on["tools/call"] = lambda message: TEXT
        await trio.sleep(1)
        await settle()
        assert c.is_connected
        assert isinstance(lost.error, ConnectionLost)
        assert waiting.result
        assert len(server.wires) == 2
        assert c.statistics().reconnects == 1
        # What was under way may have been carried out, and is not sent again.
        assert [each["params"]["name"] for each in server.wire.all("tools/call")] == ["waiting"]


async def test_a_call_fails_at_once_where_no_other_connection_will_come(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    async with server.connect() as c:
        server.wire.break_off()
        await settle()
        with pytest.raises(ConnectionLost, match="the cable was cut"):
            await c.call_tool("x")
        with pytest.raises(ConnectionLost, match="the cable was cut"):
            await c.notify("notifications/x")
        assert trio.current_time() == 0
        assert len(server.wires) == 1


async def test_attempts_in_vain_come_to_an_end(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    opened: list[float] = []

    async def refuse() -> None:
        opened.append(trio.current_time())
        raise ConnectError("nobody there")

    policy = ReconnectPolicy(initial=1, factor=2, jitter=0, attempts=3)
    async with server.connect(reconnect=policy) as c, trio.open_nursery() as nursery:
        server.on_open = refuse
        server.wire.break_off()
        await settle()
        call = Call(nursery, c)
        await trio.sleep(100)
        assert opened == [1, 3, 7]
        assert isinstance(call.error, ConnectError)
        assert call.ended_at == 7


async def test_attempts_count_anew_once_a_connection_was_of_use(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    policy = ReconnectPolicy(initial=1, factor=2, jitter=0, attempts=2)
    opened: list[float] = []

    async def open_wire() -> None:
        opened.append(trio.current_time())

    server.on_open = open_wire
    async with server.connect(reconnect=policy) as c:
        waits = []
        for of_use in (True, True, False, True):
            if of_use:
                server.wire.notify("notifications/tools/list_changed")
            await settle()
            lost_at = trio.current_time()
            server.wire.break_off()
            await trio.sleep(5)
            waits.append(opened[-1] - lost_at)
        assert waits == [1, 1, 2, 1]
        assert c.statistics().reconnects == 4


async def test_a_modern_server_needs_no_handshake_on_a_new_connection(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    server.on["tools/call"] = lambda message: TEXT
    async with server.connect(reconnect=POLICY) as c:
        server.wire.break_off()
        await trio.sleep(2)
        await c.call_tool("x")
        assert server.wire.methods() == ["tools/call"]
        assert c.statistics().reinitializations == 0


async def test_a_legacy_server_is_initialized_anew_and_told_what_it_was_told_before_any_call(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)
    server.on["tools/call"] = lambda message: TEXT
    async with server.connect(reconnect=POLICY) as c, trio.open_nursery() as nursery:
        await c.set_logging_level("error")
        await c.subscribe_resource("memo://a")
        await c.subscribe_resource("memo://b")
        await c.unsubscribe_resource("memo://b")
        server.wire.break_off()
        await settle()
        calls = [Call(nursery, c) for _ in range(20)]
        await trio.sleep(2)
        assert all(call.result for call in calls)
        assert server.wire.methods()[:4] == [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
        ]
        assert server.wire.methods()[4:] == ["tools/call"] * 20
        assert server.wire.all("resources/subscribe")[0]["params"]["uri"] == "memo://a"
        assert c.statistics().reinitializations == 1


@pytest.mark.parametrize("stage", ["initialize", "logging/setLevel"])
async def test_a_connection_that_is_lost_again_while_its_session_begins_is_replaced_again(
    stage: str, autojump_clock: MockClock
) -> None:
    server = WireServer(LEGACY)
    server.on["tools/call"] = lambda message: TEXT
    async with server.connect(reconnect=POLICY) as c, trio.open_nursery() as nursery:
        await c.set_logging_level("error")
        answers = dict(server.on)
        server.on[stage] = lambda message: server.wire.break_off()
        server.wire.break_off()
        await settle()
        calls = [Call(nursery, c) for _ in range(5)]
        await trio.sleep(1.5)
        assert len(server.wires) == 2
        assert server.wire.methods()[-1] == stage
        server.on = answers
        await trio.sleep(5)
        assert all(call.result for call in calls)
        assert server.wire.methods()[:3] == ["initialize", "notifications/initialized", "logging/setLevel"]
        assert len(server.wires) == 3


async def test_a_handshake_that_outlives_its_connection_is_not_taken_for_the_next_ones(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)
    server.on["tools/call"] = lambda message: TEXT

    async def linger(context: Any, call_next: Any) -> Any:
        result = await call_next(context)
        if context.method == "initialize":
            await trio.sleep(4)
        return result

    async with server.connect(reconnect=POLICY, middleware=[linger]) as c:
        for _ in range(2):
            server.wire.break_off()
            await trio.sleep(1.5)
        assert len(server.wires) == 3
        await c.call_tool("x")
        assert server.wire.methods() == ["initialize", "notifications/initialized", "tools/call"]


async def test_a_new_session_that_is_refused_is_the_error_of_the_calls_and_tried_again_for_the_next(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)
    server.on["tools/call"] = lambda message: TEXT
    async with server.connect(reconnect=POLICY, connect_timeout=3) as c:
        initialize = server.on.pop("initialize")
        server.wire.break_off()
        await trio.sleep(4.5)
        with pytest.raises(ConnectorError, match="a new one was refused: no handshake within 3 s"):
            await c.call_tool("x")
        server.on["initialize"] = initialize
        assert (await c.call_tool("x")).content
        assert server.wire.methods() == [
            "initialize",
            "initialize",
            "initialize",
            "notifications/initialized",
            "tools/call",
        ]


def acknowledge(server: WireServer) -> None:
    """Answer `subscriptions/listen` as a modern server does."""

    def listen(message: dict[str, Any]) -> None:
        meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
        params = {"notifications": message["params"]["notifications"], "_meta": meta}
        server.wire.notify("notifications/subscriptions/acknowledged", params)

    server.on["subscriptions/listen"] = listen


@both_eras
async def test_who_listens_hears_of_the_gap_and_goes_on_listening(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    acknowledge(server)
    async with server.connect(reconnect=POLICY) as c:
        async with c.listen(tools=True) as events:
            server.wire.break_off()
            assert type(await events.receive()).__name__ == "Gap"
            params = {}
            if version == MODERN:
                asked = await server.saw("subscriptions/listen")
                params = {"_meta": {"io.modelcontextprotocol/subscriptionId": asked["id"]}}
            server.wire.notify("notifications/tools/list_changed", params)
            assert type(await events.receive()).__name__ == "ToolsChanged"


async def test_a_listener_goes_on_after_a_message_too_large_for_another_call(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(MODERN)
    acknowledge(server)
    async with server.connect(reconnect=POLICY) as c, c.listen(tools=True) as events:
        server.wire.break_off(MessageTooLarge("too large"))
        assert type(await events.receive()).__name__ == "Gap"


async def test_a_listener_ends_soon_where_no_other_connection_will_come(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    acknowledge(server)
    async with server.connect() as c, c.listen(tools=True) as events:
        server.wire.break_off()
        with pytest.raises(ConnectionLost, match="the cable was cut"):
            await events.receive()
        assert trio.current_time() < 2


async def test_a_subscription_that_is_left_is_cancelled_and_one_that_the_server_ended_is_not(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(MODERN)
    acknowledge(server)
    async with server.connect() as c:
        async with c.listen(tools=True):
            left = await server.saw("subscriptions/listen")
        async with c.listen(tools=True) as events:
            ended = await server.saw("subscriptions/listen", 2)
            server.wire.notify("notifications/cancelled", {"requestId": ended["id"]})
            server.wire.notify("notifications/cancelled", {"requestId": 12345})
            server.wire.notify("notifications/cancelled")
            with pytest.raises(trio.EndOfChannel):
                await events.receive()
    assert [each["params"]["requestId"] for each in server.wire.all("notifications/cancelled")] == [
        left["id"]
    ]


async def test_a_legacy_server_may_cancel_a_request_of_its_own_that_has_the_number_of_one_of_ours(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)
    async with server.connect() as c, trio.open_nursery() as nursery:
        call = Call(nursery, c)
        await server.saw("tools/call")
        server.wire.notify("notifications/cancelled", {"requestId": named(server.wire, "x")})
        await settle()
        call.scope.cancel()
        await server.saw("notifications/cancelled")


@pytest.mark.parametrize("when", ["lost", "reopened", "stubborn"])
async def test_an_answer_to_the_old_server_never_reaches_the_new_one(
    when: str, autojump_clock: MockClock
) -> None:
    server = WireServer(LEGACY)
    go = trio.Event()
    asked: list[object] = []

    async def sample(
        context: RequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        asked.append(context.request_id)
        if when == "stubborn":
            with trio.CancelScope(shield=True):
                await go.wait()
        else:
            try:
                await go.wait()
            finally:
                asked.append("left")
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text="hi"), model="m")

    async with server.connect(reconnect=POLICY, sampling_callback=sample) as c:
        params = {"messages": [], "maxTokens": 1}
        server.wire.ask("old", "sampling/createMessage", params)
        await settle()
        server.wire.break_off()
        if when != "lost":
            await trio.sleep(2)
        go.set()
        await trio.sleep(2)
        assert "answer" not in server.wire.methods()
        assert c.is_connected
        server.wire.ask("new", "sampling/createMessage", params)
        await settle()
        assert [message["id"] for message in server.wire.seen if "result" in message] == ["new"]
    assert asked[0] == "old"


async def test_an_answer_that_finds_the_connection_lost_is_counted_and_not_kept_for_the_next(
    autojump_clock: MockClock,
) -> None:
    server = WireServer(LEGACY)
    async with server.connect(reconnect=POLICY) as c:
        gate = Gate(server)
        server.wire.ask("old", "ping")
        await settle()
        server.wire.break_off()
        await settle()
        gate.open()
        await trio.sleep(3)
        assert "answer" not in server.wire.methods()
        assert c.statistics().undelivered == 1


async def test_the_callback_hears_of_each_loss_and_each_return(autojump_clock: MockClock) -> None:
    server = WireServer(MODERN)
    heard: list[tuple[float, ConnectionChange]] = []

    async def hear(change: ConnectionChange) -> None:
        heard.append((trio.current_time(), change))

    async with server.connect(reconnect=POLICY, connection_callback=hear) as c:
        await trio.sleep(5)
        assert c.is_connected
        server.wire.break_off()
        await trio.sleep(0.5)
        assert not c.is_connected
        await trio.sleep(1.5)
        assert c.is_connected
    assert heard == [
        (5, ConnectionChange(False, "the cable was cut")),
        (6, ConnectionChange(True, "the connection was opened again")),
    ]


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
