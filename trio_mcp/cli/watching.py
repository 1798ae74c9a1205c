"""`trio-mcp listen` and `trio-mcp ping`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import mcp_types as types
import trio
import typer

from ..connector import Connector
from ..errors import UsageError
from ..features.listening.events import (
    Event,
    PromptsChanged,
    ResourcesChanged,
    ResourceUpdated,
    TaskChanged,
    ToolsChanged,
)
from ..protocol.versions import is_modern
from ..text import one_line
from .connecting import Connecting
from .exits import DONE
from .output import print_line, print_text
from .session import Session
from .tools import AsJson

__all__ = ["listen", "ping", "pinged", "show_ping"]


async def listen(
    where: Connecting,
    tools: Annotated[bool, typer.Option("--tools", help="Whether the list of tools changes.")] = False,
    prompts: Annotated[bool, typer.Option("--prompts", help="Whether the list of prompts changes.")] = False,
    resources: Annotated[
        bool, typer.Option("--resources", help="Whether the list of resources changes.")
    ] = False,
    uri: Annotated[
        list[str] | None,
        typer.Option("--uri", help="Whether this resource's content changes; may be repeated."),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Stop after so many events.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Print what changes at the server, a line for each event, until Ctrl-C.

    Without options it is all the lists that the server has.
    """
    async with where.open() as session:
        if not (tools or prompts or resources or uri):
            tools, prompts, resources = _lists(session.connector)
        async with session.connector.listen(
            tools=tools, prompts=prompts, resources=resources, uris=uri or ()
        ) as events:
            print_text(session.notes, f"listening to {session.terminal.server}; Ctrl-C ends it")
            seen = 0
            async for event in events:
                print_line(session.console, _as_object(event) if json else _as_text(event))
                seen += 1
                if seen == count:
                    break
        return DONE


def _lists(c: Connector) -> tuple[bool, bool, bool]:
    offered = c.server_capabilities
    found = (offered.tools is not None, offered.prompts is not None, offered.resources is not None)
    if not any(found):
        raise UsageError("the server has no lists that could change: give --uri")
    return found


def _as_text(event: Event) -> str:
    match event:
        case ToolsChanged():
            return "the list of tools has changed"
        case PromptsChanged():
            return "the list of prompts has changed"
        case ResourcesChanged():
            return "the list of resources has changed"
        case ResourceUpdated(uri=uri):
            return f"{uri} has changed"
        case TaskChanged(task_id=task_id, status=status):
            return f"task {task_id}: {status}"
        case _:
            return f"events may have been missed: {event.reason}"


def _as_object(event: Event) -> dict[str, Any]:
    return {"event": type(event).__name__, **asdict(event)}


async def ping(
    where: Connecting,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How often.")] = 1,
    interval: Annotated[float, typer.Option("--interval", min=0, help="Seconds between two.")] = 1,
    json: AsJson = False,
) -> int:
    """Ask the server for a sign of life, and tell how long it took."""
    async with where.open() as session:
        for number in range(count):
            if number:
                await trio.sleep(interval)
            await show_ping(session, json)
        return DONE


async def show_ping(session: Session, json: bool) -> int:
    """Print how long an answer took; see `ping`."""
    milliseconds, server = await pinged(session) * 1000, session.terminal.server
    if json:
        print_line(session.console, {"server": server, "milliseconds": round(milliseconds, 3)})
    else:
        print_line(session.console, one_line(f"{server} answered in {milliseconds:.1f} ms"))
    return DONE


async def pinged(session: Session) -> float:
    """How many seconds an answer takes that costs the server nothing."""
    c, began = session.connector, trio.current_time()
    if is_modern(c.protocol_version):
        # There is no `ping` any more (26/changelog).
        await c.request("server/discover", None, types.DiscoverResult)
    else:
        await c.ping()
    return trio.current_time() - began
