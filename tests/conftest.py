"""A server in memory for whichever test asks for one, and what the mock clock has saved."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from trio_mcp.testing import ScriptedServer


class Serve(Protocol):
    """Starts a scripted server that runs until the test is over; what its handlers raise fails the test."""

    def __call__(self, version: str = "2026-07-28", **options: Any) -> ScriptedServer: ...


@pytest.fixture
def serve(nursery: trio.Nursery) -> Serve:
    def start(version: str = "2026-07-28", **options: Any) -> ScriptedServer:
        server = ScriptedServer(version, **options)
        nursery.start_soon(server.run)
        return server

    return start


@dataclass
class Elapsed:
    """What the tests on a mock clock have taken."""

    tests: int = 0
    virtual: float = 0
    wall: float = 0


ELAPSED = pytest.StashKey[Elapsed]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    arguments = getattr(item, "funcargs", {}).values()
    clock = next((each for each in arguments if isinstance(each, trio.testing.MockClock)), None)
    if report.when == "call" and clock is not None:
        elapsed = item.config.stash.setdefault(ELAPSED, Elapsed())
        elapsed.tests += 1
        elapsed.virtual += clock.current_time()
        elapsed.wall += report.duration
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    elapsed = config.stash.get(ELAPSED, None)
    if elapsed is not None:
        terminalreporter.write_line(
            f"{elapsed.tests} tests on the mock clock: {elapsed.virtual:,.0f} virtual seconds "
            f"in {elapsed.wall:.1f} s"
        )
