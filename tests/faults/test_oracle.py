"""The oracle sees what it is there to see: a cell that leaves or tells something fails."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import trio

from trio_mcp.errors import ConnectionLost
from trio_mcp.testing import MemoryNetwork

from .cells import Cell, Played, run
from .oracle import Watch
from .outcomes import OK, Attempt, Fails, TimesOut
from .server import MARK

Misdeed = Callable[[MemoryNetwork, trio.Nursery, Watch], object]


async def _play(
    misdeed: Misdeed, network: MemoryNetwork, nursery: trio.Nursery, watch: Watch, leave_after: float | None
) -> Played:
    network.listen("server.test", 80)
    await network.open_stream("server.test", 80)
    misdeed(network, nursery, watch)
    return Played()


def _break_connection(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    network.link().reset()


def _leave_task(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    _break_connection(network, nursery, watch)
    trio.lowlevel.spawn_system_task(trio.sleep_forever)


def _log(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    _break_connection(network, nursery, watch)
    logging.getLogger("trio_mcp").debug("the token is %s", MARK)


def _raise(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    _break_connection(network, nursery, watch)
    error = ConnectionLost("broken")
    error.__cause__ = ValueError(MARK)
    watch.errors.append(error)


def _warn(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    _break_connection(network, nursery, watch)
    warnings.warn("careful", stacklevel=1)


def _forget(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    _break_connection(network, nursery, watch)
    socket.socketpair()


def _complain(network: MemoryNetwork, nursery: trio.Nursery, watch: Watch) -> None:
    _break_connection(network, nursery, watch)
    logging.getLogger("trio.abandoned").warning("a task was abandoned")


@pytest.mark.parametrize(
    ("misdeed", "seen"),
    [
        (lambda *args: None, "connections are left"),
        (_leave_task, "1 tasks are left"),
        (_log, "a secret is told: 'the token is"),
        (_raise, "a secret is told"),
        (_warn, "warned: careful"),
        (_forget, "warned: unclosed"),
        (_complain, "trio.abandoned logged"),
    ],
)
def test_a_cell_fails_that_leaves_or_tells_something(misdeed: Misdeed, seen: str) -> None:
    cell = Cell("none", "none", "none", OK, partial(_play, misdeed))
    assert any(seen in deviation for deviation in run(cell).deviations)


def test_a_cell_that_leaves_nothing_passes() -> None:
    cell = Cell("none", "none", "none", OK, partial(_play, _break_connection))
    assert run(cell).deviations == []


@pytest.mark.parametrize(
    ("made", "expected", "deviations"),
    [
        (Attempt(None, 1, False), OK, 0),
        (Attempt(None, 9, False), OK, 1),
        (Attempt(ConnectionLost("broken"), 1, False), OK, 1),
        (Attempt(ConnectionLost("broken"), 1, False), Fails(ConnectionLost, "broke"), 0),
        (Attempt(ConnectionLost("broken"), 1, False), Fails(ConnectionLost, "closed"), 1),
        (Attempt(ConnectionLost("broken"), 1, False), Fails(ConnectionLost, "", OSError), 1),
        (Attempt(ConnectionLost("broken"), 1, False), Fails(ConnectionLost, attributes={"begun": True}), 1),
        (Attempt(None, 1, False), Fails(ConnectionLost), 1),
        (Attempt(trio.TooSlowError(), 60, False), TimesOut(), 0),
        (Attempt(None, 1, False), TimesOut(), 1),
    ],
)
def test_an_attempt_deviates_from_what_was_expected(made: Attempt, expected: Fails, deviations: int) -> None:
    assert len(made.deviations(expected)) == deviations
