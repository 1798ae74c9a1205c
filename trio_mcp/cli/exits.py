"""How a command ends: its exit code by the kind of failure, and one line on stderr that says what to do."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

import trio
import typer
from rich.console import Console

from ..errors import (
    AccessDenied,
    AuthorizationError,
    ConnectError,
    ConnectorError,
    MCPError,
    ProtocolError,
    UsageError,
)
from ..text import one_line
from .output import print_text

__all__ = ["DONE", "EXIT_CODES", "FAILED", "TIME_IS_UP", "code_of", "in_words", "report", "run"]

DONE: Final = 0
FAILED: Final = 1
TIME_IS_UP: Final = 7

EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 the tool failed or the connection was lost, 2 a mistake in the command, "
    "3 could not connect, 4 access denied, 5 the server broke the protocol, 6 the server answered with an "
    "error, 7 the time of --timeout was up, 130 Ctrl-C."
)

_PARAMETERS: Final = re.compile(r" \([a-z_]+=\)")

_CODES: Final[Sequence[tuple[type[BaseException], int]]] = (
    (UsageError, 2),
    (ConnectError, 3),
    (AuthorizationError, 4),
    (ProtocolError, 5),
    (MCPError, 6),
    (KeyboardInterrupt, 130),
    (ConnectorError, FAILED),
)


def run(main: Callable[[], Awaitable[int]], *, timeout: float | None = None) -> NoReturn:
    """Run `main` on Trio and exit with its code, or with that of what it raised.

    Args:
        main: a command; what it returns is the exit code.
        timeout: seconds that it may take; None for all the time there is.
    """

    async def limited() -> int:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            return await main()
        sys.stderr.write(f"error: not done within {timeout:g} s (--timeout)\n")
        return TIME_IS_UP

    try:
        code = trio.run(limited)
    except BrokenPipeError:  # of stdout: whoever reads it, such as `head`, has seen enough
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # what is left would fail again
        code = FAILED
    except OSError as exc:  # the connector's own are typed: this is what could not be written
        sys.stderr.write(f"error: {exc}\n")
        code = FAILED
    except (ConnectorError, KeyboardInterrupt, BaseExceptionGroup) as exc:
        reason = _reason(exc)
        found = code_of(reason)
        if found is None:
            raise
        code = found
        if isinstance(reason, ConnectorError):
            report(Console(stderr=True), reason)
    raise typer.Exit(code)


def code_of(exc: BaseException) -> int | None:
    """The exit code for an exception; None if nobody expects it."""
    return next((code for kind, code in _CODES if isinstance(exc, kind)), None)


def report(console: Console, exc: ConnectorError) -> None:
    """One line: what failed, where, and what to do."""
    print_text(console, one_line(f"error: {in_words(str(exc))}{_advice(exc)}"))


def in_words(message: str) -> str:
    """An error's text without the names of parameters, which are for programs: " (auth=)"."""
    return _PARAMETERS.sub("", message).replace("milliseconds=True", "--milliseconds")


def _advice(exc: ConnectorError) -> str:
    if isinstance(exc, AccessDenied):
        where = exc.server or "URL"
        return f": `trio-mcp login {where}` logs in by OAuth; a token goes into --token or TRIO_MCP_TOKEN"
    if isinstance(exc, ConnectError | ProtocolError):
        return "; `trio-mcp doctor` looks for the reason"
    return ""


def _reason(exc: BaseException) -> BaseException:
    """What a group comes down to: connectors raise none, but the nurseries of a command do."""
    while isinstance(exc, BaseExceptionGroup):
        interrupts = exc.subgroup(KeyboardInterrupt)
        exc = (interrupts or exc).exceptions[0]
    return exc
