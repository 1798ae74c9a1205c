"""A pipe that breaks or stalls, and what takes its place."""

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
    MessageTooLarge,
    ReconnectPolicy,
    RequestContext,
    Stalled,
)
from trio_mcp.transports.wires import Wire

from .wires import LEGACY, MODERN, TEXT, Call, Gate, MemoryConnector, WireServer, both_eras, named

settle = trio.testing.wait_all_tasks_blocked

POLICY = ReconnectPolicy(initial=1, jitter=0)


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

    async with server.connect(reconnect=POLICY, middleware=[linger]) as c, trio.open_nursery() as nursery:
        server.wire.break_off()
        await trio.sleep(1.5)
        call = Call(nursery, c)
        server.wire.break_off()
        await trio.sleep(10)
        assert call.result
        assert len(server.wires) == 3
        assert server.wire.methods() == ["initialize", "notifications/initialized", "tools/call"]
        assert c.statistics().reinitializations == 1


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


@both_eras
async def test_it_can_be_waited_for_that_a_connection_is_lost_for_good(
    version: str, autojump_clock: MockClock
) -> None:
    server = WireServer(version)
    async with server.connect(reconnect=ReconnectPolicy(initial=1, jitter=0, attempts=2)) as c:

        async def gone() -> None:
            await trio.lowlevel.checkpoint()
            raise ConnectError("gone")

        server.on_open = gone
        server.wire.break_off()
        reason = await c.until_lost()
        assert trio.current_time() == 3
        assert isinstance(reason, ConnectError)
        assert str(reason) == "wires: gone"
        assert (await c.until_lost()) is not reason
