"""The command line as a whole: which commands there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final

import typer
from rich.console import Console

from .._version import __version__
from . import demo, login, prompts, resources, tools, watching
from .bench import bench
from .commands import Group, add_command
from .doctor.command import doctor
from .exits import DONE, EXIT_CODES
from .repl import repl

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    cls=Group,
    help="An MCP (Model Context Protocol) client for the terminal.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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


async def show_demo() -> int:
    """Start a server on this machine and show what the client can do."""
    await demo.run(Console())
    return DONE


_COMMANDS: Final[Mapping[str, Callable[..., Awaitable[int]]]] = {
    "demo": show_demo,
    "tools": tools.tools,
    "call": tools.call,
    "resources": resources.resources,
    "read": resources.read,
    "prompts": prompts.prompts,
    "prompt": prompts.prompt,
    "complete": prompts.complete,
    "listen": watching.listen,
    "ping": watching.ping,
    "login": login.login,
    "logout": login.logout,
    "doctor": doctor,
    "bench": bench,
    "repl": repl,
}
for _name, _main in _COMMANDS.items():
    add_command(app, _main, _name)
