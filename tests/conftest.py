"""A server in memory for whichever test asks for one, and what the mock clock has saved."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from trio_mcp.testing import ScriptedServer

# A server of the official SDK configures logging when it is made, unless somebody has. One is made when
# tests/real/ is loaded; named on the command line, before pytest has handlers of its own.
logging.getLogger().addHandler(logging.NullHandler())


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
    """What the tests on a mock clock have taken, those that simulate included."""

    tests: int = 0
    virtual: float = 0
    wall: float = 0


ELAPSED = pytest.StashKey[Elapsed]()


class Clocks:
    """The mock clocks of the runs that were made since they were last counted."""

    def __init__(self) -> None:
        self._started: list[trio.testing.MockClock] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = trio.testing.MockClock.start_clock

        def start_and_count(clock: trio.testing.MockClock) -> None:
            self._started.append(clock)
            start(clock)

        monkeypatch.setattr(trio.testing.MockClock, "start_clock", start_and_count)

    def take(self) -> list[float]:
        """The virtual seconds of each."""
        clocks, self._started = self._started, []
        return [clock.current_time() for clock in clocks]


CLOCKS = pytest.StashKey[Clocks]()


def pytest_configure(config: pytest.Config) -> None:
    monkeypatch = pytest.MonkeyPatch()
    config.add_cleanup(monkeypatch.undo)
    clocks = config.stash[CLOCKS] = Clocks()
    clocks.install(monkeypatch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if times := item.config.stash[CLOCKS].take():
        elapsed = item.config.stash.setdefault(ELAPSED, Elapsed())
        elapsed.tests += 1
        elapsed.virtual += sum(times)
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
