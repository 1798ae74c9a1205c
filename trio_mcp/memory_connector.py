"""`MemoryConnector`: the connector for a server object of the official SDK, in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import mcp_types as types
from typing_extensions import Unpack

from .errors import ConfigurationError
from .options import CommonOptions
from .pipe_connector import PipeConnector, PipeOptions
from .reconnecting import ReconnectPolicy
from .transports.wires import Wire

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import MCPServer

__all__ = ["InProcessServer", "MemoryConnector", "MemoryOptions", "is_server"]

InProcessServer: TypeAlias = "MCPServer[Any] | Server[Any]"

_GRACE: Final = 0.8  # the part of the goodbye that the server has to end by itself


class MemoryOptions(PipeOptions, total=False):
    """What they mean stands at `MemoryConnector`."""

    raise_exceptions: bool


class MemoryConnector(PipeConnector):
    """A connection to a server object, which runs in the connector's nursery for as long as the block.

    It uses no sockets and no threads, so that it is right under a mock clock; of tools that are not `async`,
    the SDK's `MCPServer` runs each in a thread of its own accord.

    Args:
        server: an `MCPServer` of the official SDK, or its low-level `Server`. Its lifespan begins and ends
            with the connection; each connection runs it anew.
        raise_exceptions: whether an exception in a handler of a low-level server ends it, and comes out of
            the call as `ServerFailed`, with the exception as its cause; otherwise it is answered as an error,
            as over any other transport. (`MCPServer` makes results of what its tools raise.)
        timeout: seconds in which the server takes nothing of a message; then the connection counts as lost.
        roots: `file://` roots to offer; see `set_roots`.
        reconnect: whether a server that ends is run again, and how. Calls that were under way fail.
        max_message_size: bytes that one message of the server may have.
        **options: as for `HttpConnector`.

    Raises:
        ConfigurationError: an option that cannot work. Entering the block raises `ServerFailed` if the server
            does, in its lifespan for instance.
    """

    def __init__(
        self,
        server: InProcessServer,
        *,
        raise_exceptions: bool = False,
        timeout: float = 5,
        roots: Sequence[types.Root] | None = None,
        reconnect: bool | ReconnectPolicy = False,
        max_message_size: int = 1 << 24,
        **options: Unpack[CommonOptions],
    ) -> None:
        low_level = _low_level(server)
        if low_level is None:
            raise ConfigurationError(
                f"server must be an mcp.server.MCPServer or a low-level Server, not {type(server).__name__}"
            )
        super().__init__(
            f"memory:{low_level.name}",
            "memory",
            timeout=timeout,
            roots=roots,
            reconnect=reconnect,
            max_message_size=max_message_size,
            **options,
        )
        self._server = low_level
        self._raise_exceptions = raise_exceptions

    def _open_wire(self) -> AbstractAsyncContextManager[Wire]:
        # It imports `mcp`, which is there already if there is a server of it.
        from .transports.memory import open_server

        grace = self._setup.goodbye_timeout * _GRACE
        return open_server(self._server, self._raise_exceptions, self._max_message_size, grace)


def is_server(target: object) -> bool:
    """Whether `target` is a server that `MemoryConnector` takes."""
    return _low_level(target) is not None


def _low_level(target: object) -> Server[Any] | None:
    """The low-level server that `target` is, or stands on.

    Where there is a server, its module is imported; we need not import it to know.
    """
    mcpserver, lowlevel = sys.modules.get("mcp.server.mcpserver"), sys.modules.get("mcp.server.lowlevel")
    if mcpserver is not None and isinstance(target, mcpserver.MCPServer):
        target = target._lowlevel_server  # it has no public name yet
    if lowlevel is not None and isinstance(target, lowlevel.Server):
        return cast("Server[Any]", target)
    return None
