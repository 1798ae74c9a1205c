"""Each scenario, over each transport, cancelled at each step of the scheduler.

An oracle looks at every run: nothing is left (tasks, connections, entries of calls), leaving waits for
nobody, the server knows of it, and the connection works on; if it was cancelled itself, another one does.
"""

from __future__ import annotations

import pytest

from .scenarios import ACTS, WHOLES, acting
from .trial import cancelled_everywhere
from .worlds import WORLDS

SCENARIOS = {**{name: acting(act) for name, act in ACTS.items()}, **WHOLES}
ONLY_HTTP = {"call", "list_two_pages", "calls_that_queue", "tell"}
"""What takes the same steps over a pipe as others do."""


@pytest.mark.parametrize(
    ("name", "world"),
    [
        (name, world)
        for name in SCENARIOS
        for world in WORLDS
        if world.startswith("http") or name not in ONLY_HTTP
    ],
)
def test_cancelled_anywhere_it_leaves_nothing_behind(name: str, world: str) -> None:
    cancelled_everywhere(SCENARIOS[name], world)


@pytest.mark.parametrize("world", ["http-modern", "http-legacy", "lines-legacy", "websocket-modern", "sse"])
@pytest.mark.parametrize("name", ["call_that_asks", "listen_to_events", "a_whole_connection"])
def test_half_sent_it_leaves_nothing_behind(name: str, world: str) -> None:
    """Messages are longer than the window, and so take several steps each."""
    cancelled_everywhere(SCENARIOS[name], world, latency=0.01, window=200)
