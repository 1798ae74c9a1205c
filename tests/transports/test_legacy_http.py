"""Streamable HTTP up to 2025-11-25: sessions, the GET stream, streams that break and are taken up again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import httpx2
import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import CUT, HANG, RESET, Call, Reply, ScriptedServer
from trio_mcp.testing.call import Piece
from trio_mcp.testing.messages import Json, event, notification, progress

VERSION = "2025-11-25"
DONE = {"content": [{"type": "text", "text": "done"}]}
CHANGED = notification("notifications/tools/list_changed")


def a_server(serve: Serve, version: str) -> ScriptedServer:
    server = serve(version)
    server.on["tools/call"] = lambda seen: seen.result(DONE)
    return server


@pytest.fixture
def server(serve: Serve) -> ScriptedServer:
    return a_server(serve, VERSION)


def hang(seen: Call) -> Any:
    return trio.sleep_forever()


def streams(server: ScriptedServer, *scripts: tuple[Piece, ...] | int) -> None:
    """Answer each GET by the next script: pieces of a stream, or a status; after the last one, 405."""
    left: Iterator[Any] = iter(scripts)

    async def reply(seen: Call) -> Reply:
        script = next(left, 405)
        if isinstance(script, int):
            return seen.reply(status=script)
        if RESET in script:
            # It would take with it what has not been read.
            await seen.send(*script[: script.index(RESET)])
            await trio.testing.wait_all_tasks_blocked()
            return seen.reply(RESET)
        return seen.sse(*script)

    server.on["GET"] = reply


# The session


async def test_the_session_id_and_version_go_with_every_request(server: ScriptedServer) -> None:
    async with server.connect() as c:
        await c.call_tool("x")
    for seen in server.seen[2:]:
        assert seen.headers["mcp-session-id"] == "session-1"
        assert seen.headers["mcp-protocol-version"] == VERSION


@pytest.mark.parametrize("session_id", ["with space", "bad\xe9", ""])
async def test_a_session_id_that_a_header_cannot_carry_is_not_sent_back(
    server: ScriptedServer, session_id: str
) -> None:
    server.session_id = session_id
    async with server.connect() as c:
        await c.call_tool("x")
    assert "mcp-session-id" not in server.seen[-1].headers


async def test_an_expired_session_is_opened_anew_once_for_all_calls_and_each_is_sent_again(
    server: ScriptedServer,
) -> None:
    def only_known(seen: Call) -> Reply:
        if seen.headers.get("mcp-session-id") != server.session_id:
            return seen.error(-32001, "Session not found", 404)
        return seen.result(DONE)

    server.on["tools/call"] = only_known
    async with server.connect() as c:
        await c.call_tool("x")
        server.session_id = "session-2"
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(c.call_tool, "x")
        assert c.statistics().reinitializations == 1
        assert c.statistics().requests_failed == 0
    assert len(server.all("initialize")) == 2
    assert "mcp-session-id" not in server.all("initialize")[1].headers
    ids = [seen.id for seen in server.seen if seen.message is not None and "id" in seen.message]
    assert len(set(ids)) == len(ids)
    assert server.all("DELETE")[0].headers["mcp-session-id"] == "session-2"


async def test_a_session_that_expires_again_at_once_is_an_error_and_not_a_loop(
    server: ScriptedServer,
) -> None:
    server.on["tools/call"] = lambda seen: seen.reply(status=404)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.SessionExpired):
            await c.call_tool("x")
        assert len(server.all("tools/call")) == 2


async def test_a_session_that_cannot_be_opened_anew_fails_the_calls_and_the_next_call_tries_again(
    server: ScriptedServer,
) -> None:
    initialize = server.on["initialize"]
    async with server.connect() as c:
        server.on["tools/call"] = lambda seen: seen.reply(status=404)
        server.on["initialize"] = lambda seen: seen.reply(status=503)
        with pytest.raises(trio_mcp.HTTPStatusError, match="a new one was refused: HTTP 503") as caught:
            await c.call_tool("x")
        assert caught.value.status_code == 503
        server.on["initialize"] = lambda seen: seen.reply(status=401)
        with pytest.raises(trio_mcp.AccessDenied):
            await c.notify("notifications/x")
        server.on["initialize"] = initialize
        server.on["tools/call"] = lambda seen: seen.result(DONE)
        await c.call_tool("x")


async def test_a_caller_cancelled_while_the_session_is_opened_anew_disturbs_no_other(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    initialize = server.on["initialize"]

    async def slow_initialize(seen: Call) -> Reply:
        await trio.sleep(2)
        reply = initialize(seen)
        assert isinstance(reply, Reply)
        server.on["tools/call"] = lambda seen: seen.result(DONE)
        return reply

    async with server.connect() as c, trio.open_nursery() as nursery:
        server.on["tools/call"] = lambda seen: seen.reply(status=404)
        server.on["initialize"] = slow_initialize

        async def impatient() -> None:
            with trio.move_on_after(1) as scope:
                await c.call_tool("x")
            assert scope.cancelled_caught
            assert trio.current_time() == pytest.approx(1)

        nursery.start_soon(impatient)
        nursery.start_soon(c.call_tool, "x")
        await trio.sleep(1.5)
        await c.call_tool("x")  # begun while the session is being opened: waits for it
    assert len(server.all("initialize")) == 2
    assert "notifications/cancelled" not in server.methods()


async def test_what_the_server_was_to_remember_is_told_to_the_new_session(server: ScriptedServer) -> None:
    for method in ("logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
        server.on[method] = lambda seen: seen.result({})
    async with server.connect() as c:
        await c.set_logging_level("debug")
        await c.set_logging_level("error")
        await c.subscribe_resource("x://a")
        await c.subscribe_resource("x://b")
        await c.unsubscribe_resource("x://b")
        server.on["tools/call"] = lambda seen: (
            seen.result(DONE) if len(server.all("initialize")) == 2 else seen.reply(status=404)
        )
        server.on["resources/unsubscribe"] = lambda seen: seen.error(-32602, "not subscribed")
        begun = len(server.seen)
        await c.call_tool("x")
    told = [(seen.message["method"], seen.params) for seen in server.seen[begun:] if seen.message is not None]
    assert ("logging/setLevel", {"level": "error"}) in told
    assert ("resources/subscribe", {"uri": "x://a"}) in told
    assert ("resources/subscribe", {"uri": "x://b"}) not in told
    assert told[-1][0] == "tools/call"


async def test_what_the_new_session_refuses_to_remember_is_no_reason_to_refuse_it(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["resources/subscribe"] = lambda seen: (
        seen.result({}) if seen.headers["mcp-session-id"] == "session-1" else seen.reply(status=500)
    )
    async with server.connect(max_connections=1) as c, trio.open_nursery() as nursery:
        await c.subscribe_resource("x://a")
        server.on["tools/call"] = hang
        nursery.start_soon(c.call_tool, "long")  # it has the only place: the renewal must not wait for it
        await trio.testing.wait_all_tasks_blocked()
        server.session_id = "session-2"
        server.on["notifications/x"] = lambda seen: seen.reply(
            status=202 if seen.headers["mcp-session-id"] == "session-2" else 404
        )
        await c.notify("notifications/x")
        await c.notify("notifications/x")
        assert c.statistics().reinitializations == 1
        assert len(server.all("resources/subscribe")) == 2
        assert "refused resources/subscribe" in caplog.text
        assert trio.current_time() == 0
        nursery.cancel_scope.cancel()


async def test_a_subscription_that_is_answered_while_a_session_is_renewed_does_no_harm(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slowly(seen: Call) -> Reply:
        await trio.sleep(1)
        return seen.result({})

    server.on["resources/subscribe"] = slowly
    server.on["tools/call"] = lambda seen: (
        seen.result(DONE) if len(server.all("initialize")) == 2 else seen.reply(status=404)
    )
    async with server.connect() as c, trio.open_nursery() as nursery:
        await c.subscribe_resource("x://a")
        nursery.start_soon(c.subscribe_resource, "x://b")
        await trio.sleep(0.5)
        await c.call_tool("x")
        assert c.statistics().reinitializations == 1


async def test_a_notification_too_opens_an_expired_session_anew(server: ScriptedServer) -> None:
    server.on["notifications/x"] = lambda seen: seen.reply(
        status=202 if seen.headers["mcp-session-id"] == "session-2" else 404
    )
    async with server.connect() as c:
        server.session_id = "session-2"
        await c.notify("notifications/x")
        assert c.statistics().reinitializations == 1


async def test_calls_that_queue_get_the_session_of_the_moment(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def slowly(seen: Call) -> Reply:
        await trio.sleep(1)
        known = seen.headers["mcp-session-id"] == server.session_id
        return seen.result(DONE) if known else seen.reply(status=404)

    server.on["tools/call"] = slowly
    async with server.connect(max_connections=2) as c, trio.open_nursery() as nursery:
        server.session_id = "session-2"
        for _ in range(10):
            nursery.start_soon(c.call_tool, "x")
    assert len(server.all("tools/call")) <= 12 + 2


# Cancelling


async def test_a_cancelled_call_returns_at_once_and_the_server_is_told(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server.on["tools/call"] = hang
    server.on["notifications/cancelled"] = hang  # and nobody waits for the answer to that
    async with server.connect() as c:
        with trio.move_on_after(0.5):
            await c.call_tool("x")
        assert trio.current_time() == pytest.approx(0.5)
        server.on["tools/call"] = lambda seen: seen.result(DONE)
        await c.call_tool("x")
        await trio.testing.wait_all_tasks_blocked()  # the notice goes its own way
        assert trio.current_time() == pytest.approx(0.5)
        (told,) = server.all("notifications/cancelled")
        assert told.params["requestId"] == server.all("tools/call")[0].id
        await trio.sleep(10)
        assert c.statistics().undelivered == 1


class _Flow(httpx2.Auth):
    """An auth flow, which takes another way to the same connections."""


@pytest.mark.parametrize("auth", [None, _Flow()], ids=["direct", "auth flow"])
async def test_of_a_call_that_was_cancelled_before_it_was_sent_the_server_is_told_nothing(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock, auth: httpx2.Auth | None
) -> None:
    """2511/basic/utilities/cancellation: a notice is for a request "previously issued"."""
    server.on["tools/call"] = hang
    async with server.connect(auth=auth) as c:
        await trio.sleep(10)  # so that another connection is needed
        server.link.hang()
        with trio.move_on_after(1):
            await c.call_tool("never sent")
        server.link.heal()
        with trio.move_on_after(1):
            await c.call_tool("sent")
        await trio.sleep(1)
    (sent,) = server.all("tools/call")
    assert [told.params["requestId"] for told in server.all("notifications/cancelled")] == [sent.id]


async def test_a_cancelled_block_still_tells_the_server(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    server.on["tools/call"] = hang
    with trio.move_on_after(1):
        async with server.connect() as c:
            await c.call_tool("x")
    assert server.methods()[-2:] == ["notifications/cancelled", "DELETE"]


# The GET stream


async def test_the_get_stream_brings_notifications(server: ScriptedServer) -> None:
    streams(server, (CHANGED, HANG))
    seen: list[Any] = []
    done = trio.Event()

    async def handle(message: Any) -> None:
        seen.append(type(message))
        done.set()

    async with server.connect(message_handler=handle):
        await done.wait()
    assert seen == [types.ToolListChangedNotification]
    (get,) = server.all("GET")
    assert get.headers["accept"] == "text/event-stream"
    assert get.headers["mcp-session-id"] == "session-1"


@pytest.mark.parametrize("status", [400, 401, 404, 405])
async def test_a_server_without_a_get_stream_is_left_in_peace(
    server: ScriptedServer, status: int, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[status] * 99)
    async with server.connect() as c:
        await trio.sleep(1000)
        await c.call_tool("x")
    assert len(server.all("GET")) == 1


@pytest.mark.parametrize("script", [503, 429, (), (RESET,), (CUT,), ("data: {\n\n",)])
async def test_a_get_stream_that_fails_is_opened_again_ever_more_slowly_and_then_no_more(
    server: ScriptedServer, script: Any, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[script] * 99)
    async with server.connect(rng=random.Random(1)) as c:
        await trio.sleep(1000)
        await c.call_tool("x")
        assert c.statistics().stream_reconnects == 6
    times = [seen.time for seen in server.all("GET")]
    waits = [b - a for a, b in zip(times, times[1:], strict=False)]
    for wait, base in zip(waits, [1, 1, 2, 4, 8, 16], strict=True):
        assert base <= wait <= base * 1.25


async def test_a_get_stream_that_breaks_is_resumed_where_it_was_after_the_time_the_server_asks_for(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams(
        server,
        (event(CHANGED, id="a", retry=3000),),
        (event(CHANGED, id="b"), RESET),
        (event(CHANGED, id="bad\x01id"),),
        (HANG,),
    )
    async with server.connect() as c:
        await trio.sleep(20)
        assert c.statistics().notifications == 3
    gets = server.all("GET")
    assert [get.headers.get("last-event-id") for get in gets] == [None, "a", "b", None]
    assert [get.time for get in gets] == pytest.approx([0, 3, 6, 9])


async def test_a_retry_of_zero_is_no_licence_to_flood(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, *[(event("", id=str(n), retry=0),) for n in range(999)])
    async with server.connect():
        await trio.sleep(3)
    assert len(server.all("GET")) <= 31


async def test_a_server_that_closes_at_once_with_a_new_place_each_time_is_asked_ever_more_slowly(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams(server, *[(event("", id=str(n), retry=0),) for n in range(999)])
    async with server.connect():
        await trio.sleep(60)
    assert len(server.all("GET")) <= 25


async def test_a_get_stream_that_lasts_is_opened_again_for_ever(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams(server, *[(20,)] * 99)
    async with server.connect():
        await trio.sleep(1000)
    assert len(server.all("GET")) > 40


async def test_answers_on_the_get_stream_are_counted_and_dropped(server: ScriptedServer) -> None:
    answer = {"jsonrpc": "2.0", "id": 77, "result": {}}
    streams(server, (answer, CHANGED, HANG))
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        assert c.statistics().unknown_messages == 1
        assert c.statistics().notifications == 1


async def test_a_get_stream_follows_the_new_session(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, (HANG,), (HANG,))
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        server.on["tools/call"] = lambda seen: (
            seen.result(DONE) if seen.headers["mcp-session-id"] == "session-2" else seen.reply(status=404)
        )
        server.session_id = "session-2"
        await c.call_tool("x")
        await trio.testing.wait_all_tasks_blocked()
    old, new = server.all("GET")
    assert old.closed.is_set()
    assert new.headers["mcp-session-id"] == "session-2"


async def test_the_first_call_does_not_overtake_the_get_stream(server: ScriptedServer) -> None:
    async def slowly(seen: Call) -> Reply:
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        server.on["tools/call"] = lambda seen: seen.result(DONE)
        return seen.sse(HANG)

    server.on["tools/call"] = lambda seen: seen.reply(status=500)
    server.on["GET"] = slowly
    async with server.connect() as c:
        await c.call_tool("x")


async def test_a_get_stream_whose_headers_are_held_back_delays_the_block_by_a_moment_only(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server.on["GET"] = hang
    async with server.connect() as c:
        assert trio.current_time() == pytest.approx(0.5)
        await c.call_tool("x")


# Streams that carry an answer


async def test_an_answers_stream_that_breaks_is_resumed_by_get_and_nothing_is_sent_twice(
    server: ScriptedServer,
    autojump_clock: trio.testing.MockClock,
) -> None:
    streams(server, 405, (RESET,), (event(progress(4, 2), id="c"),), ())
    reports: list[float] = []

    async def report(value: float, total: float | None, message: str | None) -> None:
        reports.append(value)

    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        server.on["tools/call"] = lambda seen: seen.sse(
            event("", id="a", retry=500), event(seen.progress(1), id="b")
        )
        get = server.on["GET"]
        server.on["GET"] = lambda seen: (
            get(seen)
            if len(server.all("GET")) < 5
            else seen.sse(
                event({"jsonrpc": "2.0", "id": server.all("tools/call")[0].id, "result": DONE}, id="d")
            )
        )
        await c.call_tool("x", progress_callback=report)
        assert c.statistics().stream_reconnects == 4
    assert reports == [1]
    gets = server.all("GET")[1:]
    assert [get.headers["last-event-id"] for get in gets] == ["b", "b", "c", "c"]
    assert len(server.all("tools/call")) == 1
    assert gets[0].time == pytest.approx(0.5)  # `retry`, to the millisecond


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_stream_that_the_server_does_not_resume_is_a_lost_connection(
    server: ScriptedServer, status: int, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, 405, status)
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="a"))
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio_mcp.ConnectionLost, match=f"not be resumed: HTTP {status}") as caught:
            await c.call_tool("x")
        assert isinstance(caught.value.__cause__, trio_mcp.HTTPStatusError)
    assert len(server.all("tools/call")) == 1  # the server has seen it: it is not sent again
    assert len(server.all("initialize")) == 1


async def test_a_denied_resumption_says_so(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, 405, 401)
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="a"))
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio_mcp.AccessDenied):
            await c.call_tool("x")


async def test_resuming_in_vain_ends_after_a_bound(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, 405, *[503] * 99)
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="a"))
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio_mcp.ConnectionLost):
            await c.call_tool("x")
    assert len(server.all("GET")) == 1 + 6


async def test_a_server_that_polls_may_take_its_time(
    server: ScriptedServer, autojump_clock: trio.testing.MockClock
) -> None:
    streams(server, 405, *[(event("", id=str(n)),) for n in range(50)])
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="a", retry=60_000))
    get = server.on["GET"]
    server.on["GET"] = lambda seen: (
        get(seen)
        if len(server.all("GET")) < 40
        else seen.sse({"jsonrpc": "2.0", "id": server.all("tools/call")[0].id, "result": DONE})
    )
    async with server.connect() as c:
        await trio.testing.wait_all_tasks_blocked()
        await c.call_tool("x")
    assert trio.current_time() > 2000


# Batches


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
async def test_batches_are_taken_where_the_version_has_them(
    serve: Serve, version: str, streaming: bool
) -> None:
    server = a_server(serve, version)

    def batch(seen: Call) -> Reply:
        messages: Any = [CHANGED, seen.response(DONE), CHANGED]
        return seen.sse(event(messages)) if streaming else seen.json(messages)

    server.on["tools/call"] = batch
    async with server.connect() as c:
        if version == "2025-03-26":
            await c.call_tool("x")
            assert c.statistics().notifications == (1 if streaming else 2)
        else:
            with pytest.raises(trio_mcp.ProtocolError):
                await c.call_tool("x")


async def test_a_request_of_the_server_on_a_calls_stream_is_answered_while_the_call_goes_on(
    server: ScriptedServer,
) -> None:
    async def ask(seen: Call) -> Json:
        answer = await seen.ask("ping")
        assert answer == {"jsonrpc": "2.0", "id": "ask-1", "result": {}}
        return DONE

    server.on["tools/call"] = ask
    async with server.connect() as c:
        with trio.fail_after(5):
            await c.call_tool("x")
        assert c.statistics().server_requests == 1
    (answer,) = server.all("answer")
    assert answer.headers["mcp-session-id"] == "session-1"
