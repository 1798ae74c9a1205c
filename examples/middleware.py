"""Log, count, limit and retry what a connector sends, and add a hook of your own.

Run it with a server in memory, which is busy at first, or with yours, which should have a tool `add`:

    python examples/middleware.py
    python examples/middleware.py URL
"""

import logging
import sys
from contextlib import AsyncExitStack
from typing import Any

import mcp_types as types
import trio

from trio_mcp import open_connector
from trio_mcp.middleware import (
    CallNext,
    ConcurrencyLimitMiddleware,
    LoggingMiddleware,
    MetricsMiddleware,
    Middleware,
    MiddlewareContext,
    RetryMiddleware,
)
from trio_mcp.testing import Call, Reply, ScriptedServer


class Defaults(Middleware):
    """Fills in an argument that a caller has left out, and says who is asking."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[types.CallToolRequestParams],
        call_next: CallNext[types.CallToolRequestParams, types.CallToolResult],
    ) -> types.CallToolResult:
        context.params.arguments = {"b": 40, **(context.params.arguments or {})}
        context.headers["x-tenant"] = "examples"
        return await call_next(context)


def scripted() -> ScriptedServer:
    server = ScriptedServer()

    def add(call: Call) -> Reply:
        if len(server.all("tools/call")) <= 2:
            return call.reply(status=429)  # busy: nothing was done, so that the call may be sent again
        arguments = call.params["arguments"]
        return call.text(f"{arguments['a'] + arguments['b']} for {call.headers['x-tenant']}")

    server.on["tools/call"] = add
    return server


async def main(url: str | None) -> None:
    metrics = MetricsMiddleware()
    options: dict[str, Any] = {
        # The first one is the outermost: a line and a count for each call, whatever it takes.
        "middleware": [
            LoggingMiddleware(),
            metrics,
            Defaults(),
            ConcurrencyLimitMiddleware(2),
            RetryMiddleware(attempts=5, initial=0.1),
        ]
    }
    async with AsyncExitStack() as stack:
        if url is None:
            server = await stack.enter_async_context(scripted())
            url, options["network"] = server.url, server.network
        async with open_connector(url, **options) as c, trio.open_nursery() as nursery:

            async def show(a: int) -> None:
                print((await c.call_tool("add", {"a": a})).content)

            for a in range(3):
                nursery.start_soon(show, a)
    counted = metrics.snapshot().tools["add"]
    print(f"{counted.begun} calls, {counted.failed} failed, the slowest took {counted.latency.most:.2f} s")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
