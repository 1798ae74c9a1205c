"""No secret is in what is raised: text, attributes, notes, causes, contexts."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import httpx2
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp import StdioServer, open_connector
from trio_mcp.testing import Call, MemoryNetwork

SECRET: Final = "token-s3cr3t"


def everything(exc: BaseException | None, seen: set[int] | None = None) -> Iterator[str]:
    """What an exception, and all that can be reached from it, says. Frames are out of scope."""
    seen = set() if seen is None else seen
    if exc is None or id(exc) in seen:
        return
    seen.add(id(exc))
    yield from traceback.format_exception_only(exc)
    yield repr(exc)
    yield repr(exc.args)
    if isinstance(exc, trio_mcp.ConnectorError):  # those of others hold the requests that they are about
        yield repr(vars(exc))
    yield from everything(exc.__cause__, seen)
    yield from everything(exc.__context__, seen)
    for member in getattr(exc, "exceptions", ()):
        yield from everything(member, seen)


def check(exc: BaseException) -> None:
    assert isinstance(exc, trio_mcp.ConnectorError)
    for text in everything(exc):
        assert "s3cr3t" not in text


def test_what_is_searched_is_found() -> None:
    hidden = ValueError("outer")
    hidden.__context__ = KeyError("s3cr3t")
    hidden.__suppress_context__ = True
    assert any("s3cr3t" in text for text in everything(hidden))


class Breaking(httpx2.Auth):
    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request.headers["authorization"] = f"Bearer {SECRET}\r\nx: y"
        yield request


def repeating(status: int) -> Any:
    def answer(call: Call) -> Any:
        secrets = f"{call.headers.get('authorization')} {call.headers.get('x-api-key')}"
        return call.reply(secrets, status=status, type="text/plain", headers={"x-echo": secrets})

    return answer


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_what_a_server_repeats(
    serve: Serve, autojump_clock: trio.testing.MockClock, status: int
) -> None:
    server = serve("2025-11-25")
    server.on["tools/call"] = repeating(status)
    with pytest.raises(trio_mcp.ConnectorError) as caught:
        async with server.connect(auth=SECRET, headers={"x-api-key": SECRET}) as c:
            await c.call_tool("x", {"password": SECRET})
    check(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"auth": SECRET},
        {"auth": Breaking()},
        {"auth": lambda: SECRET + "\n"},
        {"headers": {"authorization": f"Bearer {SECRET}"}},
    ],
    ids=["token", "broken-flow", "broken-function", "header"],
)
@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_what_cannot_be_sent_or_breaks(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, options: dict[str, Any], scheme: str
) -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.receive_some()

    network = MemoryNetwork()
    nursery.start_soon(trio.serve_listeners, hang_up, [network.listen("server.test", 80)])
    for url in (f"{scheme}://server.test/mcp?key={SECRET}", f"{scheme}://nowhere.test/mcp?key={SECRET}"):
        with pytest.raises(trio_mcp.ConnectorError) as caught:
            async with open_connector(url, network=network, **options):
                pass
        check(caught.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://server.test/mcp", {"auth": SECRET + "\n"}),
        ("http://server.test/mcp", {"headers": {"authorization": SECRET + "\n"}}),
        (f"http://me:{SECRET}@server.test:99999/mcp", {}),
        (f"http://me:{SECRET}@server.test:x/mcp", {}),
        (f"http://me:{SECRET}@[/mcp", {}),
        (f"ftp://me:{SECRET}@server.test/mcp", {}),
        (f"me:{SECRET}@server.test/mcp", {}),
        ("http://server.test/mcp", {"auth": {"client_secret": SECRET}}),
        ("http://server.test/mcp", {"auth": {"client_id": "me", "secret": SECRET}}),
        ("http://127.0.0.1:9/mcp", {"proxy": f"http://me:{SECRET}@127.0.0.1:x"}),
        ("http://127.0.0.1:9/mcp", {"proxy": f"gopher://me:{SECRET}@127.0.0.1"}),
        ("http://127.0.0.1:9/mcp", {"proxy": f"http://me:{SECRET}@127.0.0.1:9"}),
    ],
)
async def test_what_is_no_option(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(trio_mcp.ConnectorError) as caught:
        async with open_connector(url, **options):
            pass
    check(caught.value)


@pytest.mark.parametrize(
    "server",
    [
        StdioServer("no such program", env={"TOKEN": SECRET}),
        StdioServer(sys.executable, ["-c", "import os; exit(os.environ['TOKEN'])"], env={"TOKEN": SECRET}),
        StdioServer(sys.executable, ["-c", ""], env={"TOKEN": SECRET + "\0"}),
        StdioServer(sys.executable, ["-c", ""], env={"A=B": SECRET}),
    ],
    ids=["not-there", "last-words", "nul", "name"],
)
async def test_what_a_program_was_given(server: StdioServer) -> None:
    with pytest.raises(trio_mcp.ConnectorError) as caught:
        async with open_connector(server):
            pass
    check(caught.value)
