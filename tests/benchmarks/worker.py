"""One client in a process of its own: it reads a line of JSON for each round, and answers with one.

    python -m tests.benchmarks.worker mcp-trio < rounds

It ends when its standard input does.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any

from .contenders import load
from .contenders.base import Connection, Contender
from .machine import allow_many_files, forget_peak_memory, memory, page_faults, peak_memory
from .results import Round
from .works import AT_A_TIME, BIG_BYTES, CANCEL_AFTER, ECHO_TEXT, PROGRESS_COUNT

Main = Callable[[Contender, str, int], Awaitable[Round]]


class Meter:
    """Measures a block; for the rounds of one process only, since CPU is the whole process's."""

    def __enter__(self) -> Meter:
        gc.collect()  # what an earlier round has left is not charged to this one
        forget_peak_memory()
        self._memory, self._faults = memory(), page_faults()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cpu, self.wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self.faults, self.peak = page_faults() - self._faults, peak_memory()

    def round(self, operations: int) -> Round:
        grown = max(0, self.peak - self._memory)
        return Round(operations, self.cpu, self.wall, self.peak, grown=grown, faults=self.faults)


async def echo(connection: Connection) -> None:
    text = await connection.call("echo")
    if text != ECHO_TEXT:
        raise ValueError(f"a wrong answer: {text[:100]!r}")


async def sequential(contender: Contender, url: str, operations: int) -> Round:
    async with contender.connect(url) as connection:
        await echo(connection)
        with Meter() as meter:
            for _ in range(operations):
                await echo(connection)
    return meter.round(operations)


async def concurrent(contender: Contender, url: str, operations: int) -> Round:
    async with contender.connect(url) as connection:
        job = partial(echo, connection)
        await contender.loop.together(job, AT_A_TIME)
        with Meter() as meter:
            for _ in range(operations // AT_A_TIME):
                await contender.loop.together(job, AT_A_TIME)
    return meter.round(operations)


async def progress(contender: Contender, url: str, operations: int) -> Round:
    seen = 0

    async def callback(progress: float, total: float | None, message: str | None) -> None:
        nonlocal seen
        seen += 1

    async with contender.connect(url) as connection:
        await connection.call_with_progress("progress", callback)
        seen = 0
        with Meter() as meter:
            for _ in range(operations):
                await connection.call_with_progress("progress", callback)
        lost = operations * PROGRESS_COUNT - seen
    result = meter.round(operations)
    result.lost = lost
    return result


async def big(contender: Contender, url: str, operations: int) -> Round:
    async def call() -> None:
        length = len(await connection.call("big"))
        if not BIG_BYTES / 2 < length <= BIG_BYTES:
            raise ValueError(f"an answer of {length} characters")

    async with contender.connect(url) as connection:
        await call()
        with Meter() as meter:
            for _ in range(operations):
                await call()
    return meter.round(operations)


async def opening(contender: Contender, url: str, operations: int) -> Round:
    async with contender.connect(url):
        pass
    with Meter() as meter:
        for _ in range(operations):
            async with contender.connect(url):
                pass
    return meter.round(operations)


async def in_flight(contender: Contender, url: str, operations: int) -> Round:
    held: list[int] = [0]
    errors: list[str] = []

    async def call() -> None:
        try:
            held.append(int(await connection.call("hold")))
        except Exception as exc:
            errors.append(f"{type(exc).__name__}: {exc}")

    async with contender.connect(url) as connection:
        await echo(connection)
        with Meter() as meter:
            await contender.loop.together(call, operations)
    result = meter.round(operations)
    result.held, result.failed = max(held), len(errors)
    result.error = errors[0] if errors else None
    return result


async def cancel(contender: Contender, url: str, operations: int) -> Round:
    overshoots = []
    async with contender.connect(url) as connection:
        await echo(connection)
        job = partial(connection.call, "silent")
        with Meter() as meter:
            for _ in range(operations):
                overshoots.append(await contender.loop.overshoot(job, CANCEL_AFTER))
        await echo(connection)  # it is in order afterwards
    result = meter.round(operations)
    result.overshoot = max(overshoots)
    return result


MAINS: dict[str, Main] = {
    "sequential": sequential,
    "concurrent": concurrent,
    "progress": progress,
    "big": big,
    "opening": opening,
    "in-flight": in_flight,
    "cancel": cancel,
}


async def negotiated(contender: Contender, url: str) -> str:
    async with contender.connect(url) as connection:
        return connection.version


def answer(contender: Contender, command: dict[str, Any]) -> dict[str, Any]:
    """Do what a line asks for."""
    url, seconds = command["url"], command["seconds"]
    if command["work"] == "introduction":
        return {
            "title": contender.title,
            "protocol": contender.loop.run(partial(negotiated, contender, url), seconds),
            "packages": {package: version(package) for package in contender.packages},
        }
    main = partial(MAINS[command["work"]], contender, url, command["operations"])
    return asdict(contender.loop.run(main, seconds))


def why(exc: BaseException) -> str:
    """The innermost reason, in a line."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}".partition("\n")[0]


def main() -> None:
    """The program."""
    allow_many_files()
    # What a client prints must not be taken for an answer.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            contender = load(sys.argv[1])
        except ImportError as exc:
            print(json.dumps({"refusal": why(exc)}), file=out, flush=True)
            return
        print(json.dumps({"ready": True}), file=out, flush=True)
        for line in sys.stdin:
            try:
                told = answer(contender, json.loads(line))
            except Exception as exc:
                told = {"refusal": why(exc)}
            print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    main()
