"""`trio-mcp resources` and `trio-mcp read`."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated

import mcp_types as types
import typer

from ..errors import ProtocolError, UsageError
from ..features.uri_templates import expand_uri_template
from .arguments import parse_arguments, typed_arguments
from .connecting import Connecting
from .exits import DONE
from .listings import print_resources
from .output import print_contents, print_json, print_text
from .session import Session, listed
from .tools import AsJson, Words

__all__ = ["read", "resources", "show_resource", "show_resources"]


async def resources(where: Connecting, json: AsJson = False) -> int:
    """List the resources of a server, and the templates of further ones."""
    async with where.open() as session:
        return await show_resources(session, json)


async def show_resources(session: Session, json: bool) -> int:
    """Print the resources; see `resources`."""
    c = session.connector
    found = await listed(c.list_resources)
    templates = await listed(c.list_resource_templates)
    if json:
        print_json(session.console, {"resources": found, "resourceTemplates": templates})
    elif found or templates:
        print_resources(session.console, found, templates)
    else:
        print_text(session.notes, "the server has no resources")
    return DONE


async def read(
    where: Connecting,
    uri: Annotated[str, typer.Argument(metavar="URI", help="The resource, or a template of it.")],
    arguments: Words = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the bytes into this file.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Read a resource.

    The URI may be a template, such as file:///{path}, whose variables are given as key=value.
    """
    async with where.open() as session:
        return await show_resource(session, uri, arguments or [], json, output)


async def show_resource(
    session: Session, uri: str, arguments: list[str], json: bool = False, output: Path | None = None
) -> int:
    """Print a resource; see `read`."""
    if words := parse_arguments(arguments):
        if "{" not in uri:
            raise UsageError(f"{uri!r} is no template that arguments could go into")
        uri = expand_uri_template(uri, typed_arguments(words, {}))
    result = await session.connector.read_resource(uri)
    if output is not None:
        output.write_bytes(b"".join(map(_bytes, result.contents)))
    elif json:
        print_json(session.console, result)
    else:
        print_contents(session.console, result)
    return DONE


def _bytes(contents: types.TextResourceContents | types.BlobResourceContents) -> bytes:
    if isinstance(contents, types.TextResourceContents):
        return contents.text.encode()
    try:
        return base64.b64decode(contents.blob, validate=True)
    except binascii.Error as exc:
        raise ProtocolError(f"{contents.uri} is no base64: {exc}") from exc
