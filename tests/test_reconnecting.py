"""How long to wait before a connection is taken up again."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from trio_mcp import ConfigurationError, ReconnectPolicy, open_connector


def test_waits_grow_to_the_maximum_and_are_jittered() -> None:
    policy = ReconnectPolicy(initial=1, maximum=10, factor=2, jitter=0.5)
    rng = random.Random(1)
    waits = [policy.delay(attempt, rng) for attempt in range(6)]
    for wait, least in zip(waits, [1, 2, 4, 8, 10, 10], strict=True):
        assert least <= wait <= 1.5 * least
    assert len({wait / least for wait, least in zip(waits, [1, 2, 4, 8, 10, 10], strict=True)}) == 6


def test_without_jitter_a_wait_is_exact_however_many_there_were() -> None:
    policy = ReconnectPolicy(initial=1.0, maximum=60, factor=3.0, jitter=0, attempts=None)
    assert [policy.delay(attempt, random.Random()) for attempt in (0, 1, 2, 10**6)] == [1, 3, 9, 60]
    assert policy.allows(10**6)


def test_attempts_are_limited() -> None:
    policy = ReconnectPolicy(attempts=2)
    assert [policy.allows(attempt) for attempt in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    "options",
    [
        {"initial": 0},
        {"initial": -1},
        {"initial": 2, "maximum": 1},
        {"factor": 0.5},
        {"factor": math.inf},
        {"jitter": -0.1},
        {"jitter": math.nan},
        {"attempts": 0},
    ],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="a ReconnectPolicy has 0 < initial"):
        ReconnectPolicy(**options)


@pytest.mark.parametrize("wrong", [None, 5, "always", ReconnectPolicy])
def test_what_is_no_policy_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="reconnect must be a bool or a ReconnectPolicy"):
        open_connector("http://server.test/mcp", reconnect=wrong)
