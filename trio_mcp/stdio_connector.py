"""`StdioConnector`: the connector for a server that is a program."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import PurePath
from typing import Final

import mcp_types as types
from typing_extensions import Unpack

from .errors import ConfigurationError
from .options import CommonOptions
from .pipe_connector import PipeConnector, PipeOptions
from .reconnecting import ReconnectPolicy
from .statistics import Statistics
from .supervision import Supervisor
from .transports.stderr import Stderr, StderrOption
from .transports.stdio import StdioServer, open_process
from .transports.wires import Wire

__all__ = ["StdioConnector", "StdioOptions"]

_GRACE: Final = 0.9  # the part of the goodbye that a process has to exit by itself, or at a signal


class StdioOptions(PipeOptions, total=False):
    """What they mean stands at `StdioConnector`."""

    stderr: StderrOption


class StdioConnector(PipeConnector):
    """A connection to a server that runs as a child process, for as long as the block.

    Args:
        server: what to start.
        stderr: where the server's stderr goes, line by line: a text file such as `sys.stderr`, an async
            callback, or None for the logger `trio_mcp.stderr` at level DEBUG. What the server writes there is
            never the cause of an error; its last lines stand in the error where the process dies. Up to 1,000
            lines wait for the callback, then the oldest are forgotten; what it raises ends the block.
        timeout: seconds in which the server takes nothing of a message; then the connection counts as lost.
        roots: `file://` roots to offer; see `set_roots`.
        reconnect: whether a server that exits is started again, and how. Calls that were under way fail with
            `ConnectionLost`, and are not sent again: the server may have carried them out.
        max_message_size: bytes that a line of the server may have.
        **options: as for `HttpConnector`.

    Raises:
        ConfigurationError: an option that cannot work. Entering the block raises `ConnectError` if the
            program cannot be started, and `ConnectionLost`, with its last words, if it ends at once.
    """

    def __init__(
        self,
        server: StdioServer,
        *,
        stderr: StderrOption = None,
        timeout: float = 5,
        roots: Sequence[types.Root] | None = None,
        reconnect: bool | ReconnectPolicy = False,
        max_message_size: int = 1 << 24,
        **options: Unpack[CommonOptions],
    ) -> None:
        if not isinstance(server, StdioServer):
            raise ConfigurationError(f"server must be a StdioServer, not {type(server).__name__}")
        if stderr is not None and not callable(stderr) and not hasattr(stderr, "write"):
            raise ConfigurationError(f"stderr must be a text file or a callback, not {type(stderr).__name__}")
        # Without the arguments: they may hold secrets.
        super().__init__(
            f"stdio:{PurePath(server.command).name}",
            "stdio",
            timeout=timeout,
            roots=roots,
            reconnect=reconnect,
            max_message_size=max_message_size,
            **options,
        )
        self._server = server
        self._stderr = stderr

    def _prepare(self, supervisor: Supervisor, statistics: Statistics) -> None:
        self._sink = Stderr(self._stderr, self._server.env or {}, supervisor, statistics)

    def _open_wire(self) -> AbstractAsyncContextManager[Wire]:
        grace = self._setup.goodbye_timeout * _GRACE
        return open_process(self._server, self._sink, self._max_message_size, grace)
