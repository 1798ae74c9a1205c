"""`StreamConnector` and `wrap_stream`: a server at the other end of any stream of bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import mcp_types as types
import trio
from typing_extensions import Unpack

from .block import check_trio
from .connection import TransportFactory
from .errors import ConfigurationError
from .options import CommonOptions
from .pipe_connector import PipeConnector
from .transports.lines import LineWire
from .transports.wires import Wire

__all__ = ["StreamConnector", "StreamOptions", "wrap_stream"]


class StreamOptions(CommonOptions, total=False):
    """What they mean stands at `StreamConnector`."""

    timeout: float
    roots: Sequence[types.Root] | None
    max_message_size: int


class StreamConnector(PipeConnector):
    """A connection over a stream that is there already, with a message on each line, as stdio has it.

    26/basic/transports/stdio: it works over "any similar channel". A stream that was lost is not replaced:
    only its owner could open another one.

    Args:
        stream: where both sides' messages go. From the block's begin on it is the connector's, which closes
            it, however the block ends.
        timeout: seconds in which the other side takes nothing of a message; then the connection counts as
            lost.
        roots: `file://` roots to offer; see `set_roots`.
        max_message_size: bytes that a line of the server may have.
        **options: as for `HttpConnector`.

    Raises:
        ConfigurationError: an option that cannot work. Entering the block raises `ConnectionLost` if the
            stream ends before the handshake does.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        timeout: float = 5,
        roots: Sequence[types.Root] | None = None,
        max_message_size: int = 1 << 24,
        **options: Unpack[CommonOptions],
    ) -> None:
        if not isinstance(stream, trio.abc.Stream):
            raise ConfigurationError(f"stream must be a trio.abc.Stream, not {type(stream).__name__}")
        super().__init__(
            f"stream:{type(stream).__name__}",
            "stream",
            timeout=timeout,
            roots=roots,
            reconnect=False,
            max_message_size=max_message_size,
            **options,
        )
        self._stream = stream

    @asynccontextmanager
    async def _open_transport(self) -> AsyncGenerator[TransportFactory]:
        try:
            async with super()._open_transport() as make:
                yield make
        finally:
            # For where it did not come to a wire: it does not wait.
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    @asynccontextmanager
    async def _open_wire(self) -> AsyncGenerator[Wire]:
        try:
            yield LineWire(self._stream, self._stream, self._max_message_size)
        finally:
            with suppress(trio.BrokenResourceError, OSError):  # it is closed all the same
                await self._stream.aclose()  # noqa: ASYNC102 - it may take leave, and may be cancelled


async def wrap_stream(
    nursery: trio.Nursery, stream: trio.abc.Stream, **options: Unpack[StreamOptions]
) -> StreamConnector:
    """Speak MCP over `stream`, with the connection's tasks in the caller's nursery.

        async with trio.open_nursery() as nursery:
            stream = await trio.open_unix_socket("/run/tools.sock")
            c = await wrap_stream(nursery, stream)
            await c.list_tools()
            await c.aclose()

    For sockets, the channels of an ssh library, and tests. It is open when this returns. End it with
    `await c.aclose()`, which closes the stream; cancelling the nursery ends it too. What a callback raises
    comes out of the nursery.

    Args:
        nursery: where the connection lives.
        stream: see `StreamConnector`.
        **options: see `StreamConnector`.

    Raises:
        ConnectorError: it could not be opened; the stream is closed then.
    """
    check_trio()
    connector = StreamConnector(stream, **options)
    await nursery.start(connector.run)
    return connector
