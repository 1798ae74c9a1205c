"""Listen to what changes at a server, and look again only then.

    python examples/listening.py

The server is one of the official SDK, in this process; give `open_connector` a URL, and it is the same.
"""

import trio
from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context

from trio_mcp import Gap, ResourceUpdated, Subscription, open_connector

server = MCPServer("notes", cache_hints={"resources/read": CacheHint(60_000)}, log_level="CRITICAL")
notes = ["buy milk"]


@server.resource("notes://today")
async def today() -> str:
    return ", ".join(notes)


@server.tool()
async def add(note: str, ctx: Context) -> None:
    notes.append(note)
    await ctx.notify_resource_updated("notes://today")


async def main() -> None:
    async with open_connector(server) as c:

        async def follow(events: Subscription) -> None:
            async for event in events:
                match event:
                    case ResourceUpdated(uri=uri):
                        print("changed:", await read(uri))
                    case Gap(reason=reason):
                        print("something may have been missed:", reason, await read("notes://today"))

        async def read(uri: str) -> str:
            # Kept for a minute, as the server says it may be; forgotten as soon as it changes.
            return "".join(getattr(content, "text", "") for content in (await c.read_resource(uri)).contents)

        async with c.listen(uris=["notes://today"]) as events, trio.open_nursery() as nursery:
            nursery.start_soon(follow, events)
            print("at first:", await read("notes://today"))
            for note in ("call Ada", "water the plants"):
                await c.call_tool("add", {"note": note})
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
