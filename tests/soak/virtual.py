"""A week of a connector's life on the mock clock: daily restarts, hourly tokens, a call every few minutes."""

from __future__ import annotations

import gc
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import trio
import trio.testing

from tests.auth.world import World
from trio_mcp import ConnectorError
from trio_mcp.testing import Call, Simulation

__all__ = ["ERAS", "Week", "simulate_week"]

ERAS: Final = {"modern": "2026-07-28", "legacy": "2025-11-25"}
DAY: Final = 86400.0
_CALL_EVERY: Final = 180.0
_DOWNTIME: Final = 60.0
_TOKEN_SECONDS: Final = 3600.0


@dataclass
class Week:
    """What came of it."""

    era: str
    calls: int = 0
    results: int = 0
    errors: int = 0
    restarts: int = 0
    refreshes: int = 0
    logins: int = 0
    reinitializations: int = 0
    twice: int = 0
    lost: int = 0
    events: int = 0
    tasks: int = 0
    objects: int = 0
    virtual: float = 0
    wall: float = 0

    @property
    def sound(self) -> bool:
        """Whether all is well: errors only while the server is away, one login, nothing twice or lost."""
        away = self.restarts * (_DOWNTIME / _CALL_EVERY + 1)
        return (
            self.results + self.errors == self.calls
            and self.errors <= away
            and not (self.twice or self.lost)
            and self.logins == 1
            and self.tasks <= 0
        )


def simulate_week(era: str, *, days: int = 7, seed: int = 0) -> Week:
    """Live through `days` days with one connector, and give an account of them."""
    week = Week(era)
    began = time.perf_counter()

    async def main(simulation: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            await _live(week, simulation, nursery, days)
            nursery.cancel_scope.cancel()

    Simulation(seed, trace=False, time_limit=(days + 1) * DAY).run(main)
    week.wall = time.perf_counter() - began
    return week


async def _live(week: Week, simulation: Simulation, nursery: trio.Nursery, days: int) -> None:
    world = World(nursery, ERAS[week.era])
    server, ledger = world.mcp, Counter[int]()

    def work(call: Call) -> Any:
        ledger[call.params["arguments"]["nonce"]] += 1
        return call.text(str(call.params["arguments"]["nonce"]))

    server.on["tools/call"] = work
    server.listen()
    world.auth.lifetime = _TOKEN_SECONDS
    world.auth.protect(server)
    world.network.set_link(latency=0.02, jitter=0.02)
    results: set[int] = set()

    async def heard(message: object) -> None:
        week.events += 1

    async def restart_daily() -> None:
        while True:
            await trio.sleep(DAY * simulation.rng.uniform(0.9, 1.1))
            week.restarts += 1
            await server.restart(downtime=_DOWNTIME)

    async def tell_hourly() -> None:
        while True:
            await trio.sleep(3600)
            # What a server that runs for a week must not keep.
            server.seen[:] = [
                each for each in server.seen if each.method == "GET" and not each.closed.is_set()
            ]
            if server.seen:
                await server.notify("notifications/tools/list_changed")

    async with world.connect(message_handler=heard) as c:
        async with trio.open_nursery() as helpers:
            helpers.start_soon(restart_daily)
            helpers.start_soon(tell_hourly)
            before = 0, 0
            for nonce in range(int(days * DAY / _CALL_EVERY)):
                week.calls += 1
                try:
                    with trio.fail_after(_CALL_EVERY / 2):
                        await c.call_tool("work", {"nonce": nonce})
                    results.add(nonce)
                except ConnectorError:
                    week.errors += 1
                await trio.sleep(simulation.rng.uniform(0.5, 1.5) * _CALL_EVERY)
                if trio.current_time() > DAY / 2 and before == (0, 0):
                    before = _at_rest()
                if nonce % 100 == 99:
                    world.auth.received.clear()
            # In an hour without a restart, after the last token.
            helpers.cancel_scope.cancel()
        await trio.sleep(60)
        tasks, objects = _at_rest()
        week.tasks, week.objects = tasks - (before[0] - 2), objects - before[1]
        week.reinitializations = c.statistics().reinitializations
    week.results = len(results)
    week.refreshes = sum(form["grant_type"] == "refresh_token" for form in world.auth.requests)
    week.logins = len(world.auth.logins)
    week.twice = sum(1 for count in ledger.values() if count > 1)
    week.lost = len(results - ledger.keys())
    week.virtual = trio.current_time()


def _at_rest() -> tuple[int, int]:
    gc.collect()
    return trio.lowlevel.current_statistics().tasks_living, len(gc.get_objects())
