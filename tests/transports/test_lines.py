"""A message on each line, however the bytes come."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MemoryReceiveStream, MemorySendStream

from trio_mcp import ConnectionLost, MessageTooLarge
from trio_mcp.transports.lines import LineWire

MESSAGE = '{"text":"a\u2028b\u2029c\u0085d é"}'.encode()


def wire_over(data: bytes, limit: int = 1000) -> LineWire:
    """A wire that is sent `data`, and then nothing more."""
    source = MemoryReceiveStream()
    source.put_data(data)
    source.put_eof()
    return LineWire(MemorySendStream(), source, limit)


async def lines_of(wire: LineWire) -> list[bytes]:
    lines = []
    with pytest.raises(ConnectionLost, match="the server closed the connection"):
        while True:
            lines.append(await wire.receive())
    return lines


async def test_a_line_may_come_byte_by_byte() -> None:
    source = MemoryReceiveStream()
    wire = LineWire(MemorySendStream(), source, 1000)
    received: list[bytes] = []

    async def receive() -> None:
        for _ in range(2):
            received.append(await wire.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for byte in MESSAGE + b"\n" + MESSAGE + b"\n":
            source.put_data(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
    assert received == [MESSAGE, MESSAGE]


async def test_many_lines_may_come_at_once() -> None:
    assert await lines_of(wire_over(b"1\n2\n3\n")) == [b"1", b"2", b"3"]


async def test_only_a_line_feed_ends_a_line() -> None:
    assert await lines_of(wire_over(MESSAGE + b"\n" + b"a\rb\x0b\x0c\x1ec\n")) == [
        MESSAGE,
        b"a\rb\x0b\x0c\x1ec",
    ]


async def test_lines_may_end_in_carriage_returns_as_well_and_may_be_empty() -> None:
    assert [line.strip() for line in await lines_of(wire_over(b"\r\n1\r\n\n  \n2\r\n\n"))] == [b"1", b"2"]


async def test_bytes_that_are_not_utf_8_are_handed_on_for_the_decoder_to_refuse() -> None:
    assert await lines_of(wire_over(b"\xff\xfe\n1\n")) == [b"\xff\xfe", b"1"]


async def test_a_line_without_an_end_is_not_a_line() -> None:
    assert await lines_of(wire_over(b"1\n{")) == [b"1"]


async def test_a_line_may_be_as_large_as_the_limit() -> None:
    line = b"x" * 300_000
    assert await lines_of(wire_over(line + b"\n1\n", limit=300_000)) == [line, b"1"]


@pytest.mark.parametrize("rest", [b"", b"\n", b"x" * 300_000, b"x" * 300_000 + b"\n"])
@pytest.mark.parametrize("limit", [10, 100_000])
async def test_a_larger_line_is_refused_whether_its_end_has_come_or_not(rest: bytes, limit: int) -> None:
    wire = wire_over(b"1\n" + b"x" * (limit + 1) + rest, limit)
    assert await wire.receive() == b"1"
    with pytest.raises(MessageTooLarge, match=f"more than {limit} bytes; max_message_size raises"):
        await wire.receive()


async def test_a_message_is_sent_with_its_line_feed_and_large_ones_in_pieces_that_are_told() -> None:
    output = MemorySendStream()
    wire = LineWire(output, MemoryReceiveStream(), 1000)
    await wire.send(b"1")
    assert output.get_data_nowait() == b"1\n"
    told: list[int] = []
    sent = bytearray()

    def progressed() -> None:
        sent.extend(output.get_data_nowait())
        told.append(len(sent))

    wire.progressed = progressed
    await wire.send(b"{}")
    await wire.send(b"x" * 200_000)
    assert sent == b"{}\n" + b"x" * 200_000 + b"\n"
    assert len(told) == 1 + 4


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError, OSError])
async def test_a_stream_that_breaks_is_a_lost_connection(error: type[Exception]) -> None:
    async def fail() -> None:
        raise error("as it is")

    source = MemoryReceiveStream(receive_some_hook=fail)
    wire = LineWire(MemorySendStream(send_all_hook=fail), source, 1000)
    with pytest.raises(ConnectionLost, match="the connection broke") as caught:
        await wire.receive()
    assert isinstance(caught.value.__cause__, error)
    with pytest.raises(ConnectionLost, match="no longer reads") as caught:
        await wire.send(b"{}")
    assert isinstance(caught.value.__cause__, error)
