"""A client of the comparison, in a process and perhaps an environment of its own: it imports no other.

For each line of JSON that names a tool, it connects, calls that tool and then another one, and prints what
came of it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import anyio

from tests.benchmarks.contenders import load
from tests.benchmarks.contenders.base import Connection, Contender

_CALL_SECONDS: Final = 2.0
_CASE_SECONDS: Final = 60.0


async def call(connection: Connection, tool: str, patience: float = _CALL_SECONDS) -> tuple[str, str]:
    """ "ok", "error" or "timeout", and what an error says."""
    try:
        with anyio.move_on_after(patience):
            await connection.call(tool)
            return "ok", ""
    except Exception as exc:
        return "error", " / ".join(_texts(exc))
    return "timeout", ""


def _texts(error: BaseException | None) -> Iterator[str]:
    """All that an error says, for whoever looks for a status."""
    while error is not None:
        yield f"{error!r} {getattr(error, 'status_code', '')}"
        response = getattr(error, "response", None)
        yield str(getattr(response, "status_code", ""))
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _texts(each)
        error = error.__cause__ or error.__context__


async def case(contender: Contender, url: str, tool: str, patience: float) -> dict[str, Any]:
    """What came of one case; the next call is given `patience` seconds."""
    seen: dict[str, Any] = {"call": "none", "text": "", "alive": False}
    seen |= {"next": _CASE_SECONDS, "closing": _CASE_SECONDS}
    try:
        with anyio.fail_after(_CASE_SECONDS):
            async with contender.connect(url) as connection:
                seen["call"], seen["text"] = await call(connection, tool)
                began = time.perf_counter()
                seen["alive"] = (await call(connection, "next", patience))[0] == "ok"
                seen["next"] = (left := time.perf_counter()) - began
            seen["closing"] = time.perf_counter() - left
    except Exception as exc:
        seen["alive"] = False
        seen["text"] += f" / the block raised {exc!r}"
    return seen


def run(name: str, url: str) -> None:
    contender = load(name)
    for line in sys.stdin:
        command = json.loads(line)
        main = partial(case, contender, url, command["tool"], command["patience"])
        seen = contender.loop.run(main, 2 * _CASE_SECONDS)
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    run(*sys.argv[1:])
