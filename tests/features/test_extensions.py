"""What is offered beyond the protocol: declared, and its results, notifications and requests handled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
import pytest
import trio.testing
from pydantic import BaseModel

import trio_mcp
from tests.conftest import Serve
from trio_mcp import Extension, MCPError, RequestContext, ResultContext
from trio_mcp.testing import Call
from trio_mcp.testing.messages import notification

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


class Answer(BaseModel):
    value: int


async def test_extensions_are_declared_with_their_settings_in_both_eras(serve: Serve) -> None:
    extensions: dict[str, Extension | dict[str, Any]] = {
        "com.example/queue": {"depth": 3},
        "io.modelcontextprotocol/ui": Extension(settings={"a": []}),
    }
    declared = {"com.example/queue": {"depth": 3}, "io.modelcontextprotocol/ui": {"a": []}}
    modern, legacy = serve(), serve("2025-11-25", url="http://legacy.test/mcp")
    modern.on["tools/list"] = lambda call: call.result({"tools": []})
    async with modern.connect(extensions=extensions) as c, legacy.connect(extensions=extensions):
        await c.list_tools()
    assert modern.seen[-1].params["_meta"][CAPABILITIES]["extensions"] == declared
    assert legacy.all("initialize")[0].params["capabilities"]["extensions"] == declared


async def test_without_extensions_none_are_declared(serve: Serve) -> None:
    server = serve()
    async with server.connect():
        pass
    assert "extensions" not in server.seen[0].params["_meta"][CAPABILITIES]


@pytest.mark.parametrize(
    "done", [{"content": [], "structuredContent": 5}, types.CallToolResult(content=[], structured_content=5)]
)
async def test_a_result_of_its_own_type_is_made_into_the_one_that_was_asked_for(
    serve: Serve, done: Any
) -> None:
    seen: list[Any] = []

    async def collect(context: ResultContext, result: Mapping[str, Any]) -> Any:
        seen.append((context.method, context.params["name"], result["ticket"]))
        assert await context.connector.request("queue/get", {"ticket": result["ticket"]}, Answer) == Answer(
            value=1
        )
        return done

    server = serve()
    server.on["tools/call"] = lambda call: call.result({"resultType": "queued", "ticket": "t1"})
    server.on["queue/get"] = lambda call: call.result({"value": 1})
    async with server.connect(extensions={"com.example/queue": Extension(results={"queued": collect})}) as c:
        result = await c.call_tool("x")
    assert result.structured_content == 5
    assert seen == [("tools/call", "x", "t1")]


async def test_a_result_that_no_extension_claims_breaks_the_protocol(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda call: call.result({"resultType": "queued"})
    async with server.connect(extensions={"com.example/queue": {}}) as c:
        with pytest.raises(trio_mcp.ProtocolError, match="of type 'queued', which was not asked for"):
            await c.call_tool("x")


async def test_a_handler_that_answers_nonsense_is_told_so(serve: Serve) -> None:
    async def nothing(context: ResultContext, result: Mapping[str, Any]) -> Any:
        return None

    server = serve()
    server.on["tools/call"] = lambda call: call.result({"resultType": "queued"})
    async with server.connect(extensions={"com.example/queue": Extension(results={"queued": nothing})}) as c:
        with pytest.raises(trio_mcp.UsageError, match="the handler of a result returned NoneType"):
            await c.call_tool("x")


async def test_its_notifications_are_heard_in_order_beside_the_calls(serve: Serve) -> None:
    heard: list[Any] = []

    async def hear(params: Mapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(params.get("n"))

    server = serve()
    server.on["tools/call"] = lambda call: call.sse(
        *(notification("notifications/queue", {"n": n}) for n in range(5)),
        notification("notifications/queue"),
        notification("notifications/other", {}),
        call.response({"content": []}),
    )
    extension = Extension(notifications={"notifications/queue": hear})
    async with server.connect(extensions={"com.example/queue": extension}) as c:
        await c.call_tool("x")
        assert c.statistics().unknown_messages == 1
    assert heard == [0, 1, 2, 3, 4, None]


async def test_its_requests_are_answered(serve: Serve) -> None:
    async def add(context: RequestContext, params: Mapping[str, Any]) -> Any:
        if "a" not in params:
            raise MCPError(-32602, "no a")
        return Answer(value=params["a"] + 1) if params["a"] else {"value": 0}

    server = serve("2025-11-25")
    answers: list[Any] = []

    async def ask(call: Call) -> Any:
        for params in ({"a": 1}, {"a": 0}, {}):
            answer = await call.ask("queue/add", params)
            answers.append(answer.get("result") or answer["error"]["message"])
        return call.sse(call.response({"content": []}))

    server.on["tools/call"] = ask
    async with server.connect(extensions={"com.example/queue": Extension(requests={"queue/add": add})}) as c:
        await c.call_tool("x")
    assert answers == [{"value": 2}, {"value": 0}, "no a"]


async def test_a_request_s_handler_that_answers_nonsense_ends_the_block(serve: Serve) -> None:
    async def nonsense(context: RequestContext, params: Mapping[str, Any]) -> Any:
        return 5

    server = serve("2025-11-25")

    async def ask(call: Call) -> Any:
        await call.ask("queue/add", {})
        return call.sse(1000)

    server.on["tools/call"] = ask
    with pytest.raises(trio_mcp.UsageError, match="the handler of queue/add returned int"):
        async with server.connect(
            extensions={"com.example/queue": Extension(requests={"queue/add": nonsense})}
        ) as c:
            await c.call_tool("x")


@pytest.mark.parametrize(
    ("extensions", "text"),
    [
        ({"queue": {}}, 'is called something like "com.example/name"'),
        ({"com.example/": {}}, "is called something like"),
        ({"-a.b/c": {}}, "is called something like"),
        ({5: {}}, "is called something like"),
        ({"com.example/queue": 5}, "must be an Extension or its settings, not int"),
        (["com.example/queue"], "extensions must be a mapping, not list"),
    ],
)
def test_what_cannot_be_an_extension_is_refused(extensions: Any, text: str) -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match=text):
        trio_mcp.open_connector("http://server.test/mcp", extensions=extensions)


async def test_the_metadata_of_apps_is_kept(serve: Serve) -> None:
    meta = {"ui": {"resourceUri": "ui://x", "visibility": ["model", "app"]}}
    server = serve()
    server.on["tools/list"] = lambda call: call.result(
        {"tools": [{"name": "x", "inputSchema": {"type": "object"}, "_meta": meta}]}
    )
    server.on["resources/read"] = lambda call: call.result(
        {
            "contents": [
                {"uri": "ui://x", "mimeType": "text/html;profile=mcp-app", "text": "<p>", "_meta": meta}
            ]
        }
    )
    settings = {"mimeTypes": ["text/html;profile=mcp-app"]}
    async with server.connect(extensions={"io.modelcontextprotocol/ui": settings}) as c:
        (tool,) = await c.list_tools()
        (content,) = (await c.read_resource("ui://x")).contents
    assert tool.meta == content.meta == meta
