"""Call tools, and get the results as your own types.

    python examples/typed_results.py

The server is one of the official SDK, in this process; give `open_connector` a URL, and it is the same.
"""

from dataclasses import dataclass

import trio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from trio_mcp import ToolFailed, expand_uri_template, open_connector


class Forecast(BaseModel):
    city: str
    degrees: float


server = MCPServer("weather", log_level="CRITICAL")


@server.tool()
async def forecast(city: str) -> Forecast:
    if city == "Atlantis":
        raise ToolError("no such city")
    return Forecast(city=city, degrees=21.5)


@server.tool()
async def cities() -> list[str]:
    return ["Oslo", "Rome"]


@server.resource("weather://{city}/{day}")
async def archive(city: str, day: str) -> str:
    return f"{city} on {day}: sunny"


@dataclass
class Weather:  # of what the server sends, what we want
    degrees: float


async def main() -> None:
    async with open_connector(server) as c:
        for city in await c.call_tool("cities", result_type=list[str]):
            weather = await c.call_tool("forecast", {"city": city}, result_type=Weather)
            print(city, weather.degrees)
        try:
            await c.call_tool("forecast", {"city": "Atlantis"}, result_type=Weather)
        except ToolFailed as exc:
            print("failed:", exc)
        (template,) = await c.list_resource_templates()
        uri = expand_uri_template(template, {"city": "Oslo", "day": "2026-11-25"})
        for content in (await c.read_resource(uri)).contents:
            print(uri, "-", getattr(content, "text", ""))


if __name__ == "__main__":
    trio.run(main)
