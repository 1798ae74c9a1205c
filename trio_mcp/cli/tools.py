"""`trio-mcp tools` and `trio-mcp call`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer

from .arguments import Argument, parse_arguments, typed_arguments
from .checking import check_arguments, find_named
from .connecting import Connecting
from .exits import DONE, FAILED
from .listings import print_tools
from .output import print_json, print_result, print_text
from .session import Session, show_listed

__all__ = ["AsJson", "Words", "call", "prepared", "show_call", "show_tools", "tools"]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Words: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value|key:=json|@file|-",
        help="The arguments; @file and - are JSON, of stdin the latter.",
    ),
]


async def tools(where: Connecting, json: AsJson = False) -> int:
    """List the tools of a server."""
    async with where.open() as session:
        return await show_tools(session, json)


async def show_tools(session: Session, json: bool) -> int:
    """Print the tools; see `tools`."""
    return await show_listed(session, session.connector.list_tools, print_tools, "tools", json)


async def call(
    where: Connecting,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool.")],
    arguments: Words = None,
    json: AsJson = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Leave it to the server to check the arguments.")
    ] = False,
) -> int:
    """Call a tool and print its result.

    key=value is a string, or what the tool's input schema says; key:=json is JSON. With @file in the place of
    the value, it is what the file holds.

    Ctrl-C cancels the call, at the server too. The exit code is 1 if the tool failed.

    As here:

    trio-mcp call https://example.com/mcp add a=1 b=2

    trio-mcp call add a=1 b=2 -- python server.py
    """
    words = parse_arguments(arguments or ())
    async with where.open() as session:
        values = await prepared(session, name, words, unchecked=unchecked)
        return await show_call(session, name, values, json)


async def show_call(session: Session, name: str, values: Mapping[str, Any], json: bool) -> int:
    """Call a tool and print its result; see `call`."""
    result = await session.call_tool(name, values)
    if json:
        print_json(session.console, result)
    else:
        print_result(session.console, result)
    return FAILED if result.is_error else DONE


async def prepared(
    session: Session, name: str, words: Sequence[Argument], *, unchecked: bool = False
) -> dict[str, Any]:
    """The arguments for the tool `name`, as its schema has them.

    Raises:
        UsageError: there is no such tool, or it does not take them.
    """
    tools = await session.connector.list_tools()
    tool = tools[find_named("tool", name, [each.name for each in tools])]
    values = typed_arguments(words, tool.input_schema, unchecked=unchecked)
    if not unchecked and (note := check_arguments(values, tool.input_schema)) is not None:
        print_text(session.notes, note)
    return values
