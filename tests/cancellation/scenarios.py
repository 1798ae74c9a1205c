"""What is cancelled: small things to do with a connection, with `trial.cancellable()` around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trio_mcp import Connector, NotConnected

from .trial import GOODBYE, Scenario, Trial, text_of, use

__all__ = ["ACTS", "WHOLES", "Act", "acting"]

Act = Callable[[Connector], Awaitable[None]]


def acting(act: Act) -> Scenario:
    """Something that is done with an open connection, which outlives it."""

    async def scenario(trial: Trial) -> None:
        async with trial.connection() as c:
            with trial.cancellable():
                await act(c)

    return scenario


async def call(c: Connector) -> None:
    await use_tool(c, "quick")


async def call_with_progress(c: Connector) -> None:
    seen: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        await trio.sleep(0.1)
        seen.append(progress)

    await c.call_tool("slow", progress_callback=report)
    assert seen == [0, 1, 2]


async def call_that_asks(c: Connector) -> None:
    """Its callback answers."""
    await use_tool(c, "asks")


async def list_two_pages(c: Connector) -> None:
    assert [tool.name for tool in await c.list_tools()] == ["t1", "t2"]


async def calls_that_queue(c: Connector) -> None:
    """More than there are places."""
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(use_tool, c, "slow")


async def use_tool(c: Connector, tool: str) -> None:
    assert text_of(await c.call_tool(tool)) == "done"


async def listen_to_events(c: Connector) -> None:
    """The stream of subscriptions (modern), or what is subscribed to (legacy)."""
    async with c.listen(tools=True, uris=["file:///x"]) as events:
        with trio.move_on_after(1):
            await events.receive()


async def tell(c: Connector) -> None:
    await c.notify("notifications/whatever")


async def many_at_a_time(c: Connector) -> None:
    async with trio.open_nursery() as nursery:
        for act in (call, call_that_asks, list_two_pages, tell):
            nursery.start_soon(act, c)


ACTS: Final[dict[str, Act]] = {
    act.__name__: act
    for act in (
        call,
        call_with_progress,
        call_that_asks,
        list_two_pages,
        calls_that_queue,
        listen_to_events,
        tell,
        many_at_a_time,
    )
}


async def one_call_of_two(trial: Trial) -> None:
    """The other one is not disturbed."""

    async def slow_call() -> None:
        began = trio.current_time()
        assert text_of(await c.call_tool("slow")) == "done"
        assert trio.current_time() - began < 4

    async with trial.connection() as c, trio.open_nursery() as nursery:
        nursery.start_soon(slow_call)
        await trio.sleep(0.5)
        with trial.cancellable():
            await call_that_asks(c)


async def a_whole_connection(trial: Trial) -> None:
    """Opening, a call, and closing."""
    connector = await trial.connector()
    with trial.cancellable(within=GOODBYE):
        async with connector as c:
            await call(c)
    await another(trial)


async def a_connection_in_a_nursery(trial: Trial) -> None:
    """The nursery is cancelled, and with it what lives there."""
    connector = await trial.connector()
    with trial.cancellable(within=GOODBYE):
        async with trio.open_nursery() as nursery:
            c = await nursery.start(connector.run)
            await use(c)
            await c.aclose()
    await another(trial)


async def closing_by_hand(trial: Trial) -> None:
    """`aclose` is cancelled: closing goes on all the same."""
    async with trio.open_nursery() as nursery:
        connector = await trial.connector()
        c = await nursery.start(connector.run)
        nursery.start_soon(_is_ended, c)
        await trio.sleep(0.5)
        with trial.cancellable():
            await c.aclose()
    await another(trial)


async def another(trial: Trial) -> None:
    """What a connection has left behind, if it was cancelled, disturbs no other one."""
    async with trial.connection():
        pass


async def _is_ended(c: Connector) -> None:
    try:
        await c.call_tool("silent")
    except NotConnected:
        return
    raise AssertionError("the call goes on in a closed connection")


WHOLES: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (one_call_of_two, a_whole_connection, a_connection_in_a_nursery, closing_by_hand)
}
