"""Connect to a server, list its tools, call one.

Start the demo's server, which prints its URL, and give that URL to this program:

    python -m trio_mcp.cli.demo_server
    python examples/quickstart.py http://127.0.0.1:PORT/mcp
"""

import sys

import trio

from trio_mcp import ConnectorError, open_connector


async def main(url: str) -> None:
    try:
        async with open_connector(url) as c:
            for tool in await c.list_tools():
                print(tool.name, "-", tool.description)
            with trio.fail_after(10):
                result = await c.call_tool("add", {"a": 1, "b": 2})
            print(result.structured_content or result.content)
    except ConnectorError as exc:
        sys.exit(f"error: {exc}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    trio.run(main, sys.argv[1])
