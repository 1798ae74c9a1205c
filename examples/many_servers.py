"""Many servers as one group: one list of tools, one that dies and comes back, one that is not there.

python examples/many_servers.py
"""

from typing import Any

import trio
import trio.testing
from mcp.server import MCPServer
from mcp.server.lowlevel import Server as LowLevelServer

from trio_mcp import (
    ConnectorGroup,
    Down,
    GroupEvent,
    GroupEvents,
    ReconnectPolicy,
    Server,
    ServerFailed,
    Up,
    open_connectors,
)
from trio_mcp.testing import MemoryNetwork

weather = MCPServer("weather", log_level="CRITICAL")


@weather.tool()
async def forecast(city: str) -> str:
    """Tell what the weather will be. It takes two seconds."""
    await trio.sleep(2)
    return f"sun over {city}"


async def crash(context: Any, params: Any) -> Any:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("division by zero")


def say(text: object) -> None:
    print(f"{trio.current_time():4.1f} s  {text}")


async def report(events: GroupEvents) -> None:
    async for event in events:
        match event:
            case GroupEvent(server, Up()):
                say(f"{server} is up again")
            case GroupEvent(server, Down(error)):
                say(f"{server} is down: {error}")


async def ask(group: ConnectorGroup, city: str) -> None:
    result = await group.call_tool("weather__forecast", {"city": city})
    say(result.structured_content)


async def main() -> None:
    async with open_connectors(
        {
            "weather": weather,
            "crashing": Server(
                LowLevelServer("crashing", on_call_tool=crash),
                raise_exceptions=True,
                restart=ReconnectPolicy(initial=3, jitter=0),
            ),
            "missing": Server("http://missing.test/mcp", required=False, network=MemoryNetwork()),
        },
        max_calls=2,
    ) as group:
        say(group)
        tools = await group.list_tools()
        say(f"tools: {[tool.name for tool in tools]}, without those of {list(tools.missing)}")

        async with group.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(report, events)
            for city in ("Lisbon", "Oslo", "Cairo"):  # two at a time
                nursery.start_soon(ask, group, city)
            try:
                await group["crashing"].call_tool("crash")
            except ServerFailed as exc:
                say(f"this call failed, and no other one: {exc}")
            await trio.sleep(5)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
