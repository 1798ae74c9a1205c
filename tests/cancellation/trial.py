"""One run of a scenario, and what must hold whenever it is cancelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias

import mcp_types as types
import trio
import trio.testing
from typing_extensions import Unpack

from trio_mcp import Connector
from trio_mcp.testing import Simulation, cancel_everywhere
from trio_mcp.testing.memory_network import LinkSettings
from trio_mcp.transports.pipe import Pipe
from trio_mcp.transports.streamable_http import StreamableHttp

from .worlds import WORLDS, World, elicit

__all__ = ["GOODBYE", "Scenario", "Trial", "cancelled_everywhere", "text_of", "use"]

PLACES: Final = 2
"""`max_connections`: so few that a place which is not given back is missed."""
SETTLING: Final = 5.0
"""Seconds after which nothing is under way any more: errands, goodbyes, idle connections."""
GOODBYE: Final = 1.0
"""Seconds that leaving a whole connection may take."""


class Trial:
    """A world, and a connection in it.

    Args:
        simulation: the run.
        make: gives the world, whose servers live in the nursery that it is given.
    """

    def __init__(self, simulation: Simulation, world: World, servers: trio.Nursery) -> None:
        self.simulation = simulation
        self.world = world
        self._servers = servers
        self._others = len(_tasks(self._servers))

    @contextmanager
    def cancellable(self, within: float = 0.0) -> Generator[None]:
        """What is cancelled, and must be left within so many seconds."""
        with self.simulation.cancellable() as scope:
            yield
        left = trio.current_time()
        if self.simulation.cancelled_at is not None and scope.cancelled_caught:
            took = left - self.simulation.cancelled_at
            assert took <= within, f"leaving took {took} s"

    def connector(self, **options: Any) -> Any:
        if self.world.exchanges:
            options["max_connections"] = PLACES
        return self.world.connector(elicitation_callback=elicit, **options)

    @asynccontextmanager
    async def connection(self, undelivered: int = 0, **options: Any) -> AsyncGenerator[Connector]:
        """A connection that is not cancelled; its block's end sees to it that nothing was left.

        Args:
            undelivered: messages to the server that may have been lost.
            **options: the connector's.
        """
        async with await self.connector(**options) as c:
            await self.settle()
            before = census(self._servers)
            yield c
            await self.settle()
            assert pending(c) == []
            assert census(self._servers) - before == Counter()
            self.check_told()
            await use(c)
            assert c.statistics().undelivered <= undelivered
        await self.check_nothing_is_left()

    async def settle(self) -> None:
        """Let what is under way come to its end."""
        await trio.sleep(SETTLING)
        await trio.testing.wait_all_tasks_blocked()

    def check_told(self) -> None:
        """The server knows of every call that it need not go on with, and of no other."""
        peer = self.world.peer
        for each in peer.calls():
            if not each.answered:
                told = each.id in peer.told if self.world.tells else each.left
                assert told, f"of {each}, the server was told nothing"
        if not self.world.tells:
            assert peer.told == []
        known = self.world.known
        assert set(peer.told) <= known, f"of {peer.told}, the server has seen {known}"
        assert len(set(peer.told)) == len(peer.told), f"told twice: {peer.told}"

    async def check_nothing_is_left(self) -> None:
        """The connection has ended, and all that belonged to it."""
        await self.settle()
        assert census(self._servers) == self._before
        assert self.world.network.connections == [], census(self._servers)
        left = _tasks(self._servers)
        assert len(left) == self._others, f"the server still serves: {left}"

    async def run(self, scenario: Scenario) -> None:
        """Run it; afterwards nothing is left."""
        await trio.testing.wait_all_tasks_blocked()
        self._before = census(self._servers)
        self._others = len(_tasks(self._servers))
        await scenario(self)
        await self.check_nothing_is_left()


async def use(c: Connector) -> None:
    """As many calls at a time as there are places, and none waits for what is not there any more."""

    async def call() -> None:
        assert text_of(await c.call_tool("quick")) == "done"

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for _ in range(PLACES):
                nursery.start_soon(call)


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


def pending(c: Connector) -> list[str]:
    """What a connection still waits for, in places that only it knows."""
    connection = c._live()
    session, transport = connection.session, connection.session.transport
    found = [f"in flight: {each}" for each in session._in_flight._scopes]
    if c.statistics().requests_in_flight:
        found.append(f"{c.statistics().requests_in_flight} requests in flight")
    found += [f"progress of {token}" for token in connection.dispatcher._progress]
    if connection.supervisor.errands.busy:
        found.append(f"{connection.supervisor.errands.busy} errands")
    while not isinstance(transport, Pipe | StreamableHttp):
        transport = transport._current  # type: ignore[attr-defined]
    if isinstance(transport, Pipe):
        found += [f"waiting: {each}" for each in transport._waiting]
    elif transport._places.value != PLACES:
        found.append(f"{PLACES - transport._places.value} places are taken")
    return found


def census(without: trio.Nursery) -> Counter[str]:
    """The tasks of this run, by name, but for those of one nursery."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found: Counter[str] = Counter()
    waiting = [root]
    while waiting:
        task = waiting.pop()
        found[task.name] += 1
        for nursery in task.child_nurseries:
            if nursery is not without:
                waiting += nursery.child_tasks
    return found


def _tasks(nursery: trio.Nursery) -> list[str]:
    found, waiting = [], list(nursery.child_tasks)
    while waiting:
        task = waiting.pop()
        found.append(task.name)
        waiting += [child for each in task.child_nurseries for child in each.child_tasks]
    return found


Scenario: TypeAlias = Callable[[Trial], Awaitable[None]]


def cancelled_everywhere(
    scenario: Scenario, world: str, *, seed: int = 0, **link: Unpack[LinkSettings]
) -> None:
    """Run `scenario` in that world once for each step at which it can be cancelled."""
    kind, version = WORLDS[world]

    async def main(simulation: Simulation) -> None:
        simulation.network.set_link(**link)
        async with trio.open_nursery() as nursery:
            trial = Trial(simulation, kind(version, simulation, nursery), nursery)
            await trial.run(scenario)
            nursery.cancel_scope.cancel(reason="the trial is over")

    cancel_everywhere(main, seed=seed, time_limit=600)
