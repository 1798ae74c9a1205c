"""The seam: hooks around what the server sends of its own accord."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.features.extensions import Extension
from trio_mcp.middleware import CallNext, Middleware, MiddlewareContext
from trio_mcp.testing import ScriptedServer
from trio_mcp.testing.messages import Json, notification, request

LEGACY = "2025-11-25"
FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
Context = MiddlewareContext[Any]
Next = CallNext[Any, Any]


def log(data: object) -> Json:
    return notification("notifications/message", {"level": "info", "data": data})


def noisy(serve: Serve, *pieces: Any) -> ScriptedServer:
    """A server that sends `pieces` before it answers a call."""
    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: seen.sse(*pieces, seen.response({"content": []}))
    return server


class OnNotification(Middleware):
    def __init__(self, do: Any) -> None:
        self.do = do

    async def on_notification(self, context: Context, call_next: CallNext[Any, None]) -> None:
        await self.do(context, call_next)


class OnServerRequest(Middleware):
    def __init__(self, do: Any) -> None:
        self.do = do

    async def on_server_request(self, context: Context, call_next: Next) -> Any:
        return await self.do(context, call_next)


# Notifications


async def test_notifications_pass_the_hooks_in_order_and_all_before_the_block_ends(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    notes: list[object] = []

    def noting(name: str) -> OnNotification:
        async def note(context: Context, call_next: CallNext[Any, None]) -> None:
            notes.append((name, context.params.data))
            await trio.sleep(0.01)
            await call_next(context)

        return OnNotification(note)

    async def heard(params: types.LoggingMessageNotificationParams) -> None:
        notes.append(("callback", params.data))

    server = noisy(serve, *[log(n) for n in range(3)])
    async with server.connect(middleware=[noting("a"), noting("b")], logging_callback=heard) as c:
        await c.call_tool("x")
        assert ("callback", 0) not in notes  # the call has not waited
    assert [note for note in notes if note[0] == "a"] == [("a", 0), ("a", 1), ("a", 2)]  # type: ignore[index]
    assert [note for note in notes if note[0] == "callback"] == [  # type: ignore[index]
        ("callback", 0),
        ("callback", 1),
        ("callback", 2),
    ]
    assert notes[:2] == [("a", 0), ("b", 0)]


async def test_what_a_hook_does_not_pass_on_no_callback_sees(serve: Serve) -> None:
    heard: list[object] = []
    messages: list[str] = []

    async def only_even(context: Context, call_next: CallNext[Any, None]) -> None:
        if context.method != "notifications/message" or context.params.data % 2 == 0:
            await call_next(context)

    async def logging(params: types.LoggingMessageNotificationParams) -> None:
        heard.append(params.data)

    async def message(each: types.ServerNotification) -> None:
        messages.append(each.method)

    server = noisy(serve, *[log(n) for n in range(4)], notification("notifications/tools/list_changed"))
    async with server.connect(
        middleware=[OnNotification(only_even)], logging_callback=logging, message_handler=message
    ) as c:
        await c.call_tool("x")
    assert heard == [0, 2]
    assert messages == ["notifications/message"] * 2 + ["notifications/tools/list_changed"]


async def test_a_changed_notification_is_what_the_callbacks_see(serve: Serve) -> None:
    heard: list[object] = []
    metas: list[object] = []

    async def change(context: Context, call_next: CallNext[Any, None]) -> None:
        metas.append(context.meta)
        context.params.data = "changed"
        await call_next(context)

    async def logging(params: types.LoggingMessageNotificationParams) -> None:
        heard.append(params.data)

    sent = notification("notifications/message", {"level": "info", "data": 1, "_meta": {"k": 1}})
    async with noisy(serve, sent).connect(middleware=[OnNotification(change)], logging_callback=logging) as c:
        await c.call_tool("x")
    assert heard == ["changed"]
    assert metas == [{"k": 1}]


async def test_an_extensions_notification_passes_the_hooks_to_its_handler(serve: Serve) -> None:
    heard: list[Any] = []

    async def change(context: Context, call_next: CallNext[Any, None]) -> None:
        assert context.meta == {"k": 1}
        context.params = {**context.params, "more": True}
        await call_next(context)

    async def handle(params: Any) -> None:
        heard.append(params["more"])

    extension = Extension(notifications={"notifications/queue": handle})
    server = noisy(serve, notification("notifications/queue", {"_meta": {"k": 1}}))
    async with server.connect(
        middleware=[OnNotification(change)], extensions={"com.example/queue": extension}
    ) as c:
        await c.call_tool("x")
    assert heard == [True]


async def test_a_slow_hook_stalls_no_call_and_forgets_what_it_cannot_keep_up_with(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(context: Context, call_next: CallNext[Any, None]) -> None:
        await trio.sleep(3600)

    server = noisy(serve, *[log(n) for n in range(1100)])
    async with server.connect(middleware=[OnNotification(slow)]) as c:
        await c.call_tool("x")
        assert trio.current_time() < 1
        assert c.statistics().notifications_dropped > 0
    assert trio.current_time() < 2


async def test_a_burst_gives_a_quick_hook_the_turns_to_keep_up(serve: Serve) -> None:
    seen = 0

    async def count(context: Context, call_next: CallNext[Any, None]) -> None:
        nonlocal seen
        await trio.lowlevel.checkpoint()
        seen += 1

    pieces = [b"".join(b"data: " + _bytes(log(n)) + b"\n\n" for n in range(5000))]
    async with noisy(serve, *pieces).connect(middleware=[OnNotification(count)]) as c:
        await c.call_tool("x")
    assert seen == 5000


def _bytes(message: Json) -> bytes:
    return json.dumps(message).encode()


async def test_progress_reaches_its_call_past_the_hooks_and_the_hooks_as_well(serve: Serve) -> None:
    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: seen.sse(
        seen.progress(1), seen.progress(2), seen.response({"content": []})
    )
    hooked: list[float] = []
    reported: list[float] = []

    async def note(context: Context, call_next: CallNext[Any, None]) -> None:
        hooked.append(context.params.progress)  # and goes no further

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.append(progress)

    async with server.connect(middleware=[OnNotification(note)]) as c:
        await c.call_tool("x", progress_callback=report)
        assert reported == [1, 2]
    assert hooked == [1, 2]


async def test_what_a_hook_of_notifications_raises_ends_the_block(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    error = KeyError("mine")

    async def fail(context: Context, call_next: CallNext[Any, None]) -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        async with noisy(serve, log(1)).connect(middleware=[OnNotification(fail)]) as c:
            await c.call_tool("x")
            await trio.sleep(10)
    assert caught.value is error
    assert trio.current_time() < 10


async def test_a_hook_of_notifications_calls_back(serve: Serve) -> None:
    done = trio.Event()

    async def refresh(context: Context, call_next: CallNext[Any, None]) -> None:
        await context.connector.call_tool("from the hook")
        done.set()

    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: (
        seen.sse(log(1), seen.response({"content": []})) if seen.params["name"] == "x" else seen.text("done")
    )
    with trio.fail_after(5):
        async with server.connect(middleware=[OnNotification(refresh)]) as c:
            await c.call_tool("x")
            await done.wait()


# Requests of the server


async def accept(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": params.message})


def asking(serve: Serve, version: str, params: Json) -> ScriptedServer:
    """A server that asks once in each call: by a request or, in the modern era, by its result."""
    server = serve(version)

    async def legacy(call: Any) -> Any:
        answer = await call.ask("elicitation/create", params)
        return call.result({"content": [], "structuredContent": answer.get("result", answer.get("error"))})

    def modern(call: Any) -> Any:
        if "inputResponses" not in call.params:
            return call.input_required({"q": {"method": "elicitation/create", "params": params}})
        return call.result({"content": [], "structuredContent": call.params["inputResponses"]["q"]})

    server.on["tools/call"] = legacy if version == LEGACY else modern
    return server


ERAS = pytest.mark.parametrize("version", [LEGACY, "2026-07-28"])


@ERAS
async def test_a_question_passes_the_hooks_on_its_way_to_the_callback(serve: Serve, version: str) -> None:
    notes: list[object] = []

    def noting(name: str) -> OnServerRequest:
        async def note(context: Context, call_next: Next) -> Any:
            notes.append((name, context.method, context.params.message, context.meta))
            context.params.message += name
            answer = await call_next(context)
            notes.append((name, answer.action))
            return answer

        return OnServerRequest(note)

    server = asking(serve, version, {**FORM, "_meta": {"k": 1}})
    async with server.connect(middleware=[noting("a"), noting("b")], elicitation_callback=accept) as c:
        result = await c.call_tool("x")
    assert result.structured_content == {"action": "accept", "content": {"name": "who?ab"}}
    assert notes == [
        ("a", "elicitation/create", "who?", {"k": 1}),
        ("b", "elicitation/create", "who?a", {"k": 1}),
        ("b", "accept"),
        ("a", "accept"),
    ]


@ERAS
async def test_a_hook_answers_in_the_callbacks_place(serve: Serve, version: str) -> None:
    async def decline(context: Context, call_next: Next) -> Any:
        return types.ElicitResult(action="decline")

    server = asking(serve, version, FORM)
    async with server.connect(middleware=[OnServerRequest(decline)], elicitation_callback=accept) as c:
        assert (await c.call_tool("x")).structured_content == {"action": "decline"}


async def test_a_hook_refuses_by_raising_an_error(serve: Serve) -> None:
    async def refuse(context: Context, call_next: Next) -> Any:
        raise trio_mcp.MCPError(-1, "not today")

    async with asking(serve, LEGACY, FORM).connect(
        middleware=[OnServerRequest(refuse)], elicitation_callback=accept
    ) as c:
        result = await c.call_tool("x")
    assert result.structured_content == {"code": -1, "message": "not today"}
    async with asking(_named(serve), "2026-07-28", FORM).connect(
        middleware=[OnServerRequest(refuse)], elicitation_callback=accept
    ) as c:
        with pytest.raises(trio_mcp.InputRefused, match="not today"):
            await c.call_tool("x")


def _named(serve: Serve) -> Serve:
    return lambda version="2026-07-28", **options: serve(version, url="http://two.test/mcp", **options)


@ERAS
async def test_what_else_a_hook_raises_is_raised_as_from_a_callback(
    serve: Serve, version: str, autojump_clock: trio.testing.MockClock
) -> None:
    error = KeyError("secret")

    async def fail(context: Context, call_next: Next) -> Any:
        raise error

    with pytest.raises(KeyError) as caught:
        async with asking(serve, version, FORM).connect(
            middleware=[OnServerRequest(fail)], elicitation_callback=accept
        ) as c:
            await c.call_tool("x")
            await trio.sleep(10)
    assert caught.value is error


@ERAS
async def test_a_hook_around_a_question_calls_back_even_where_no_place_is_free(
    serve: Serve, version: str
) -> None:
    async def look_up(context: Context, call_next: Next) -> Any:
        await context.connector.read_resource("x://y")
        return await call_next(context)

    server = asking(serve, version, FORM)
    server.on["resources/read"] = lambda seen: seen.result({"contents": []})
    with trio.fail_after(5):
        async with server.connect(
            middleware=[OnServerRequest(look_up)], elicitation_callback=accept, max_connections=1
        ) as c:
            await c.call_tool("x")


async def test_roots_and_an_extensions_requests_pass_too(serve: Serve) -> None:
    seen: list[object] = []

    async def note(context: Context, call_next: Next) -> Any:
        seen.append((context.method, context.params, context.meta))
        return await call_next(context)

    async def handle(context: trio_mcp.RequestContext, params: Any) -> Json:
        return {"got": params["a"]}

    server = serve(LEGACY)

    async def ask(call: Any) -> Any:
        await call.ask("roots/list", {"_meta": {"k": 1}})
        answer = await call.ask("queue/pop", {"a": 1})
        return call.result({"content": [], "structuredContent": answer["result"]})

    server.on["tools/call"] = ask
    async with server.connect(
        middleware=[OnServerRequest(note)],
        roots=[],
        extensions={"com.example/queue": Extension(requests={"queue/pop": handle})},
    ) as c:
        assert (await c.call_tool("x")).structured_content == {"got": 1}
    assert seen == [("roots/list", None, {"k": 1}), ("queue/pop", {"a": 1}, {})]


async def test_what_was_never_offered_comes_to_no_hook(serve: Serve) -> None:
    async def never(context: Context, call_next: Next) -> Any:
        raise AssertionError("this was not offered")

    server = noisy(serve, request("r", "roots/list"))
    async with server.connect(middleware=[OnServerRequest(never)]) as c:
        await c.call_tool("x")
        await trio.testing.wait_all_tasks_blocked()
    (answer,) = server.all("answer")
    assert answer.message["error"]["code"] == -32601


async def test_functions_and_on_request_are_not_around_what_the_server_sends(serve: Serve) -> None:
    methods: list[str] = []

    async def note(context: Context, call_next: Next) -> Any:
        methods.append(context.method)
        return await call_next(context)

    server = asking(serve, LEGACY, FORM)
    async with server.connect(middleware=[note], elicitation_callback=accept, protocol_version=LEGACY) as c:
        await c.call_tool("x")
    assert methods == ["initialize", "tools/call"]
