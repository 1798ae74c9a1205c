"""The phases in which connections are struck, and not requests: when they are made, later, and at the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import trio

from trio_mcp import Connector
from trio_mcp.errors import NotConnected
from trio_mcp.testing import MemoryNetwork

from .cells import GOODBYE, Cell, Played
from .connections import DIALLED, LINKS, Dialled, LinkFault, serve, trust
from .oracle import Watch
from .outcomes import OK, Attempt, Fails
from .server import Era
from .world import HOST, PORT, World

__all__ = ["CELLS"]

_ERAS: Final[tuple[Era, ...]] = ("modern", "legacy")
_CLOSED: Final = Fails(NotConnected, "closed")


async def _dial(
    fault: Dialled,
    era: Era,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """Opening a connector is struck, and opening another one is not."""
    world, played = World(era, network, nursery, watch), Played()
    if fault.handle is not None:
        listener = network.listen(HOST, PORT + 1)
        network.link(HOST, PORT + 1).latency = world.link.latency
        nursery.start_soon(trio.serve_listeners, partial(serve, handle=fault.handle), [listener])
    fault.prepare(world)

    async def use(connector: Connector) -> None:
        async with connector as c:
            await c.call_tool("next")

    made = await world.attempt(
        partial(use, world.connect(fault.url, verify=trust() if fault.trusted else True)), leave_after
    )
    played.check_act(made, fault.outcome, leave_after, GOODBYE)
    world.link.heal()
    played.check("opening again", await world.attempt(partial(use, world.connect())))
    return played


async def _while_calling(
    fault: LinkFault,
    era: Era,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """Two calls are under way; one more is made before anything is healed, and one after it."""
    world, played = World(era, network, nursery, watch), Played()
    made: list[Attempt] = []

    async def call(c: Connector, leave_after: float | None) -> None:
        made.append(await world.attempt(lambda: c.call_tool("slow"), leave_after))

    async with world.connect() as c:
        async with trio.open_nursery() as calls:
            calls.start_soon(call, c, leave_after)
            calls.start_soon(call, c, None)
            await trio.sleep(1)
            await fault.strike(world)
            during = await world.attempt(lambda: c.call_tool("next"))
        played.check("a call meanwhile", during, fault.next)
        first, second = sorted(made, key=lambda each: not each.left)
        played.check_act(first, fault.call, leave_after)
        played.check("another call", second, fault.call)
        world.link.heal()
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


async def _while_closing(
    fault: LinkFault,
    era: Era,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """The block is left while a call is under way, and everything is broken."""
    world, played = World(era, network, nursery, watch), Played()
    world.link.latency = 0.1
    calls: list[Attempt] = []

    async def call(c: Connector) -> None:
        calls.append(await world.attempt(lambda: c.call_tool("stuck")))

    async def live() -> None:
        async with world.connect() as c:
            outside.start_soon(call, c)
            await trio.sleep(1)
            outside.start_soon(fault.strike, world)
            closing[0] = trio.current_time()
        played.check_closing(closing[0])

    closing = [0.0]
    async with trio.open_nursery() as outside:
        made = await world.attempt(live, leave_after)
        played.check_act(made, OK, leave_after, GOODBYE)
        played.middle = (closing[0] or trio.current_time()) * 0.9
    if leave_after is None:
        played.check("the call that was under way", calls[0], _CLOSED)
    world.link.heal()
    return played


def _cells() -> Iterator[Cell]:
    for era in _ERAS:
        for dialled in DIALLED:
            yield Cell(era, "connect", dialled.name, dialled.outcome, partial(_dial, dialled, era))
        for fault in LINKS:
            yield Cell(era, "calls", fault.name, fault.call, partial(_while_calling, fault, era))
        for fault in LINKS:
            yield Cell(era, "close", fault.name, _CLOSED, partial(_while_closing, fault, era))


CELLS: Final = list(_cells())
