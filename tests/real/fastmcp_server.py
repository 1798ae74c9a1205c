"""A server built with fastmcp, which has an environment of its own: it prints its port, then serves there."""

# mypy: ignore-errors
# No type checker can know fastmcp here.

from __future__ import annotations

import argparse
import socket

import anyio
import uvicorn
from fastmcp import Context, FastMCP

server = FastMCP("other", version="1.0")


@server.tool
def add(a: int, b: int) -> int:
    return a + b


@server.tool
async def slow(n: int, ctx: Context) -> str:
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
    await ctx.info("nearly")
    return "done"


@server.tool
async def forever() -> None:
    await anyio.sleep_forever()


@server.tool
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("who?", response_type=str)
    return f"{answer.action} {getattr(answer, 'data', '')}"


@server.resource("memo://a")
def memo() -> str:
    return "some text"


@server.prompt
def introduce(name: str) -> str:
    return f"introduce {name}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sse", action="store_true")
    sse = parser.parse_args().sse
    sock = socket.create_server(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    app = server.http_app(path="/sse" if sse else "/mcp", transport="sse" if sse else "http")
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
