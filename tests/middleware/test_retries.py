"""RetryMiddleware: what is tried again, when, and what never is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.connector import Connector
from trio_mcp.features.extensions import Extension
from trio_mcp.middleware import MiddlewareContext, RetryMiddleware
from trio_mcp.testing import CUT, Call, Reply, ScriptedServer
from trio_mcp.testing.messages import event

Clock = trio.testing.MockClock
LEGACY = "2025-11-25"
Use = Callable[[Connector], Any]


def failing(
    serve: Serve, method: str, times: int, fail: Callable[[Call], Any], version: str = "2026-07-28"
) -> ScriptedServer:
    """A server that fails so many requests of `method`, and then answers."""
    server = serve(version)
    results: dict[str, Any] = {"tools/call": {"content": []}, "tools/list": {"tools": []}}

    def answer(seen: Call) -> Any:
        if len(server.all(method)) <= times:
            return fail(seen)
        return seen.result(results.get(method, {}))

    server.on[method] = answer
    return server


def exactly(**options: Any) -> RetryMiddleware:
    return RetryMiddleware(jitter=0, **options)


def call(c: Connector) -> Any:
    return c.call_tool("x")


def listing(c: Connector) -> Any:
    return c.list_tools()


def status(code: int, **headers: str) -> Callable[[Call], Reply]:
    return lambda seen: seen.reply(status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})


# What is tried again


@pytest.mark.parametrize(
    "fail",
    [
        *map(status, (408, 425, 429, 502, 503, 504)),
        lambda seen: seen.sse(": x\n\n", CUT),
        lambda seen: seen.sse(),
    ],
)
async def test_what_does_the_same_twice_is_tried_again_after_whatever_may_pass(
    serve: Serve, fail: Callable[[Call], Any], autojump_clock: Clock
) -> None:
    server = failing(serve, "tools/list", 2, fail)
    async with server.connect(middleware=[exactly()]) as c:
        await c.list_tools()
    times = [seen.time for seen in server.all("tools/list")]
    assert times == [0, 0.5, 1.5]


@pytest.mark.parametrize("code", [425, 429])
async def test_a_tool_call_is_tried_again_where_the_server_has_not_begun(
    serve: Serve, code: int, autojump_clock: Clock
) -> None:
    server = failing(serve, "tools/call", 1, status(code))
    async with server.connect(middleware=[exactly()]) as c:
        await c.call_tool("x")
    assert len(server.all("tools/call")) == 2


async def test_a_tool_call_is_tried_again_where_no_connection_could_be_made(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = failing(serve, "tools/call", 0, status(500))
    async with server.connect(middleware=[exactly(initial=10)]) as c, trio.open_nursery() as nursery:
        await trio.sleep(60)  # the connection of the handshake is idle no more
        server.link.refuse()
        nursery.start_soon(c.call_tool, "x")
        await trio.sleep(1)
        server.link.heal()
    assert [seen.time for seen in server.all("tools/call")] == [70]


@pytest.mark.parametrize(
    "fail",
    [
        *map(status, (408, 500, 502, 503, 504)),
        lambda seen: seen.sse(": x\n\n", CUT),
        lambda seen: seen.sse(),
    ],
)
async def test_a_tool_call_that_the_server_may_have_begun_is_never_tried_again(
    serve: Serve, fail: Callable[[Call], Any], autojump_clock: Clock
) -> None:
    server = failing(serve, "tools/call", 1, fail)
    async with server.connect(middleware=[exactly()]) as c:
        with pytest.raises(trio_mcp.TransportError):
            await c.call_tool("x")
    assert len(server.all("tools/call")) == 1


async def test_a_tool_that_you_know_may_be_called_twice_is(serve: Serve, autojump_clock: Clock) -> None:
    server = failing(serve, "tools/call", 1, status(503))
    async with server.connect(middleware=[exactly(repeatable_tools=["x"])]) as c:
        await c.call_tool("x")
        server.seen.clear()
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.call_tool("y")


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (lambda seen: seen.error(-32603), trio_mcp.MCPError),
        (lambda seen: seen.error(-32603, status=503), trio_mcp.MCPError),
        (status(500), trio_mcp.HTTPStatusError),
        (status(401), trio_mcp.AccessDenied),
        (lambda seen: seen.reply("hello", type="text/html"), trio_mcp.ProtocolError),
    ],
)
async def test_what_would_fail_again_is_not_tried_again(
    serve: Serve, fail: Callable[[Call], Any], error: type[Exception], autojump_clock: Clock
) -> None:
    server = failing(serve, "tools/list", 1, fail)
    async with server.connect(middleware=[exactly()]) as c:
        with pytest.raises(error) as caught:
            await c.list_tools()
    assert len(server.all("tools/list")) == 1
    assert not hasattr(caught.value, "__notes__")


async def test_an_extensions_request_is_not_known_to_do_the_same_twice(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = failing(serve, "ext/any", 1, status(503))
    async with server.connect(middleware=[exactly()]) as c:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.request("ext/any", None, dict[str, Any])


async def test_the_handshake_is_tried_again(serve: Serve, autojump_clock: Clock) -> None:
    server = serve()
    discover = server.on["server/discover"]
    server.on["server/discover"] = lambda seen: (
        discover(seen) if len(server.seen) > 1 else seen.reply(status=503)
    )
    async with server.connect(middleware=[exactly()]) as c:
        assert c.protocol_version == "2026-07-28"


async def test_a_handshake_that_never_succeeds_ends_with_its_deadline(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve()
    server.on["server/discover"] = status(503)
    with pytest.raises(trio_mcp.ConnectTimeout):
        async with server.connect(middleware=[exactly(attempts=1000)], connect_timeout=7):
            pass
    assert trio.current_time() == 7


# Calls that have begun


async def test_a_call_is_not_tried_again_once_a_round_of_it_was_answered(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve()

    def answer(seen: Call) -> Any:
        if "requestState" in seen.params:
            return seen.reply(status=429)
        return (
            seen.input_required({}, "half way")
            if False
            else seen.result({"resultType": "input_required", "requestState": "half way"})
        )

    server.on["tools/call"] = answer
    async with server.connect(middleware=[exactly()]) as c:
        with pytest.raises(trio_mcp.HTTPStatusError) as caught:
            await c.call_tool("x")
    assert caught.value.begun
    assert len(server.all("tools/call")) == 2


async def test_a_call_is_not_tried_again_once_an_extension_has_taken_it_up(
    serve: Serve, autojump_clock: Clock
) -> None:
    async def wait(context: Any, result: Any) -> Any:
        return await context.connector.request("jobs/get", {"id": result["id"]}, dict[str, Any])

    server = serve()
    server.on["tools/call"] = lambda seen: seen.result({"resultType": "job", "id": 1})
    server.on["jobs/get"] = status(429)
    extension = Extension(results={"job": wait})
    async with server.connect(middleware=[exactly()], extensions={"com.example/jobs": extension}) as c:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.call_tool("x")
    assert len(server.all("tools/call")) == 1
    assert len(server.all("jobs/get")) == 3  # which is a request of its own, and was refused unread


async def test_a_stream_that_cannot_be_resumed_is_no_failure_to_connect(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(LEGACY)

    server.on["tools/call"] = lambda seen: seen.sse(event("", id="1", retry=100), CUT)
    async with server.connect(middleware=[exactly()], protocol_version=LEGACY) as c:

        async def refuse() -> None:
            while not server.all("tools/call"):
                await trio.sleep(0.01)
            server.link.refuse()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with pytest.raises(trio_mcp.ConnectionLost, match="the answer's stream was lost") as caught:
                await c.call_tool("x")
        assert isinstance(caught.value.__cause__, trio_mcp.ConnectError)
        server.link.heal()
    assert len(server.all("tools/call")) == 1


async def test_calls_that_wait_for_one_session_have_notes_of_their_own(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(LEGACY)
    initialize = server.on["initialize"]
    server.on["initialize"] = lambda seen: (
        initialize(seen) if len(server.all("initialize")) == 1 else seen.reply(status=429)
    )
    server.on["tools/call"] = lambda seen: seen.reply(status=404)
    notes: list[list[str]] = []

    async def use(c: Connector) -> None:
        with pytest.raises(trio_mcp.HTTPStatusError) as caught:
            await c.call_tool("x")
        notes.append(caught.value.__notes__)

    async with server.connect(middleware=[exactly(attempts=2)], protocol_version=LEGACY) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, c)
            nursery.start_soon(use, c)
    assert notes == [["tried 2 times", "tried 2 times"]] * 2  # the handshake, and the call


# How often and when


async def waits(
    serve: Serve, middleware: RetryMiddleware, fail: Callable[[Call], Any] = status(503)
) -> list[float]:
    """The times between the tries of a request that always fails."""
    server = failing(serve, "tools/list", 1000, fail)
    async with server.connect(middleware=[middleware]) as c:
        with pytest.raises(trio_mcp.TransportError):
            await c.list_tools()
    times = [seen.time for seen in server.all("tools/list")]
    return [b - a for a, b in zip(times, times[1:], strict=False)]


async def test_the_waits_grow_up_to_a_maximum(serve: Serve, autojump_clock: Clock) -> None:
    middleware = exactly(attempts=6, initial=1, factor=3, maximum=20)
    assert await waits(serve, middleware) == pytest.approx([1, 3, 9, 20, 20])


async def test_a_part_of_each_wait_is_random_and_follows_from_the_generator(
    serve: Serve, autojump_clock: Clock
) -> None:
    middleware = RetryMiddleware(attempts=4, initial=1, factor=1, jitter=0.5, rng=random.Random(1))
    rng = random.Random(1)
    expected = [1 - 0.5 * rng.random() for _ in range(3)]
    assert await waits(serve, middleware) == pytest.approx(expected)


async def test_a_server_that_says_when_to_come_back_is_obeyed(serve: Serve, autojump_clock: Clock) -> None:
    assert await waits(serve, exactly(), status(429, retry_after="7")) == pytest.approx([7, 7])


async def test_our_own_wait_stands_if_the_server_asks_for_less(serve: Serve, autojump_clock: Clock) -> None:
    assert await waits(serve, exactly(initial=3), status(429, retry_after="1")) == pytest.approx([3, 6])


async def test_a_server_that_wants_too_long_a_wait_is_not_asked_again(
    serve: Serve, autojump_clock: Clock
) -> None:
    assert await waits(serve, exactly(longest_wait=60), status(429, retry_after="61")) == []


async def test_the_last_error_comes_out_and_says_how_often_it_was_tried(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = failing(
        serve, "tools/list", 1000, lambda seen: seen.reply(status=501 + len(server.all("tools/list")))
    )
    async with server.connect(middleware=[exactly()]) as c:
        with pytest.raises(trio_mcp.HTTPStatusError) as caught:
            await c.list_tools()
    assert caught.value.status_code == 504
    assert caught.value.__notes__ == ["tried 3 times"]


async def test_one_attempt_is_none_more(serve: Serve, autojump_clock: Clock) -> None:
    assert await waits(serve, exactly(attempts=1)) == []


async def test_the_callers_deadline_bounds_the_waits(serve: Serve, autojump_clock: Clock) -> None:
    server = failing(serve, "tools/list", 1000, status(503))
    async with server.connect(middleware=[exactly(attempts=100)]) as c:
        with trio.move_on_after(2) as scope:
            await c.list_tools()
        assert scope.cancelled_caught
        assert trio.current_time() == 2


async def test_an_error_that_is_not_ours_is_never_a_reason(autojump_clock: Clock) -> None:
    tries = 0

    async def fail(context: Any) -> None:
        nonlocal tries
        tries += 1
        raise OSError

    context: MiddlewareContext[Any] = MiddlewareContext(
        id="1",
        method="tools/list",
        params=types.PaginatedRequestParams(),
        connector=None,  # type: ignore[arg-type]
        timestamp=0,
    )
    with pytest.raises(OSError):  # noqa: PT011
        await RetryMiddleware().on_request(context, fail)
    assert tries == 1


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": 2.0},
        {"attempts": True},
        {"initial": -1},
        {"maximum": float("nan")},
        {"factor": 0.5},
        {"jitter": 2},
        {"longest_wait": -1},
        {"repeatable_tools": "add"},
    ],
)
def test_what_makes_no_sense_is_a_configuration_error(options: dict[str, Any]) -> None:
    with pytest.raises(trio_mcp.ConfigurationError):
        RetryMiddleware(**options)
