"""`trio-mcp prompts`, `trio-mcp prompt` and `trio-mcp complete`."""

from __future__ import annotations

from typing import Annotated, Any

import mcp_types as types
import typer

from ..errors import UsageError
from .arguments import parse_arguments, typed_arguments
from .checking import check_prompt_arguments, find_named
from .connecting import Connecting
from .exits import DONE
from .listings import print_prompts
from .output import print_json, print_messages, print_text
from .session import Session, show_listed
from .tools import AsJson, Words

__all__ = ["complete", "prompt", "prompts", "show_completions", "show_prompt", "show_prompts"]


async def prompts(where: Connecting, json: AsJson = False) -> int:
    """List the prompts of a server."""
    async with where.open() as session:
        return await show_prompts(session, json)


async def show_prompts(session: Session, json: bool) -> int:
    """Print the prompts; see `prompts`."""
    return await show_listed(session, session.connector.list_prompts, print_prompts, "prompts", json)


async def prompt(
    where: Connecting,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The prompt.")],
    arguments: Words = None,
    json: AsJson = False,
) -> int:
    """Fill in a prompt and print its messages."""
    async with where.open() as session:
        return await show_prompt(session, name, arguments or [], json)


async def show_prompt(session: Session, name: str, arguments: list[str], json: bool = False) -> int:
    """Print a prompt's messages; see `prompt`."""
    values = _texts(arguments)
    found = await session.connector.list_prompts()
    check_prompt_arguments(values, found[find_named("prompt", name, [each.name for each in found])])
    result = await session.connector.get_prompt(name, values)
    if json:
        print_json(session.console, result)
    else:
        print_messages(session.console, result)
    return DONE


async def complete(
    where: Connecting,
    reference: Annotated[
        str, typer.Argument(metavar="PROMPT|TEMPLATE", help="A prompt's name, or a resource template.")
    ],
    argument: Annotated[
        str, typer.Argument(metavar="key=begin", help="The argument, and what there is of it.")
    ],
    settled: Annotated[
        list[str] | None, typer.Argument(metavar="key=value", help="Arguments that are settled already.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Have the server complete an argument of a prompt or of a resource template."""
    async with where.open() as session:
        return await show_completions(session, reference, argument, settled or [], json)


async def show_completions(
    session: Session, reference: str, argument: str, settled: list[str], json: bool = False
) -> int:
    """Print suggestions; see `complete`."""
    ref: types.PromptReference | types.ResourceTemplateReference = types.PromptReference(name=reference)
    if "://" in reference or "{" in reference:
        ref = types.ResourceTemplateReference(uri=reference)
    name, _, begin = argument.partition("=")
    if not name:
        raise UsageError(f"what to complete is given as key=begin, not {argument!r}")
    result = await session.connector.complete(
        ref, {"name": name, "value": begin}, _texts(settled) if settled else None
    )
    if json:
        print_json(session.console, result)
        return DONE
    for value in result.completion.values:
        print_text(session.console, value)
    if result.completion.has_more:
        print_text(session.notes, "there are more")
    return DONE


def _texts(words: list[str]) -> dict[str, str]:
    """Arguments that are texts, whatever they look like."""
    values: dict[str, Any] = typed_arguments(parse_arguments(words), {})
    for name, value in values.items():
        if not isinstance(value, str):
            raise UsageError(f"the argument {name!r} must be a text: give it as {name}=…")
    return values
