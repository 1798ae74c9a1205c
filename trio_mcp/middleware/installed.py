"""The middleware that a connector installs by itself: tracing, where the program has set it up.

Nothing is imported for it: a program that has configured OpenTelemetry has imported it already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .base import Middleware

__all__ = ["installed"]


def installed(given: Sequence[object]) -> tuple[Middleware, ...]:
    """What goes behind the middleware that is `given`, nearest to the server."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider | api.NoOpTracerProvider):
        return ()
    from .tracing import TracingMiddleware

    if any(isinstance(each, TracingMiddleware) for each in given):
        return ()
    return (TracingMiddleware(),)
