"""Listening: a modern server's streams, a legacy server's subscriptions, and what becomes of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp import Gap, PromptsChanged, ReconnectPolicy, ResourcesChanged, ResourceUpdated, ToolsChanged
from trio_mcp.testing import CUT, Call, Reply, ScriptedServer
from trio_mcp.testing.messages import Json, notification

TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
ALL = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
}


def stamped(call: Call, method: str, **params: Any) -> Json:
    """A notification on the stream that `call` has opened."""
    return notification(method, {**params, "_meta": {"io.modelcontextprotocol/subscriptionId": call.id}})


def acknowledged(call: Call, **honoured: Any) -> Json:
    return stamped(
        call,
        "notifications/subscriptions/acknowledged",
        notifications=honoured or call.params["notifications"],
    )


def graceful(call: Call) -> Json:
    return call.response(
        {"resultType": "complete", "_meta": {"io.modelcontextprotocol/subscriptionId": call.id}}
    )


def listened(serve: Serve, *scripts: Callable[[Call], Reply]) -> ScriptedServer:
    """A modern server whose streams go by `scripts`, one after the other, the last one again and again."""
    server = serve()

    def reply(call: Call) -> Reply:
        number = len(server.all("subscriptions/listen"))
        return scripts[min(number, len(scripts)) - 1](call)

    server.on["subscriptions/listen"] = reply
    return server


async def collect(events: trio_mcp.Subscription, count: int) -> list[trio_mcp.Event]:
    return [await events.receive() for _ in range(count)]


async def test_events_are_typed_and_end_when_the_server_says_so(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = listened(
        serve,
        lambda call: call.sse(
            acknowledged(call),
            3600 * 24 * 0.001,
            stamped(call, TOOLS),
            stamped(call, "notifications/prompts/list_changed"),
            stamped(call, "notifications/resources/list_changed"),
            stamped(call, UPDATED, uri="file:///a/part"),
            graceful(call),
        ),
    )
    async with (
        server.connect() as c,
        c.listen(tools=True, prompts=True, resources=True, uris=["file:///a"]) as events,
    ):
        assert [event async for event in events] == [
            ToolsChanged(),
            PromptsChanged(),
            ResourcesChanged(),
            ResourceUpdated("file:///a/part"),
        ]
        with pytest.raises(trio.EndOfChannel):
            await events.receive()
    assert server.all("subscriptions/listen")[0].params["notifications"] == {
        "toolsListChanged": True,
        "promptsListChanged": True,
        "resourcesListChanged": True,
        "resourceSubscriptions": ["file:///a"],
    }


async def test_what_the_server_does_not_honour_can_be_seen(serve: Serve) -> None:
    server = listened(serve, lambda call: call.sse(acknowledged(call, toolsListChanged=True), graceful(call)))
    async with server.connect() as c, c.listen(tools=True, prompts=True) as events:
        assert events.honoured == types.SubscriptionFilter(tools_list_changed=True)


async def test_leaving_the_block_closes_the_stream_and_disturbs_nobody(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = listened(serve, lambda call: call.sse(acknowledged(call), 1000, graceful(call)))
    server.on["tools/call"] = lambda call: call.text("fine")
    async with server.connect() as c:
        async with c.listen(tools=True) as events:
            await c.call_tool("x")
        (listening,) = server.all("subscriptions/listen")
        with trio.fail_after(1):
            await listening.closed.wait()
        assert not listening.sent
        await c.call_tool("x")
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


async def test_several_listeners_hear_what_is_theirs(serve: Serve) -> None:
    server = listened(
        serve,
        lambda call: call.sse(
            acknowledged(call),
            stamped(call, UPDATED, uri=call.params["notifications"]["resourceSubscriptions"][0]),
            graceful(call),
        ),
    )
    async with server.connect() as c, c.listen(uris=["x:1"]) as one, c.listen(uris=["x:2"]) as two:
        assert [event async for event in one] == [ResourceUpdated("x:1")]
        assert [event async for event in two] == [ResourceUpdated("x:2")]


async def test_listening_takes_no_place_from_calls(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = listened(serve, lambda call: call.sse(acknowledged(call), 1000, graceful(call)))
    server.on["tools/call"] = lambda call: call.text("fine")
    async with server.connect(max_connections=1) as c, c.listen(tools=True), c.listen(tools=True):
        with trio.fail_after(1):
            await c.call_tool("x")


async def test_a_cache_forgets_before_the_event_is_seen(serve: Serve) -> None:
    go = trio.Event()

    async def stream(call: Call) -> Reply:
        await call.send(acknowledged(call))
        await go.wait()
        return call.sse(stamped(call, TOOLS), graceful(call))

    server = serve()
    server.on["subscriptions/listen"] = stream
    server.on["tools/list"] = lambda call: call.result(
        {"resultType": "complete", "tools": [], "ttlMs": 60_000}
    )
    async with server.connect() as c, c.listen(tools=True) as events:
        await c.list_tools()
        await c.list_tools()
        assert len(server.all("tools/list")) == 1
        go.set()
        assert await events.receive() == ToolsChanged()
        await c.list_tools()
        assert len(server.all("tools/list")) == 2


async def test_a_lost_stream_is_taken_up_again_and_the_gap_is_told(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = listened(
        serve,
        lambda call: call.sse(acknowledged(call), stamped(call, TOOLS), CUT),
        lambda call: call.reply(status=503),
        lambda call: call.sse(acknowledged(call), stamped(call, TOOLS), graceful(call)),
    )
    policy = ReconnectPolicy(initial=10, factor=3, jitter=0)
    async with server.connect() as c, c.listen(tools=True, reconnect=policy) as events:
        first, gap, second = [event async for event in events]
        assert (first, second) == (ToolsChanged(), ToolsChanged())
        assert isinstance(gap, Gap)
        assert "HTTP 503" in gap.reason
    times = [call.time for call in server.all("subscriptions/listen")]
    assert [round(time - times[0]) for time in times] == [0, 10, 40]
    assert len({call.id for call in server.all("subscriptions/listen")}) == 3


@pytest.mark.parametrize("reconnect", [False, ReconnectPolicy(attempts=2, initial=1)])
async def test_what_is_lost_for_good_is_raised_where_it_is_listened_to(
    serve: Serve, autojump_clock: trio.testing.MockClock, reconnect: bool | ReconnectPolicy
) -> None:
    server = listened(
        serve,
        lambda call: call.sse(acknowledged(call), stamped(call, TOOLS), CUT),
        lambda call: call.sse(acknowledged(call), CUT),
    )
    async with server.connect() as c, c.listen(tools=True, reconnect=reconnect) as events:
        assert await events.receive() == ToolsChanged()
        with pytest.raises(trio_mcp.ConnectionLost):
            while True:
                assert isinstance(await events.receive(), Gap)
        with pytest.raises(trio_mcp.ConnectionLost):
            await events.receive()
        await trio.sleep(100)
    assert len(server.all("subscriptions/listen")) == (3 if reconnect else 1)


async def test_a_stream_that_lasted_makes_the_next_attempts_count_anew(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = listened(serve, lambda call: call.sse(acknowledged(call), 60, CUT))
    policy = ReconnectPolicy(attempts=1)
    async with server.connect() as c, c.listen(tools=True, reconnect=policy) as events:
        for _ in range(20):
            assert isinstance(await events.receive(), Gap)


@pytest.mark.parametrize("status", [401, 403, 404, 400])
async def test_a_refusal_is_not_asked_again(
    serve: Serve, autojump_clock: trio.testing.MockClock, status: int
) -> None:
    server = listened(
        serve, lambda call: call.sse(acknowledged(call), CUT), lambda call: call.reply(status=status)
    )
    async with server.connect() as c, c.listen(tools=True) as events:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await events.receive()
    assert len(server.all("subscriptions/listen")) == 2


async def test_a_silent_stream_is_a_lost_one(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = listened(serve, lambda call: call.sse(acknowledged(call), 1e6))
    async with server.connect(sse_read_timeout=50) as c, c.listen(tools=True, reconnect=False) as events:
        before = trio.current_time()
        with pytest.raises(trio_mcp.Stalled):
            await events.receive()
        assert trio.current_time() - before == pytest.approx(50)


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        (lambda call: call.error(-32601, "no such thing"), trio_mcp.MCPError, "no such thing"),
        (lambda call: call.sse(graceful(call)), trio_mcp.ProtocolError, "had not acknowledged"),
        (
            lambda call: call.sse(acknowledged(call, toolsListChanged="maybe"), 1000),
            trio_mcp.ProtocolError,
            "acknowledged nonsense",
        ),
        (lambda call: call.sse(stamped(call, TOOLS), 1000), trio_mcp.ConnectTimeout, "within 30 s"),
        (lambda call: call.sse(CUT), trio_mcp.ConnectionLost, "closed the connection"),
    ],
)
async def test_a_block_that_cannot_begin_raises_one_flat_error(
    serve: Serve, autojump_clock: trio.testing.MockClock, script: Any, error: type[Exception], text: str
) -> None:
    server = listened(serve, script)
    async with server.connect() as c:
        with pytest.raises(error, match=text):
            async with c.listen(tools=True):
                pytest.fail("it began")
        assert c.is_connected


async def test_the_body_s_own_exception_comes_out_as_it_is(serve: Serve) -> None:
    server = listened(serve, lambda call: call.sse(acknowledged(call), 1000))
    mine = KeyError("mine")
    async with server.connect() as c:
        with pytest.raises(KeyError) as caught:
            async with c.listen(tools=True):
                raise mine
    assert caught.value is mine


async def test_what_belongs_to_another_stream_or_none_is_not_heard(serve: Serve) -> None:
    server = listened(
        serve,
        lambda call: call.sse(
            acknowledged(call),
            notification(TOOLS),
            notification(TOOLS, {"_meta": {"io.modelcontextprotocol/subscriptionId": 999}}),
            notification("notifications/cancelled", {"requestId": 999}),
            stamped(call, UPDATED),
            stamped(call, UPDATED, uri=5),
            stamped(call, UPDATED, uri="x:1"),
            graceful(call),
        ),
    )
    async with server.connect() as c, c.listen(uris=["x:1"]) as events:
        assert [event async for event in events] == [ResourceUpdated("x:1")]
        assert c.statistics().unknown_messages == 2


async def test_a_cancelled_notification_for_the_stream_ends_it_in_order(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = listened(
        serve,
        lambda call: call.sse(
            acknowledged(call), notification("notifications/cancelled", {"requestId": call.id}), 1000
        ),
    )
    async with server.connect() as c, c.listen(tools=True) as events:
        with trio.fail_after(10):
            assert [event async for event in events] == []


async def test_a_slow_listener_is_told_that_it_missed_something(serve: Serve) -> None:
    server = listened(
        serve,
        lambda call: call.sse(
            acknowledged(call), *(stamped(call, UPDATED, uri=f"x:{n}") for n in range(1005)), graceful(call)
        ),
    )
    async with server.connect() as c, c.listen(uris=["x:"]) as events:
        await trio.testing.wait_all_tasks_blocked()
        heard = [event async for event in events]
    assert isinstance(heard[0], Gap)
    assert heard[1:] == [ResourceUpdated(f"x:{n}") for n in range(5, 1005)]


async def test_the_status_of_tasks_can_be_listened_to(serve: Serve) -> None:
    server = listened(
        serve,
        lambda call: call.sse(
            acknowledged(call),
            stamped(call, "notifications/tasks", taskId="t1", status="completed"),
            graceful(call),
        ),
    )
    async with server.connect() as c, c.listen(tasks=["t1"]) as events:
        assert [event async for event in events] == [trio_mcp.TaskChanged("t1", "completed")]
    assert server.all("subscriptions/listen")[0].params["notifications"] == {"taskIds": ["t1"]}


async def test_closing_the_connector_ends_the_listening(serve: Serve, nursery: trio.Nursery) -> None:
    for version in ("2026-07-28", "2025-11-25"):
        server = serve(version, capabilities=ALL, url=f"http://{version}.test/mcp")
        server.on["subscriptions/listen"] = lambda call: call.sse(acknowledged(call), 1000)
        async with server.connect() as c, c.listen(tools=True) as events:
            nursery.start_soon(c.aclose)
            with pytest.raises(trio_mcp.NotConnected):
                await events.receive()


async def test_what_comes_after_the_end_is_dropped(serve: Serve) -> None:
    server, send = legacy(serve)
    async with server.connect() as c, c.listen(tools=True) as events:
        await c.aclose()
        await send.send(notification(TOOLS))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio_mcp.NotConnected):
            await events.receive()


async def test_who_comes_back_at_once_is_still_subscribed(serve: Serve) -> None:
    server, send = legacy(serve)
    async with server.connect() as c:
        for _ in range(3):
            async with c.listen(uris=["x:1"]) as events:
                await send.send(notification(UPDATED, {"uri": "x:1"}))
                assert await events.receive() == ResourceUpdated("x:1")
        await trio.testing.wait_all_tasks_blocked()
    changes = [method for method in server.methods() if method.startswith("resources/")]
    assert changes[-1] == "resources/unsubscribe"
    assert changes.count("resources/subscribe") == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [({}, "nothing to listen to"), ({"uris": "x:1"}, "lists of str"), ({"tasks": "t"}, "lists of str")],
)
async def test_a_mistake_is_told_at_once(serve: Serve, options: dict[str, Any], text: str) -> None:
    async with serve().connect() as c:
        with pytest.raises(trio_mcp.UsageError, match=text):
            c.listen(**options)


# A legacy server


def legacy(serve: Serve, capabilities: Json = ALL) -> tuple[ScriptedServer, trio.MemorySendChannel[Json]]:
    """A legacy server, and what sends notifications on its GET stream."""
    send, receive = trio.open_memory_channel[Json](100)
    server = serve("2025-11-25", capabilities=capabilities)

    async def stream(call: Call) -> None:
        await call.send()
        async for message in receive:
            await call.send(message)

    server.on["GET"] = stream
    server.on["resources/subscribe"] = server.on["resources/unsubscribe"] = lambda call: call.result({})
    return server, send


async def test_a_legacy_server_is_listened_to_in_the_same_way(serve: Serve) -> None:
    server, send = legacy(serve)
    async with server.connect() as c:
        async with c.listen(tools=True, uris=["x:1"]) as events:
            assert events.honoured == types.SubscriptionFilter(
                tools_list_changed=True, resource_subscriptions=["x:1"]
            )
            for method, params in [
                ("notifications/prompts/list_changed", None),
                (TOOLS, None),
                (UPDATED, {"uri": "y:1"}),
                (UPDATED, {"uri": "x:1/part"}),
            ]:
                await send.send(notification(method, params))
            assert await collect(events, 2) == [ToolsChanged(), ResourceUpdated("x:1/part")]
        await trio.testing.wait_all_tasks_blocked()
        assert [call.params for call in server.all("resources/subscribe")] == [{"uri": "x:1"}]
        assert [call.params for call in server.all("resources/unsubscribe")] == [{"uri": "x:1"}]


async def test_listeners_share_a_legacy_subscription(serve: Serve) -> None:
    server, send = legacy(serve)
    async with server.connect() as c:
        async with c.listen(uris=["x:1"]) as one:
            async with c.listen(uris=["x:1"]):
                pass
            await trio.testing.wait_all_tasks_blocked()
            assert "resources/unsubscribe" not in server.methods()
            await send.send(notification(UPDATED, {"uri": "x:1"}))
            assert await one.receive() == ResourceUpdated("x:1")
        await trio.testing.wait_all_tasks_blocked()
        assert (
            server.methods().count("resources/subscribe"),
            server.methods().count("resources/unsubscribe"),
        ) == (1, 1)


async def test_only_what_a_legacy_server_declares_is_honoured(serve: Serve) -> None:
    server, _ = legacy(serve, {"tools": {}, "resources": {"subscribe": False}})
    async with (
        server.connect() as c,
        c.listen(tools=True, prompts=True, resources=True, uris=["x:1"]) as events,
    ):
        assert events.honoured == types.SubscriptionFilter()
    assert "resources/subscribe" not in server.methods()


async def test_a_new_session_of_a_legacy_server_is_a_gap(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server, _ = legacy(serve)
    server.on["tools/call"] = lambda call: call.text("fine")
    async with server.connect() as c, c.listen(uris=["x:1"]) as events:
        await server.restart()
        await c.call_tool("x")
        gap = await events.receive()
        assert isinstance(gap, Gap)
        assert "session" in gap.reason
        await trio.testing.wait_all_tasks_blocked()
        assert server.methods().count("resources/subscribe") == 2


async def test_a_get_stream_that_cannot_be_resumed_is_a_gap(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server, _ = legacy(serve)
    opened = 0

    async def stream(call: Call) -> Reply:
        nonlocal opened
        opened += 1
        return call.sse(CUT) if opened == 1 else call.sse(1000)

    server.on["GET"] = stream
    async with server.connect() as c, c.listen(tools=True) as events:
        gap = await events.receive()
        assert isinstance(gap, Gap)
        assert "GET stream" in gap.reason


async def test_an_unsubscription_that_fails_is_nobody_s_business(serve: Serve) -> None:
    server, _ = legacy(serve)
    server.on["resources/unsubscribe"] = lambda call: call.error(-32603)
    async with server.connect() as c:
        async with c.listen(uris=["x:1"]):
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert c.is_connected


async def test_a_subscription_that_is_refused_is_raised(serve: Serve) -> None:
    server, _ = legacy(serve)
    server.on["resources/subscribe"] = lambda call: (
        call.result({}) if call.params["uri"] == "x:1" else call.error(-32602, "no such resource")
    )
    async with server.connect() as c:
        with pytest.raises(trio_mcp.MCPError, match="no such resource"):
            async with c.listen(uris=["x:1", "x:2", "x:3"]):
                pytest.fail("it began")
        await trio.testing.wait_all_tasks_blocked()
        assert {"uri": "x:1"} in [call.params for call in server.all("resources/unsubscribe")]
        server.on["resources/subscribe"] = lambda call: call.result({})
        async with c.listen(uris=["x:1", "x:2", "x:3"]):
            assert len(server.all("resources/subscribe")) == 2 + 3


async def test_the_end_of_a_subscription_does_not_undo_one_that_began_before_it(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server, send = legacy(serve)

    async def subscribe(call: Call) -> Reply:
        if call.params["uri"] == "slow:":
            await trio.sleep(4)
        return call.result({})

    server.on["resources/subscribe"] = subscribe
    async with server.connect() as c, trio.open_nursery() as nursery:
        left, heard = trio.Event(), trio.Event()

        async def listen(uri: str, until: trio.Event) -> None:
            async with c.listen(uris=[uri]) as events:
                await until.wait()
                if uri == "x:1" and until is heard:
                    assert await events.receive() == ResourceUpdated("x:1")

        nursery.start_soon(listen, "x:1", left)
        await trio.sleep(1)
        nursery.start_soon(listen, "slow:", left)  # the others wait for it
        await trio.sleep(1)
        nursery.start_soon(listen, "x:1", heard)
        await trio.sleep(1)
        left.set()
        await trio.sleep(20)
        assert [call.params["uri"] for call in server.all("resources/unsubscribe")] == ["slow:"]
        await send.send(notification(UPDATED, {"uri": "x:1"}))
        heard.set()
