"""A load of many connectors, and of many calls in flight: what it costs a caller.

    python tests/soak/load.py
    python tests/soak/load.py --connectors 100 --in-flight 1000

Against the server of the benchmarks, in child processes on loopback sockets:

- so many connectors to one process, each making one call after the other, all at the same time;
- so many calls in flight in one group of ten servers, each over HTTP and its own connection; then all of them
  answered at once.

It prints the latencies of the calls at the 50th, 99th and 99.9th percentile. Exit code: 0 if every call had
its answer, and nothing is left (tasks, descriptors); else 1.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import mcp_types as types
import trio

from tests.benchmarks.machine import allow_many_files, memory
from tests.benchmarks.processes import Server
from trio_mcp import open_connector, open_connectors

_SERVERS: Final = 10
_OPENING: Final = 50
"""Connectors that are opened at a time: a server's backlog is bounded."""


@dataclass
class Load:
    """What came of a load.

    Attributes:
        what: in words.
        wanted: calls that were to be made.
        seconds: how long each call took that had its answer.
        errors: of the others.
        held: how many calls a server had at the same time, summed over the servers.
        left: tasks and descriptors that are there now, and were not before.
        opening: seconds that opening took.
        wall: seconds that the calls took.
        grown: bytes of memory that the process has now, and had not before.
    """

    what: str
    wanted: int
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    held: int = 0
    left: tuple[int, int] = (0, 0)
    opening: float = 0
    wall: float = 0
    grown: int = 0

    @property
    def sound(self) -> bool:
        """Whether every call has its answer, and nothing is left."""
        return len(self.seconds) == self.wanted and self.left == (0, 0)

    def __str__(self) -> str:
        found = sorted(self.seconds) or [0.0]
        points = {name: found[min(len(found) - 1, int(len(found) * part))] for name, part in _POINTS.items()}
        latencies = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in points.items())
        failed = f"; {len(self.errors)} failed, first by {self.errors[0]}" if self.errors else ""
        return (
            f"{self.what}: {len(self.seconds)} of {self.wanted} calls answered{failed}\n"
            f"  {latencies}; opened in {self.opening:.1f} s, calls took {self.wall:.1f} s "
            f"({len(self.seconds) / max(self.wall, 1e-9):.0f} a second)\n"
            f"  left: {self.left[0]} tasks, {self.left[1]} descriptors, {self.grown / 2**20:+.0f} MiB"
        )


_POINTS: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class _Watch:
    """What there is before a load, and after it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._before = _present()
        self._memory = memory()

    async def rest(self) -> None:
        await trio.sleep(0.2)
        gc.collect()
        tasks, descriptors = _present()
        self._load.left = (tasks - self._before[0], descriptors - self._before[1])
        self._load.grown = memory() - self._memory


def _present() -> tuple[int, int]:
    try:
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        descriptors = 0  # there is no such directory everywhere
    return trio.lowlevel.current_statistics().tasks_living, descriptors


async def many_connectors(url: str, connectors: int, calls: int) -> Load:
    """So many connectors, each making so many calls, one after the other."""
    load = Load(f"{connectors} connectors to one process, {calls} calls each", connectors * calls)
    watch, opened, limit = _Watch(load), trio.Event(), trio.Semaphore(_OPENING)
    waiting, began = connectors, trio.current_time()

    async def one() -> None:
        nonlocal waiting
        async with AsyncExitStack() as stack:
            async with limit:
                c = await stack.enter_async_context(open_connector(url))
            waiting -= 1
            if not waiting:
                opened.set()
            await opened.wait()
            for _ in range(calls):
                start = time.perf_counter()
                try:
                    await c.call_tool("echo")
                    load.seconds.append(time.perf_counter() - start)
                except Exception as exc:
                    load.errors.append(f"{type(exc).__name__}: {exc}")

    async with trio.open_nursery() as nursery:
        for _ in range(connectors):
            nursery.start_soon(one)
        await opened.wait()
        load.opening = trio.current_time() - began
        began = trio.current_time()
    load.wall = trio.current_time() - began
    await watch.rest()
    return load


async def many_in_flight(urls: Sequence[str], calls: int) -> Load:
    """So many calls at the same time, in a group of these servers."""
    load = Load(f"{calls} calls in flight in a group of {len(urls)} servers", calls)
    watch, each = _Watch(load), calls // len(urls)
    held: dict[str, int] = {}
    began = trio.current_time()
    servers = {f"s{number}": url for number, url in enumerate(urls)}
    async with open_connectors(servers, max_connections=each, sse_read_timeout=300, timeout=60) as group:
        await group.list_tools()

        async def one(server: str) -> None:
            start = time.perf_counter()
            try:
                result = await group.call_tool(f"{server}__hold")
                (block,) = result.content
                assert isinstance(block, types.TextContent)
                held[server] = max(held.get(server, 0), int(block.text))
                load.seconds.append(time.perf_counter() - start)
            except Exception as exc:
                load.errors.append(f"{type(exc).__name__}: {exc}")

        load.opening = trio.current_time() - began
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for server in servers:
                for _ in range(each):
                    nursery.start_soon(one, server)
        load.wall = trio.current_time() - began
    load.held = sum(held.values())
    load.what += f" (at most {load.held} at the servers at a time)"
    await watch.rest()
    return load


def run(connectors: int, calls: int, in_flight: int, servers: int = _SERVERS) -> list[Load]:
    """Both loads, one after the other."""
    with Server() as server:
        loads = [trio.run(many_connectors, server.url, connectors, calls)]
    with ExitStack() as stack:
        urls = [stack.enter_context(Server()).url for _ in range(servers)]
        loads.append(trio.run(many_in_flight, urls, in_flight))
    return loads


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--connectors", type=int, default=1000, metavar="N")
    parser.add_argument("--calls", type=int, default=20, metavar="N", help="of each connector")
    parser.add_argument("--in-flight", type=int, default=10_000, metavar="N", help="a multiple of 10")
    options = parser.parse_args(arguments)
    if options.in_flight % _SERVERS:
        parser.error("--in-flight is a multiple of 10")
    allow_many_files(2 * options.in_flight)
    loads = run(options.connectors, options.calls, options.in_flight)
    print("\n".join(map(str, loads)))
    return 0 if all(load.sound for load in loads) else 1


if __name__ == "__main__":
    sys.exit(main())
