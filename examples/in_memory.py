"""Test a server of your own in memory: no sockets, and hours pass at once.

python examples/in_memory.py
"""

import trio
import trio.testing
from mcp.server import MCPServer

from trio_mcp import open_connector

server = MCPServer("bakery")


@server.tool()
async def bake(loaves: int) -> str:
    """Bake bread. It takes an hour for each loaf."""
    await trio.sleep(3600 * loaves)
    return f"{loaves} loaves"


async def main() -> None:
    async with open_connector(server) as c:
        for tool in await c.list_tools():
            print(tool.name, "-", tool.description)
        result = await c.call_tool("bake", {"loaves": 3})
        print(result.structured_content, "after", trio.current_time(), "s")
        with trio.move_on_after(60) as scope:
            await c.call_tool("bake", {"loaves": 1})
        print("given up after a minute:", scope.cancelled_caught)


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
