"""A server of the official SDK that runs in this process: no bytes leave it, and no time passes.

The SDK's servers take a pair of streams that carry its message objects. Ours are bytes until then, as on any
other transport: client and server share no object that either could change, and what has no JSON form is
found out as it would be elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import mcp_types as types
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from pydantic_core import PydanticSerializationError

from ..errors import ConnectionLost, MessageTooLarge, ServerFailed
from ..supervision import open_flat_nursery
from .wires import Wire

__all__ = ["open_server"]

logger: Final = logging.getLogger("trio_mcp")

_BUFFER: Final = 16  # messages on their way, in each direction
_PATIENCE: Final = 0.5  # seconds that a server has to end when it has stopped to speak
_UNHANDLED: Final = 0  # the code of the error that the SDK's server answers with when its handler raises


@asynccontextmanager
async def open_server(
    server: Server[Any], raise_exceptions: bool, max_message_size: int, grace: float
) -> AsyncGenerator[Wire]:
    """A wire to `server`, which runs for as long as the block.

    In the end it gets the end of its input; if it has not ended within `grace` seconds, it is cancelled.

    Args:
        server: the low-level server.
        raise_exceptions: whether an exception in a handler ends the server.
        max_message_size: bytes that one message of the server may have.
        grace: seconds.
    """
    to_server, its_input = anyio.create_memory_object_stream[SessionMessage | Exception](_BUFFER)
    its_output, from_server = anyio.create_memory_object_stream[SessionMessage](_BUFFER)
    run = _Run(server, its_input, its_output, raise_exceptions)
    async with open_flat_nursery() as nursery:
        nursery.start_soon(run.run)
        try:
            yield _MemoryWire(to_server, from_server, run, max_message_size)
        finally:
            from_server.close()  # what it still says is for nobody, and must not hold it up
            to_server.close()
            with trio.move_on_after(grace, shield=True):
                await run.ended.wait()
            if run.failure is not None and not run.told:
                logger.error("the server failed while it was ended", exc_info=run.failure)
            run.scope.cancel(reason="the connection is closed")


class _Run:
    """The server at work, and what becomes of it.

    Attributes:
        scope: around it; cancelling the connector leaves it alone, so that it can end in order.
        ended: it has.
        failure: what it raised.
        told: whether somebody has been told of that.
    """

    def __init__(
        self,
        server: Server[Any],
        its_input: MemoryObjectReceiveStream[SessionMessage | Exception],
        its_output: MemoryObjectSendStream[SessionMessage],
        raise_exceptions: bool,
    ) -> None:
        self.scope: trio.CancelScope = trio.CancelScope(shield=True)
        self.ended: trio.Event = trio.Event()
        self.failure: Exception | None = None
        self.told: bool = False
        self.raise_exceptions: bool = raise_exceptions
        self._server = server
        self._input = its_input
        self._output = its_output

    async def run(self) -> None:
        options = self._server.create_initialization_options()
        try:
            with self.scope:
                await self._server.run(self._input, self._output, options, self.raise_exceptions)
        except Exception as exc:
            self.failure = _only_leaf(exc)
        finally:
            self._input.close()
            self._output.close()
            self.ended.set()

    async def reason(self) -> ConnectionLost:
        """Why it speaks no more; the cause is set."""
        with trio.move_on_after(_PATIENCE):
            await self.ended.wait()
        if self.failure is None:
            return ConnectionLost("the server in this process has ended")
        self.told = True
        return _failed(self.failure)


class _MemoryWire(Wire):
    """Carries messages to a server and back.

    Args:
        to_server: what the server reads.
        from_server: what it writes.
        run: the server.
        max_message_size: bytes of a message of the server.
    """

    def __init__(
        self,
        to_server: MemoryObjectSendStream[SessionMessage | Exception],
        from_server: MemoryObjectReceiveStream[SessionMessage],
        run: _Run,
        max_message_size: int,
    ) -> None:
        self._to_server = to_server
        self._from_server = from_server
        self._run = run
        self._max_message_size = max_message_size

    async def send(self, message: bytes) -> None:
        parsed = types.jsonrpc_message_adapter.validate_json(message, by_name=False)
        with suppress(anyio.BrokenResourceError):
            await self._to_server.send(SessionMessage(parsed))
            return
        # The reader has more to say: there may be answers on the way.
        await trio.sleep(_PATIENCE)
        raise await self._run.reason()

    async def receive(self) -> bytes:
        sent: SessionMessage | None = None
        with suppress(anyio.EndOfStream):
            sent = await self._from_server.receive()
        if sent is None:
            raise await self._run.reason()
        message = sent.message
        if self._run.raise_exceptions and isinstance(message, types.JSONRPCError):
            await self._rather_raise(message)
        try:
            data = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        except PydanticSerializationError as exc:
            raise _failed(exc) from exc
        if len(data) > self._max_message_size:
            raise MessageTooLarge(
                f"the server sent a message of more than {self._max_message_size} bytes; "
                "max_message_size raises the limit"
            )
        return data

    async def _rather_raise(self, answer: types.JSONRPCError) -> None:
        """The exception that `answer` comes of ends the server a moment later, and tells more than it."""
        if answer.error.code == _UNHANDLED:
            with trio.move_on_after(_PATIENCE):
                await self._run.ended.wait()
            if self._run.failure is not None:
                raise await self._run.reason()


def _failed(exc: Exception) -> ServerFailed:
    """The error that the server's exception comes out as."""
    error = ServerFailed(f"the server in this process failed: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _only_leaf(exc: Exception) -> Exception:
    """What the server raised, without the groups that its task groups have put around it, if it is one."""
    while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc
