"""Fixtures for pytest-trio: a server and a network in memory, and scheduling that follows a seed.

The plugin is there when trio_mcp is installed. It needs pytest-trio only where a fixture of it is used.

    async def test_it(mcp_server: ScriptedServer, autojump_clock: MockClock) -> None:
        async with mcp_server.connect() as c:
            ...

    pytest --mcp-seeds 100     # each such test once for each of a hundred seeds
    pytest --mcp-seed 17       # the run that failed, once more

It is a module beside the package, because pytest imports it in every run of an environment that trio_mcp is
installed in: trio_mcp, trio and what they need are imported when a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    import trio

    from trio_mcp.testing import MemoryNetwork, ScriptedServer

_SEED_VARIABLE: Final = "TRIO_MCP_SEED"  # as in trio_mcp.testing.simulation

_BEFORE: Final = pytest.StashKey[str | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    group = parser.getgroup("trio_mcp")
    group.addoption(
        "--mcp-seed",
        type=int,
        default=os.environ.get(_SEED_VARIABLE) or None,
        metavar="N",
        help=f"run with this seed only, `explore` too (default: the environment variable {_SEED_VARIABLE})",
    )
    group.addoption(
        "--mcp-seeds",
        type=int,
        default=1,
        metavar="COUNT",
        help="run each test that uses mcp_seed, or a fixture on it, with so many seeds (1: the seed 0)",
    )
    parser.addini(
        "mcp_time_limit",
        "seconds of virtual time that a test with mcp_server may take (three days unless set)",
        default=str(3 * 24 * 3600),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest."""
    if config.getoption("--mcp-seeds") < 1:
        raise pytest.UsageError("--mcp-seeds must be at least 1")
    chosen = config.getoption("--mcp-seed")
    if chosen is not None:
        config.stash[_BEFORE] = os.environ.get(_SEED_VARIABLE)
        os.environ[_SEED_VARIABLE] = str(chosen)  # for `explore`


def pytest_unconfigure(config: pytest.Config) -> None:
    """Called by pytest."""
    before = config.stash.get(_BEFORE, None)
    if before is not None:
        os.environ[_SEED_VARIABLE] = before
    elif _BEFORE in config.stash:
        os.environ.pop(_SEED_VARIABLE, None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Called by pytest."""
    if "mcp_seed" not in metafunc.fixturenames or metafunc.config.getoption("--mcp-seed") is not None:
        return
    count = metafunc.config.getoption("--mcp-seeds")
    if count > 1 and not _has_own_seeds(metafunc.definition):
        metafunc.parametrize("mcp_seed", range(count), indirect=True, ids="seed {}".format)


def _has_own_seeds(test: pytest.Item) -> bool:
    for mark in test.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        if "mcp_seed" in (names.replace(",", " ").split() if isinstance(names, str) else names):
            return True
    return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Called by pytest: name the seed of what failed."""
    seed = getattr(item, "funcargs", {}).get("mcp_seed")
    if seed is not None and call.excinfo is not None:
        # Before the report is made, and so wherever the exception is shown.
        call.excinfo.value.add_note(f"seed {seed}: run it again with --mcp-seed {seed}")
    return (yield)


@pytest.fixture
def mcp_seed(request: pytest.FixtureRequest) -> Generator[int]:
    """The seed of this test; the order in which Trio runs its tasks follows from it."""
    from trio_mcp.testing import seeded

    seed: int = getattr(request, "param", request.config.getoption("--mcp-seed") or 0)
    request.node.user_properties.append(("mcp_seed", seed))
    with seeded(seed):
        yield seed


@pytest.fixture
def mcp_network(mcp_seed: int) -> MemoryNetwork:
    """A network in memory, whose jitter and faults follow from the seed."""
    import random

    from trio_mcp.testing import MemoryNetwork

    return MemoryNetwork(random.Random(f"{mcp_seed} network"))


@pytest.fixture
def mcp_server(
    mcp_network: MemoryNetwork, nursery: trio.Nursery, request: pytest.FixtureRequest
) -> ScriptedServer:
    """A `ScriptedServer` on `mcp_network`, which serves until the test ends, on virtual time.

    Raises:
        RuntimeError: the test has no mock clock. pytest-trio takes one only from the test's own arguments.
    """
    import trio
    from trio.testing import MockClock

    from trio_mcp.testing import ScriptedServer

    if not isinstance(trio.lowlevel.current_clock(), MockClock):
        raise RuntimeError("mcp_server is for virtual time: let the test take autojump_clock, too")
    limit = float(request.config.getini("mcp_time_limit"))

    async def watch() -> None:
        # When nothing else can happen, the clock jumps here.
        await trio.sleep(limit)
        raise trio.TooSlowError(
            f"the test was not done after {limit:g} s of virtual time (mcp_time_limit): is it a deadlock, or "
            "does it wait for a thread, which the mock clock does not see?"
        )

    server = ScriptedServer(network=mcp_network)
    nursery.start_soon(server.run)
    nursery.start_soon(watch)
    return server
