"""The fixtures, as a user's test suite has them: each test here runs pytest inside of pytest."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SERVER = """
import pytest, trio

RESULT = {"content": [{"type": "text", "text": "done"}]}

async def test_an_hour_passes_at_once(mcp_server, autojump_clock):
    mcp_server.on["tools/call"] = lambda call: call.sse(3600, call.response(RESULT))
    async with mcp_server.connect(sse_read_timeout=7200) as c:
        with pytest.raises(trio.TooSlowError), trio.fail_after(1800):
            await c.call_tool("slow")
        await c.call_tool("slow")
    assert trio.current_time() == 5400
    assert mcp_server.methods() == ["server/discover", "tools/call", "tools/call"]
"""

RACE = """
import trio

async def test_the_balance_is_right(mcp_seed):
    balance = 100

    async def withdraw(amount, pause):
        nonlocal balance
        seen = balance
        for _ in range(pause):
            await trio.lowlevel.checkpoint()
        balance = seen - amount

    async with trio.open_nursery() as nursery:
        nursery.start_soon(withdraw, 10, 0)
        nursery.start_soon(withdraw, 20, 0)
        nursery.start_soon(withdraw, 30, 0)
        order = []

        async def note(name):
            order.append(name)

        for name in "abcd":
            nursery.start_soon(note, name)
    assert order != ["c", "a", "d", "b"]
"""


@pytest.fixture(autouse=True)
def settings(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")


def test_a_users_test_runs_on_virtual_time_by_the_installed_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SERVER)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_server_without_a_mock_clock_is_refused_and_not_waited_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SERVER.replace(", autojump_clock", ""))
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*let the test take autojump_clock, too*"])


def test_each_seed_is_a_test_and_the_one_that_fails_is_named_and_replayed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RACE)
    result = pytester.runpytest_inprocess("--mcp-seeds", "200")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 1
    assert outcomes["passed"] + outcomes["failed"] == 200
    line = next(line for line in result.outlines if "run it again with --mcp-seed" in line)
    seed = line.rpartition(" ")[2]
    again = pytester.runpytest_inprocess("--mcp-seed", seed)
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"seed {seed}: run it again with --mcp-seed {seed}"])


def test_without_an_option_the_seed_is_zero(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(mcp_seed, mcp_network): assert mcp_seed == 0")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_pytest_trio_is_needed_only_where_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\n")
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess("-p", "no:trio").assert_outcomes(passed=1)


def test_a_test_that_waits_for_what_never_comes_fails_at_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        async def test_it(mcp_server, autojump_clock):
            await mcp_server.calls("tools/cal").receive()
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*is it a deadlock?*"])
