import json

import pytest
import trio

from trio_mcp import ConnectError
from trio_mcp.cli.bench import Measured, measure
from trio_mcp.cli.output import ProgressView

from ..real.children import Child
from .helpers import run


async def test_so_many_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    running = most = 0

    async def once() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    measured = await measure(once, concurrency=3, calls=7, seconds=100)
    assert (measured.count, most, measured.elapsed) == (7, 3, 3)
    assert measured.latencies == [1] * 7
    assert (await measure(once, concurrency=10, calls=2, seconds=100)).count == 2


async def test_it_ends_when_the_time_is_over(autojump_clock: trio.testing.MockClock) -> None:
    async def once() -> None:
        await trio.sleep(2)

    measured = await measure(once, concurrency=2, calls=1000, seconds=5)
    assert (measured.count, measured.elapsed) == (4, 5)


async def test_failures_are_counted_by_their_reason(autojump_clock: trio.testing.MockClock) -> None:
    number = 0

    async def once() -> None:
        nonlocal number
        number += 1
        await trio.sleep(1)
        if number % 2:
            raise ConnectError("refused")

    measured = await measure(once, concurrency=1, calls=5, seconds=100)
    assert measured.failures == {"refused": 3}
    assert measured.as_object() == {
        "calls": 5,
        "failed": 3,
        "seconds": 5,
        "calls per second": 1.0,
        "mean ms": 1000,
        "p50 ms": 1000,
        "p90 ms": 1000,
        "p99 ms": 1000,
        "max ms": 1000,
        "failures": {"refused": 3},
    }


def test_percentiles_are_of_calls_that_there_were() -> None:
    measured = Measured(latencies=[each / 1000 for each in range(100, 0, -1)])
    assert [measured.percentile(share) for share in (1, 50, 99, 100)] == [0.001, 0.05, 0.099, 0.1]
    assert Measured(latencies=[5]).percentile(0.1) == 5


def test_nothing_measured() -> None:
    assert Measured().as_object() == {
        "calls": 0,
        "failed": 0,
        "seconds": 0,
        "calls per second": None,
        "failures": {},
    }


async def test_progress_is_shown(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def report(self: ProgressView, progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    async def once() -> None:
        await trio.sleep(0.15)

    monkeypatch.setattr(ProgressView, "report", report)
    view = ProgressView.__new__(ProgressView)
    await measure(once, concurrency=1, calls=3, seconds=9, view=view)
    assert seen == [(1, 3), (2, 3)]


@pytest.mark.real
def test_bench(full_server: Child) -> None:
    result = run("bench", full_server.url, "add", "a=1", "b=2", "-n", "20", "-c", "4")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("calls\t20\nfailed\t0\n")


@pytest.mark.real
def test_bench_of_listing(full_server: Child) -> None:
    shown = json.loads(run("bench", full_server.url, "-n", "5", "--json").stdout)
    assert (shown["calls"], shown["failed"]) == (5, 0)
    assert shown["calls per second"] > 0


@pytest.mark.real
def test_a_tool_that_fails_from_the_beginning(full_server: Child) -> None:
    result = run("bench", full_server.url, "fail", "-n", "5")
    assert result.exit_code == 1
    assert "error: the tool failed: Error executing tool fail" in result.stderr


@pytest.mark.real
def test_calls_that_fail_later(full_server: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*args: object, **options: object) -> Measured:
        measured = Measured(elapsed=1)
        measured.failures["no\x1b"] += 2
        return measured

    monkeypatch.setattr("trio_mcp.cli.bench.measure", failing)
    result = run("bench", full_server.url)
    assert (result.exit_code, result.stderr) == (1, "failed 2 times: no\\x1b\n")
