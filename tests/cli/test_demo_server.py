"""The demo's server in this process; `test_demo.py` has it in a process of its own."""

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator

import mcp_types as types
import pytest
import trio
import uvicorn

from trio_mcp import RequestContext, open_connector
from trio_mcp.cli import demo_server


@pytest.fixture(autouse=True)
def same_logging() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_the_socket_says_that_it_is_tcp() -> None:
    with demo_server.bind() as listener:
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockname()[0] == "127.0.0.1"
        with socket.create_connection(listener.getsockname()):
            pass


def test_the_url_is_the_first_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    demo_server.main([])
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


@pytest.mark.real
async def test_the_tools_and_the_end_of_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    with open(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        serving = threading.Thread(target=demo_server.main, args=([demo_server.UNTIL_STDIN_CLOSES],))
        serving.start()
        try:
            with trio.fail_after(10):
                while not (url := capsys.readouterr().out.strip()):
                    await trio.sleep(0.01)
                await use_tools(url)
                await book_tables(url)
            os.write(writer, b"what comes before the end is ignored")
        finally:
            os.close(writer)
            serving.join(10)
    assert not serving.is_alive()


def text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def use_tools(url: str) -> None:
    reported: list[object] = []

    async def report(*progress: object) -> None:
        reported.append(progress)

    async with open_connector(url) as c:
        assert text(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        assert text(await c.call_tool("wait", {"seconds": 0})) == "waited 0 s"
        copying = {"files": 2, "pause": 0}
        assert text(await c.call_tool("copy_files", copying, progress_callback=report)) == "copied 2 files"
        assert reported == [(1, 2, "file 1"), (2, 2, "file 2")]
        assert text(await c.call_tool("cancelled_calls")) == "0"
        with trio.move_on_after(0.2):
            await c.call_tool("wait", {"seconds": 60})
        while text(await c.call_tool("cancelled_calls")) != "1":
            await trio.sleep(0.02)


async def book_tables(url: str) -> None:
    answers: list[types.ElicitResult] = [
        types.ElicitResult(action="accept", content={"name": "Ada", "guests": 3}),
        types.ElicitResult(action="decline"),
    ]

    async def answer(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return answers.pop(0)

    async with open_connector(url, elicitation_callback=answer, protocol_version="2025-11-25") as c:
        assert text(await c.call_tool("book_table")) == "booked a table for 3, in the name of Ada"
        assert text(await c.call_tool("book_table")) == "nothing booked: the answer was 'decline'"
