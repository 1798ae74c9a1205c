"""Where a fault strikes over HTTP, what the client does there, and what must hold beside.

Each phase plays one cell to its end and gives the deviations from what it must hold, in words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import trio

from trio_mcp import Connector, Gap, ToolsChanged
from trio_mcp.deadlines import Stalled
from trio_mcp.errors import ConnectionLost, OAuthError
from trio_mcp.testing import MemoryNetwork

from .cells import GOODBYE, Cell, Played
from .faults import BROKEN, CONTENTS, RESPONSES, SILENCE, STREAMS, TIMEOUT, Fault
from .oracle import Watch
from .outcomes import OK, Attempt, Fails, Fine, Outcome
from .server import Asked, Era, Strike
from .world import World

__all__ = ["CELLS", "call_among_others"]

_Play: TypeAlias = Callable[[World, Fault, Outcome, "float | None"], Awaitable[Played]]


@dataclass(frozen=True)
class _Phase:
    """A phase.

    Args:
        name: what it is called.
        says: what happens there.
        eras: which servers have it.
        faults: which there are.
        expected: what comes of each, for the act that is struck.
        play: plays a cell: the fault, what is expected, and when the caller leaves, if it does.
        oauth: whether the client gets its tokens from a token endpoint.
    """

    name: str
    says: str
    eras: tuple[Era, ...]
    faults: tuple[Fault, ...]
    expected: Callable[[Fault], Outcome]
    play: _Play
    oauth: bool = False

    def cells(self) -> Iterator[Cell]:
        for era in self.eras:
            for fault in self.faults:
                expected = fault.outcome(era, self.name, self.expected(fault))
                yield Cell(
                    era, self.name, fault.name, expected, partial(self._play_in_world, era, fault, expected)
                )

    async def _play_in_world(
        self,
        era: Era,
        fault: Fault,
        expected: Outcome,
        network: MemoryNetwork,
        nursery: trio.Nursery,
        watch: Watch,
        leave_after: float | None,
    ) -> Played:
        world = World(era, network, nursery, watch, oauth=self.oauth)
        return await self.play(world, fault, expected, leave_after)


def _request(fault: Fault) -> Outcome:
    return fault.request


def _one_way(fault: Fault) -> Outcome:
    return fault.request if fault.one_way is None else fault.one_way


def _fine(fault: Fault) -> Outcome:
    return OK


# Opening


async def _handshake(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """The handshake is struck, each message of it; the next one is not."""
    for name in ("server/discover", "initialize"):
        if name == "initialize" or world.server.era == "modern":
            world.server.misbehave(name, fault.strike, fault.times)
    return await _open(world, expected, leave_after)


async def _initialized(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    world.server.misbehave("notifications/initialized", fault.strike, fault.times)
    return await _open(world, expected, leave_after)


async def _token(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """The first token is struck."""
    world.server.misbehave("token", fault.strike, fault.times)
    return await _open(world, expected, leave_after)


async def _open(world: World, expected: Outcome, leave_after: float | None) -> Played:
    """Open a connector, which is struck, and then another one, which is not."""
    played, closing = Played(), [0.0]

    async def open_and_close() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(world.connect())
            closing[0] = trio.current_time()
        played.check_closing(closing[0])

    began = trio.current_time()
    first = await world.attempt(open_and_close, leave_after)
    played.check_act(first, expected, leave_after, GOODBYE)
    # What follows the fault, the goodbye, takes its time whoever leaves: so it is at the fault itself.
    played.middle = (world.server.struck_at or trio.current_time()) - began + world.link.latency / 2
    world.server.behave()
    played.check("opening again", await world.attempt(partial(_use, world.connect())))
    return played


async def _use(connector: Connector) -> None:
    async with connector as c:
        await c.call_tool("next")


# Calls


async def _call(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """A call is struck before the head of its response."""
    world.server.misbehave("tools/call victim", fault.strike, fault.times)
    return await call_among_others(world, expected, leave_after)


async def _answer(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """A call is struck in the middle of its answer."""
    world.server.misbehave(
        "tools/call victim", _after(world.server.report_progress, fault.strike), fault.times
    )
    return await call_among_others(world, expected, leave_after)


def _after(beginning: Strike, strike: Strike) -> Strike:
    async def both(asked: Asked) -> None:
        await beginning(asked)
        await strike(asked)

    return both


async def call_among_others(
    world: World, expected: Outcome, leave_after: float | None, beside: Outcome = OK
) -> Played:
    """One call is struck; one that is under way, one that begins meanwhile and one that follows are not."""
    played, reported = Played(), list[float]()
    neighbours: list[Attempt] = []

    async def neighbour(c: Connector, tool: str) -> None:
        neighbours.append(await world.attempt(lambda: c.call_tool(tool)))

    async def quick(c: Connector) -> None:
        with trio.move_on_after(2):  # a caller who leaves may leave before that
            await world.server.struck.wait()
            await neighbour(c, "quick")

    async def report(value: float, total: float | None, message: str | None) -> None:
        reported.append(value)

    async with world.connect() as c:
        world.tell(repr(c))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour, c, "slow")
            await trio.sleep(0.5)
            nursery.start_soon(quick, c)
            victim = await world.attempt(lambda: c.call_tool("victim", progress_callback=report), leave_after)
        played.check_act(victim, expected, leave_after)
        for made in neighbours:
            played.check("a call beside it", made, beside)
        world.server.behave()
        world.link.heal()
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        world.tell(repr(c) + repr(c.statistics()))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


# Tokens


async def _refresh(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """A token that is about to end is to be renewed before a call; the old one is good for a moment still."""
    played = Played()
    async with world.connect() as c:
        await trio.sleep(95)
        world.server.misbehave("token", fault.strike, fault.times)
        made = await world.attempt(lambda: c.call_tool("victim"), leave_after)
        played.check_act(made, expected, leave_after)
        world.server.behave()
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")), Fine(within=40))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


# What the client sends of its own


async def _reply(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """The answer to a question of the server is struck: the call in which it was asked goes on."""

    async def strike(asked: Asked) -> None:
        world.server.count_as_answered()
        await fault.strike(asked)

    world.server.misbehave("answer", strike, fault.times)
    return await _in_background(world, "asking", expected, leave_after)


async def _cancel(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """The notice that a call was cancelled is struck: nobody waits for it."""
    world.server.misbehave("notifications/cancelled", fault.strike, fault.times)

    async def leave(c: Connector) -> None:
        with trio.move_on_after(1):
            await c.call_tool("stuck")

    return await _in_background(world, leave, expected, leave_after)


async def _in_background(
    world: World,
    act: str | Callable[[Connector], Awaitable[None]],
    expected: Outcome,
    leave_after: float | None,
) -> Played:
    """Something that the client sends in the background is struck: it is counted and logged, and no more."""
    played = Played()

    async def make(c: Connector) -> None:
        await (c.call_tool(act) if isinstance(act, str) else act(c))

    async with world.connect() as c:
        made = await world.attempt(partial(make, c), leave_after)
        played.check_act(made, OK, leave_after)
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        if leave_after is None:
            patience = max(TIMEOUT, expected.within if isinstance(expected, Fails | Fine) else 0)
            await trio.sleep(patience + 1)
            undelivered = 1 if isinstance(expected, Fails) else 0
            if c.statistics().undelivered != undelivered:
                played.deviations.append(f"undelivered are {c.statistics().undelivered}, not {undelivered}")
        closing = trio.current_time()
    played.check_closing(closing)
    return played


# Streams of the server's own


async def _get(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """The GET stream is struck when it is to be opened."""
    world.server.misbehave("GET", fault.strike, fault.times)
    return await _listening(world, fault.reopens, leave_after)


async def _get_open(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """The GET stream is struck when it has been open for a moment."""

    async def strike(asked: Asked) -> None:
        await asked.begin_stream()
        world.server.keep(asked)
        await trio.sleep(1)
        await fault.strike(asked)
        await world.server.go_on(asked)

    world.server.misbehave("GET", strike)
    return await _listening(world, True, leave_after)


async def _listening(world: World, hears: bool, leave_after: float | None) -> Played:
    """Calls go on, whatever becomes of the stream; and it is opened again, if that makes sense."""
    played = Played()
    async with world.connect() as c:
        made = await world.attempt(lambda: c.call_tool("slow"), leave_after)
        played.check_act(made, OK, leave_after)
        if leave_after is None:
            await trio.sleep(SILENCE + 8)
            world.server.behave()
            await trio.sleep(30)
            world.heard.clear()
            await world.server.notify()
            await trio.sleep(0.1)
            if bool(world.heard) is not hears:
                played.deviations.append(f"the stream {'is' if world.heard else 'is not'} there again")
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


async def _listen(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """A subscription is struck when it is to be opened."""
    world.server.misbehave("subscriptions/listen", fault.strike, fault.times)
    played = Played()

    async def open_subscription(c: Connector) -> None:
        async with c.listen(tools=True):
            pass

    async with world.connect() as c:
        made = await world.attempt(partial(open_subscription, c), leave_after)
        played.check_act(made, expected, leave_after)
        world.server.behave()
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        played.check("listening again", await world.attempt(partial(open_subscription, c)))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


async def _listen_open(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """A subscription is struck when it has been open for a moment."""
    played, events = Played(), list[object]()

    async def strike(asked: Asked) -> None:
        await world.server.acknowledge(asked)
        world.server.keep(asked)
        await trio.sleep(1)
        await fault.strike(asked)
        await world.server.go_on(asked)

    async def follow(c: Connector) -> None:
        async with c.listen(tools=True) as listener:
            async for each in listener:
                events.append(each)
                if isinstance(each, ToolsChanged | Gap):
                    return

    async def tell() -> None:
        await trio.sleep(SILENCE + 8)
        world.server.behave()
        await world.server.notify()

    world.server.misbehave("subscriptions/listen", strike)
    async with world.connect() as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            made = await world.attempt(partial(follow, c), leave_after)
        played.check_act(made, expected, leave_after)
        played.check("the next call", await world.attempt(lambda: c.call_tool("next")))
        closing = trio.current_time()
    played.check_closing(closing)
    return played


# The end


async def _delete(world: World, fault: Fault, expected: Outcome, leave_after: float | None) -> Played:
    """DELETE is struck: leaving the block takes no longer than it may, and raises nothing."""
    world.server.misbehave("DELETE", fault.strike, fault.times)
    played = Played()

    async def live() -> None:
        async with world.connect() as c:
            await c.call_tool("next")
            if leave_after is not None:
                await trio.sleep_forever()
            closing[0] = trio.current_time()
        played.check_closing(closing[0])

    closing = [0.0]
    made = await world.attempt(live, leave_after)
    played.check_act(made, OK, leave_after, GOODBYE)
    return played


_BOTH: Final[tuple[Era, ...]] = ("modern", "legacy")
_ANSWERS: Final = (*BROKEN, *RESPONSES, *CONTENTS)
_STREAMS: Final = tuple(STREAMS)
_FOR_TOKENS: Final = (*BROKEN, *RESPONSES)


def _listens(fault: Fault) -> Outcome:
    """A subscription that was lost is taken up again; one that breaks the protocol is not."""
    if isinstance(fault.request, Fails) and not issubclass(fault.request.kind, ConnectionLost):
        return fault.request
    return Fine(within=30)


def _token_or_none(fault: Fault) -> Outcome:
    """Whatever is wrong, it is an error of that step; the cause is what a call would have met."""
    if fault in RESPONSES:
        return Fails(OAuthError, "token: the authorization server gave no token")
    if isinstance(fault.request, Fine):
        return Fine(within=30)
    kind = fault.request.kind if isinstance(fault.request, Fails) else Stalled
    return Fails(OAuthError, "token: no usable answer", kind, within=31)


def _old_token(fault: Fault) -> Outcome:
    """The old token is used, whatever is wrong with getting another one; but that may take its time."""
    return Fine(within=31)


_PHASES: Final = [
    _Phase("handshake", "server/discover and initialize", _BOTH, _ANSWERS, _request, _handshake),
    _Phase("initialized", "notifications/initialized", ("legacy",), _ANSWERS, _one_way, _initialized),
    _Phase("call", "a call that awaits its headers", _BOTH, _ANSWERS, _request, _call),
    _Phase("answer", "a call in the middle of its answer", _BOTH, _STREAMS, _request, _answer),
    _Phase("GET", "the GET stream, when it is opened", ("legacy",), _ANSWERS, _fine, _get),
    _Phase("GET, open", "the GET stream, later", ("legacy",), _STREAMS, _fine, _get_open),
    _Phase("listen", "a subscription, when it is opened", ("modern",), _ANSWERS, _request, _listen),
    _Phase("listen, open", "a subscription, later", ("modern",), _STREAMS, _listens, _listen_open),
    _Phase("reply", "the client's answer to a question", ("legacy",), _ANSWERS, _one_way, _reply),
    _Phase("cancel", "the notice that a call was cancelled", ("legacy",), _ANSWERS, _one_way, _cancel),
    _Phase("token", "the first token", ("modern",), _FOR_TOKENS, _token_or_none, _token, oauth=True),
    _Phase("refresh", "another token", ("modern",), _FOR_TOKENS, _old_token, _refresh, oauth=True),
    _Phase("DELETE", "the end of the session", ("legacy",), _ANSWERS, _fine, _delete),
]  # fmt: skip

CELLS: Final = [cell for phase in _PHASES for cell in phase.cells()]
