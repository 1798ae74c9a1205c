"""`trio-mcp doctor`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ..connecting import Connecting
from ..output import print_json
from ..tools import AsJson
from .examination import examine
from .findings import Findings

__all__ = ["doctor"]


async def doctor(
    where: Connecting,
    patience: Annotated[
        float,
        typer.Option("--patience", min=0.001, metavar="SECONDS", help="How long to wait for each step."),
    ] = 5,
    json: AsJson = False,
) -> int:
    """Find out why a server cannot be used, or how well it works.

    From the bottom up: the name (DNS), the port (TCP), the certificate (TLS), HTTP, what the server speaks
    and offers, and how long each took. The exit code is that of the first step that failed.
    """
    console = Console()
    findings = Findings(None if json else console)
    await examine(where, findings, patience)
    if json:
        steps = [each.as_object() for each in findings]
        print_json(console, {"ok": findings.failure is None, "steps": steps})
    else:
        findings.conclude()
    return findings.code
