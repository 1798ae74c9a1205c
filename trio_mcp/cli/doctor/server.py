"""The server itself: how it is spoken to, what it offers, and how fast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, Final

import trio

from ...connector import Connector
from ...errors import ConnectorError
from ...protocol.versions import is_modern
from ..exits import FAILED, code_of
from ..session import Session, listed
from ..watching import pinged
from .findings import Findings, Stopwatch

__all__ = ["check_offer", "check_speed", "tell_server"]

_PINGS: Final = 3


def tell_server(findings: Findings, c: Connector, seconds: float) -> None:
    """Who answered, and in which version over which transport."""
    info = c.server_info
    who = "a server without a name" if info is None else f"{info.name} {info.version}".strip()
    text = f"{who}, protocol version {c.protocol_version}, over {c.transport}"
    if c.transport == "sse":
        advice = "HTTP+SSE is of 2024-11-05 and deprecated: newer servers speak Streamable HTTP"
        findings.add("MCP", "note", text, seconds, advice)
    else:
        findings.add("MCP", "ok", text, seconds)


async def check_offer(findings: Findings, c: Connector, patience: float) -> None:
    """What it offers, each list asked for."""
    offered = c.server_capabilities
    lists: list[tuple[str, object, Callable[[], Awaitable[list[Any]]]]] = [
        ("tools", offered.tools, c.list_tools),
        ("resources", offered.resources, c.list_resources),
        ("templates", offered.resources, c.list_resource_templates),
        ("prompts", offered.prompts, c.list_prompts),
    ]
    for name, capability, fetch in lists:
        if capability is None:
            continue
        watch = Stopwatch()
        try:
            with trio.fail_after(patience):
                count = len(await listed(fetch))
        except trio.TooSlowError as exc:
            # The connector's own deadlines are both.
            why = exc.message if isinstance(exc, ConnectorError) else f"no answer within {patience:g} s"
            findings.add(name, "failed", why, watch.seconds, "what does the server's log say?", FAILED)
        except ConnectorError as exc:
            code = code_of(exc) or FAILED
            findings.add(name, "failed", exc.message, watch.seconds, "tell the server's makers", code)
        else:
            findings.add(name, "ok", f"{count}" if count else "none", watch.seconds)
    further = [
        name for name in ("completions", "logging", "tasks") if getattr(offered, name, None) is not None
    ]
    further += sorted(offered.extensions or {})
    if further:
        findings.add("further", "ok", ", ".join(further))


async def check_speed(findings: Findings, session: Session, patience: float) -> None:
    """How long an answer takes that costs the server nothing."""
    times = []
    try:
        with trio.move_on_after(patience):
            for _ in range(_PINGS):
                times.append(await pinged(session))
    except ConnectorError as exc:
        what = "server/discover" if is_modern(session.connector.protocol_version) else "ping"
        findings.add("latency", "note", f"{what} is not answered: {exc.message}")
        return
    if times:
        findings.add("latency", "ok", f"the median of {len(times)} answers", median(times))
    else:
        findings.add("latency", "note", f"no answer within {patience:g} s")
