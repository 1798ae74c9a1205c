"""What a script gets wrong is told, and never hangs a test or lets one pass."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import Call, Reply, ScriptedServer
from trio_mcp.testing.messages import event

DONE = {"content": [{"type": "text", "text": "done"}]}


async def test_what_the_body_raises_when_it_is_cancelled_is_not_lost() -> None:
    with pytest.raises(ValueError, match="mine"):
        with trio.move_on_after(60) as scope:
            async with ScriptedServer():
                scope.cancel()
                raise ValueError("mine")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "tools/call was answered by None: does its handler return something"),
        ("done", "tools/call was answered by 'done': a dict"),
        (types.CallToolResult(content=[]), "was answered by CallToolResult"),
    ],
)
async def test_what_is_no_answer_is_told_to_the_test_and_to_the_client(answer: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text) as caught:
        async with ScriptedServer() as server:
            server.on["tools/call"] = lambda call: answer
            async with server.connect() as c:
                await c.call_tool("x")
    (note,) = caught.value.__notes__
    assert "HTTP 500: the handler of tools/call raised TypeError" in note


async def test_what_is_no_piece_of_a_stream_is_told() -> None:
    with pytest.raises(TypeError, match="is no piece of a response"):
        async with ScriptedServer() as server:
            server.on["tools/call"] = lambda call: call.sse(30, call.text("x"))  # type: ignore[arg-type]
            async with server.connect() as c:
                await c.call_tool("x")


async def test_what_is_no_message_is_told_and_may_go_out_as_an_event(serve: Serve) -> None:
    async def tool(call: Call) -> Reply:
        with pytest.raises(
            TypeError, match=r"no JSON-RPC message: for a result, call.response\(result\) is meant"
        ):
            await call.send(DONE)
        with pytest.raises(TypeError, match="no JSON-RPC message"):
            call.sse(DONE)
        return call.sse(event(DONE))

    server = serve()
    server.on["tools/call"] = tool
    async with server.connect() as c:
        with pytest.raises(trio_mcp.ProtocolError):
            await c.call_tool("x")


@pytest.mark.parametrize("body", [b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', b"5", b"{"])
@pytest.mark.parametrize("version", ["2025-03-26", "2026-07-28"])
async def test_what_is_not_one_message_is_refused(serve: Serve, version: str, body: bytes) -> None:
    server = serve(version)
    async with await server.network.open_stream("server.test", 80) as stream:
        head = b"POST /mcp HTTP/1.1\r\nhost: server.test\r\ncontent-length: %d\r\n\r\n" % len(body)
        await stream.send_all(head + body)
        answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body is not one JSON-RPC message" in answer
    assert server.seen == []


async def test_a_stream_that_has_begun_cannot_be_answered_by_another_status() -> None:
    async def late(call: Call) -> Reply:
        await call.send(call.progress(1))
        return call.reply(status=503)

    async def ignore(*progress: Any) -> None:
        pass

    with pytest.raises(RuntimeError, match="cannot be answered by 503: its stream has begun with 200"):
        async with ScriptedServer() as server:
            server.on["tools/call"] = late
            async with server.connect() as c:
                await c.call_tool("x", progress_callback=ignore)


async def test_a_call_is_answered_once(serve: Serve) -> None:
    server = serve()
    calls = server.calls("tools/call")
    async with server.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "x")
        call = await calls.receive()
        with pytest.raises(TypeError, match="was answered by 'x'"):
            call.answer("x")  # type: ignore[arg-type]
        call.answer(DONE)
        with pytest.raises(RuntimeError, match="tools/call has been answered already"):
            call.answer(DONE)
    with pytest.raises(RuntimeError, match="answered already"):
        server.seen[0].answer(DONE)


async def test_a_modern_server_is_told_how_it_may_ask() -> None:
    async def tool(call: Call) -> Any:
        return await call.ask("elicitation/create", {})

    with pytest.raises(RuntimeError, match=r"no way to ask: return call.input_required\(...\)"):
        async with ScriptedServer() as server:
            server.on["tools/call"] = tool
            async with server.connect() as c:
                await c.call_tool("x")


async def test_a_modern_server_asks_by_its_result(serve: Serve) -> None:
    question = {
        "method": "elicitation/create",
        "params": {
            "mode": "form",
            "message": "who?",
            "requestedSchema": {"type": "object", "properties": {}},
        },
    }

    def tool(call: Call) -> Any:
        if "inputResponses" not in call.params:
            return call.input_required({"who": question}, state="s")
        assert call.params["requestState"] == "s"
        return call.text(call.params["inputResponses"]["who"]["content"]["name"])

    async def answer(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    server = serve()
    server.on["tools/call"] = tool
    async with server.connect(elicitation_callback=answer) as c:
        result = await c.call_tool("x")
    assert result.content == [types.TextContent(type="text", text="Ada")]


async def test_a_client_that_leaves_before_it_answers_is_told(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    async def never(context: Any) -> Any:
        await trio.sleep_forever()

    server = serve("2025-11-25")
    server.listen()
    async with server.connect(list_roots_callback=never) as c, trio.open_nursery() as nursery:

        async def reset() -> None:
            await trio.sleep(5)
            server.link.reset()

        nursery.start_soon(reset)
        with pytest.raises(trio.BrokenResourceError, match="left before it answered roots/list"):
            await server.ask("roots/list")
        assert c.is_connected


async def test_another_path_is_not_found(serve: Serve) -> None:
    server = serve()
    with pytest.raises(trio_mcp.HTTPStatusError, match="HTTP 404"):
        async with trio_mcp.open_connector("http://server.test/other", network=server.network):
            pass
    assert server.seen[0].target == "/other"


async def test_a_server_serves_once() -> None:
    async with ScriptedServer() as server:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="runs already, or has run"):
            await server.run()
    with pytest.raises(RuntimeError, match="runs already, or has run"):
        async with server:
            await trio.sleep_forever()


async def test_a_server_that_is_away_comes_back_though_its_restart_is_cancelled(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    with trio.move_on_after(1):
        await server.restart(downtime=10)
    async with server.connect() as c:
        assert c.is_connected
