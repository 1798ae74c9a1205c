"""RateLimitMiddleware and ConcurrencyLimitMiddleware: how many, in which order, and who does not wait."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.connector import Connector
from trio_mcp.middleware import ConcurrencyLimitMiddleware, Middleware, MiddlewareContext, RateLimitMiddleware
from trio_mcp.testing import ScriptedServer

Clock = trio.testing.MockClock
LEGACY = "2025-11-25"
FORM = {"message": "who?", "requestedSchema": {"type": "object"}}


def answering(serve: Serve, seconds: float = 0, **options: Any) -> ScriptedServer:
    server = serve(**options)
    server.on["tools/call"] = lambda seen: seen.sse(seconds, seen.response({"content": []}))
    return server


async def calls_in_order(c: Connector, names: str, nursery: trio.Nursery) -> None:
    """Start one call for each letter; each stands in its queue before the next one comes."""
    for name in names:
        nursery.start_soon(c.call_tool, name)
        await trio.testing.wait_all_tasks_blocked()


def begun(server: ScriptedServer) -> list[tuple[str, float]]:
    return [(seen.params["name"], round(seen.time, 6)) for seen in server.all("tools/call")]


# So many per second


async def test_requests_begin_at_the_rate_and_in_the_order_in_which_they_came(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = answering(serve)
    async with server.connect(middleware=[RateLimitMiddleware(2)]) as c, trio.open_nursery() as nursery:
        await calls_in_order(c, "abcd", nursery)
    assert begun(server) == [("a", 0), ("b", 0.5), ("c", 1), ("d", 1.5)]


async def test_after_a_rest_a_burst_may_begin_at_once(serve: Serve, autojump_clock: Clock) -> None:
    server = answering(serve)
    async with server.connect(middleware=[RateLimitMiddleware(2, burst=3)]) as c:
        for names in ("abcd", "efgh"):
            async with trio.open_nursery() as nursery:
                await calls_in_order(c, names, nursery)
            await trio.sleep(3600)
    assert begun(server)[:4] == [("a", 0), ("b", 0), ("c", 0), ("d", 0.5)]
    assert [time for _, time in begun(server)[4:]] == [3600.5, 3600.5, 3600.5, 3601]


async def test_the_place_of_who_is_cancelled_goes_to_the_next(serve: Serve, autojump_clock: Clock) -> None:
    server = answering(serve)
    async with server.connect(middleware=[RateLimitMiddleware(1)]) as c, trio.open_nursery() as nursery:
        scopes = {name: trio.CancelScope() for name in "abcd"}

        async def cancellable(name: str) -> None:
            with scopes[name]:
                await c.call_tool(name)

        for name in scopes:
            nursery.start_soon(cancellable, name)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(0.25)
        scopes["b"].cancel()  # which sleeps until its token comes
        scopes["c"].cancel()  # which stands behind it
    assert begun(server) == [("a", 0), ("d", 1)]


async def test_connectors_that_share_a_limit_share_its_tokens(serve: Serve, autojump_clock: Clock) -> None:
    limit = RateLimitMiddleware(1)
    one, two = answering(serve, url="http://one.test/mcp"), answering(serve, url="http://two.test/mcp")
    async with one.connect(middleware=[limit]) as a, two.connect(middleware=[limit]) as b:
        await a.call_tool("x")
        await b.call_tool("x")
    assert (begun(one), begun(two)) == ([("x", 0)], [("x", 1)])


async def test_a_session_is_opened_anew_without_waiting_behind_those_that_wait_for_it(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: (
        seen.text("done") if len(server.all("initialize")) == 2 else seen.reply(status=404)
    )
    limit = RateLimitMiddleware(0.01)
    async with server.connect(middleware=[limit], protocol_version=LEGACY) as c:
        await c.call_tool("x")
        assert trio.current_time() < 1


def test_an_instance_outlives_a_clock() -> None:
    limit = RateLimitMiddleware(1)

    async def ask(seconds: float) -> float:
        await trio.sleep(seconds)
        for _ in range(2):
            await limit.on_request(a_context(), _nothing)
        return trio.current_time() - seconds

    for seconds in (1000, 0, 500):
        took = trio.run(ask, seconds, clock=trio.testing.MockClock(autojump_threshold=0))
        assert took <= 2


def a_context(method: str = "ext/any") -> MiddlewareContext[Any]:
    return MiddlewareContext(id="1", method=method, params=None, connector=None, timestamp=0)  # type: ignore[arg-type]


async def _nothing(context: Any) -> None:
    pass


@pytest.mark.parametrize(
    "arguments", [(0,), (-1,), (float("inf"),), (float("nan"),), (True,), ("1",), (1, 0), (1, 1.5), (1, True)]
)
def test_a_rate_that_is_none_is_a_configuration_error(arguments: Any) -> None:
    with pytest.raises(trio_mcp.ConfigurationError):
        RateLimitMiddleware(*arguments)


# So many at a time


async def test_so_many_are_under_way_and_the_others_queue_in_order(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = answering(serve, 1)
    async with (
        server.connect(middleware=[ConcurrencyLimitMiddleware(2)]) as c,
        trio.open_nursery() as nursery,
    ):
        await calls_in_order(c, "abcde", nursery)
    assert [time for _, time in begun(server)] == [0, 0, 1, 1, 2]
    assert {name for name, _ in begun(server)[:2]} == {"a", "b"}
    assert begun(server)[4][0] == "e"


async def test_a_limit_per_tool_leaves_everything_else_alone(serve: Serve, autojump_clock: Clock) -> None:
    server = answering(serve, 1)
    server.on["tools/list"] = lambda seen: seen.sse(1, seen.response({"tools": []}))
    limit = ConcurrencyLimitMiddleware(1, per="tool")
    async with server.connect(middleware=[limit], cache=False) as c, trio.open_nursery() as nursery:
        await calls_in_order(c, "aabb", nursery)
        nursery.start_soon(c.list_tools)
        nursery.start_soon(c.list_tools)
    assert sorted(begun(server)) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [seen.time for seen in server.all("tools/list")] == [0, 0]


async def test_a_limit_per_method(serve: Serve, autojump_clock: Clock) -> None:
    server = answering(serve, 1)
    server.on["tools/list"] = lambda seen: seen.sse(1, seen.response({"tools": []}))
    limit = ConcurrencyLimitMiddleware(1, per="method")
    async with server.connect(middleware=[limit], cache=False) as c, trio.open_nursery() as nursery:
        await calls_in_order(c, "ab", nursery)
        nursery.start_soon(c.list_tools)
    assert begun(server) == [("a", 0), ("b", 1)]
    assert [seen.time for seen in server.all("tools/list")] == [0]


async def test_who_is_cancelled_gives_its_place_up_whether_it_holds_it_or_waits(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = answering(serve, 100)
    limit = ConcurrencyLimitMiddleware(1)
    async with server.connect(middleware=[limit]) as c, trio.open_nursery() as nursery:
        scopes = {name: trio.CancelScope() for name in "abc"}

        async def cancellable(name: str) -> None:
            with scopes[name]:
                await c.call_tool(name)

        for name in scopes:
            nursery.start_soon(cancellable, name)
            await trio.testing.wait_all_tasks_blocked()
        scopes["b"].cancel()
        await trio.sleep(1)
        scopes["a"].cancel()
    assert begun(server) == [("a", 0), ("c", 1)]


async def test_names_that_are_not_in_use_are_forgotten(serve: Serve, autojump_clock: Clock) -> None:
    limit = ConcurrencyLimitMiddleware(1, per="tool")
    async with answering(serve).connect(middleware=[limit]) as c:
        for number in range(20):
            await c.call_tool(f"tool {number}")
    assert limit._queues == {}


async def accept(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
    await context.session.call_tool("inner")
    return types.ElicitResult(action="decline")


def asking(serve: Serve, version: str) -> ScriptedServer:
    """A server that asks in each call of "x"."""
    server = serve(version)

    async def legacy(call: Any) -> Any:
        if call.params["name"] == "x":
            await call.ask("elicitation/create", FORM)
        return call.text("done")

    def modern(call: Any) -> Any:
        if call.params["name"] == "x" and "inputResponses" not in call.params:
            return call.input_required({"q": {"method": "elicitation/create", "params": FORM}})
        return call.text("done")

    server.on["tools/call"] = legacy if version == LEGACY else modern
    return server


@pytest.mark.parametrize("version", [LEGACY, "2026-07-28"])
async def test_what_a_callback_calls_does_not_wait_for_the_call_it_belongs_to(
    serve: Serve, version: str, autojump_clock: Clock
) -> None:
    server = asking(serve, version)
    limit = ConcurrencyLimitMiddleware(1)
    with trio.fail_after(10):
        async with server.connect(middleware=[limit], elicitation_callback=accept) as c:
            await c.call_tool("x")


async def test_nor_where_the_server_asks_beside_the_call(serve: Serve, autojump_clock: Clock) -> None:
    server = serve(LEGACY)
    server.listen()

    async def answer(call: Any) -> Any:
        if call.params["name"] == "x":
            await server.ask("elicitation/create", FORM)  # over the GET stream, whose task holds no place
        return call.text("done")

    server.on["tools/call"] = answer
    limit = ConcurrencyLimitMiddleware(1)
    with trio.fail_after(10):
        async with server.connect(middleware=[limit], elicitation_callback=accept) as c:
            await c.call_tool("x")


async def test_what_a_hook_or_a_progress_callback_calls_does_not_wait_either(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(
        *([seen.progress(1)] if seen.progress_token else []), 1, seen.response({"content": []})
    )

    class Twice(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            if context.params.name == "x":
                await context.connector.call_tool("from the hook")
            return await call_next(context)

    async def report(progress: float, total: float | None, message: str | None) -> None:
        await c.call_tool("from the callback")

    with trio.fail_after(10):
        async with server.connect(middleware=[ConcurrencyLimitMiddleware(1), Twice()]) as c:
            await c.call_tool("x", progress_callback=report)
    assert [name for name, _ in begun(server)] == ["from the hook", "x", "from the callback"]


async def test_a_task_that_outlives_the_call_that_started_it_queues_like_any(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = answering(serve, 1)

    class Leaving(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            if context.params.name == "x":
                nursery.start_soon(later, context.connector)
            return await call_next(context)

    async def later(connector: Any) -> None:
        await trio.sleep(2)
        for name in "ab":
            nursery.start_soon(connector.call_tool, name)

    limit = ConcurrencyLimitMiddleware(1)
    async with server.connect(middleware=[limit, Leaving()]) as c, trio.open_nursery() as nursery:
        await c.call_tool("x")
    assert sorted(time for _, time in begun(server)) == [0, 2, 3]


async def test_a_place_in_one_limit_is_none_in_another(serve: Serve, autojump_clock: Clock) -> None:
    server = answering(serve, 1)

    def limits() -> list[Middleware]:
        return [ConcurrencyLimitMiddleware(3), ConcurrencyLimitMiddleware(1)]

    async with server.connect(middleware=limits()) as c, trio.open_nursery() as nursery:
        await calls_in_order(c, "ab", nursery)
    assert begun(server) == [("a", 0), ("b", 1)]


async def test_a_renewal_does_not_wait_for_the_calls_that_wait_for_it(
    serve: Serve, autojump_clock: Clock
) -> None:
    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: (
        seen.text("done") if len(server.all("initialize")) == 2 else seen.reply(status=404)
    )
    limit = ConcurrencyLimitMiddleware(1)
    with trio.fail_after(10):
        async with server.connect(middleware=[limit], protocol_version=LEGACY) as c:
            await c.call_tool("x")


@pytest.mark.parametrize(
    "arguments", [{"limit": 0}, {"limit": 1.5}, {"limit": True}, {"limit": 1, "per": "x"}]
)
def test_a_limit_that_is_none_is_a_configuration_error(arguments: Any) -> None:
    with pytest.raises(trio_mcp.ConfigurationError):
        ConcurrencyLimitMiddleware(**arguments)
