"""What a link in memory does to its connections."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mcp.testing.memory_network import MemoryNetwork
from trio_mcp.testing.memory_stream import Side

from .memory_hosts import HOST, bounded, never, pair, served

# Settings


async def test_each_byte_is_under_way_for_the_latency(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(HOST, latency=0.5)
    await client.send_all(b"x")
    await trio.sleep(0.125)
    await client.send_all(b"y")
    assert await server.receive_some() == b"x"
    assert trio.current_time() == 0.5
    assert await server.receive_some() == b"y"
    assert trio.current_time() == 0.625


async def test_a_changed_latency_never_reorders_bytes(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(latency=1)
    await client.send_all(b"x")
    network.link().latency = 0
    await client.send_all(b"y")
    assert await server.receive_some() == b"xy"
    assert trio.current_time() == 1


async def test_jitter_follows_the_generator_and_never_reorders_bytes(autojump_clock: MockClock) -> None:
    async def arrivals(seed: int) -> list[float]:
        network = MemoryNetwork(random.Random(seed))
        network.set_link(latency=1, jitter=1)
        client, server = await pair(network)
        began = trio.current_time()
        sent = bytes(range(20))
        for byte in sent:
            await client.send_all(bytes([byte]))
        got, times = b"", []
        while len(got) < len(sent):
            got += await server.receive_some()
            times.append(trio.current_time() - began)
        assert got == sent
        return times

    first = await arrivals(7)
    assert all(1 <= time <= 2.001 for time in first)
    assert first == pytest.approx(await arrivals(7))
    assert first != pytest.approx(await arrivals(8))


async def test_bandwidth_spreads_bytes_over_time(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(bandwidth=100)
    await client.send_all(bytes(50))
    await client.send_all(bytes(100))
    assert len(await server.receive_some()) == 50
    assert trio.current_time() == 0.5
    assert len(await server.receive_some()) == 100
    assert trio.current_time() == 1.5


async def test_the_narrowest_links_settings_are_used() -> None:
    network = MemoryNetwork()
    network.set_link(latency=1, jitter=3)
    network.set_link(HOST, latency=2)
    network.set_link(HOST, 80, window=10)
    assert (network.link(HOST, 80).latency, network.link(HOST, 80).jitter) == (2, 3)
    assert network.link(HOST, 81).window == 65536
    assert network.link("other.test", 80).latency == 1


async def test_a_link_that_was_only_looked_at_follows_the_wider_ones() -> None:
    network = MemoryNetwork()
    narrow, host = network.link(HOST, 80), network.link(HOST)
    network.set_link(latency=10, jitter=1)
    assert (narrow.latency, narrow.jitter, host.latency) == (10, 1, 10)
    host.latency = 2
    assert (narrow.latency, narrow.jitter) == (2, 1)
    narrow.latency = 3
    host.latency = 4
    assert narrow.latency == 3


async def test_a_window_that_opens_lets_a_waiting_sender_go_on() -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.link().window = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"0123456789")
        await wait_all_tasks_blocked()
        network.link(HOST).window = 1000
        await wait_all_tasks_blocked()
        assert await server.receive_some() == b"0123456789"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("latency", -1, "latency must be seconds, 0 or more, not -1"),
        ("bandwidth", 0, "bandwidth must be bytes per second, more than 0, or None, not 0"),
        ("refuse_rate", 2, "refuse_rate must be a chance, 0 to 1, not 2"),
        ("reset_rate", -0.5, "reset_rate must be a chance"),
        ("latency", "1s", "latency must be seconds, 0 or more, not '1s'"),
        ("latency", None, "latency must be seconds"),
        ("latency", math.nan, "latency must be seconds"),
        ("jitter", math.inf, "jitter must be seconds"),
        ("jitter", True, "jitter must be seconds"),
        ("bandwidth", "fast", "bandwidth must be bytes per second"),
        ("window", 1.5, "window must be an int of bytes, more than 0, not 1.5"),
        ("window", 0, "window must be an int"),
    ],
)
async def test_a_setting_that_makes_no_sense_is_refused(name: str, value: object, message: str) -> None:
    link = MemoryNetwork().link()
    with pytest.raises(ValueError, match=message):
        setattr(link, name, value)


async def test_there_are_no_other_settings_and_no_port_without_a_host() -> None:
    with pytest.raises(TypeError, match="no setting 'latencyy'"):
        MemoryNetwork().set_link(latencyy=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="a port needs a host"):
        MemoryNetwork().link(port=80)


# Faults of links


async def test_a_link_refuses_until_it_is_healed(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with served(network):
        network.set_link(HOST, latency=1).refuse()
        with pytest.raises(OSError, match="failed"):
            await network.open_stream(HOST, 80)
        assert trio.current_time() == 2
        network.link(HOST).heal()
        await network.open_stream(HOST, 80)


async def test_a_black_hole_lets_connecting_hang_and_nothing_else(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with served(network):
        live = await network.open_stream(HOST, 80)
        network.link(HOST, 80).hang()
        with trio.move_on_after(100) as scope:
            await network.open_stream(HOST, 80)
        assert scope.cancelled_caught
        await live.send_all(b"x")
        assert await live.receive_some() == b"x"


async def test_a_link_that_goes_down_holds_up_who_connects(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    network.set_link(latency=1)

    async def outage() -> None:
        await trio.sleep(1)
        network.link().drop()
        await trio.sleep(10)
        network.link().heal()

    async with served(network), trio.open_nursery() as nursery:
        nursery.start_soon(outage)
        await network.open_stream(HOST, 80)
        assert trio.current_time() == 11


async def test_a_partition_holds_everything_up_until_it_is_healed(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    other, other_server = await pair(network, 81)
    network.set_link(latency=1)
    await client.send_all(b"here")
    await trio.sleep(1)
    await client.send_all(b"in flight")
    await trio.sleep(0.25)
    network.link(HOST, 80).drop()
    network.link(HOST, 80).drop()
    await client.send_all(b", sent meanwhile")
    await client.aclose()
    with bounded(10):
        assert await server.receive_some() == b"here"
    await server.send_all(b"answer")
    await never(server, 100)
    await other.send_all(b"elsewhere")
    assert await other_server.receive_some() == b"elsewhere"
    network.link(HOST, 80).heal()
    healed = trio.current_time()
    assert await server.receive_some() == b"in flight"
    assert trio.current_time() == pytest.approx(healed + 0.75)
    assert await server.receive_some() == b", sent meanwhile"
    assert trio.current_time() == pytest.approx(healed + 1)
    assert await server.receive_some() == b""


async def test_a_receiver_that_waits_notices_a_partition_and_its_end(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(latency=2)
    await client.send_all(b"x")

    async def outage() -> None:
        await trio.sleep(1)
        await partition(network, 10)

    with bounded():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outage)
            assert await server.receive_some() == b"x"
    assert trio.current_time() == 12


async def partition(network: MemoryNetwork, seconds: float) -> None:
    network.link().drop()
    await trio.sleep(seconds)
    network.link().heal()


@pytest.mark.parametrize(
    ("before", "after", "arrival"),
    [
        pytest.param(True, 1, 11.5, id="closed before it"),
        pytest.param(False, 0, 12, id="closed after it, behind what was in flight"),
    ],
)
async def test_a_closing_that_a_partition_holds_up_fails_the_sender_when_it_arrives(
    autojump_clock: MockClock, before: bool, after: float, arrival: float
) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(latency=1, window=10)

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(bytes(100))
        assert trio.current_time() == pytest.approx(arrival)

    with bounded():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            if before:
                await trio.sleep(0.5)
                await server.aclose()
            else:
                await trio.sleep(1)
                await server.send_all(b"x")
            await partition(network, 10)
            network.set_link(latency=after)
            await server.aclose()


async def test_a_busy_line_is_as_busy_after_a_partition(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(bandwidth=10)
    await client.send_all(bytes(20))  # takes 2 s
    await partition(network, 10)
    await client.send_all(bytes(10))  # one more
    assert len(await server.receive_some()) == 20
    assert trio.current_time() == pytest.approx(12)
    assert len(await server.receive_some()) == 10
    assert trio.current_time() == pytest.approx(13)


async def test_a_partition_without_latency_lets_nothing_through_either(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.link().drop()
    await client.send_all(b"x")
    await never(server, 1)
    network.link().heal()
    assert await server.receive_some() == b"x"


async def test_what_was_dropped_twice_is_healed_twice(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    client.connection.drop()
    network.link(HOST).drop()
    await client.send_all(b"x")
    network.link(HOST).heal()
    await never(server, 1)
    client.connection.heal()
    assert await server.receive_some() == b"x"


async def test_a_reset_breaks_both_sides_and_loses_what_was_unread() -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    await pair(network, 81)
    await client.send_all(b"unread")

    async def receive() -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(bytes(100_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        network.link(HOST, 80).reset()
        client.connection.reset()
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await server.send_all(b"")
    assert [c.port for c in network.connections] == [81]
    await client.aclose()
    await server.aclose()


async def test_a_link_closes_its_connections_behind_what_is_in_flight() -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    await client.send_all(b"in flight")
    network.link(HOST).close()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"late")
    assert await server.receive_some() == b"in flight"
    assert await server.receive_some() == b""
    assert await client.receive_some() == b""


async def test_what_is_sent_behind_a_closing_is_lost(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    network.set_link(latency=1)
    client.connection.close()
    await client.send_all(b"does not know yet")
    assert await server.receive_some() == b""
    assert await server.receive_some() == b""


@pytest.mark.parametrize(("size", "to"), [(5, "server"), (0, "server"), (5, "client")])
async def test_a_connection_is_reset_after_so_many_bytes(size: int, to: Side) -> None:
    network = MemoryNetwork()
    network.link(HOST).reset_after(size, to=to)
    client, server = await pair(network)
    sender, receiver = (client, server) if to == "server" else (server, client)
    if size:
        await sender.send_all(b"123")
        await sender.send_all(b"4567")
        assert await receiver.receive_some() == b"12345"
    with pytest.raises(trio.BrokenResourceError):
        await receiver.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await sender.send_all(b"")
    network.link(HOST).heal()
    client, server = await pair(network)
    await client.send_all(b"1234567")
    assert await server.receive_some() == b"1234567"


async def test_a_connection_is_closed_after_so_many_bytes() -> None:
    network = MemoryNetwork()
    network.link().reset_after(1, to="client")
    network.link(HOST).close_after(5, to="client")
    client, server = await pair(network)
    await server.send_all(b"1234567")
    assert await client.receive_some() == b"12345"
    assert await client.receive_some() == b""
    assert await server.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await server.send_all(b"8")


async def test_a_live_connection_is_cut_after_so_many_more_bytes() -> None:
    network = MemoryNetwork()
    client, server = await pair(network)
    await client.send_all(b"123")
    await server.receive_some()
    client.connection.close_after(2, to="server")
    await client.send_all(b"4567")
    assert await server.receive_some() == b"45"
    assert await server.receive_some() == b""


@pytest.mark.parametrize("size", [-3, 1.5, "4"])
async def test_a_cut_that_cannot_be_is_refused_at_once(size: Any) -> None:
    network = MemoryNetwork()
    client, _ = await pair(network)
    for where in (network.link(HOST), client.connection):
        for cut in (where.reset_after, where.close_after):
            with pytest.raises(ValueError, match="size must be an int of bytes, 0 or more"):
                cut(size, to="client")
            with pytest.raises(ValueError, match="""to must be "client" or "server", not 'cilent'"""):
                cut(1, to="cilent")  # type: ignore[arg-type]


async def test_faults_are_drawn_from_the_generator(autojump_clock: MockClock) -> None:
    async def faults(seed: int) -> str:
        network = MemoryNetwork(random.Random(seed))
        network.set_link(refuse_rate=0.3, reset_rate=0.3)
        story = ""
        async with served(network):
            for _ in range(30):
                try:
                    async with await network.open_stream(HOST, 80) as stream:
                        await stream.send_all(b"x")
                        story += "." if await stream.receive_some() else "-"
                except trio.BrokenResourceError:
                    story += "x"
                except OSError:
                    story += "r"
        return story

    first = await faults(1)
    assert set(first) == {".", "x", "r"}
    assert await faults(1) == first
    assert await faults(2) != first


def test_a_setting_that_there_is_not_is_an_error() -> None:
    link = MemoryNetwork().link("server.test")
    with pytest.raises(AttributeError, match="latenci"):
        link.latenci = 5
    with pytest.raises(AttributeError, match="a link has no setting 'latenci'"):
        link.latenci  # type: ignore[attr-defined]  # noqa: B018
