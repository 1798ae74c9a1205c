"""The seam: hooks around requests. In which order, what they see, and what comes of what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp import middleware
from trio_mcp.middleware import CallNext, Middleware, MiddlewareContext, chain
from trio_mcp.testing import HANG, ScriptedServer
from trio_mcp.testing.messages import event

LEGACY = "2025-11-25"
DONE = {"content": [{"type": "text", "text": "done"}]}
Context = MiddlewareContext[Any]
Next = CallNext[Any, Any]
Do = Callable[[Context, Next], Any]


def on_call(do: Do) -> Middleware:
    """A middleware whose `on_call_tool` is `do`."""

    class OnCall(Middleware):
        async def on_call_tool(self, context: Context, call_next: Next) -> Any:
            return await do(context, call_next)

    return OnCall()


def answering(serve: Serve, version: str = "2026-07-28", **options: Any) -> ScriptedServer:
    server = serve(version, **options)
    server.on["tools/call"] = lambda seen: seen.text("done")
    return server


class Noting(Middleware):
    """Notes which hook is entered and left."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def on_request(self, context: Context, call_next: Next) -> Any:
        self.notes.append(f"{self.name} request {context.method}")
        try:
            return await call_next(context)
        finally:
            self.notes.append(f"{self.name} end")

    async def on_call_tool(self, context: Context, call_next: Next) -> Any:
        self.notes.append(f"{self.name} call {context.params.name}")
        return await call_next(context)

    async def on_initialize(self, context: Context, call_next: Next) -> Any:
        self.notes.append(f"{self.name} initialize")
        return await call_next(context)


# Order, and what a hook is told of


async def test_the_first_is_outermost_and_on_request_is_around_its_own_hook(serve: Serve) -> None:
    notes: list[str] = []
    async with answering(serve).connect(middleware=[Noting("a", notes), Noting("b", notes)]) as c:
        assert notes == [
            "a request initialize",
            "a initialize",
            "b request initialize",
            "b initialize",
            "b end",
            "a end",
        ]
        notes.clear()
        await c.call_tool("x")
    assert notes == ["a request tools/call", "a call x", "b request tools/call", "b call x", "b end", "a end"]


async def test_every_method_of_the_protocol_comes_to_its_hook(serve: Serve) -> None:
    server = serve()
    empty = {
        "tools/list": "tools",
        "resources/list": "resources",
        "resources/templates/list": "resourceTemplates",
        "prompts/list": "prompts",
    }
    for method, items in empty.items():
        server.on[method] = lambda seen, items=items: seen.result({items: []})  # type: ignore[misc]
    server.on["tools/call"] = lambda seen: seen.text("done")
    server.on["resources/read"] = lambda seen: seen.result({"contents": []})
    server.on["prompts/get"] = lambda seen: seen.result({"messages": []})
    server.on["completion/complete"] = lambda seen: seen.result({"completion": {"values": []}})
    seen: dict[str, object] = {}

    def hook(name: str) -> Any:
        async def note(self: Middleware, context: Context, call_next: Next) -> Any:
            seen[name] = context.params
            return await call_next(context)

        return note

    names = [
        "on_list_tools",
        "on_list_resources",
        "on_list_resource_templates",
        "on_list_prompts",
        "on_call_tool",
        "on_read_resource",
        "on_get_prompt",
        "on_complete",
    ]
    every = type("Every", (Middleware,), {name: hook(name) for name in names})
    async with server.connect(middleware=[every()]) as c:
        await c.list_tools_page("next")
        await c.list_resources()
        await c.list_resource_templates()
        await c.list_prompts()
        await c.call_tool("x", {"a": 1})
        await c.read_resource("x://y")
        await c.get_prompt("p", {"k": "v"})
        await c.complete(types.PromptReference(name="p"), {"name": "k", "value": "v"}, {"s": "t"})
    assert list(seen) == names
    assert seen["on_list_tools"] == types.PaginatedRequestParams(cursor="next")
    assert seen["on_list_prompts"] == types.PaginatedRequestParams()
    assert seen["on_call_tool"] == types.CallToolRequestParams(name="x", arguments={"a": 1})
    assert seen["on_read_resource"] == types.ReadResourceRequestParams(uri="x://y")
    assert seen["on_get_prompt"] == types.GetPromptRequestParams(name="p", arguments={"k": "v"})
    assert isinstance(seen["on_complete"], types.CompleteRequestParams)
    assert server.all("tools/list")[0].params["cursor"] == "next"
    assert server.all("prompts/list")[0].params.keys() == {"_meta"}
    assert server.all("completion/complete")[0].params["context"] == {"arguments": {"s": "t"}}


async def test_a_context_says_what_when_and_whose_it_is(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    contexts: list[Context] = []

    async def note(context: Context, call_next: Next) -> Any:
        contexts.append(context)
        return await call_next(context)

    async with answering(serve).connect(middleware=[note]) as c:
        await trio.sleep(7)
        await c.call_tool("x", meta={"k": 1})
        await c.request("tools/call", {"name": "y"}, types.CallToolResult, headers={"X-Y": "z"})
    _, first, second = contexts
    assert (first.method, first.timestamp, first.connector) == ("tools/call", 7, c)
    assert (first.meta, first.headers, first.metadata) == ({"k": 1}, {}, {})
    assert second.headers == {"x-y": "z"}
    assert first.id != second.id


async def test_what_one_hook_notes_the_next_one_sees(serve: Serve) -> None:
    found: list[object] = []

    async def give(context: Context, call_next: Next) -> Any:
        context.metadata["who"] = "outer"
        return await call_next(context)

    async def take(context: Context, call_next: Next) -> Any:
        found.append(context.metadata.get("who"))
        return await call_next(context)

    async with answering(serve).connect(middleware=[give, take]) as c:
        await c.call_tool("x")
    assert found == ["outer", "outer"]


# Answering, changing, trying again


async def test_a_hook_that_does_not_go_on_answers_by_itself(serve: Serve) -> None:
    async def canned(context: Context, call_next: Next) -> Any:
        return types.CallToolResult(content=[], structured_content={"canned": True})

    server = answering(serve)
    async with server.connect(middleware=[on_call(canned)]) as c:
        assert (await c.call_tool("x")).structured_content == {"canned": True}
    assert server.methods() == ["server/discover"]


async def test_a_result_can_be_changed(serve: Serve) -> None:
    async def louder(context: Context, call_next: Next) -> Any:
        result = await call_next(context)
        result.content[0].text = result.content[0].text.upper()
        return result

    async with answering(serve).connect(middleware=[on_call(louder)]) as c:
        (block,) = (await c.call_tool("x")).content
    assert isinstance(block, types.TextContent)
    assert block.text == "DONE"


async def test_changed_params_are_sent(serve: Serve) -> None:
    async def change(context: Context, call_next: Next) -> Any:
        context.params.name = "y"
        context.params.arguments["b"] = None
        return await call_next(context)

    server = answering(serve)
    given = {"a": 1}
    async with server.connect(middleware=[on_call(change)]) as c:
        await c.call_tool("x", given)
    params = server.seen[1].params
    assert (params["name"], params["arguments"]) == ("y", {"a": 1, "b": None})
    assert server.seen[1].headers["mcp-name"] == "y"
    assert given == {"a": 1}


async def test_a_copy_that_differs_is_sent_and_the_context_is_as_before(serve: Serve) -> None:
    async def change(context: Context, call_next: Next) -> Any:
        other = context.params.model_copy(update={"arguments": None})
        await call_next(replace(context, params=other, meta={"k": 1}, headers={}))
        return await call_next(context)

    server = answering(serve)
    async with server.connect(middleware=[on_call(change)]) as c:
        await c.call_tool("x", {"a": 1})
    first, second = server.seen[1:]
    assert "arguments" not in first.params
    assert first.params["_meta"]["k"] == 1
    assert second.params["arguments"] == {"a": 1}
    assert "k" not in second.params["_meta"]


@pytest.mark.parametrize(
    ("replacement", "sent"),
    [
        ({"name": "y", "z": None}, {"name": "y", "z": None}),
        (types.GetPromptRequestParams(name="y"), {"name": "y"}),
        (None, {}),
    ],
)
async def test_params_can_be_replaced_by_a_mapping_or_another_model(
    serve: Serve, replacement: object, sent: dict[str, object]
) -> None:
    async def change(context: Context, call_next: Next) -> Any:
        return await call_next(replace(context, params=replacement))

    server = answering(serve)
    async with server.connect(middleware=[on_call(change)]) as c:
        await c.call_tool("x", {"a": 1})
    assert {k: v for k, v in server.seen[1].params.items() if k != "_meta"} == sent


async def test_params_that_are_none_of_these_are_the_hooks_mistake(serve: Serve) -> None:
    async def change(context: Context, call_next: Next) -> Any:
        return await call_next(replace(context, params=5))

    async with answering(serve).connect(middleware=[on_call(change)]) as c:
        with pytest.raises(trio_mcp.UsageError, match=r"tools/call on http.*made the params int"):
            await c.call_tool("x")


async def same(context: Context, call_next: Next) -> Any:
    return await call_next(context)


async def test_what_a_type_does_not_know_is_sent_all_the_same(serve: Serve) -> None:
    server = serve()
    server.on["completion/complete"] = lambda seen: seen.result({"completion": {"values": []}})
    server.on["tools/call"] = lambda seen: seen.text("done")
    server.on["ext/any"] = lambda seen: seen.result({})
    call = {
        "name": "x",
        "arguments": {"n": None, "deep": {"n": None}},
        "future": {"n": None},
        "_meta": {"own": None},
    }
    complete = {
        "ref": {"type": "ref/prompt", "name": "p", "future": 1},
        "argument": {"name": "a", "value": "v", "future": None},
    }
    async with server.connect(middleware=[same]) as c:
        await c.request("tools/call", call, types.CallToolResult, meta={"further": None})
        await c.request("completion/complete", complete, types.CompleteResult)
        await c.request("ext/any", {"a": None}, dict[str, Any])
    first, second, third = (seen.params for seen in server.seen[1:])
    assert {**first, "_meta": {}} == {**call, "_meta": {}}
    assert first["_meta"].items() >= {"own": None, "further": None}.items()
    assert {k: v for k, v in second.items() if k != "_meta"} == complete
    assert third["a"] is None


async def test_a_part_that_was_changed_is_sent_as_it_is_now(serve: Serve) -> None:
    server = serve()
    server.on["completion/complete"] = lambda seen: seen.result({"completion": {"values": []}})

    async def change(context: Context, call_next: Next) -> Any:
        if context.method == "completion/complete":
            context.params.argument.value = "w"
        return await call_next(context)

    async with server.connect(middleware=[change]) as c:
        await c.complete(types.PromptReference(name="p"), {"name": "a", "value": "v"})
    assert server.seen[1].params["argument"] == {"name": "a", "value": "w"}


@pytest.mark.parametrize("middleware", [[], [same]])
@pytest.mark.parametrize("value", [float("nan"), datetime(2026, 1, 1), {1, 2}, object()])
async def test_arguments_that_are_not_json_are_refused_with_hooks_as_without(
    serve: Serve, middleware: list[Any], value: object
) -> None:
    async with answering(serve).connect(middleware=middleware) as c:
        with pytest.raises(trio_mcp.InvalidArguments, match="not JSON"):
            await c.call_tool("x", {"a": value})


async def test_params_that_do_not_fit_the_method_are_refused_before_any_hook(serve: Serve) -> None:
    ran: list[object] = []

    async def note(context: Context, call_next: Next) -> Any:
        ran.append(context.method)
        return await call_next(context)

    async with answering(serve).connect(middleware=[note]) as c:
        with pytest.raises(trio_mcp.InvalidArguments, match="name"):
            await c.request("tools/call", {}, types.CallToolResult)
    assert ran == ["initialize"]


@pytest.mark.parametrize("middleware", [[], [same]])
async def test_meta_is_a_mapping(serve: Serve, middleware: list[Any]) -> None:
    async with answering(serve).connect(middleware=middleware) as c:
        with pytest.raises(trio_mcp.InvalidArguments, match=r"tools/call on http.*meta must be a mapping"):
            await c.call_tool("x", meta="k")  # type: ignore[call-overload]


async def test_a_hook_tries_again_by_going_on_twice(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: (
        seen.text("done") if len(server.all("tools/call")) == 2 else seen.reply(status=503)
    )
    progress: list[float] = []

    async def twice(context: Context, call_next: Next) -> Any:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await call_next(context)
        return await call_next(context)

    async def report(value: float, total: float | None, message: str | None) -> None:
        progress.append(value)

    async with server.connect(middleware=[on_call(twice)]) as c:
        await c.call_tool("x", progress_callback=report)
    first, second = server.all("tools/call")
    assert first.id != second.id
    assert first.progress_token != second.progress_token


# Exceptions and cancellation


async def test_an_exception_comes_through_hooks_as_the_same_object(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.error(-32602, "no such tool")
    met: list[BaseException] = []

    async def note(context: Context, call_next: Next) -> Any:
        try:
            return await call_next(context)
        except trio_mcp.MCPError as exc:
            met.append(exc)
            raise

    async with server.connect(middleware=[note, on_call(note)]) as c:
        with pytest.raises(trio_mcp.MCPError) as caught:
            await c.call_tool("x")
    assert [exc is caught.value for exc in met] == [True, True]
    assert caught.value.request == "tools/call 'x'"


async def test_what_a_hook_raises_is_raised_to_the_caller_and_nobody_else(serve: Serve) -> None:
    error = KeyError("mine")

    async def fail(context: Context, call_next: Next) -> Any:
        if context.params.name == "bad":
            raise error
        return await call_next(context)

    async with answering(serve).connect(middleware=[on_call(fail)]) as c:
        with pytest.raises(KeyError) as caught:
            await c.call_tool("bad")
        await c.call_tool("good")
    assert caught.value is error


async def test_a_hook_can_turn_an_error_into_a_result(serve: Serve) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.error(-32602)

    async def mend(context: Context, call_next: Next) -> Any:
        try:
            return await call_next(context)
        except trio_mcp.MCPError:
            return types.CallToolResult(content=[], is_error=True)

    async with server.connect(middleware=[on_call(mend)]) as c:
        assert (await c.call_tool("x")).is_error


async def test_cancellation_goes_through_hooks_and_reaches_the_server(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["tools/call"] = lambda seen: seen.sse(HANG)
    seen: list[str] = []

    async def note(context: Context, call_next: Next) -> Any:
        try:
            return await call_next(context)
        except trio.Cancelled:
            seen.append("cancelled")
            raise
        finally:
            seen.append("left")

    async with server.connect(middleware=[on_call(note)]) as c:
        with trio.move_on_after(3) as scope:
            await c.call_tool("x")
        assert scope.cancelled_caught
        await server.all("tools/call")[0].closed.wait()
        assert trio.current_time() == 3
    assert seen == ["cancelled", "left"]


async def test_a_call_that_waits_in_a_hook_ends_with_its_connection(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    async def dawdle(context: Context, call_next: Next) -> Any:
        await trio.sleep(3600)
        return await call_next(context)

    async def call(c: trio_mcp.Connector) -> None:
        with pytest.raises(trio_mcp.NotConnected, match=r"tools/call on http"):
            await c.call_tool("x")
        assert trio.current_time() == 1

    async with trio.open_nursery() as nursery:
        async with answering(serve).connect(middleware=[on_call(dawdle)]) as c:
            nursery.start_soon(call, c)
            await trio.sleep(1)


@pytest.mark.parametrize("result", [None, {"content": []}, types.EmptyResult()])
async def test_a_hook_that_returns_something_else_is_told_so(serve: Serve, result: object) -> None:
    async def forget(context: Context, call_next: Next) -> Any:
        await call_next(context)
        return result

    async with answering(serve).connect(middleware=[on_call(forget)]) as c:
        with pytest.raises(
            trio_mcp.UsageError, match=f"returned {type(result).__name__} where CallToolResult"
        ):
            await c.call_tool("x")


async def test_the_result_of_another_type_than_a_model_is_the_hooks_affair(serve: Serve) -> None:
    server = serve()
    server.on["ext/any"] = lambda seen: seen.result({"a": 1})

    async def other(context: Context, call_next: Next) -> Any:
        result = await call_next(context)
        return [result] if context.method == "ext/any" else result

    async with server.connect(middleware=[other]) as c:
        result: Any = await c.request("ext/any", None, dict[str, Any])
    assert result[0]["a"] == 1


# Headers


async def test_headers_of_a_hook_are_sent_with_the_handshake_and_the_calls(serve: Serve) -> None:
    class Tenant(Middleware):
        async def on_request(self, context: Context, call_next: Next) -> Any:
            context.headers["X-Tenant"] = context.method
            return await call_next(context)

    server = answering(serve)
    async with server.connect(middleware=[Tenant()], headers={"x-tenant": "theirs"}) as c:
        await c.call_tool("x")
    assert [seen.headers["x-tenant"] for seen in server.seen] == ["initialize", "tools/call"]


async def test_headers_of_on_initialize_go_with_all_of_a_legacy_handshake(serve: Serve) -> None:
    class Gate(Middleware):
        async def on_initialize(self, context: Context, call_next: Next) -> Any:
            context.headers["x-gate"] = "open"
            context.meta["k"] = 1
            return await call_next(context)

    server = serve(LEGACY)
    async with server.connect(middleware=[Gate()]):
        pass
    sent = {seen.method: seen.headers.get("x-gate") for seen in server.seen}
    assert sent == {
        "server/discover": "open",
        "initialize": "open",
        "notifications/initialized": "open",
        "GET": None,
        "DELETE": None,
    }
    assert server.seen[0].params["_meta"]["k"] == 1
    assert server.all("initialize")[0].params["_meta"] == {"k": 1}


async def test_a_resumed_stream_is_asked_for_with_the_headers_of_its_call(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: seen.sse(event("", id="1", retry=100))
    server.on["GET"] = lambda seen: (
        seen.sse(server.all("tools/call")[0].response(DONE))
        if "last-event-id" in seen.headers
        else seen.reply(status=405)
    )

    async def mark(context: Context, call_next: Next) -> Any:
        context.headers["x-mark"] = "1"
        return await call_next(context)

    async with server.connect(middleware=[on_call(mark)]) as c:
        await c.call_tool("x")
    assert server.all("GET")[-1].headers["x-mark"] == "1"


@pytest.mark.parametrize("name", ["Mcp-Session-Id", "mcp-method", "Content-Length", "a b"])
@pytest.mark.parametrize("method", ["initialize", "tools/call"])
async def test_the_protocols_own_headers_cannot_be_set(serve: Serve, name: str, method: str) -> None:
    async def forge(context: Context, call_next: Next) -> Any:
        if context.method == method:
            context.headers[name] = "1"
        return await call_next(context)

    async def use() -> None:
        async with answering(serve).connect(middleware=[forge]) as c:
            await c.call_tool("x")

    with pytest.raises(trio_mcp.ConfigurationError, match=f"(?i){name}"):
        await use()


# The handshake


async def test_the_handshake_tells_its_hook_what_we_are(serve: Serve) -> None:
    params: list[types.InitializeRequestParams] = []

    class Greet(Middleware):
        async def on_initialize(self, context: Context, call_next: Next) -> Any:
            params.append(context.params)
            with pytest.raises(trio_mcp.NotConnected):
                await context.connector.call_tool("x")
            result = await call_next(context)
            assert result.version == LEGACY
            return result

    async with serve(LEGACY).connect(middleware=[Greet()], protocol_version=LEGACY, roots=[]) as c:
        assert (params[0].protocol_version, params[0].client_info) == (LEGACY, c.client_info)
    assert params[0].capabilities.roots is not None


async def test_what_a_hook_of_the_handshake_raises_comes_out_of_opening(serve: Serve) -> None:
    error = KeyError("mine")

    async def fail(context: Context, call_next: Next) -> Any:
        raise error

    with pytest.raises(KeyError) as caught:
        async with answering(serve).connect(middleware=[fail]):
            pass
    assert caught.value is error


async def test_a_hook_of_the_handshake_has_to_go_on(serve: Serve) -> None:
    async def refuse(context: Context, call_next: Next) -> Any:
        return None

    with pytest.raises(trio_mcp.UsageError, match="returned NoneType where Negotiated is expected"):
        async with answering(serve).connect(middleware=[refuse]):
            pass


def expiring(serve: Serve) -> ScriptedServer:
    """A server whose first session ends with the first call."""
    server = serve(LEGACY)
    server.on["tools/call"] = lambda seen: (
        seen.text("done") if len(server.all("initialize")) == 2 else seen.reply(status=404)
    )
    return server


async def test_a_session_that_is_opened_anew_passes_the_hooks_again(serve: Serve) -> None:
    notes: list[str] = []
    server = expiring(serve)
    async with server.connect(middleware=[Noting("a", notes)], protocol_version=LEGACY) as c:
        notes.clear()
        await c.call_tool("x")
    assert notes == [
        "a request tools/call",
        "a call x",
        "a request initialize",
        "a initialize",
        "a end",
        "a end",
    ]


class Breaking(Middleware):
    """Fails the second handshake."""

    def __init__(self, error: Exception | None = None) -> None:
        self.handshakes = 0
        self.error = error

    async def on_initialize(self, context: Context, call_next: Next) -> Any:
        self.handshakes += 1
        if self.handshakes == 2:
            if self.error is not None:
                raise self.error
            await context.connector.call_tool("back")
        return await call_next(context)


async def test_a_hook_that_fails_a_renewal_fails_the_calls_that_need_it(serve: Serve) -> None:
    error = KeyError("secret")
    server = expiring(serve)
    async with server.connect(middleware=[Breaking(error)], protocol_version=LEGACY) as c:
        with pytest.raises(trio_mcp.UsageError, match="opening a new one failed: KeyError") as caught:
            await c.call_tool("x")
        assert caught.value.__cause__ is error
        assert "secret" not in str(caught.value)
        await c.call_tool("x")  # the next one has it tried again


async def test_a_hook_of_a_renewal_cannot_use_what_it_is_opening(serve: Serve) -> None:
    server = expiring(serve)
    with trio.fail_after(5):
        async with server.connect(middleware=[Breaking()], protocol_version=LEGACY) as c:
            with pytest.raises(trio_mcp.NotConnected, match="cannot use the session that is being opened"):
                await c.call_tool("x")


# What is a middleware


HOOKS = [name for name in vars(Middleware) if name.startswith("on_")]


@pytest.mark.parametrize("name", HOOKS)
async def test_a_hook_may_leave_the_rest_to_its_base(name: str) -> None:
    async def call_next(context: object) -> object:
        return context

    context = object()
    assert await getattr(Middleware(), name)(context, call_next) in (context, None)


def test_every_hook_is_known_to_the_chain() -> None:
    assert set(HOOKS) == chain._NAMES


def test_what_is_ready_to_use_is_imported_when_it_is_asked_for() -> None:
    for name in middleware.__all__:
        assert getattr(middleware, name) is not None
    assert set(middleware.__all__) <= set(dir(middleware))
    with pytest.raises(AttributeError, match="Unheard"):
        _ = middleware.Unheard


async def test_a_plain_function_is_around_requests(serve: Serve) -> None:
    methods: list[str] = []

    async def note(ctx: Context, go_on: Next) -> Any:  # named as it likes
        methods.append(ctx.method)
        return await go_on(ctx)

    async with answering(serve).connect(middleware=[note]) as c:
        await c.call_tool("x")
    assert methods == ["initialize", "tools/call"]


async def test_an_object_with_hooks_is_one_whatever_its_class(serve: Serve) -> None:
    methods: list[str] = []

    class Own:
        async def on_call_tool(self, context: Context, call_next: Next) -> Any:
            methods.append(context.method)
            return await call_next(context)

    async def note(context: Context, call_next: Next) -> Any:
        methods.append(context.method)
        return await call_next(context)

    assigned = Middleware()
    assigned.on_list_tools = note  # type: ignore[method-assign]
    server = answering(serve)
    server.on["tools/list"] = lambda seen: seen.result({"tools": []})
    async with server.connect(middleware=[Own(), assigned]) as c:  # type: ignore[list-item]
        await c.call_tool("x")
        await c.list_tools()
    assert methods == ["tools/call", "tools/list"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (Middleware(), "must be a list, not Middleware"),
        (same, "must be a list, not function"),
        ({same}, "must be a list, not set"),
        ([Middleware], r"not a class: Middleware\(\)"),
        ([same, 5], "int is not"),
        ("ab", "str is not"),
    ],
)
def test_a_wrong_option_is_a_configuration_error(option: Any, message: str) -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match=message):
        trio_mcp.open_connector("http://x.test/mcp", middleware=option)


async def test_several_connectors_may_share_an_instance(serve: Serve) -> None:
    seen: list[tuple[str, str]] = []

    async def note(context: Context, call_next: Next) -> Any:
        seen.append((context.connector.public_identifier, context.id))
        return await call_next(context)

    one, two = serve(url="http://one.test/mcp"), serve(url="http://two.test/mcp")
    async with one.connect(middleware=[note]), two.connect(middleware=[note]):
        pass
    assert seen == [("http://one.test/mcp", "1"), ("http://two.test/mcp", "1")]


async def test_a_hook_calls_back_into_the_connector(serve: Serve) -> None:
    async def first_another(context: Context, call_next: Next) -> Any:
        if context.params.name == "x":
            await context.connector.call_tool("before")
        return await call_next(context)

    server = answering(serve)
    async with server.connect(middleware=[on_call(first_another)]) as c:
        await c.call_tool("x")
    assert [seen.params["name"] for seen in server.all("tools/call")] == ["before", "x"]


async def test_what_the_cache_answers_comes_to_no_hook(serve: Serve) -> None:
    notes: list[str] = []
    server = serve()
    server.on["tools/list"] = lambda seen: seen.result(
        {"tools": [], "ttlMs": 60_000, "cacheScope": "private"}
    )
    async with server.connect(middleware=[Noting("a", notes)]) as c:
        await c.list_tools()
        notes.clear()
        await c.list_tools()
    assert notes == []


async def test_without_middleware_there_is_no_chain(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_mcp.connection.Chain", None)
    async with answering(serve).connect(middleware=[]) as c:
        await c.call_tool("x")


async def test_without_a_hook_for_it_a_request_is_not_even_looked_at(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> None:
        raise AssertionError("this costs")

    async with answering(serve).connect(middleware=[Middleware()]) as c:
        monkeypatch.setattr("trio_mcp.middleware.chain.MiddlewareContext", never)
        await c.call_tool("x")
