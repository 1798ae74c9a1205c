"""The options that every command has which connects, and the connection that comes of them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import mcp_types as types
import typer
from rich.console import Console

from ..connector import Connector
from ..errors import MCPError, UsageError
from ..opening import open_connector
from ..protocol.versions import is_modern
from ..text import one_line
from ..transports.stdio import StdioServer
from .arguments import parse_headers
from .elicitation import ElicitationPrompt
from .logs import shown_log
from .output import print_log, print_text
from .sampling import SamplingPrompt
from .session import Session
from .targets import CONFIG_VARIABLE, Target, known_names, read_target
from .terminal import NO_TERMINAL, is_at_terminal

__all__ = ["LOG_LEVELS", "Connecting", "ask_for_logs"]

TOKEN_VARIABLE: Final = "TRIO_MCP_TOKEN"

_PANEL: Final = "Connecting"
LOG_LEVELS: Final = get_args(types.LoggingLevel)


def _complete(incomplete: str) -> list[str]:
    return [name for name in known_names() if name.startswith(incomplete)]


@dataclass(frozen=True)
class Connecting:
    """Where to, and how. Its fields are parameters of the commands: see `commands.py`."""

    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A URL, or a name in the configuration file; or none, and a command after -- at the end.",
            autocompletion=_complete,
        ),
    ] = field(repr=False)  # these may be secret, or have something secret in them
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar=CONFIG_VARIABLE,
            help="The configuration file; else .mcp.json or mcp.json here, or the user's own.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    milliseconds: Annotated[
        bool,
        typer.Option(
            "--milliseconds",
            help="The configuration file counts in milliseconds, as for Claude Code and Gemini CLI.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="K:V",
            help="Send this header; may be repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = field(default=None, repr=False)
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help=f"A bearer token; for a URL, better in {TOKEN_VARIABLE}, where others cannot see it.",
            rich_help_panel=_PANEL,
        ),
    ] = field(default=None, repr=False)
    protocol_version: Annotated[
        str,
        typer.Option(
            "--protocol-version", metavar="V", help="The only version to speak.", rich_help_panel=_PANEL
        ),
    ] = "auto"
    transport: Annotated[
        str | None,
        typer.Option(
            "--transport",
            metavar="T",
            help="auto, streamable-http, or sse for HTTP+SSE.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ca: Annotated[
        str | None,
        typer.Option(
            "--ca", metavar="FILE", help="Trust this authority's certificates only.", rich_help_panel=_PANEL
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Do not check the server's certificate.", rich_help_panel=_PANEL),
    ] = False
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME[=VALUE]",
            help="A variable for the command, which inherits hardly any; may be repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = field(default=None, repr=False)
    log_level: Annotated[
        str,
        typer.Option(
            "--log-level",
            metavar="LEVEL",
            help="What of the server's log goes to stderr: debug, info, …, or off.",
            rich_help_panel=_PANEL,
        ),
    ] = "info"
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            help="Give up when this is over.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show the client's own log, too.", rich_help_panel=_PANEL),
    ] = False

    @cached_property
    def place(self) -> Target:
        """What the target means.

        Raises:
            UsageError: nothing.
        """
        return read_target(self.target, self.config, milliseconds=self.milliseconds)

    @asynccontextmanager
    async def open(self, *, closed: str | None = None, **more: Any) -> AsyncGenerator[Session]:
        """Connect, for the block.

        Args:
            closed: why the server can ask nothing; None if it can, where there is a terminal.
            **more: options of the connector, which come before all others.

        Raises:
            ConnectorError: see `open_connector`.
        """
        if self.log_level not in (*LOG_LEVELS, "off"):
            raise UsageError(f"--log-level is one of {', '.join(LOG_LEVELS)} or off, not {self.log_level!r}")
        session = Session(
            Console(), Console(stderr=True), closed or (None if is_at_terminal() else NO_TERMINAL)
        )
        with shown_log(session.notes, verbose=self.verbose):
            connector = open_connector(
                self._where(), **{**await self.options(), **self._callbacks(session), **more}
            )
            session.terminal.server = connector.public_identifier
            async with connector as c:
                session.connector = c
                if self.log_level != "off":
                    try:
                        await ask_for_logs(c, self.log_level)
                    except MCPError as exc:  # which is no reason not to do what was asked for
                        print_text(session.notes, one_line(f"the server sends no log: {exc.message}"))
                yield session

    def _where(self) -> Any:
        """The target, with the variables that a program gets."""
        where = self.place.where
        if not isinstance(where, StdioServer):
            if self.env:
                raise UsageError("--env is for commands")
            return where
        variables = {}
        for word in self.env or ():
            name, equals, value = word.partition("=")
            if not equals and name not in os.environ:
                raise UsageError(f"--env {name}: there is no such variable here that it could inherit")
            variables[name] = value if equals else os.environ[name]
        return StdioServer(where.command, where.args, {**(where.env or {}), **variables}, where.cwd)

    async def options(self) -> dict[str, Any]:
        """The options of the connector, but its callbacks.

        Raises:
            UsageError: one that does not go with the target.
        """
        options: dict[str, Any] = {**self.place.options}
        if self.protocol_version != "auto":
            options["protocol_version"] = self.protocol_version
        url = self.place.url
        given = {
            "--header": self.header,
            "--token": self.token,
            "--transport": self.transport,
            "--ca": self.ca,
            "--insecure": self.insecure,
        }
        if url is None:
            for name, value in given.items():
                if value:
                    raise UsageError(f"{name} is for URLs")
            return options
        headers = parse_headers(self.header or ())
        given_names = {name.lower() for name in headers}
        configured = options.get("headers") or {}
        headers |= {name: value for name, value in configured.items() if name.lower() not in given_names}
        options["headers"] = headers
        if self.transport is not None:
            if not url.lower().startswith("http"):
                raise UsageError("--transport is for http:// and https://")
            options["transport"] = self.transport
        if self.ca is not None and self.insecure:
            raise UsageError("--ca and --insecure exclude each other")
        if self.ca is not None or self.insecure:
            options["verify"] = self.ca or False
        options["auth"] = await self._auth(url, options)
        return options

    async def _auth(self, url: str, options: dict[str, Any]) -> Any:
        configured = options.get("auth")
        token = self.token
        if token is None and self.place.name is None:
            # It is for a URL that the person types, and not for wherever a file leads to.
            token = os.environ.get(TOKEN_VARIABLE) or None
        if token is not None:
            return token
        if any(name.lower() == "authorization" for name in options["headers"]):
            return configured
        from .logins import kept_auth  # with OAuth, which a command on stdio need not wait for

        return await kept_auth(url, configured, f"trio-mcp login {self.place.shown}")

    def _callbacks(self, session: Session) -> dict[str, Any]:
        async def log(message: types.LoggingMessageNotificationParams) -> None:
            print_log(session.notes, message)

        async def stderr(line: str) -> None:
            print_text(session.notes, one_line(line), style="dim")

        async def drop(line: str) -> None:
            pass

        callbacks: dict[str, Any] = {
            "elicitation_callback": ElicitationPrompt(session.terminal),
            "sampling_callback": SamplingPrompt(session.terminal),
        }
        if self.log_level != "off":
            callbacks["logging_callback"] = log
        if self.place.url is None:
            callbacks["stderr"] = drop if self.log_level == "off" else stderr
        return callbacks


async def ask_for_logs(c: Connector, level: Any) -> None:
    """Have the server send its log, as far as it can."""
    # A legacy server without the capability would answer with an error; a modern one ignores the wish.
    if is_modern(c.protocol_version) or c.server_capabilities.logging is not None:
        await c.set_logging_level(level)
