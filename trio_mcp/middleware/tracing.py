"""OpenTelemetry: a span for each request, and its context sent along.

A connector does this by itself if the program has configured OpenTelemetry's SDK before it is opened. What
the spans are called, and what they tell, follows OpenTelemetry's conventions for MCP
(https://opentelemetry.io/docs/specs/semconv/gen-ai/mcp); how their context goes along follows
26/basic/index, "OpenTelemetry trace context" (SEP-414).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import mcp_types as types
import trio
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from .._version import __version__
from ..errors import ConnectorError, MCPError, NotConnected
from ..negotiation import Negotiated
from ..protocol.versions import is_modern
from .base import CallNext, Middleware, MiddlewareContext
from .subjects import subject

__all__ = ["TracingMiddleware"]

_NAMED: Final = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name"}
_NETWORK: Final = {
    "http": ("http", 80),
    "https": ("http", 443),
    "ws": ("websocket", 80),
    "wss": ("websocket", 443),
}


class TracingMiddleware(Middleware):
    """Makes a CLIENT span for each request, and a SERVER span for each request of the server.

    A connector puts one behind all other middleware, nearest to the server, unless it was given one: so each
    try of a `RetryMiddleware` is a span of its own, with the context that was sent with it, and the waits of
    a limit belong to none. Put it first to have one span around all that.

    Spans hold no arguments, results, headers or session ids.

    Args:
        tracer_provider: what makes the spans; None for the one that is configured.
    """

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("trio_mcp", __version__, tracer_provider)

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        name, attributes = _describe(context)
        with self._tracer.start_as_current_span(
            name,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, Any] = {}
            propagate.inject(carrier)
            # A copy, and the caller's own entries stronger: the next try is to bring its own context.
            return await _watched(span, replace(context, meta=carrier | context.meta), call_next)

    async def on_server_request(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, types.Result | types.ErrorData]
    ) -> types.Result | types.ErrorData:
        """See `Middleware`."""
        name, attributes = _describe(context)
        parent, links = _parent(context.meta)
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=SpanKind.SERVER,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            answer: types.Result | types.ErrorData = await _watched(span, context, call_next)
            return answer


async def _watched(
    span: Span,
    context: MiddlewareContext[Any],
    call_next: Callable[[MiddlewareContext[Any]], Awaitable[Any]],
) -> Any:
    """`call_next(context)`, and on `span` how it ended."""
    try:
        result = await call_next(context)
    except MCPError as exc:
        _refused(span, exc.code, exc.message)
        raise
    except trio.Cancelled:
        _failed(span, "cancelled", None)
        raise
    except BaseException as exc:
        # Only of our own errors is it known that they hold no secret.
        _failed(span, type(exc).__name__, exc.message if isinstance(exc, ConnectorError) else None)
        raise
    if isinstance(result, types.CallToolResult) and result.is_error:
        _failed(span, "tool_error", None)
    elif isinstance(result, types.ErrorData):
        _refused(span, result.code, result.message)
    elif isinstance(result, Negotiated):
        span.set_attribute("mcp.protocol.version", result.version)
        if is_modern(result.version):
            span.update_name("server/discover")
            span.set_attribute("mcp.method.name", "server/discover")
    return result


def _failed(span: Span, error: str, description: str | None) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR, description))


def _refused(span: Span, code: int, message: str) -> None:
    span.set_attribute("rpc.response.status_code", str(code))
    _failed(span, str(code), message)


def _describe(context: MiddlewareContext[Any]) -> tuple[str, dict[str, str | int]]:
    """A span's name and attributes."""
    method, target = context.method, subject(context.params)
    attributes = {"mcp.method.name": method, **_server(context.connector.public_identifier)}
    with suppress(NotConnected):  # the version is what the handshake is about
        attributes["mcp.protocol.version"] = context.connector.protocol_version
    if method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
    if target is None:
        return method, attributes
    if method in _NAMED:
        attributes[_NAMED[method]] = target
        return f"{method} {target}", attributes
    attributes["mcp.resource.uri"] = target  # not in the name: there may be any number of them
    return method, attributes


@lru_cache(maxsize=256)
def _server(identifier: str) -> Mapping[str, str | int]:
    """What a URL tells of where the server is."""
    url = urlsplit(identifier)
    if url.scheme not in _NETWORK or url.hostname is None:
        return {}
    protocol, port = _NETWORK[url.scheme]
    return {
        "server.address": url.hostname,
        "server.port": url.port or port,
        "network.transport": "tcp",
        "network.protocol.name": protocol,
    }


def _parent(meta: Mapping[str, Any]) -> tuple[Context | None, list[Link]]:
    """The context of what handles a request of the server, and what else it is to be linked with.

    The server's span is its parent if it has sent one, and else what is going on here. Nothing but the span
    is taken of what was sent: baggage would go on to other services, which is not for a server to decide.
    """
    sent = propagate.extract({key: value for key, value in meta.items() if isinstance(value, str)})
    remote, here = trace.get_current_span(sent), trace.get_current_span()
    # A stream is read by a task that the handshake started: it has that span still, which has ended.
    ended = not here.is_recording() and not isinstance(here, trace.NonRecordingSpan)
    if not remote.get_span_context().is_valid:
        return trace.set_span_in_context(trace.INVALID_SPAN) if ended else None, []
    linked = here.get_span_context().is_valid and not ended
    return trace.set_span_in_context(remote), [Link(here.get_span_context())] if linked else []
