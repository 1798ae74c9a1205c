"""One server's host in memory, for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio

from trio_mcp.testing.memory_network import MemoryNetwork
from trio_mcp.testing.memory_stream import MemoryStream

HOST: Final = "server.test"


async def echo(stream: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)


@asynccontextmanager
async def served(network: MemoryNetwork) -> AsyncGenerator[None]:
    """An echo server on the port 80 of `HOST`."""
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, echo, [network.listen(HOST, 80)])
        yield
        nursery.cancel_scope.cancel()


async def pair(network: MemoryNetwork, port: int = 80) -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection; nobody listens any more."""
    async with network.listen(HOST, port) as listener:
        client = await network.open_stream(HOST, port)
        return client, await listener.accept()


async def never(stream: trio.abc.ReceiveStream, seconds: float) -> None:
    """Nothing comes for so long."""
    with trio.move_on_after(seconds) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught


class _Steps(trio.abc.Instrument):
    def __init__(self, left: int, scope: trio.CancelScope) -> None:
        self._left = left
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left <= 0:
            self._scope.cancel(reason="that are too many steps")


@contextmanager
def bounded(seconds: float = 1000, steps: int = 10_000) -> Generator[None]:
    """What would wait for ever, or turn in circles while the mock clock stands, fails."""
    with trio.fail_after(seconds) as scope:
        instrument = _Steps(steps, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(instrument)
