from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mcp.mailbox import Mailbox


class Counter:
    def __init__(self) -> None:
        self.drops = 0

    def __call__(self) -> None:
        self.drops += 1


async def test_entries_are_handled_in_order_one_after_the_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mailbox: Mailbox[int] = Mailbox(10, Counter())
    log: list[str] = []

    async def handle(entry: int) -> None:
        log.append(f"{entry} begins")
        await trio.sleep(1)
        log.append(f"{entry} ends")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, handle)
        mailbox.put(1)
        mailbox.put(2)
        mailbox.close()
    assert log == ["1 begins", "1 ends", "2 begins", "2 ends"]


async def test_what_is_queued_when_it_is_closed_is_still_handled() -> None:
    dropped = Counter()
    mailbox: Mailbox[int] = Mailbox(10, dropped)
    seen: list[int] = []

    async def handle(entry: int) -> None:
        seen.append(entry)

    mailbox.put(1)
    mailbox.put(2)
    mailbox.close()
    await mailbox.serve(handle)
    assert seen == [1, 2]
    assert dropped.drops == 0


async def test_full_it_forgets_the_oldest_and_says_so() -> None:
    dropped = Counter()
    mailbox: Mailbox[int] = Mailbox(2, dropped)
    seen: list[int] = []

    async def handle(entry: int) -> None:
        seen.append(entry)

    for entry in range(5):
        mailbox.put(entry)
    mailbox.close()
    await mailbox.serve(handle)
    assert seen == [3, 4]
    assert dropped.drops == 3


async def test_a_slow_handler_does_not_hold_up_who_puts() -> None:
    dropped = Counter()
    mailbox: Mailbox[int] = Mailbox(1, dropped)
    go = trio.Event()
    seen: list[int] = []

    async def handle(entry: int) -> None:
        seen.append(entry)
        await go.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, handle)
        await wait_all_tasks_blocked()
        mailbox.put(0)
        await wait_all_tasks_blocked()
        for entry in (1, 2, 3):
            mailbox.put(entry)
        go.set()
        mailbox.close()
    assert seen == [0, 3]
    assert dropped.drops == 2


async def test_after_it_is_closed_entries_are_dropped() -> None:
    dropped = Counter()
    mailbox: Mailbox[int] = Mailbox(1, dropped)
    mailbox.close()
    mailbox.put(1)
    assert dropped.drops == 1


async def test_after_its_handler_failed_entries_are_dropped() -> None:
    dropped = Counter()
    mailbox: Mailbox[int] = Mailbox(1, dropped)
    error = KeyError("handler")

    async def handle(entry: int) -> None:
        raise error

    mailbox.put(1)
    with pytest.raises(KeyError) as caught:
        await mailbox.serve(handle)
    assert caught.value is error
    mailbox.put(2)
    assert dropped.drops == 1


async def test_after_its_server_was_cancelled_entries_are_dropped() -> None:
    dropped = Counter()
    mailbox: Mailbox[int] = Mailbox(1, dropped)

    async def handle(entry: int) -> None:
        raise AssertionError("nothing came")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.serve, handle)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    mailbox.put(1)
    assert dropped.drops == 1


@pytest.mark.parametrize("error", [trio.WouldBlock(), trio.EndOfChannel()])
async def test_what_a_handler_raises_is_its_own(error: Exception) -> None:
    mailbox: Mailbox[int] = Mailbox(10, lambda: None)
    for n in range(3):
        mailbox.put(n)

    async def handle(entry: int) -> None:
        if entry == 1:
            raise error

    with pytest.raises(type(error)) as caught:
        await mailbox.serve(handle)
    assert caught.value is error
