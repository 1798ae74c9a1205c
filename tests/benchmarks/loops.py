"""The two event loops that clients run on, as far as the rounds need them.

Not anyio: its task groups would charge a Trio client for something that its users do not run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
Job = Callable[[], Awaitable[object]]


class TooLong(Exception):
    """A round did not end in time."""


class Loop(Protocol):
    """What a round asks of an event loop."""

    name: str

    def run(self, main: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Run `main` in a loop of its own.

        Raises:
            TooLong: it took longer than `seconds`.
        """

    async def together(self, job: Job, count: int) -> None:
        """Run `job` in `count` tasks at the same time, and wait for all of them."""

    async def within(self, job: Job, seconds: float) -> bool:
        """Run `job`, cancelled after `seconds`; whether it ended by itself."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def tasks(self) -> int:
        """How many tasks there are."""

    async def overshoot(self, job: Job, seconds: float) -> float:
        """Cancel `job` after `seconds`; gives the seconds from that deadline until the task was back."""


class TrioLoop:
    name = "trio"

    def run(self, main: Callable[[], Awaitable[T]], seconds: float) -> T:
        import trio

        async def bounded() -> T:
            try:
                with trio.fail_after(seconds):
                    return await main()
            except trio.TooSlowError as exc:
                raise TooLong(f"not done after {seconds:g} s") from exc

        return trio.run(bounded)

    async def together(self, job: Job, count: int) -> None:
        import trio

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(job)

    async def within(self, job: Job, seconds: float) -> bool:
        import trio

        with trio.move_on_after(seconds) as scope:
            await job()
        return not scope.cancelled_caught

    async def sleep(self, seconds: float) -> None:
        import trio

        await trio.sleep(seconds)

    def tasks(self) -> int:
        import trio

        return trio.lowlevel.current_statistics().tasks_living

    async def overshoot(self, job: Job, seconds: float) -> float:
        import trio

        with trio.move_on_after(seconds) as scope:
            await job()
        if not scope.cancelled_caught:
            raise RuntimeError("the server was not silent")
        return trio.current_time() - scope.deadline


class AsyncioLoop:
    name = "asyncio"

    def run(self, main: Callable[[], Awaitable[T]], seconds: float) -> T:
        async def bounded() -> T:
            try:
                async with asyncio.timeout(seconds):
                    return await main()
            except TimeoutError as exc:
                raise TooLong(f"not done after {seconds:g} s") from exc

        return asyncio.run(bounded())

    async def together(self, job: Job, count: int) -> None:
        async def one() -> None:
            await job()

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())

    async def within(self, job: Job, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds) as timeout:
                await job()
        except TimeoutError:
            if not timeout.expired():
                raise
            return False
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def tasks(self) -> int:
        return len(asyncio.all_tasks())

    async def overshoot(self, job: Job, seconds: float) -> float:
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await job()
        except TimeoutError:
            return time.monotonic() - deadline
        raise RuntimeError("the server was not silent")
