"""The commands and their options; what they print stands in `output.py`.

Exit codes: 0 done, 1 the tool failed or the connection was lost, 2 a mistake in the command, 3 could not
connect, 4 access denied, 5 the server broke the protocol, 6 the server answered with an error, 130 Ctrl-C.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, NoReturn

import mcp_types as types
import trio
import typer
from rich.console import Console

from .._version import __version__
from ..connector import Connector
from ..errors import AuthorizationError, ConnectError, ConnectorError, MCPError, ProtocolError, UsageError
from ..opening import HttpOptions, open_connector
from ..protocol.versions import is_modern
from . import demo
from .arguments import parse_arguments, parse_headers, typed_arguments
from .output import ProgressView, one_line, print_json, print_log, print_result, print_text, print_tools
from .prompting import TerminalPrompt

__all__ = ["app"]

_EXIT_CODES: Final[Sequence[tuple[type[BaseException], int]]] = (
    (UsageError, 2),
    (ConnectError, 3),
    (AuthorizationError, 4),
    (ProtocolError, 5),
    (MCPError, 6),
    (KeyboardInterrupt, 130),
    (ConnectorError, 1),
)

app: typer.Typer = typer.Typer(
    help="An MCP (Model Context Protocol) client for the terminal.",
    epilog="Exit codes: 0 done, 1 the tool failed or the connection was lost, 2 a mistake in the command, "
    "3 could not connect, 4 access denied, 5 the server broke the protocol, 6 the server answered with an "
    "error, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Url = Annotated[str, typer.Argument(metavar="URL", help="The MCP endpoint, such as https://example.com/mcp")]
Header = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="K:V", help="Send this header; may be repeated.")
]
Token = Annotated[
    str | None,
    # In the environment other users cannot see it, as they can in the list of processes.
    typer.Option("--token", envvar="TRIO_MCP_TOKEN", help="A bearer token; better given by the environment."),
]
Version = Annotated[str, typer.Option("--protocol-version", metavar="V", help="The only version to speak.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trio_mcp {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def tools(
    url: Url,
    header: Header = None,
    token: Token = None,
    protocol_version: Version = "auto",
    json: AsJson = False,
) -> None:
    """List the tools of a server."""

    async def main() -> int:
        async with open_connector(url, **_options(header, token, protocol_version)) as c:
            found = await c.list_tools()
        console = Console()
        if json:
            print_json(console, found)
        elif found:
            print_tools(console, found)
        else:
            print_text(Console(stderr=True), "the server has no tools")
        return 0

    _run(main)


@app.command()
def call(
    url: Url,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value|key:=json", help="What to call it with."),
    ] = None,
    header: Header = None,
    token: Token = None,
    protocol_version: Version = "auto",
    json: AsJson = False,
) -> None:
    """Call a tool and print its result.

    key=value is a string, or what the tool's input schema says; key:=json is JSON.

    Ctrl-C cancels the call, at the server too. The exit code is 1 if the tool failed.
    """

    async def main() -> int:
        words = parse_arguments(arguments or ())
        notes = Console(stderr=True)
        with ProgressView(notes) as progress:
            prompt = TerminalPrompt(notes, progress.paused, interactive=_at_a_terminal())

            async def log(message: types.LoggingMessageNotificationParams) -> None:
                print_log(notes, message)

            options = _options(header, token, protocol_version)
            options["elicitation_callback"] = prompt
            options["logging_callback"] = log
            connector = open_connector(url, **options)
            prompt.server = connector.public_identifier
            async with connector as c:
                tool = _find_tool(name, await c.list_tools())
                values = typed_arguments(words, tool.input_schema)
                await _ask_for_logs(c)
                result = await c.call_tool(name, values, progress_callback=progress.report)
        console = Console()
        if json:
            print_json(console, result)
        else:
            print_result(console, result)
        return 1 if result.is_error else 0

    _run(main)


@app.command(name="demo")
def show() -> None:
    """Start a server on this machine and show what the client can do."""

    async def main() -> int:
        await demo.run(Console())
        return 0

    _run(main)


def _options(header: list[str] | None, token: str | None, protocol_version: str) -> HttpOptions:
    return {"headers": parse_headers(header or ()), "auth": token, "protocol_version": protocol_version}


def _find_tool(name: str, tools: Sequence[types.Tool]) -> types.Tool:
    for tool in tools:
        if tool.name == name:
            return tool
    near = difflib.get_close_matches(name, [tool.name for tool in tools])
    raise UsageError(
        f"the server has no tool {name!r}"
        + (f"; the nearest: {', '.join(near)}" if near else "; `trio-mcp tools URL` lists them")
    )


async def _ask_for_logs(c: Connector) -> None:
    # A legacy server without the capability would answer with an error; a modern one ignores the wish.
    if is_modern(c.protocol_version) or c.server_capabilities.logging is not None:
        await c.set_logging_level("info")


def _at_a_terminal() -> bool:
    # Where a program is started without a standard input, there is none.
    return sys.stdin is not None and sys.stdin.isatty()


def _run(main: Callable[[], Awaitable[int]]) -> NoReturn:
    """Run `main` on Trio and exit with its code, or with that of what it raised."""
    try:
        code = trio.run(main)
    except OSError as exc:  # the connector's own are typed: this is what could not be written
        sys.stderr.write(f"error: {exc}\n")
        code = 1
    except (ConnectorError, KeyboardInterrupt, BaseExceptionGroup) as exc:
        reason = _reason(exc)
        found = next((code for kind, code in _EXIT_CODES if isinstance(reason, kind)), None)
        if found is None:
            raise
        code = found
        if isinstance(reason, ConnectorError):
            hint = "; check --token or TRIO_MCP_TOKEN" if isinstance(reason, AuthorizationError) else ""
            print_text(Console(stderr=True), one_line(f"error: {reason}{hint}"))
    raise typer.Exit(code)


def _reason(exc: BaseException) -> BaseException:
    """What a group comes down to: connectors raise none, but the nurseries of the demo do."""
    while isinstance(exc, BaseExceptionGroup):
        interrupts = exc.subgroup(KeyboardInterrupt)
        exc = (interrupts or exc).exceptions[0]
    return exc
