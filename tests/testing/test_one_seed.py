"""One seed, one run: a whole connection, with HTTP, faults and callbacks, goes the same way each time."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trustme

import trio_mcp
from trio_mcp.testing import CUT, Call, ScriptedServer, Simulation, explore

RUNS = 1000


async def turmoil(simulation: Simulation) -> None:
    """Calls of both eras side by side, over a network that jitters and breaks."""

    async def tool(call: Call) -> Any:
        await trio.sleep(simulation.rng.random())
        await call.send(call.progress(1))
        if simulation.rng.random() < 0.2:
            return call.sse(CUT)
        return {"content": []}

    async def use(c: trio_mcp.Connector, name: str) -> None:
        async def report(*progress: Any) -> None:
            simulation.trace.note(f"{name} {progress[0]}")

        try:
            with trio.move_on_after(1 + simulation.rng.random()):
                await c.call_tool(name, progress_callback=report)
                simulation.trace.note(f"{name} is done")
        except trio_mcp.ConnectorError as exc:
            simulation.trace.note(f"{name}: {exc}")

    for n, version in enumerate(("2026-07-28", "2025-11-25")):
        url = f"http://server{n}.test/mcp"
        async with ScriptedServer(version, url=url, network=simulation.network) as server:
            server.listen()
            server.on["tools/call"] = tool
            server.link.latency, server.link.jitter = 0.01, 0.05
            async with server.connect() as c, trio.open_nursery() as nursery:
                for m in range(4):
                    nursery.start_soon(use, c, f"tool {m}")
                await trio.sleep(0.7)
                await server.restart(downtime=0.1)


def fingerprint(seed: int, main: Callable[[Simulation], Awaitable[object]] = turmoil) -> str:
    simulation = Simulation(seed)
    simulation.run(main)
    return simulation.trace.fingerprint()


def test_a_thousand_runs_of_one_seed_have_one_trace() -> None:
    assert len({fingerprint(7) for _ in range(RUNS)}) == 1


def test_so_have_runs_over_tls_with_an_rsa_key() -> None:
    # A signature by another kind of key differs in its length from one time to the next.
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("server.test", key_type=trustme.KeyType.RSA).configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)

    async def main(simulation: Simulation) -> None:
        url = "https://server.test/mcp"
        async with ScriptedServer(url=url, network=simulation.network, tls=theirs) as server:
            server.on["tools/call"] = lambda call: call.text("x")
            async with server.connect(verify=ours) as c:
                await c.call_tool("x")

    assert len({fingerprint(7, main) for _ in range(15)}) == 1


def test_so_have_runs_in_other_processes() -> None:
    script = "from tests.testing.test_one_seed import fingerprint; print(fingerprint(7))"
    seen = {fingerprint(7)}
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        seen.add(done.stdout.strip())
    assert len(seen) == 1


def test_other_seeds_go_other_ways() -> None:
    assert len({fingerprint(seed) for seed in range(20)}) == 20


def test_what_it_does_holds_for_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIO_MCP_SEED", raising=False)
    explore(turmoil, range(50))
