"""A server that is a program: started with the block, ended with it, and started again if it dies.

    python examples/stdio.py

The server is the little program below. It keeps a tally, and can be made to crash.
"""

import sys

import trio

from trio_mcp import ConnectionChange, ConnectionLost, ReconnectPolicy, StdioServer, open_connector

PROGRAM = """
import os, sys
from mcp.server import MCPServer

server = MCPServer("tally", log_level="ERROR")
count = int(os.environ["TALLY_START"])

@server.tool()
def add(number: int) -> int:
    global count
    count += number
    return count

@server.tool()
def crash() -> None:
    print("tally: out of ink", file=sys.stderr, flush=True)
    os._exit(1)

server.run("stdio")
"""

SERVER = StdioServer(sys.executable, ["-c", PROGRAM], env={"TALLY_START": "40"})


async def show_line(line: str) -> None:
    print(f"  its stderr: {line}")


async def show_change(change: ConnectionChange) -> None:
    print(f"  {'connected again' if change.connected else 'lost'}")


async def main() -> None:
    async with open_connector(
        SERVER,
        stderr=show_line,
        connection_callback=show_change,
        reconnect=ReconnectPolicy(initial=0.1),
    ) as c:
        assert c.server_info is not None
        print(f"{c.server_info.name} speaks {c.protocol_version} over {c.transport}")
        for _ in range(2):
            result = await c.call_tool("add", {"number": 1})
            print(f"the tally is {result.structured_content}")

        try:
            await c.call_tool("crash")
        except ConnectionLost as exc:
            print(f"the call that was under way: {exc.message.partition(';')[0]}")

        with trio.fail_after(20):
            result = await c.call_tool("add", {"number": 1})  # waits until the server is there again
        print(f"a new process, a new tally: {result.structured_content}")


trio.run(main)
