"""Answer a server's questions, watch a call's progress, cancel a call.

Start the demo's server, which prints its URL, and give that URL to this program:

    python -m trio_mcp.cli.demo_server
    python examples/callbacks.py http://127.0.0.1:PORT/mcp
"""

import sys

import mcp_types as types
import trio

from trio_mcp import ConnectorError, RequestContext, open_connector


async def answer(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    print("the server asks:", params.message)
    return types.ElicitResult(action="accept", content={"name": "Ada"})  # the form's defaults are filled in


async def show(progress: float, total: float | None, message: str | None) -> None:
    print(f"{progress:g} of {total}: {message}")


async def main(url: str) -> None:
    try:
        async with open_connector(url, elicitation_callback=answer, protocol_version="2025-11-25") as c:
            copied = await c.call_tool("copy_files", {"files": 3, "pause": 0.1}, progress_callback=show)
            print(copied.structured_content)
            print((await c.call_tool("book_table")).structured_content)
            with trio.move_on_after(0.5):
                await c.call_tool("wait", {"seconds": 60})
            await trio.sleep(0.1)  # the server is told in the background
            print((await c.call_tool("cancelled_calls")).structured_content)
    except ConnectorError as exc:
        sys.exit(f"error: {exc}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    trio.run(main, sys.argv[1])
