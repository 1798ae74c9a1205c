"""Counts and latencies of what is asked of the server, in bounded memory.

metrics = MetricsMiddleware()
async with open_connector(url, middleware=[metrics]) as c:
    await c.call_tool("add", {"a": 1, "b": 2})
    print(metrics.snapshot().tools["add"].latency.p95)
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import mcp_types as types
import trio

from ..errors import ConfigurationError
from .base import CallNext, Middleware, MiddlewareContext

__all__ = ["Latency", "Metrics", "MetricsMiddleware", "MetricsSnapshot"]

OTHER: Final = "(other)"
"""What is counted here are the names beyond the bound."""

_STEPS: Final = 4  # buckets by which the bounds double
_BOUNDS: Final = tuple(1e-4 * 2 ** (step / _STEPS) for step in range(26 * _STEPS + 1))  # 0.1 ms to 6,711 s
_MAX_ERRORS: Final = 100
_MAX_METHODS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long requests took that were answered or failed; in seconds, None if there were none.

    The percentiles are off by less than 10 % between 0.1 ms and 6,700 s: they are read from buckets whose
    bounds grow by the fourth root of 2. `least`, `mean` and `most` are exact.
    """

    least: float | None
    mean: float | None
    most: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What was counted of some requests.

    Attributes:
        begun: requests begun; the sum of those that have `succeeded`, `failed` or were `cancelled`, and of
            those `in_flight`.
        succeeded: those that the server answered by a result.
        failed: those that ended in an error.
        cancelled: those whose caller was cancelled.
        in_flight: those that have not ended.
        tool_errors: of the successful ones, those in which a tool said that it failed.
        errors: the failed ones by the class of their error.
        latency: how long it took.
    """

    begun: int
    succeeded: int
    failed: int
    cancelled: int
    in_flight: int
    tool_errors: int
    errors: Mapping[str, int]
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSnapshot:
    """A copy of what has been counted so far.

    Attributes:
        total: all requests, handshakes included.
        methods: by method; those beyond the first 100 as "(other)".
        tools: calls by the tool's name; those beyond the first `max_tools` as "(other)".
    """

    total: Metrics
    methods: Mapping[str, Metrics]
    tools: Mapping[str, Metrics]


class MetricsMiddleware(Middleware):
    """Counts requests; one instance may count those of several connectors. Time is Trio's.

    Args:
        max_tools: how many tools are told apart.

    Raises:
        ConfigurationError: `max_tools` is not a positive int.
    """

    def __init__(self, max_tools: int = 100) -> None:
        if type(max_tools) is not int or max_tools <= 0:
            raise ConfigurationError(f"max_tools must be an int above 0, not {max_tools!r}")
        self._max_tools = max_tools
        self._total = _Series()
        self._methods: dict[str, _Series] = {}
        self._tools: dict[str, _Series] = {}

    def snapshot(self) -> MetricsSnapshot:
        """What has been counted so far: a copy."""
        return MetricsSnapshot(
            total=self._total.copy(),
            methods=MappingProxyType({name: series.copy() for name, series in self._methods.items()}),
            tools=MappingProxyType({name: series.copy() for name, series in self._tools.items()}),
        )

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        counted = [self._total, _of(self._methods, context.method, _MAX_METHODS)]
        if isinstance(context.params, types.CallToolRequestParams):
            counted.append(_of(self._tools, context.params.name, self._max_tools))
        for series in counted:
            series.begun += 1
        began = trio.current_time()
        try:
            result = await call_next(context)
        except trio.Cancelled:
            for series in counted:
                series.cancelled += 1
            raise
        except BaseException as exc:
            for series in counted:
                series.fail(type(exc).__name__, trio.current_time() - began)
            raise
        tool_error = isinstance(result, types.CallToolResult) and result.is_error
        for series in counted:
            series.succeed(bool(tool_error), trio.current_time() - began)
        return result


@dataclass(slots=True)
class _Series:
    begun: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    tool_errors: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0
    least: float = math.inf
    most: float = 0
    buckets: array[int] = field(default_factory=lambda: array("Q", [0] * (len(_BOUNDS) + 1)))

    def succeed(self, tool_error: bool, seconds: float) -> None:
        self.succeeded += 1
        self.tool_errors += tool_error
        self._took(seconds)

    def fail(self, error: str, seconds: float) -> None:
        self.failed += 1
        name = _bounded(self.errors, error, _MAX_ERRORS)
        self.errors[name] = self.errors.get(name, 0) + 1
        self._took(seconds)

    def _took(self, seconds: float) -> None:
        self.seconds += seconds
        self.least, self.most = min(self.least, seconds), max(self.most, seconds)
        self.buckets[bisect_left(_BOUNDS, seconds)] += 1

    def copy(self) -> Metrics:
        return Metrics(
            begun=self.begun,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled,
            in_flight=self.begun - self.succeeded - self.failed - self.cancelled,
            tool_errors=self.tool_errors,
            errors=MappingProxyType(dict(self.errors)),
            latency=self._latency(),
        )

    def _latency(self) -> Latency:
        ended = self.succeeded + self.failed
        return Latency(
            least=self.least if ended else None,
            mean=self.seconds / ended if ended else None,
            most=self.most if ended else None,
            p50=self._percentile(50),
            p95=self._percentile(95),
            p99=self._percentile(99),
        )

    def _percentile(self, percent: int) -> float | None:
        """What `percent` of the requests did not exceed: the middle of its bucket, by the nearest rank."""
        left = math.ceil((self.succeeded + self.failed) * percent / 100)
        for index, count in enumerate(self.buckets):
            left -= count
            if count and left <= 0:
                middle = _BOUNDS[min(index, len(_BOUNDS) - 1)] * 2 ** (-1 / (2 * _STEPS))
                return min(max(middle, self.least), self.most)
        return None


def _of(group: dict[str, _Series], name: str, most: int) -> _Series:
    return group.setdefault(_bounded(group, name, most), _Series())


def _bounded(group: Mapping[str, object], name: str, most: int) -> str:
    return name if name in group or len(group) < most else OTHER
