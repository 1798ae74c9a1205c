"""MetricsMiddleware: what it counts, how exact it is, and that its memory is bounded."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.middleware import MetricsMiddleware, MiddlewareContext
from trio_mcp.testing import HANG, ScriptedServer

Clock = trio.testing.MockClock


def scripted(serve: Serve) -> ScriptedServer:
    server = serve()
    server.on["tools/call"] = lambda seen: {
        "bad": lambda: seen.result({"content": [], "isError": True}),
        "refused": lambda: seen.error(-32602),
        "broken": lambda: seen.reply(status=503),
        "hangs": lambda: seen.sse(HANG),
    }.get(seen.params["name"], lambda: seen.sse(2, seen.response({"content": []})))()
    server.on["tools/list"] = lambda seen: seen.result({"tools": []})
    return server


async def test_what_is_counted(serve: Serve, autojump_clock: Clock) -> None:
    metrics = MetricsMiddleware()
    async with scripted(serve).connect(middleware=[metrics]) as c:
        await c.list_tools()
        await c.call_tool("slow")
        await c.call_tool("bad")
        with pytest.raises(trio_mcp.MCPError):
            await c.call_tool("refused")
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.call_tool("broken")
        with trio.move_on_after(9):
            await c.call_tool("hangs")
    snapshot = metrics.snapshot()
    total = snapshot.total
    assert (total.begun, total.succeeded, total.failed, total.cancelled, total.in_flight) == (7, 4, 2, 1, 0)
    assert total.errors == {"MCPError": 1, "HTTPStatusError": 1}
    assert total.tool_errors == 1
    assert {name: each.begun for name, each in snapshot.methods.items()} == {
        "initialize": 1,
        "tools/list": 1,
        "tools/call": 5,
    }
    assert list(snapshot.tools) == ["slow", "bad", "refused", "broken", "hangs"]
    assert snapshot.tools["slow"].latency.most == 2
    assert snapshot.tools["hangs"].latency.p50 is None  # a cancelled call has no latency
    assert snapshot.tools["hangs"].latency.mean is None


async def test_what_is_in_flight_and_that_a_snapshot_is_a_copy(serve: Serve, autojump_clock: Clock) -> None:
    metrics = MetricsMiddleware()
    async with scripted(serve).connect(middleware=[metrics]) as c, trio.open_nursery() as nursery:
        before = metrics.snapshot()
        nursery.start_soon(c.call_tool, "a")
        nursery.start_soon(c.call_tool, "b")
        await trio.sleep(1)
        during = metrics.snapshot()
        assert (during.total.in_flight, during.tools["a"].in_flight) == (2, 1)
    assert metrics.snapshot().total.in_flight == 0
    assert during.total.in_flight == 2
    assert before.tools == {}
    with pytest.raises(TypeError):
        before.tools["a"] = during.total  # type: ignore[index]


def a_context(method: str = "ext/any", params: object = None) -> MiddlewareContext[Any]:
    return MiddlewareContext(id="1", method=method, params=params, connector=None, timestamp=0)  # type: ignore[arg-type]


async def after(metrics: MetricsMiddleware, seconds: list[float]) -> None:
    """Have requests counted that take so long."""
    for each in seconds:

        async def take(context: Any, each: float = each) -> None:
            await trio.sleep(each)

        await metrics.on_request(a_context(), take)


@pytest.mark.parametrize("shape", ["even", "skewed"])
async def test_percentiles_are_as_exact_as_is_said(autojump_clock: Clock, shape: str) -> None:
    rng = random.Random(1)
    seconds = [rng.uniform(0.01, 3) if shape == "even" else rng.lognormvariate(-2, 2) for _ in range(1000)]
    metrics = MetricsMiddleware()
    await after(metrics, seconds)
    latency = metrics.snapshot().total.latency
    ranked = sorted(seconds)
    assert latency.p50 == pytest.approx(ranked[499], rel=0.1)
    assert latency.p95 == pytest.approx(ranked[949], rel=0.1)
    assert latency.p99 == pytest.approx(ranked[989], rel=0.1)
    assert latency.mean == pytest.approx(sum(seconds) / 1000)
    assert latency.least == pytest.approx(ranked[0])
    assert latency.most == pytest.approx(ranked[-1])


async def test_percentiles_never_leave_what_was_seen(autojump_clock: Clock) -> None:
    for seconds in (1e-6, 1.0, 1e6):
        metrics = MetricsMiddleware()
        await after(metrics, [seconds])
        latency = metrics.snapshot().total.latency
        assert latency.least is not None
        assert latency.p50 is not None
        assert latency.most is not None
        assert latency.least <= latency.p50 <= latency.most


async def test_names_are_told_apart_up_to_a_bound(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.text("done")
    metrics = MetricsMiddleware(max_tools=2)
    async with server.connect(middleware=[metrics]) as c:
        for name in ("a", "b", "c", "d", "a"):
            await c.call_tool(name)
        for number in range(200):
            with pytest.raises(trio_mcp.MCPError):
                await c.request(f"ext/{number}", None, dict[str, Any])
    snapshot = metrics.snapshot()
    assert {name: each.begun for name, each in snapshot.tools.items()} == {"a": 2, "b": 1, "(other)": 2}
    assert len(snapshot.methods) == 101
    assert snapshot.methods["(other)"].failed == 102


async def test_classes_of_errors_are_bounded_too() -> None:
    metrics = MetricsMiddleware()
    for number in range(300):
        error = type(f"Error{number}", (Exception,), {})

        async def fail(context: Any, error: type[Exception] = error) -> None:
            raise error

        with pytest.raises(error):
            await metrics.on_request(a_context(), fail)
    errors = metrics.snapshot().total.errors
    assert len(errors) == 101
    assert errors["(other)"] == 200


@pytest.mark.parametrize("max_tools", [0, -1, 1.5, True, "5"])
def test_a_bound_that_is_none_is_a_configuration_error(max_tools: Any) -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match="max_tools"):
        MetricsMiddleware(max_tools)
