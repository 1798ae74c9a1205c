"""The phases over transports whose messages all come by one way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import trio

from trio_mcp import Connector
from trio_mcp.errors import ConnectionLost
from trio_mcp.testing import HttpExchange, MemoryNetwork

from .cells import GOODBYE, Cell, Played
from .oracle import Watch
from .outcomes import Attempt, Fine, Outcome
from .pipe_faults import FAULTS, POSTS, UPGRADES, PipeFault, PostFault, UpgradeFault
from .pipe_worlds import KINDS, Kind, PipeWorld
from .server import Era

__all__ = ["CELLS"]


async def _handshake(
    kind: Kind,
    era: Era,
    fault: PipeFault,
    expected: Outcome,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """The first request of the handshake is struck; another connection's is not."""
    world, played = PipeWorld(kind, era, network, nursery, watch), Played()
    world.misbehave("initialize" if era == "legacy" else "server/discover", fault.strike)
    if era == "modern":
        world.misbehave("initialize", fault.strike)
    began, closing = trio.current_time(), [0.0]

    async def open_and_close() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(world.connect())
            closing[0] = trio.current_time()
        played.check_closing(closing[0])

    made = await world.attempt(open_and_close, leave_after)
    played.check_act(made, expected, leave_after, GOODBYE)
    played.middle = (world.struck_at or trio.current_time()) - began + world.link.latency / 2
    world.behave()
    played.check("opening again", await world.attempt(partial(_use, world)))
    return played


async def _use(world: PipeWorld) -> None:
    async with world.connect() as c:
        await c.call_tool("next")


async def _call(
    kind: Kind,
    era: Era,
    fault: PipeFault,
    expected: Outcome,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """A call is struck. What else is under way is lost with the connection, if that is."""
    world, played, beside = PipeWorld(kind, era, network, nursery, watch), Played(), list[Attempt]()

    async def neighbour(c: Connector) -> None:
        beside.append(await world.attempt(lambda: c.call_tool("slow")))

    async with world.connect() as c:
        world.misbehave("tools/call victim", fault.strike)
        async with trio.open_nursery() as calls:
            calls.start_soon(neighbour, c)
            await trio.sleep(0.5)
            made = await world.attempt(lambda: c.call_tool("victim"), leave_after)
        played.check_act(made, expected, leave_after)
        played.check("a call beside it", beside[0], expected if fault.lost else Fine(within=25))
        world.behave()
        after = await world.attempt(lambda: c.call_tool("next"))
        gone = fault.lost and kind == "lines"  # such a stream cannot be opened again
        if gone:
            played.deviations += (
                [] if isinstance(after.error, ConnectionLost) else [f"the next call: {after}"]
            )
        else:
            played.check("the next call", after, Fine(within=5))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


async def _upgrade(
    fault: UpgradeFault,
    expected: Outcome,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """The opening handshake of a WebSocket is struck."""
    world, played = PipeWorld("websocket", "modern", network, nursery, watch), Played()
    world.accept = fault.strike
    made = await world.attempt(partial(_use, world), leave_after)
    played.check_act(made, expected, leave_after, GOODBYE)
    world.behave()
    played.check("opening again", await world.attempt(partial(_use, world)))
    return played


async def _post(
    fault: PostFault,
    expected: Outcome,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    leave_after: float | None,
) -> Played:
    """The POST that brings a call is struck: that call fails, and nothing else."""
    world, played, beside = PipeWorld("sse", "legacy", network, nursery, watch), Played(), list[Attempt]()

    async def neighbour(c: Connector) -> None:
        beside.append(await world.attempt(lambda: c.call_tool("slow")))

    async def posted(exchange: HttpExchange) -> bool:
        return b"victim" in exchange.request.body and await fault.strike(exchange)

    async with world.connect() as c:
        world.posted = posted
        async with trio.open_nursery() as calls:
            calls.start_soon(neighbour, c)
            await trio.sleep(0.5)
            made = await world.attempt(lambda: c.call_tool("victim"), leave_after)
        played.check_act(made, expected, leave_after)
        played.check("a call beside it", beside[0])
        world.behave()
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


def _cells() -> Iterator[Cell]:
    for kind in KINDS:
        eras: tuple[Era, ...] = ("legacy",) if kind == "sse" else ("modern", "legacy")
        for era in eras:
            server = kind if kind == "sse" else f"{kind}, {era}"
            for fault in FAULTS:
                if kind not in fault.kinds:
                    continue
                expected = fault.outcome(kind)
                yield Cell(server, "call", fault.name, expected, partial(_call, kind, era, fault, expected))
                opening = fault.opening(kind, era)
                yield Cell(
                    server, "handshake", fault.name, opening, partial(_handshake, kind, era, fault, opening)
                )
    for post in POSTS:
        yield Cell("sse", "POST", post.name, post.call, partial(_post, post, post.call))
    for upgrade in UPGRADES:
        yield Cell(
            "websocket", "upgrade", upgrade.name, upgrade.outcome, partial(_upgrade, upgrade, upgrade.outcome)
        )


CELLS: Final = list(_cells())
