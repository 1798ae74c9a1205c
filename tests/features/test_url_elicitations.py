"""Error -32042: the user is sent to URLs, and the request sent again when the server says they are done."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

from tests.conftest import Serve
from trio_mcp import MCPError, NotConnected, RequestContext, URLElicitationRequired
from trio_mcp.connector import Connector
from trio_mcp.testing import Call, ScriptedServer, messages
from trio_mcp.testing.call import Answer
from trio_mcp.testing.messages import Json

COMPLETE = "notifications/elicitation/complete"
REQUIRED = types.URL_ELICITATION_REQUIRED
DONE: Json = {"content": [], "messages": [], "contents": []}


def elicitation(name: str) -> Json:
    return {
        "mode": "url",
        "elicitationId": name,
        "url": f"https://example.com/{name}",
        "message": f"go to {name}",
    }


def required(*names: str) -> MCPError:
    return MCPError(REQUIRED, "more is needed", {"elicitations": [elicitation(name) for name in names]})


def serving(serve: Serve, *answers: Answer, version: str = "2025-11-25") -> ScriptedServer:
    """A server with a stream, whose requests are answered by `answers`, and then by a result."""
    server = serve(version)
    server.listen()
    left = list(answers)
    for method in ("tools/call", "prompts/get", "resources/read", "ext/any"):
        server.on[method] = lambda call: left.pop(0) if left else DONE
    return server


class Consent:
    """A callback that notes what it is asked, and answers by the elicitation's id."""

    def __init__(self, **actions: Any) -> None:
        self.asked: list[types.ElicitRequestURLParams] = []
        self.actions = actions

    async def __call__(self, context: RequestContext, params: types.ElicitRequestParams) -> Any:
        assert isinstance(params, types.ElicitRequestURLParams)
        assert context.request_id == params.elicitation_id
        self.asked.append(params)
        answer = self.actions.get(str(context.request_id), "accept")
        return (
            types.ElicitResult.model_validate({"action": answer})
            if isinstance(answer, str)
            else await answer()
        )


async def call(c: Connector) -> types.CallToolResult:
    return await c.call_tool("x", {"a": 1})


async def after(seconds: float, server: ScriptedServer, *ids: Any) -> None:
    await trio.sleep(seconds)
    for each in ids:
        await server.notify(COMPLETE, {"elicitationId": each})


CALLS: dict[str, Callable[[Connector], Awaitable[object]]] = {
    "tools/call": call,
    "prompts/get": lambda c: c.get_prompt("x"),
    "resources/read": lambda c: c.read_resource("x://y"),
    "ext/any": lambda c: c.request("ext/any", None, types.EmptyResult),
}


@pytest.mark.parametrize("method", CALLS)
async def test_a_request_is_sent_again_when_all_is_done(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, method: str
) -> None:
    server, consent = serving(serve, required("a", "b")), Consent()
    async with server.connect(elicitation_callback=consent) as c:
        nursery.start_soon(after, 60, server, "b")
        nursery.start_soon(after, 90, server, "a")
        await CALLS[method](c)
    assert trio.current_time() == pytest.approx(90)
    assert sorted(params.url for params in consent.asked) == [
        "https://example.com/a",
        "https://example.com/b",
    ]
    first, second = server.all(method)
    assert first.params == second.params
    assert first.id != second.id


async def test_a_user_may_be_done_before_the_callback_returns(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def accept_late() -> types.ElicitResult:
        await trio.sleep(10)
        return types.ElicitResult(action="accept")

    server = serving(serve, required("a"))
    async with server.connect(elicitation_callback=Consent(a=accept_late)) as c:
        nursery.start_soon(after, 5, server, "a")
        await call(c)
    assert trio.current_time() == pytest.approx(10)


async def test_ids_that_are_unknown_or_done_mean_nothing(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = serving(serve, required("a", "b"))
    async with server.connect(elicitation_callback=Consent()) as c:
        nursery.start_soon(after, 5, server, "a", "a", "other", 5, None)
        nursery.start_soon(after, 50, server, "b", "b", "a")
        await call(c)
        assert trio.current_time() == pytest.approx(50)
        await call(c)


async def test_the_callbacks_are_asked_at_the_same_time_and_the_message_handler_hears_of_it_too(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    both = trio.Event()
    heard: list[Any] = []

    async def together() -> types.ElicitResult:
        if len(consent.asked) == 2:
            both.set()
        await both.wait()
        return types.ElicitResult(action="accept")

    async def handle(message: types.ServerNotification) -> None:
        heard.append(message)

    consent = Consent(a=together, b=together)
    server = serving(serve, required("a", "b"))
    async with server.connect(elicitation_callback=consent, message_handler=handle) as c:
        nursery.start_soon(after, 5, server, "a", "b")
        await call(c)
    assert [message.params.elicitation_id for message in heard] == ["a", "b"]


async def test_progress_goes_on_through_the_second_request(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    reported: list[float] = []

    async def report(value: float, total: float | None, message: str | None) -> None:
        reported.append(value)

    def answer(call: Call) -> Answer:
        if len(server.all("tools/call")) == 1:
            return call.sse(call.progress(1), 1, messages.error(call.id, REQUIRED, "x", required("a").data))
        return call.sse(call.progress(2), call.response(DONE))

    server = serving(serve)
    server.on["tools/call"] = answer
    async with server.connect(elicitation_callback=Consent()) as c:
        nursery.start_soon(after, 5, server, "a")
        await c.call_tool("x", progress_callback=report)
    assert reported == [1, 2]


# When it is raised


async def raised(c: Connector) -> URLElicitationRequired:
    with trio.fail_after(1000), pytest.raises(URLElicitationRequired) as caught:
        await call(c)
    assert c.is_connected
    return caught.value


async def test_without_a_callback_the_error_says_where_to_go(serve: Serve) -> None:
    server = serving(serve, required("a", "b"))
    async with server.connect() as c:
        error = await raised(c)
    assert [type(each) for each in error.elicitations] == [types.ElicitRequestURLParams] * 2
    assert [(each.elicitation_id, each.url) for each in error.elicitations] == [
        ("a", "https://example.com/a"),
        ("b", "https://example.com/b"),
    ]
    assert (error.code, error.data, error.http_status) == (REQUIRED, required("a", "b").data, None)
    assert str(error) == f"tools/call 'x' on {server.url}: more is needed (error {REQUIRED})"
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(twin), twin.elicitations, twin.data) == (str(error), error.elicitations, error.data)
    assert len(server.all("tools/call")) == 1


async def test_an_error_by_http_status_is_the_same(serve: Serve) -> None:
    server = serving(serve)
    server.on["tools/call"] = lambda call: call.error(REQUIRED, status=400, data=required("a").data)
    async with server.connect() as c:
        error = await raised(c)
    assert error.http_status == 400
    assert "HTTP 400" in str(error.__cause__)


async def test_a_callback_that_takes_forms_only_is_not_asked(serve: Serve) -> None:
    server, consent = serving(serve, required("a")), Consent()
    forms = types.ElicitationCapability(form=types.FormElicitationCapability())
    async with server.connect(elicitation_callback=consent, elicitation_capabilities=forms) as c:
        await raised(c)
    assert consent.asked == []


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_one_that_is_declined_ends_the_others(
    serve: Serve, autojump_clock: trio.testing.MockClock, action: str
) -> None:
    server = serving(serve, required("a", "b"))
    async with server.connect(elicitation_callback=Consent(a=trio.sleep_forever, b=action)) as c:
        await raised(c)
    assert len(server.all("tools/call")) == 1


async def test_a_callback_that_answers_with_an_error_has_declined(serve: Serve) -> None:
    async def refuse() -> types.ErrorData:
        return types.ErrorData(code=-1, message="no")

    async with serving(serve, required("a")).connect(elicitation_callback=Consent(a=refuse)) as c:
        await raised(c)


async def test_a_callback_that_fails_fails_the_call_with_its_exception(serve: Serve) -> None:
    error = LookupError("no browser")

    async def fail() -> Any:
        raise error

    async with serving(serve, required("a")).connect(elicitation_callback=Consent(a=fail)) as c:
        with pytest.raises(LookupError) as caught:
            await call(c)
        assert caught.value is error
        assert c.is_connected


async def test_a_server_that_never_says_so_is_asked_again_after_a_while(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = serving(serve, required("a", "b"))
    async with server.connect(elicitation_callback=Consent()) as c:
        nursery.start_soon(after, 200, server, "a")
        await call(c)
    assert trio.current_time() == pytest.approx(500)  # 300 s after the one that was done
    assert len(server.all("tools/call")) == 2


async def test_a_second_demand_is_raised(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = serving(serve, required("a"), required("b"), MCPError(REQUIRED, "odd"))
    async with server.connect(elicitation_callback=Consent()) as c:
        nursery.start_soon(after, 5, server, "a")
        error = await raised(c)
    assert [each.elicitation_id for each in error.elicitations] == ["b"]
    assert len(server.all("tools/call")) == 2


async def test_another_error_of_the_second_request_is_raised_as_it_is(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = serving(serve, required("a"), MCPError(-32000, "broken", required("a").data))
    async with server.connect(elicitation_callback=Consent()) as c:
        nursery.start_soon(after, 5, server, "a")
        with pytest.raises(MCPError, match="broken") as caught:
            await call(c)
    assert type(caught.value) is MCPError


@pytest.mark.parametrize(
    "data",
    [
        None,
        "x",
        {},
        {"elicitations": None},
        {"elicitations": []},
        {"elicitations": ["x"]},
        {"elicitations": [{**elicitation("a"), "mode": "form"}]},
        {
            "elicitations": [
                elicitation("a"),
                {"mode": "url", "url": "https://example.com", "message": "no id"},
            ]
        },
        {"elicitations": [elicitation(str(n)) for n in range(101)]},
    ],
)
async def test_malformed_data_stays_a_plain_error(serve: Serve, data: Any) -> None:
    server, consent = serving(serve, MCPError(REQUIRED, "odd", data)), Consent()
    async with server.connect(elicitation_callback=consent) as c:
        with trio.fail_after(5), pytest.raises(MCPError, match="odd") as caught:
            await call(c)
        assert type(caught.value) is MCPError
        assert caught.value.data == data
    assert consent.asked == []


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_no_other_version_has_it(serve: Serve, version: str) -> None:
    server = serving(serve, required("a"), version=version)
    async with server.connect(elicitation_callback=Consent()) as c:
        with trio.fail_after(5), pytest.raises(MCPError) as caught:
            await call(c)
    assert type(caught.value) is MCPError


# Time, and the end


async def test_the_wait_is_the_callers_to_cancel_and_others_go_on(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serving(serve, required("a"))
    async with server.connect(elicitation_callback=Consent(), max_connections=1) as c:
        with trio.move_on_after(10) as scope:
            await call(c)
        assert scope.cancelled_caught
        await call(c)
        assert c.statistics().requests_cancelled == 1


async def test_a_call_that_waits_holds_no_place_among_the_calls(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = serving(serve, required("a"))
    async with server.connect(elicitation_callback=Consent(), max_connections=1) as c:
        async with trio.open_nursery() as calls:
            calls.start_soon(call, c)
            await trio.sleep(1)
            with trio.fail_after(1):
                await call(c)
            nursery.start_soon(after, 5, server, "a")


async def test_a_callback_may_call_back_however_many_calls_there_are(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def look_first() -> types.ElicitResult:
        await trio.sleep(10)  # another call has the only place by then
        await c.get_prompt("who am I?")
        nursery.start_soon(after, 1, server, "a")
        return types.ElicitResult(action="accept")

    server = serving(serve, required("a"))
    async with server.connect(elicitation_callback=Consent(a=look_first), max_connections=1) as c:
        async with trio.open_nursery() as calls:
            server.on["ext/any"] = lambda call: call.sse(100, call.response(DONE))
            calls.start_soon(call, c)
            await trio.sleep(1)
            calls.start_soon(CALLS["ext/any"], c)
            await trio.sleep(50)
            assert server.methods().count("prompts/get") == 1


async def test_the_end_of_the_connection_ends_the_wait(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    async def wait(c: Connector) -> None:
        with pytest.raises(NotConnected):
            await call(c)

    server = serving(serve, required("a"))
    async with trio.open_nursery() as nursery:
        async with server.connect(elicitation_callback=Consent()) as c:
            nursery.start_soon(wait, c)
            await trio.sleep(1)
    assert trio.current_time() < 5
