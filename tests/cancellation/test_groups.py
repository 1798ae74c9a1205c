"""Groups of servers, cancelled while they are opened, used and closed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import trio
import trio.testing

from trio_mcp import ConnectorGroup, open_connectors
from trio_mcp.testing import Simulation, cancel_everywhere

from .trial import GOODBYE, SETTLING, census, text_of
from .worlds import Http

ERAS: Final = {"new": "2026-07-28", "old": "2025-11-25"}


class Servers:
    """A server of each era."""

    def __init__(self, simulation: Simulation, nursery: trio.Nursery) -> None:
        self.network = simulation.network
        self._nursery = nursery
        self.worlds = {
            name: Http(version, simulation, nursery, f"http://{name}.test/mcp")
            for name, version in ERAS.items()
        }

    def group(self) -> ConnectorGroup:
        urls = {name: world.server.url for name, world in self.worlds.items()}
        return open_connectors(urls, network=self.network, restart=True)

    async def check_nothing_is_left(self, before: object) -> None:
        await trio.sleep(SETTLING)
        await trio.testing.wait_all_tasks_blocked()
        assert census(self._nursery) == before
        assert self.network.connections == []


async def use(group: ConnectorGroup) -> None:
    """All of the servers work."""
    tools = await group.list_tools()
    assert not tools.missing
    assert [tool.name for tool in tools] == [f"{name}__t{page}" for name in ERAS for page in (1, 2)]
    for name in ERAS:
        assert text_of(await group.call_tool(f"{name}__t1")) == "done"


def test_a_group_that_is_cancelled_at_any_time_leaves_nothing_behind() -> None:
    async def main(simulation: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            servers = Servers(simulation, nursery)
            before = census(nursery)
            with simulation.cancellable():
                async with servers.group() as group:
                    await use(group)
            if simulation.cancelled_at is not None:
                assert trio.current_time() <= simulation.cancelled_at + GOODBYE
            await servers.check_nothing_is_left(before)
            async with servers.group() as group:
                await use(group)
            await servers.check_nothing_is_left(before)
            nursery.cancel_scope.cancel()

    assert cancel_everywhere(main, time_limit=600) > 50


def test_calls_in_a_group_that_are_cancelled_at_any_time_disturb_nobody() -> None:
    async def main(simulation: Simulation) -> None:
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            servers = Servers(simulation, nursery)
            group = await stack.enter_async_context(servers.group())
            with simulation.cancellable():
                await use(group)
            if simulation.cancelled_at is not None:
                assert trio.current_time() == simulation.cancelled_at
            await trio.sleep(SETTLING)
            assert all(state.status == "up" for state in group.states.values())
            for name in ERAS:
                assert group[name].statistics().requests_in_flight == 0
            with trio.fail_after(1):
                await use(group)
            for world in servers.worlds.values():
                assert all(each.answered or each.left for each in world.peer.calls())
                assert set(world.peer.told) <= world.known
            await stack.aclose()
            nursery.cancel_scope.cancel()

    assert cancel_everywhere(main, time_limit=600) > 20
