"""The parts of a server, as the types that a test expects."""

from __future__ import annotations

from trio_mcp import OAuth, StdioServer
from trio_mcp.group.server import Server


def program(server: Server) -> StdioServer:
    assert isinstance(server.target, StdioServer)
    return server.target


def oauth(server: Server) -> OAuth:
    auth = server.options["auth"]
    assert isinstance(auth, OAuth)
    return auth
