"""Middleware against the official SDK, in both eras."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider

from trio_mcp.middleware import MetricsMiddleware, Middleware, TracingMiddleware

from .children import StartServer, connected

pytestmark = [
    pytest.mark.real,
    pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", "2026-07-28"]),
]


class Changing(Middleware):
    async def on_call_tool(self, context: Any, call_next: Any) -> Any:
        context.headers["x-tenant"] = "blue"
        if context.params.name == "add":
            context.params.arguments["b"] = 40
        return await call_next(context)

    async def on_server_request(self, context: Any, call_next: Any) -> Any:
        assert context.method == "elicitation/create"
        return types.ElicitResult(action="accept", content={"name": context.params.message})


async def never(context: Any, params: Any) -> types.ElicitResult:
    raise AssertionError("the hook has answered")


async def test_hooks_change_calls_and_answer_questions(shared_server: StartServer, version: str) -> None:
    metrics = MetricsMiddleware()
    async with connected(
        shared_server().url,
        protocol_version=version,
        middleware=[metrics, Changing()],
        elicitation_callback=never,
    ) as c:
        assert (await c.call_tool("add", {"a": 2})).structured_content == {"result": 42}
        headers = (await c.call_tool("headers")).structured_content
        assert (await c.call_tool("ask")).structured_content == {"result": "who?, please"}
    assert isinstance(headers, dict)
    assert headers["x-tenant"] == "blue"
    counted = metrics.snapshot()
    assert (counted.total.begun, counted.total.failed, counted.total.in_flight) == (4, 0, 0)
    assert list(counted.tools) == ["add", "headers", "ask"]


async def test_the_server_gets_the_context_of_the_calls_span(
    shared_server: StartServer, version: str
) -> None:
    tracing = TracingMiddleware(TracerProvider())
    seen: list[trace.SpanContext] = []

    async def look(context: Any, call_next: Any) -> Any:
        seen.append(trace.get_current_span().get_span_context())
        return await call_next(context)

    async with connected(shared_server().url, protocol_version=version, middleware=[tracing, look]) as c:
        token = context.attach(baggage.set_baggage("user", "ada"))
        sent = (await c.call_tool("trace_context")).structured_content
        context.detach(token)
    assert isinstance(sent, dict)
    assert sent["traceparent"].startswith(f"00-{seen[-1].trace_id:032x}-{seen[-1].span_id:016x}-")
    assert sent["baggage"] == "user=ada"
