"""Tracing: which spans there are, what they tell, and what is sent along."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import trio_mcp
from tests.conftest import Serve
from trio_mcp.middleware import RetryMiddleware, TracingMiddleware
from trio_mcp.testing import HANG, Call, ScriptedServer

LEGACY = "2025-11-25"
FORM = {"message": "who?", "requestedSchema": {"type": "object"}}
REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self, name: str = "") -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name.startswith(name)]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.all(name)
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def configured(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program has configured the SDK; OpenTelemetry's own setter works only once in a process."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)


def traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def scripted(serve: Serve, version: str = "2026-07-28", **options: Any) -> ScriptedServer:
    server = serve(version, **options)
    server.on["tools/call"] = lambda seen: seen.text("done")
    return server


SERVER = {
    "server.address": "server.test",
    "server.port": 80,
    "network.transport": "tcp",
    "network.protocol.name": "http",
    "mcp.protocol.version": "2026-07-28",
}


# Spans of requests


@pytest.mark.usefixtures("configured")
async def test_a_call_is_a_span_whose_context_is_sent(serve: Serve, spans: Spans) -> None:
    server = scripted(serve)
    async with server.connect() as c:
        await c.call_tool("add", {"secret": "secret"})
    span = spans.one("tools/call")
    assert span.name == "tools/call add"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "add",
        "gen_ai.operation.name": "execute_tool",
        **SERVER,
    }
    meta = server.seen[1].params["_meta"]
    assert meta["traceparent"] == traceparent(span)
    assert "io.modelcontextprotocol/protocolVersion" in meta
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == (
        "trio_mcp",
        trio_mcp.__version__,
    )


@pytest.mark.usefixtures("configured")
async def test_spans_stand_within_what_the_program_is_doing_and_baggage_goes_along(
    serve: Serve, spans: Spans
) -> None:
    server = scripted(serve)
    tracer = spans.provider.get_tracer("test")
    async with server.connect() as c:
        token = context.attach(baggage.set_baggage("user", "ada"))
        with tracer.start_as_current_span("mine") as mine:
            await c.call_tool("add")
        context.detach(token)
    span = spans.one("tools/call")
    assert span.parent == mine.get_span_context()
    assert server.seen[1].params["_meta"]["baggage"] == "user=ada"


@pytest.mark.usefixtures("configured")
async def test_prompts_are_named_and_resources_are_not(serve: Serve, spans: Spans) -> None:
    server = scripted(serve)
    server.on["prompts/get"] = lambda seen: seen.result({"messages": []})
    server.on["resources/read"] = lambda seen: seen.result({"contents": []})
    server.on["tools/list"] = lambda seen: seen.result({"tools": []})
    async with server.connect() as c:
        await c.get_prompt("p")
        await c.read_resource("x://y")
        await c.list_tools()
    assert [span.name for span in spans.all()[1:]] == ["prompts/get p", "resources/read", "tools/list"]
    prompt, resource, listing = (attributes(span) for span in spans.all()[1:])
    assert prompt["gen_ai.prompt.name"] == "p"
    assert resource["mcp.resource.uri"] == "x://y"
    assert listing == {"mcp.method.name": "tools/list", **SERVER}
    assert "gen_ai.operation.name" not in prompt


@pytest.mark.usefixtures("configured")
async def test_a_subscription_names_its_resource(serve: Serve, spans: Spans) -> None:
    server = scripted(serve, LEGACY)
    server.on["resources/subscribe"] = lambda seen: seen.result({})
    async with server.connect() as c:
        await c.subscribe_resource("x://y")
    assert attributes(spans.one("resources/subscribe"))["mcp.resource.uri"] == "x://y"


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(("version", "name"), [(LEGACY, "initialize"), ("2026-07-28", "server/discover")])
async def test_the_handshake_is_a_span_of_the_name_that_it_turned_out_to_have(
    serve: Serve, spans: Spans, version: str, name: str
) -> None:
    server = serve(version)
    async with server.connect():
        pass
    (span,) = spans.all()
    assert span.name == name
    assert attributes(span) == {"mcp.method.name": name, **SERVER, "mcp.protocol.version": version}
    assert server.all(name)[0].params["_meta"]["traceparent"] == traceparent(span)


async def test_what_is_no_url_tells_no_address(spans: Spans) -> None:
    from trio_mcp.middleware.tracing import _server

    assert _server("npx some-server") == {}
    assert _server("https://example.com/mcp")["server.port"] == 443
    assert _server("https://example.com:8443/mcp")["server.port"] == 8443
    assert _server("wss://example.com/mcp")["network.protocol.name"] == "websocket"


# How a request ends


@pytest.mark.usefixtures("configured")
async def test_a_json_rpc_error_is_told_by_its_code(serve: Serve, spans: Spans) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.error(-32602, "no such tool")
    async with server.connect() as c:
        with pytest.raises(trio_mcp.MCPError):
            await c.call_tool("x")
    span = spans.one("tools/call")
    assert attributes(span)["error.type"] == "-32602"
    assert attributes(span)["rpc.response.status_code"] == "-32602"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "no such tool"


@pytest.mark.usefixtures("configured")
async def test_other_errors_are_told_by_their_class(serve: Serve, spans: Spans) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.reply(status=503)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.call_tool("x")
    span = spans.one("tools/call")
    assert attributes(span)["error.type"] == "HTTPStatusError"
    assert "rpc.response.status_code" not in attributes(span)
    assert span.status.description == "HTTP 503"
    assert span.events == ()  # no stack traces


async def test_what_somebody_elses_error_says_is_not_told(serve: Serve, spans: Spans) -> None:
    async def fail(context: Any, call_next: Any) -> Any:
        if context.method == "tools/call":
            raise KeyError("secret")
        return await call_next(context)

    outermost = TracingMiddleware(spans.provider)
    async with scripted(serve).connect(middleware=[outermost, fail]) as c:
        with pytest.raises(KeyError):
            await c.call_tool("x")
    span = spans.one("tools/call")
    assert attributes(span)["error.type"] == "KeyError"
    assert span.status.description is None


@pytest.mark.usefixtures("configured")
async def test_a_tools_own_failure_is_one(serve: Serve, spans: Spans) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.result({"content": [], "isError": True})
    async with server.connect() as c:
        await c.call_tool("x")
    span = spans.one("tools/call")
    assert attributes(span)["error.type"] == "tool_error"
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.usefixtures("configured")
async def test_a_cancelled_call_ends_its_span(
    serve: Serve, spans: Spans, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(HANG)
    async with server.connect() as c:
        with trio.move_on_after(1):
            await c.call_tool("x")
        assert trace.get_current_span() is trace.INVALID_SPAN
    assert attributes(spans.one("tools/call"))["error.type"] == "cancelled"


# Where it stands, and when it is there at all


@pytest.mark.usefixtures("configured")
async def test_each_try_is_a_span_of_its_own_with_its_own_context(
    serve: Serve, spans: Spans, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: (
        seen.text("done") if len(server.all("tools/call")) == 2 else seen.reply(status=429)
    )
    async with server.connect(middleware=[RetryMiddleware()]) as c:
        await c.call_tool("x", meta={"k": 1})
    sent = [seen.params["_meta"]["traceparent"] for seen in server.all("tools/call")]
    assert sent == [traceparent(span) for span in spans.all("tools/call")]
    assert len(set(sent)) == 2


@pytest.mark.usefixtures("configured")
async def test_one_that_is_given_is_the_only_one_and_stands_where_it_was_put(
    serve: Serve, spans: Spans, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: (
        seen.text("done") if len(server.all("tools/call")) == 2 else seen.reply(status=429)
    )
    async with server.connect(middleware=[TracingMiddleware(), RetryMiddleware()]) as c:
        await c.call_tool("x")
    assert len(spans.all("tools/call")) == 1
    assert len(server.all("tools/call")) == 2


@pytest.mark.usefixtures("configured")
async def test_what_the_caller_sends_as_context_stands(serve: Serve) -> None:
    server = scripted(serve)
    async with server.connect() as c:
        await c.call_tool("x", meta={"traceparent": REMOTE})
    assert server.seen[1].params["_meta"]["traceparent"] == REMOTE


@pytest.mark.parametrize("provider", [None, trace.NoOpTracerProvider()])
async def test_with_nothing_configured_there_is_no_chain(
    serve: Serve, provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr("trio_mcp.connection.Chain", None)
    server = scripted(serve)
    async with server.connect() as c:
        await c.call_tool("x")
    assert "traceparent" not in server.seen[1].params["_meta"]


def test_a_program_without_opentelemetry_never_imports_it() -> None:
    script = """
import sys, trio
from trio_mcp.middleware import LoggingMiddleware, MetricsMiddleware, RetryMiddleware
from trio_mcp.testing import ScriptedServer
async def main():
    async with ScriptedServer() as server, server.connect(middleware=[LoggingMiddleware()]) as c:
        pass
trio.run(main)
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# What the server asks


async def accept(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="decline")


def asking(serve: Serve, version: str, meta: Any) -> ScriptedServer:
    server = serve(version)
    params = {**FORM, "_meta": meta}

    async def legacy(call: Call) -> Any:
        await call.ask("elicitation/create", params)
        return call.text("done")

    def modern(call: Call) -> Any:
        if "inputResponses" not in call.params:
            return call.input_required({"q": {"method": "elicitation/create", "params": params}})
        return call.text("done")

    server.on["tools/call"] = legacy if version == LEGACY else modern
    return server


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("version", [LEGACY, "2026-07-28"])
async def test_a_question_is_a_span_within_that_of_the_server(
    serve: Serve, spans: Spans, version: str
) -> None:
    within: list[Any] = []

    async def look(context: Any, params: Any) -> Any:
        within.append((trace.get_current_span().get_span_context(), baggage.get_all()))
        return await accept(context, params)

    meta = {"traceparent": REMOTE, "baggage": "theirs=1", "odd": {"x": 1}}
    server = asking(serve, version, meta)
    async with server.connect(elicitation_callback=look) as c:
        await c.call_tool("x")
    span, call = spans.one("elicitation/create"), spans.one("tools/call")
    assert span.kind is SpanKind.SERVER
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == REMOTE[3:-3]
    assert [link.context for link in span.links] == [call.context]  # what is going on here
    assert within == [(span.context, {})]  # the server's baggage goes no further
    assert attributes(span)["mcp.method.name"] == "elicitation/create"


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    "meta", [None, {"traceparent": "nonsense"}, {"traceparent": 5}, {"traceparent": [REMOTE]}]
)
async def test_without_a_context_of_the_server_it_is_within_the_call(
    serve: Serve, spans: Spans, meta: Any
) -> None:
    server = asking(serve, "2026-07-28", meta)
    async with server.connect(elicitation_callback=accept) as c:
        await c.call_tool("x")
    span = spans.one("elicitation/create")
    assert span.parent == spans.one("tools/call").context
    assert span.links == ()


@pytest.mark.parametrize("meta", [{"traceparent": REMOTE}, None])
async def test_a_stream_does_not_go_on_within_the_handshake_that_opened_it(
    serve: Serve, spans: Spans, meta: Any
) -> None:
    server = serve(LEGACY)
    server.listen()
    async with server.connect(middleware=[TracingMiddleware(spans.provider)], elicitation_callback=accept):
        await server.ask("elicitation/create", {**FORM, "_meta": meta})
    span = spans.one("elicitation/create")
    assert span.links == ()
    assert (span.parent is None) == (meta is None)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("raises", [True, False])
async def test_a_refusal_is_told_by_its_code(serve: Serve, spans: Spans, raises: bool) -> None:
    async def refuse(context: Any, params: Any) -> Any:
        if raises:
            raise trio_mcp.MCPError(-1, "no")
        return types.ErrorData(code=-1, message="no")

    async with asking(serve, LEGACY, {}).connect(elicitation_callback=refuse) as c:
        await c.call_tool("x")
    span = spans.one("elicitation/create")
    assert attributes(span)["rpc.response.status_code"] == "-1"
    assert span.status.description == "no"


@pytest.mark.usefixtures("configured")
async def test_no_span_tells_a_secret(serve: Serve, spans: Spans) -> None:
    server = scripted(serve, LEGACY, session_id="secret-session")
    async with server.connect(auth="secret-token", headers={"x-key": "secret-key"}) as c:
        await c.call_tool("x", {"password": "secret-argument"})
    assert spans.all()
    assert not re.search("secret", "".join(span.to_json() for span in spans.all()))
