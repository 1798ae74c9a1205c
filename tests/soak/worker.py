"""One client in a process of its own: a line of JSON says what to do, and a line of JSON what came of it.

python -m tests.soak.worker trio_mcp < command
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from tests.benchmarks.contenders import load
from tests.benchmarks.machine import allow_many_files, memory
from tests.benchmarks.worker import why

from .ledger import Outcome

ROUNDS: Final = 10
"""Between them the client is at rest, and is measured; the first one warms it up."""
LANES: Final = 3
"""Calls at a time on one connection."""
AT_A_TIME: Final = 10
"""Connections at a time."""
CANCELLED: Final = 0.05
"""The chance that a call is cancelled, somewhere in its first milliseconds."""
CANCEL_SECONDS: Final = 0.004
HUNG_SECONDS: Final = 5.0
"""No call takes that long: the server answers within 20 ms, or breaks the connection."""
_TRIES: Final = 20
_PAUSE: Final = 0.02
_REST: Final = 0.2


@dataclass
class Rest:
    """What there is while nothing is under way."""

    memory: int
    objects: int
    descriptors: int
    tasks: int


class Soak:
    """One client, and the state of its calls.

    Args:
        contender: the client.
        command: what to do: `url`, `calls`, `connections`, `seed`.
    """

    def __init__(self, contender: Any, command: dict[str, Any]) -> None:
        self._contender = contender
        self._loop = contender.loop
        self._url: str = command["url"]
        self._connections: int = command["connections"]
        self._each: int = command["calls"] // self._connections
        self._rng = random.Random(command["seed"])
        self._outcomes = bytearray(Outcome.MISSING.encode() * (self._each * self._connections))
        self._errors: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._failed_to_open = 0
        self._deaths = 0
        self._numbers: Iterator[int] = iter(())

    async def run(self) -> dict[str, Any]:
        rests = []
        for number in range(ROUNDS):
            bounds = [self._connections * each // ROUNDS for each in (number, number + 1)]
            self._numbers = iter(range(*bounds))
            await self._loop.together(self._keep_connecting, AT_A_TIME)
            await self._loop.sleep(_REST)
            rests.append(self._rest())
        return {
            "outcomes": self._outcomes.decode(),
            "errors": dict(self._errors.most_common(12)),
            "failed_to_open": self._failed_to_open,
            "deaths": self._deaths,
            "rests": [asdict(rest) for rest in rests],
            "latencies": _percentiles(self._latencies),
        }

    async def _keep_connecting(self) -> None:
        for number in self._numbers:
            await self._use_connection(range(number * self._each, (number + 1) * self._each))

    async def _use_connection(self, nonces: range) -> None:
        """One connection, on which these calls are made; it is tried again while the server is away."""
        left = iter(nonces)
        for _ in range(_TRIES):
            opened = False
            try:
                async with self._contender.connect(self._url) as connection:
                    opened = True
                    lane = partial(self._make_calls, connection, left)
                    await self._loop.together(lane, LANES)
                break
            except Exception as exc:
                self._errors[f"{'the block' if opened else 'opening'}: {why(exc)[:80]}"] += 1
                if opened:
                    self._deaths += 1
                    break
                self._failed_to_open += 1
                await self._loop.sleep(_PAUSE)
        for nonce in left:
            self._outcomes[nonce] = ord(Outcome.DEAD)
        for nonce in nonces:
            if self._outcomes[nonce] == ord(Outcome.MISSING):
                self._outcomes[nonce] = ord(Outcome.DEAD)

    async def _make_calls(self, connection: Any, nonces: Iterator[int]) -> None:
        for nonce in nonces:
            cancelled = self._rng.random() < CANCELLED
            patience = self._rng.uniform(0, CANCEL_SECONDS) if cancelled else HUNG_SECONDS
            ended = await self._loop.within(partial(self._call, connection, nonce), patience)
            if not ended:
                self._outcomes[nonce] = ord(Outcome.CANCELLED if cancelled else Outcome.HUNG)

    async def _call(self, connection: Any, nonce: int) -> None:
        began = time.perf_counter()
        try:
            text = await connection.call("work", {"nonce": nonce})
        except Exception as exc:
            outcome = Outcome.ERROR if self._is_documented(exc) else Outcome.STRANGE
            self._errors[why(exc)[:80]] += 1
        else:
            outcome = Outcome.RESULT if text == str(nonce) else Outcome.WRONG
            self._latencies.append(time.perf_counter() - began)
        self._outcomes[nonce] = ord(outcome)

    def _is_documented(self, exc: Exception) -> bool:
        documented: type[Exception] | None = getattr(self._contender, "error", None)
        return documented is None or isinstance(exc, documented)

    def _rest(self) -> Rest:
        if len(self._latencies) > 20_000:  # a sample: what is kept here must not look like a leak
            self._latencies = self._rng.sample(self._latencies, 20_000)
        gc.collect()
        return Rest(memory(), len(gc.get_objects()), _descriptors(), self._loop.tasks())


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0  # there is no such directory everywhere


def _percentiles(latencies: list[float]) -> dict[str, float]:
    """In milliseconds, of those that have a result."""
    found = sorted(latencies)
    if not found:
        return {}
    return {
        name: 1000 * found[min(len(found) - 1, int(len(found) * part))]
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
    }


def main() -> None:
    """The program."""
    allow_many_files()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            contender: Any = load(sys.argv[1])
        except ImportError as exc:
            print(json.dumps({"refusal": why(exc)}), file=out, flush=True)
            return
        print(json.dumps({"ready": True}), file=out, flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            began, cpu = time.perf_counter(), time.process_time()
            try:
                told = contender.loop.run(Soak(contender, command).run, command["seconds"])
                told["wall"], told["cpu"] = time.perf_counter() - began, time.process_time() - cpu
                told["title"] = contender.title
                told["packages"] = {package: version(package) for package in contender.packages}
            except Exception as exc:
                told = {"refusal": why(exc)}
            print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    main()
