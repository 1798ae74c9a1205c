"""The soak in memory and on virtual time: the same account, and what is allocated in the interpreter."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
import trio

from trio_mcp import Connector, ConnectorError
from trio_mcp.testing import RESET, Call, ScriptedServer, Simulation

from .ledger import Audit, Outcome, audit
from .virtual import ERAS

__all__ = ["MemoryFigures", "soak_in_memory"]

_ROUNDS: Final = 10
_AT_A_TIME: Final = 5
_LANES: Final = 3
_SECONDS: Final = 1000.0


@dataclass
class MemoryFigures:
    """What came of it.

    Attributes:
        era: the server's.
        connections: how many there were.
        restarts: of the server.
        audit: the account.
        grown: bytes that are allocated at the end, and were not when the first tenth was over.
        left: tasks, and connections of the network, at the end.
        wall: seconds that it took.
        virtual: seconds that passed in it.
    """

    era: str
    connections: int
    restarts: int
    audit: Audit
    grown: int
    left: tuple[int, int]
    wall: float
    virtual: float

    def __str__(self) -> str:
        return (
            f"in memory, a {self.era} server, {self.connections} connections: {self.audit}; {self.restarts} "
            f"restarts; {self.grown:+} bytes allocated, {self.left[0]:+} tasks, {self.left[1]} connections "
            f"left; {self.virtual:.0f} s in {self.wall:.0f} s"
        )


class _Soak:
    def __init__(self, simulation: Simulation, era: str, calls: int, connections: int) -> None:
        self.simulation = simulation
        self.rng = simulation.rng
        self.era = era
        self.connections = connections
        self.each = calls // connections
        self.outcomes = bytearray(Outcome.MISSING.encode() * (self.each * connections))
        self.ledger: Counter[int] = Counter()
        self.restarts = 0
        self.numbers: Iterator[int] = iter(())
        self.server = ScriptedServer(ERAS[era], network=simulation.network)
        self.server.on["tools/call"] = self.work
        self.server.listen()

    async def work(self, call: Call) -> Any:
        nonce = call.params["arguments"]["nonce"]
        drawn = self.rng.random()
        if drawn < 0.01:
            return call.reply(RESET)
        if drawn < 0.02:
            return call.reply(status=503)
        if drawn < 0.1:
            await trio.sleep(self.rng.uniform(0, 0.1))
        self.ledger[nonce] += 1
        if drawn > 0.99:
            return call.reply(RESET)
        return call.text(str(nonce))

    async def restart_now_and_then(self) -> None:
        while True:
            await trio.sleep(self.rng.uniform(0.05, 0.3))
            self.restarts += 1
            await self.server.restart(downtime=0.05)
            self.server.seen[:] = [each for each in self.server.seen if not each.closed.is_set()]

    async def keep_connecting(self) -> None:
        for number in self.numbers:
            nonces = iter(range(number * self.each, (number + 1) * self.each))
            await self.use_connection(nonces)

    async def use_connection(self, nonces: Iterator[int]) -> None:
        while True:
            try:
                async with self.server.connect(rng=self.rng) as c, trio.open_nursery() as nursery:
                    for _ in range(_LANES):
                        nursery.start_soon(self.make_calls, c, nonces)
                return
            except ConnectorError:
                await trio.sleep(0.1)

    async def make_calls(self, c: Connector, nonces: Iterator[int]) -> None:
        for nonce in nonces:
            patience = self.rng.uniform(0, 0.02) if self.rng.random() < 0.05 else _SECONDS
            with trio.move_on_after(patience) as scope:
                self.outcomes[nonce] = ord(await self.call(c, nonce))
            if scope.cancelled_caught:
                self.outcomes[nonce] = ord(Outcome.HUNG if patience == _SECONDS else Outcome.CANCELLED)

    async def call(self, c: Connector, nonce: int) -> Outcome:
        try:
            result = await c.call_tool("work", {"nonce": nonce})
        except ConnectorError:
            return Outcome.ERROR
        (block,) = result.content
        assert isinstance(block, types.TextContent)
        return Outcome.RESULT if block.text == str(nonce) else Outcome.WRONG

    async def run(self) -> tuple[int, tuple[int, int]]:
        before = 0
        async with trio.open_nursery() as servers:
            servers.start_soon(self.server.run)
            await trio.sleep(1)
            tasks = trio.lowlevel.current_statistics().tasks_living
            self.simulation.network.set_link(latency=0.002, jitter=0.002, reset_rate=0.001, refuse_rate=0.01)
            for number in range(_ROUNDS):
                bounds = [self.connections * each // _ROUNDS for each in (number, number + 1)]
                self.numbers = iter(range(*bounds))
                async with trio.open_nursery() as restarts:
                    restarts.start_soon(self.restart_now_and_then)
                    async with trio.open_nursery() as nursery:
                        for _ in range(_AT_A_TIME):
                            nursery.start_soon(self.keep_connecting)
                    restarts.cancel_scope.cancel()
                await trio.sleep(10)
                self.server.seen.clear()
                now = self._allocated()
                before = before or now
            left = trio.lowlevel.current_statistics().tasks_living - tasks
            connections = len(self.simulation.network.connections)
            servers.cancel_scope.cancel()
        return now - before, (left, connections)

    def _allocated(self) -> int:
        gc.collect()
        # The server's own books grow by what is in them: a number and a count for each call.
        return tracemalloc.get_traced_memory()[0] - _BOOK_ENTRY * len(self.ledger)


_BOOK_ENTRY: Final = 110


def soak_in_memory(era: str, *, calls: int, connections: int, seed: int = 0) -> MemoryFigures:
    """Let a client make so many calls to a server in memory that breaks on purpose; see `run.py`.

    Args:
        era: of the server: "modern" or "legacy".
        calls: a multiple of `connections`.
        connections: how many, five at a time.
        seed: of everything that is left to chance.
    """
    simulation = Simulation(seed, trace=False, time_limit=30 * 86400)
    virtual = 0.0
    soak: list[_Soak] = []

    async def main(simulation: Simulation) -> tuple[int, tuple[int, int]]:
        nonlocal virtual
        soak.append(_Soak(simulation, era, calls, connections))
        found = await soak[0].run()
        virtual = trio.current_time()
        return found

    began = time.perf_counter()
    tracemalloc.start()
    try:
        grown, left = simulation.run(main)
    finally:
        tracemalloc.stop()
    wall = time.perf_counter() - began
    account = audit(soak[0].outcomes.decode(), soak[0].ledger)
    return MemoryFigures(era, connections, soak[0].restarts, account, grown, left, wall, virtual)
