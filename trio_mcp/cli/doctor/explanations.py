"""From an error to plain words: what it means for somebody who only wants to use the server."""

from __future__ import annotations

from ...deadlines import ConnectTimeout
from ...errors import (
    ConnectionLost,
    ConnectorError,
    HTTPStatusError,
    MCPError,
    ProtocolError,
    VersionMismatch,
)
from .http import Answered

__all__ = ["explain"]


def explain(exc: ConnectorError, answered: Answered | None) -> tuple[str, str | None]:
    """What is wrong, and what to do; None if nothing can be said.

    Args:
        exc: what ended the attempt to connect.
        answered: what a GET of the URL had brought, if anything.
    """
    is_page = answered is not None and answered.is_page and answered.status < 400
    match exc:
        case HTTPStatusError() if 300 <= exc.status_code < 400:
            where = exc.headers.get("location", "another address")
            return f"the server sends on to {where}", "use that address, if you trust it"
        case ProtocolError() | HTTPStatusError(status_code=400 | 404 | 405 | 501) if is_page:
            assert answered is not None
            title = f", {answered.title!r}," if answered.title else ""
            return (
                f"there is a web page{title} at this address, and no MCP endpoint",
                "ask the server's documentation for its endpoint; it often ends in /mcp or /sse",
            )
        # 501 is what a server of files says to a POST.
        case HTTPStatusError(status_code=404 | 405 | 501):
            return (
                f"there is no MCP endpoint at this address (HTTP {exc.status_code})",
                "look at the path again; it often ends in /mcp or /sse",
            )
        case HTTPStatusError(status_code=429):
            seconds = "" if exc.retry_after is None else f" for {exc.retry_after:g} s"
            return "the server is asked too much (HTTP 429)", f"wait{seconds}, and try again"
        case HTTPStatusError() if exc.status_code >= 500:
            return (
                f"the server, or a proxy before it, fails: {exc.message}",
                "look at the server's log, or try again later",
            )
        case VersionMismatch():
            return exc.message, "update the older of the two sides, or give --protocol-version"
        case ConnectTimeout():
            return (
                f"it takes connections, but does not answer MCP: {exc.message}",
                "is it an MCP server, and is it busy or stuck? what does its log say?",
            )
        case MCPError():
            return f"the server refuses the handshake: {exc.message} (error {exc.code})", None
        case ProtocolError():
            return (
                f"what answers does not speak MCP as it should: {exc.message}",
                "is this the address of an MCP server? if it is, tell its makers",
            )
        case ConnectionLost() if (exc.server or "").startswith("stdio:"):
            return (
                exc.message,
                "run the command by hand: it must wait for input, and print nothing but MCP to stdout",
            )
        case ConnectionLost():
            return f"the connection was lost: {exc.message}", "what does the server's log say?"
        case _:
            return exc.message, None
