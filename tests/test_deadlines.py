"""The connector's own deadlines, and how they stop for a person."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_mcp import ConnectTimeout
from trio_mcp.deadlines import deadline, patience, paused


def too_slow() -> ConnectTimeout:
    return ConnectTimeout("too slow")


async def test_time_that_is_spent_in_a_pause_does_not_count(autojump_clock: MockClock) -> None:
    with pytest.raises(ConnectTimeout), deadline(10, too_slow):
        await trio.sleep(4)
        with paused():
            await trio.sleep(1000)
        await trio.sleep(7)
    assert trio.current_time() == 4 + 1000 + 6


async def test_all_that_are_around_a_pause_stop_and_no_others(autojump_clock: MockClock) -> None:
    with patience(5) as outer, patience(3):
        with paused():
            with pytest.raises(trio.TooSlowError), trio.fail_after(20):  # a caller's own goes on
                await trio.sleep_forever()
            with paused():
                await trio.sleep(1)
        assert trio.current_time() == 21
        await trio.sleep(10)
    assert not outer.cancelled_caught
    assert trio.current_time() == 24


async def test_a_deadline_that_is_over_is_no_longer_stopped(autojump_clock: MockClock) -> None:
    with patience(5) as scope:
        pass
    with paused():
        assert scope.deadline < 100
        await trio.sleep(0)
