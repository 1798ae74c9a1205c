"""The fixtures, as a user's test suite has them: each test here runs pytest inside of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree

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
    monkeypatch.delenv("TRIO_MCP_SEED", raising=False)
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
    again = pytester.runpytest_inprocess("--mcp-seed", seed, "--mcp-seeds", "200", "--show-capture", "no")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([f"*seed {seed}: run it again with --mcp-seed {seed}"])


def test_a_report_for_machines_has_the_seed_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(mcp_seed): assert False\ndef test_ok(mcp_seed): pass")
    pytester.runpytest_inprocess("--mcp-seed", "17", "--tb", "no", "--junitxml", "report.xml")
    cases = ElementTree.parse(pytester.path / "report.xml").iter("testcase")
    assert [[each.attrib for each in case.iter("property")] for case in cases] == [
        [{"name": "mcp_seed", "value": "17"}],
        [{"name": "mcp_seed", "value": "17"}],
    ]


EXPLORING = """
from trio_mcp.testing import explore

def test_it(mcp_seed):
    seen = []

    async def main(simulation):
        seen.append(simulation.seed)

    explore(main, range(5, 8))
    print("fixture", mcp_seed, "explored", seen)
"""


@pytest.mark.parametrize(
    ("option", "variable", "told"),
    [
        (None, None, "fixture 0 explored [5, 6, 7]"),
        ("17", None, "fixture 17 explored [17]"),
        (None, "3", "fixture 3 explored [3]"),
        ("17", "3", "fixture 17 explored [17]"),
        ("0", "3", "fixture 0 explored [0]"),
    ],
)
def test_a_chosen_seed_is_for_fixtures_and_explore_and_the_option_comes_first(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    option: str | None,
    variable: str | None,
    told: str,
) -> None:
    pytester.makepyfile(EXPLORING)
    if variable is not None:
        monkeypatch.setenv("TRIO_MCP_SEED", variable)
    options = [] if option is None else ["--mcp-seed", option]
    assert any(line.endswith(told) for line in pytester.runpytest_inprocess("-s", *options).outlines)
    assert os.environ.get("TRIO_MCP_SEED") == variable


def test_the_networks_faults_follow_from_the_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(mcp_network): print('drawn', mcp_network.rng.random())")
    lines = pytester.runpytest_inprocess("-s", "--mcp-seeds", "3").outlines
    lines += pytester.runpytest_inprocess("-s", "--mcp-seed", "2").outlines
    drawn = [line.rpartition("drawn ")[2] for line in lines if "drawn " in line]
    assert len(drawn) == 4
    assert len(set(drawn)) == 3
    assert drawn[3] == drawn[2]


@pytest.mark.parametrize("names", ['"mcp_seed, n"', '("mcp_seed", "n")', 'argnames="mcp_seed,n", argvalues'])
@pytest.mark.parametrize("option", ["--mcp-seed=17", "--mcp-seeds=5"])
def test_a_tests_own_seeds_win(pytester: pytest.Pytester, names: str, option: str) -> None:
    values = "=[(0, 0), (4, 1)]" if "argvalues" in names else ", [(0, 0), (4, 1)]"
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("other", [1])
        @pytest.mark.parametrize({names}{values}, indirect=["mcp_seed"])
        def test_it(mcp_seed, n, other):
            assert mcp_seed == 4 * n
        """
    )
    pytester.runpytest_inprocess(option).assert_outcomes(passed=2)


def test_other_parameters_are_taken_with_each_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("other", [1, 2, 3])
        def test_it(mcp_seed, other):
            pass
        """
    )
    pytester.runpytest_inprocess("--mcp-seeds=2").assert_outcomes(passed=6)


def test_less_than_one_seed_is_wrong_usage(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(mcp_seed): pass")
    result = pytester.runpytest_inprocess("--mcp-seeds", "-3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--mcp-seeds must be at least 1"])


def test_a_run_that_uses_no_fixture_of_it_pays_nothing_for_it() -> None:
    script = (
        "import sys, trio_mcp_pytest;"
        "print([name for name in sys.modules if name.partition('.')[0] in ('trio', 'trio_mcp', 'mcp_types')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


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
        import trio

        async def test_it(mcp_server, autojump_clock):
            with trio.fail_after(30 * 24 * 3600):  # so that this one does not hang, if nothing noticed it
                await mcp_server.calls("tools/cal").receive()
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*not done after 259200 s of virtual time (mcp_time_limit): is it a deadlock*"]
    )


def test_it_fails_soon_also_if_something_beats_meanwhile(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntrio_mode = true\nmcp_time_limit = 60\n")
    pytester.makepyfile(
        """
        import trio

        async def beat():
            for _ in range(1000):
                await trio.sleep(1)

        async def test_it(mcp_server, nursery, autojump_clock):
            nursery.start_soon(beat)
            await mcp_server.calls("tools/cal").receive()
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not done after 60 s of virtual time (mcp_time_limit): is it a deadlock*"])
