"""Answer a server's questions, watch its progress, cancel a call. Run: python examples/callbacks.py URL

Works with the server of the demo: python -m trio_mcp.cli.demo_server
"""

import sys

import mcp_types as types
import trio

from trio_mcp import RequestContext, open_connector


async def answer(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    print("the server asks:", params.message)
    return types.ElicitResult(action="accept", content={})  # the form's own defaults are filled in


async def show(progress: float, total: float | None, message: str | None) -> None:
    print(f"{progress:g} of {total or '?'}", message or "")


async def main(url: str) -> None:
    async with open_connector(url, elicitation_callback=answer) as c:
        names = {tool.name for tool in await c.list_tools()}
        print("tools:", ", ".join(sorted(names)))
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(call, c, name)


async def call(c: object, name: str) -> None:
    from trio_mcp import Connector, MCPError

    assert isinstance(c, Connector)
    with trio.move_on_after(2) as scope:
        try:
            result = await c.call_tool(name, progress_callback=show)
            print(name, "->", result.content)
        except MCPError as exc:
            print(name, "->", exc)
    if scope.cancelled_caught:
        print(name, "-> took longer than two seconds, and was cancelled at the server")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
