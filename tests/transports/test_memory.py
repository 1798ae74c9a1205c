"""A server of the official SDK in this process, in both eras, on the mock clock."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import mcp_types as types
import pytest
import trio
import trio.testing
from mcp.server import MCPServer, ServerRequestContext
from mcp.server.lowlevel import Server

from trio_mcp import (
    ConfigurationError,
    ConnectionLost,
    Connector,
    MCPError,
    MemoryConnector,
    MessageTooLarge,
    NotConnected,
    ReconnectPolicy,
    ServerFailed,
    StdioConnector,
    StdioServer,
    connect,
    open_connector,
)

BOTH_ERAS = pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
Clock = trio.testing.MockClock

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def low_level(handler: Any = None, **options: Any) -> Server[Any]:
    """A server whose one tool is answered by `handler`."""

    async def call(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        await handler()
        return types.CallToolResult(content=[])

    return Server("low", on_call_tool=call, **options)


async def fail() -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("a bug in the server")


# What it is


@pytest.mark.parametrize("server", [MCPServer("a"), Server[Any]("a")], ids=["high", "low"])
async def test_a_server_object_is_a_target(server: Any, autojump_clock: Clock) -> None:
    async with open_connector(server) as c:
        assert isinstance(c, MemoryConnector)
        assert c.transport == "memory"
        assert c.public_identifier == "memory:a"
        assert c.protocol_version == "2026-07-28"
        assert c.server_info is not None
        assert c.server_info.name == "a"
        assert c.is_connected
    assert repr(c) == "<MemoryConnector memory:a closed>"
    assert trio.current_time() == 0


async def test_it_lives_in_a_nursery_as_well(nursery: trio.Nursery, autojump_clock: Clock) -> None:
    c = await connect(nursery, MCPServer("a"))
    assert await c.list_tools() == []
    await c.aclose()


def test_what_is_no_target_is_refused() -> None:
    for nonsense in (object(), MCPServer, None):
        with pytest.raises(ConfigurationError, match="a target is"):
            open_connector(nonsense)  # type: ignore[call-overload]
        with pytest.raises(ConfigurationError, match="server must be"):
            MemoryConnector(nonsense)  # type: ignore[arg-type]


def test_without_the_sdk_nothing_is_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "mcp.server.mcpserver")
    monkeypatch.delitem(__import__("sys").modules, "mcp.server.lowlevel")
    with pytest.raises(ConfigurationError):
        open_connector(Server[Any]("a"))
    assert isinstance(open_connector(StdioServer(command="x")), StdioConnector)


# Its life


@BOTH_ERAS
async def test_its_lifespan_is_that_of_the_connection(version: str, autojump_clock: Clock) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[str]:
        events.append("begun")
        try:
            await trio.sleep(0.1)
            yield "state"
            await trio.sleep(0.1)
            events.append("ended")
        finally:
            events.append("closed")

    connector = open_connector(MCPServer("a", lifespan=lifespan), protocol_version=version)
    for _ in range(2):
        async with connector as c:
            await c.list_tools()
            assert events == ["begun"]
        assert events == ["begun", "ended", "closed"]
        events.clear()


async def test_a_server_that_does_not_end_is_cancelled_within_the_goodbye(autojump_clock: Clock) -> None:
    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[str]:
        yield "state"
        await trio.sleep_forever()

    async with open_connector(low_level(lifespan=lifespan), goodbye_timeout=3):
        pass
    assert 0 < trio.current_time() <= 3


async def test_a_block_that_is_cancelled_ends_the_server_in_order(autojump_clock: Clock) -> None:
    ended = False

    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[str]:
        nonlocal ended
        yield "state"
        await trio.sleep(0.1)
        ended = True

    with trio.move_on_after(5):
        async with open_connector(low_level(lifespan=lifespan)):
            await trio.sleep_forever()
    assert ended


@BOTH_ERAS
async def test_calls_in_flight_end_with_the_block_at_once(version: str, autojump_clock: Clock) -> None:
    cancelled = 0

    async def hang() -> None:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        except trio.Cancelled:
            cancelled += 1
            raise

    async def call(c: Connector) -> None:
        with suppress(NotConnected):
            await c.call_tool("x")

    async with trio.open_nursery() as nursery:
        with pytest.raises(KeyError, match="body"):
            async with open_connector(low_level(hang), protocol_version=version) as c:
                for _ in range(100):
                    nursery.start_soon(call, c)
                await trio.sleep(1)
                raise KeyError("body")
        assert trio.current_time() == 1
        assert cancelled == 100


async def test_its_tasks_see_the_context_that_it_was_opened_in(autojump_clock: Clock) -> None:
    server = MCPServer("a")

    @server.tool()
    async def who() -> str:
        return WHO.get()

    WHO.set("me")
    async with open_connector(server) as c:
        assert (await c.call_tool("who")).structured_content == {"result": "me"}


# Failures of the server


@BOTH_ERAS
async def test_an_exception_in_its_lifespan_comes_out_of_opening(version: str, autojump_clock: Clock) -> None:
    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[str]:
        await fail()
        yield "never"

    with pytest.raises(ServerFailed) as caught:
        async with open_connector(low_level(lifespan=lifespan), protocol_version=version):
            pass
    assert isinstance(caught.value, ConnectionLost)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    reason = "the server in this process failed: ZeroDivisionError: a bug in the server"
    assert caught.value.message == reason
    assert caught.value.server == "memory:low"


@BOTH_ERAS
async def test_an_exception_in_a_handler_is_an_error_by_default(version: str, autojump_clock: Clock) -> None:
    async with open_connector(low_level(fail), protocol_version=version) as c:
        for _ in range(2):
            with pytest.raises(MCPError):
                await c.call_tool("x")
        assert c.is_connected


@BOTH_ERAS
async def test_an_exception_in_a_handler_comes_out_where_that_is_wanted(
    version: str, autojump_clock: Clock
) -> None:
    async with open_connector(low_level(fail), protocol_version=version, raise_exceptions=True) as c:
        for _ in range(2):
            with pytest.raises(ServerFailed) as caught:
                await c.call_tool("x")
            assert type(caught.value.__cause__) is ZeroDivisionError
        assert not c.is_connected
    assert trio.current_time() == 0


async def test_errors_that_the_server_means_are_no_failures_of_it(autojump_clock: Clock) -> None:
    from mcp import MCPError as TheirError  # it is loaded anyhow, by now

    async def refuse() -> None:
        raise TheirError(code, "no")

    async with open_connector(low_level(refuse), raise_exceptions=True) as c:
        for code in (0, -32000):
            with pytest.raises(MCPError) as caught:
                await c.call_tool("x")
            assert caught.value.code == code


async def test_several_exceptions_at_once_come_out_as_their_group(autojump_clock: Clock) -> None:
    async def fail_at_once() -> None:
        raise ZeroDivisionError

    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_at_once)
            nursery.start_soon(fail_at_once)
        yield "never"

    with pytest.raises(ServerFailed) as caught:
        async with open_connector(low_level(lifespan=lifespan)):
            pass
    assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_an_exception_in_the_body_is_the_bodys(autojump_clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with open_connector(low_level()):
            await fail()
    assert caught.value.__cause__ is None


async def test_an_exception_at_the_end_is_logged(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[str]:
        yield "state"
        await fail()

    with caplog.at_level(logging.ERROR, "trio_mcp"):
        async with open_connector(low_level(lifespan=lifespan)):
            pass
    (record,) = caplog.records
    assert record.message == "the server failed while it was ended"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


@asynccontextmanager
async def background(failure: Exception | None, delay: float = 1) -> AsyncGenerator[Any]:
    """A server that ends by itself, or fails, in the middle of a connection."""

    class Ending(Server[Any]):
        async def run(self, *args: Any, **options: Any) -> None:
            with trio.move_on_after(delay):
                await super().run(*args, **options)
            if failure is not None:
                raise failure

    async def hang() -> None:
        await trio.sleep_forever()

    async def call(context: Any, params: Any) -> types.CallToolResult:
        await hang()
        raise AssertionError

    yield Ending("low", on_call_tool=call)


@pytest.mark.parametrize("failure", [None, ZeroDivisionError("late")])
async def test_a_server_that_ends_by_itself_ends_the_calls_that_wait(
    failure: Exception | None, autojump_clock: Clock
) -> None:
    kind = ConnectionLost if failure is None else ServerFailed
    async with (
        background(failure) as server,
        open_connector(server, protocol_version="2025-11-25") as c,
    ):
        with pytest.raises((ConnectionLost, MCPError)):
            await c.call_tool("x")
        await trio.sleep(1)
        with pytest.raises(ConnectionLost) as caught:
            await c.ping()
        assert type(caught.value) is kind
        assert caught.value.__cause__ is failure


async def test_where_that_is_wanted_it_is_run_again(autojump_clock: Clock) -> None:
    policy = ReconnectPolicy(initial=1, jitter=0)
    async with (
        background(None) as server,
        open_connector(server, protocol_version="2025-11-25", reconnect=policy) as c,
    ):
        await c.ping()
        await trio.sleep(1.5)
        await c.ping()
        assert c.statistics().reconnects == 1


async def test_sending_to_a_server_that_has_ended_tells_why(autojump_clock: Clock) -> None:
    class Deaf(Server[Any]):
        async def run(self, *args: Any, **options: Any) -> None:
            args[0].close()
            await trio.sleep(0.1)
            await fail()

    async with MemoryConnector(Deaf("low"))._open_wire() as wire:
        await trio.sleep(0.05)
        with pytest.raises(ServerFailed):
            await wire.send(b'{"jsonrpc":"2.0","method":"x"}')


async def test_what_waits_for_a_server_that_takes_nothing_is_bounded(autojump_clock: Clock) -> None:
    class Deaf(Server[Any]):
        async def run(self, *args: Any, **options: Any) -> None:
            await trio.sleep_forever()

    async with MemoryConnector(Deaf("low"))._open_wire() as wire:
        sent = 0
        with trio.move_on_after(1):
            while True:
                await wire.send(b'{"jsonrpc":"2.0","method":"x"}')
                sent += 1
        assert sent == 16


# Messages


async def test_what_has_no_json_form_is_a_failure_of_the_server(autojump_clock: Clock) -> None:
    async def call(context: Any, params: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text="\ud800")])

    async with open_connector(Server[Any]("low", on_call_tool=call)) as c:
        with pytest.raises((ServerFailed, MCPError)):
            await c.call_tool("x")


async def test_a_message_that_is_too_large_is_found_out_as_elsewhere(autojump_clock: Clock) -> None:
    async def call(context: Any, params: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text="x" * 10_000)])

    async with open_connector(Server[Any]("low", on_call_tool=call), max_message_size=5000) as c:
        with pytest.raises(MessageTooLarge, match="5000 bytes"):
            await c.call_tool("x")


@BOTH_ERAS
async def test_client_and_server_share_no_object(version: str, autojump_clock: Clock) -> None:
    server = MCPServer("a")
    seen: list[list[int]] = []

    @server.tool()
    async def keep(numbers: list[int]) -> None:
        seen.append(numbers)

    numbers = [1]
    async with open_connector(server, protocol_version=version) as c:
        await c.call_tool("keep", {"numbers": numbers})
    seen[0].append(2)
    assert numbers == [1]
