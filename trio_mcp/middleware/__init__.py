"""Middleware: hooks around everything that passes through a connector, and some that are ready to use.

    metrics = MetricsMiddleware()
    async with open_connector(url, middleware=[LoggingMiddleware(), metrics, RetryMiddleware()]) as c:
        ...

What is ready to use is imported when it is first asked for: OpenTelemetry by `TracingMiddleware` alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import CallNext, Middleware, MiddlewareContext

if TYPE_CHECKING:
    from .concurrency_limit import ConcurrencyLimitMiddleware
    from .logs import LoggingMiddleware
    from .metrics import Latency, Metrics, MetricsMiddleware, MetricsSnapshot
    from .rate_limit import RateLimitMiddleware
    from .retries import RetryMiddleware
    from .tracing import TracingMiddleware

__all__ = [
    "CallNext",
    "ConcurrencyLimitMiddleware",
    "Latency",
    "LoggingMiddleware",
    "Metrics",
    "MetricsMiddleware",
    "MetricsSnapshot",
    "Middleware",
    "MiddlewareContext",
    "RateLimitMiddleware",
    "RetryMiddleware",
    "TracingMiddleware",
]

_MODULES = {
    "ConcurrencyLimitMiddleware": "concurrency_limit",
    "Latency": "metrics",
    "LoggingMiddleware": "logs",
    "Metrics": "metrics",
    "MetricsMiddleware": "metrics",
    "MetricsSnapshot": "metrics",
    "RateLimitMiddleware": "rate_limit",
    "RetryMiddleware": "retries",
    "TracingMiddleware": "tracing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
