"""Sessions as a state machine: whatever is done in them, in whatever order, keeps the promises.

    TRIO_MCP_SESSIONS=1000 pytest tests/fuzz/sessions      # so many for each transport, other ones each time

A run of the machine only writes the steps down; at its end they are taken, in one run of Trio, on the mock
clock.
"""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fuzz.sessions.world import DOINGS, ENDINGS, MODELS, Step, run

EXAMPLES: Final = int(os.environ.get("TRIO_MCP_SESSIONS", "0"))
which = st.integers(0, 7)
doings = st.sampled_from(DOINGS)


class Sessions(RuleBasedStateMachine):
    model: str

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.open_sessions = 0
        self.calls = 0
        self.seed = 0

    def step(self, name: str, *arguments: Any) -> None:
        self.steps.append((name, arguments))

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.seed = seed
        self.open_one()

    @precondition(lambda self: self.open_sessions < 3)
    @rule()
    def open_one(self) -> None:
        self.open_sessions += 1
        self.step("open")

    @rule(which=which, do=doings)
    def call(self, which: int, do: str) -> None:
        self.calls += 1
        self.step("call", which, do)

    @rule(which=which, do=st.lists(doings, min_size=2, max_size=8))
    def call_concurrently(self, which: int, do: list[str]) -> None:
        self.calls += len(do)
        self.step("burst", which, do)

    @rule(which=which, do=doings)
    def call_and_wait(self, which: int, do: str) -> None:
        self.step("call_and_wait", which, do)

    @precondition(lambda self: self.calls > 0)
    @rule(which=which)
    def cancel(self, which: int) -> None:
        self.step("cancel", which)

    @rule(seconds=st.sampled_from([0, 0.1, 0.6, 3, 11, 400]))
    def wait(self, seconds: float) -> None:
        self.step("wait", seconds)

    @rule(times=st.integers(0, 5))
    def server_notifies(self, times: int) -> None:
        self.step("notify", times)

    @rule(which=which)
    def listen(self, which: int) -> None:
        self.step("listen", which)

    @rule(which=which)
    def stop_listening(self, which: int) -> None:
        self.step("stop_listening", which)

    @rule()
    def connections_are_reset(self) -> None:
        self.step("reset")

    @rule()
    def server_forgets_the_session(self) -> None:
        self.step("expire")

    @rule(downtime=st.sampled_from([0, 0.1, 5]))
    def server_restarts(self, downtime: float) -> None:
        self.step("restart", downtime)

    @rule(seconds=st.sampled_from([0.1, 5]))
    def server_refuses_connections(self, seconds: float) -> None:
        self.step("outage", seconds)

    @rule()
    def all_is_well_after_a_while(self) -> None:
        self.step("settle")

    @precondition(lambda self: self.open_sessions > 0)
    @rule(which=which, ending=st.sampled_from(ENDINGS))
    def close(self, which: int, ending: str) -> None:
        self.open_sessions -= 1
        self.step("close", which, ending)

    def teardown(self) -> None:
        run(self.model, self.steps, self.seed)


@pytest.mark.parametrize("model", MODELS)
def test_sessions_keep_their_promises(model: str) -> None:
    machine = type("Sessions", (Sessions,), {"model": model})
    run_state_machine_as_test(
        machine,
        settings=settings(
            derandomize=not EXAMPLES,
            deadline=None,
            max_examples=EXAMPLES or 30,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
