"""Fixtures for pytest-trio: a server and a network in memory, and scheduling that follows a seed.

The plugin is there when trio_mcp is installed. It needs pytest-trio only where a fixture of it is used.

    async def test_it(mcp_server: ScriptedServer, autojump_clock: MockClock) -> None:
        async with mcp_server.connect() as c:
            ...

    pytest --mcp-seeds 100     # each such test once for each of a hundred seeds
    pytest --mcp-seed 17       # the run that failed, once more

What it imports of trio_mcp, it imports when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest

_PATIENCE: Final = 365 * 24 * 3600.0

if TYPE_CHECKING:
    import trio

    from .memory_network import MemoryNetwork
    from .scripted_server import ScriptedServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    group = parser.getgroup("trio_mcp")
    group.addoption("--mcp-seed", type=int, default=None, metavar="N", help="run with this seed only")
    group.addoption(
        "--mcp-seeds",
        type=int,
        default=1,
        metavar="COUNT",
        help="run each test that uses mcp_seed, or a fixture on it, with so many seeds (1: the seed 0)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Called by pytest."""
    if "mcp_seed" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--mcp-seed")
    count = metafunc.config.getoption("--mcp-seeds")
    if chosen is None and count > 1:
        metafunc.parametrize("mcp_seed", range(count), indirect=True, ids="seed {}".format)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Called by pytest: name the seed of what failed."""
    report = yield
    seed = getattr(item, "funcargs", {}).get("mcp_seed")
    if report.failed and seed is not None:
        report.sections.append(("trio_mcp", f"seed {seed}: run it again with --mcp-seed {seed}"))
    return report


@pytest.fixture
def mcp_seed(request: pytest.FixtureRequest) -> Generator[int]:
    """The seed of this test; the order in which Trio runs its tasks follows from it."""
    from .simulation import seeded

    seed: int = getattr(request, "param", None) or request.config.getoption("--mcp-seed") or 0
    with seeded(seed):
        yield seed


@pytest.fixture
def mcp_network(mcp_seed: int) -> MemoryNetwork:
    """A network in memory, whose jitter and faults follow from the seed."""
    import random

    from .memory_network import MemoryNetwork

    return MemoryNetwork(random.Random(f"{mcp_seed} network"))


@pytest.fixture
def mcp_server(mcp_network: MemoryNetwork, nursery: trio.Nursery) -> ScriptedServer:
    """A `ScriptedServer` on `mcp_network`, which serves until the test ends, on virtual time.

    Raises:
        RuntimeError: the test has no mock clock. pytest-trio takes one only from the test's own arguments.
    """
    import trio
    from trio.testing import MockClock

    from .scripted_server import ScriptedServer

    if not isinstance(trio.lowlevel.current_clock(), MockClock):
        raise RuntimeError("mcp_server is for virtual time: let the test take autojump_clock, too")

    async def watch() -> None:
        # When nothing else can happen, the clock jumps here.
        await trio.sleep(_PATIENCE)
        raise trio.TooSlowError("nothing happens any more in this test: is it a deadlock?")

    server = ScriptedServer(network=mcp_network)
    nursery.start_soon(server.run)
    nursery.start_soon(watch)
    return server
