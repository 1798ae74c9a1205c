"""The server of the comparison: it misbehaves by the name of the tool that is called.

It prints the port that it listens on, and ends when its standard input does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from .faults import BROKEN, CONTENTS, RESPONSES, STREAMS, Fault, silence
from .outcomes import Fails, Fine, TimesOut
from .server import Asked, Era, Server, Strike

__all__ = ["CASES", "Case", "main"]

_ALWAYS: Final = 1 << 30
_OTHERS_LIMIT: Final = "max_message_size"  # what is too large depends on the client, and is no misbehaviour


@dataclass(frozen=True)
class Case:
    """One answer.

    Attributes:
        name: what is wrong with it.
        tool: what is called.
        is_right: whether it is to be taken for an answer.
        status: the HTTP status that an error should tell of.
        strike: gives it.
    """

    name: str
    tool: str
    is_right: bool
    status: int | None
    strike: Strike


def _cases() -> Iterator[Case]:
    faults = [(fault.name, fault, fault.strike) for fault in (*BROKEN, *RESPONSES, *CONTENTS)]
    for fault in STREAMS:
        if "SSE: " not in fault.name:  # those have been given as JSON
            faults.append((f"on a stream: {fault.name}", fault, _streaming(fault.strike)))
    for number, (name, fault, strike) in enumerate(each for each in faults if _is_fair(each[1])):
        status = None
        if isinstance(fault.request, Fails):
            status = next((value for value in _statuses(fault.request)), None)
        yield Case(name, f"fault-{number}", isinstance(fault.request, Fine), status, strike)


_MATTERS_OF_TASTE: Final = frozenset(
    {
        "layers of gzip",
        "JSON: the id as a float",
        "JSON: the id as a string",
        "an event type that is not UTF-8",
        "an id that is not UTF-8",
        "an event, another that is not UTF-8, and silence",
    }
)
"""What one may take or refuse."""
_TAKES_TIME: Final = frozenset(
    {"silence", "slow drip", "FIN, to be resumed", "a flood of notifications", "a flood of requests"}
)


def _is_fair(fault: Fault) -> bool:
    """Whether every client can know at once what it is, without limits or a taste of its own."""
    if isinstance(fault.request, TimesOut):
        return False
    if isinstance(fault.request, Fails) and _OTHERS_LIMIT in fault.request.says:
        return False
    return fault.name not in _TAKES_TIME | _MATTERS_OF_TASTE


def _statuses(outcome: Fails) -> Iterator[int]:
    for name in ("status_code", "http_status"):
        status = outcome.attributes.get(name)
        if isinstance(status, int) and status >= 400:  # of a redirect, where it leads to says more
            yield status


def _streaming(strike: Strike) -> Strike:
    async def both(asked: Asked) -> None:
        await asked.begin_stream()
        await strike(asked)

    return both


CASES: Final = list(_cases())


async def main(era: Era, unanswered: Sequence[str]) -> None:
    """Serve until standard input ends; what is `unanswered` is not answered."""
    server = Server(era, wants="")
    for name in unanswered:
        server.misbehave(name, silence, _ALWAYS)
    for case in CASES:
        server.misbehave(f"tools/call {case.tool}", case.strike, _ALWAYS)

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(Exception):  # whatever a client does, the others are to be served
            await server.serve(stream)

    async with trio.open_nursery() as nursery:
        listeners: Any = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        print(listeners[0].socket.getsockname()[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel(reason="nobody needs it any more")


if __name__ == "__main__":
    trio.run(main, "modern" if sys.argv[1] == "modern" else "legacy", sys.argv[2:])
