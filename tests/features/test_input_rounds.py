"""A modern server's questions: answered by the callbacks, round by round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.connector import Connector
from trio_mcp.testing import Call, Reply, ScriptedServer
from trio_mcp.testing.messages import Json

FORM = {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": {"type": "object"}}}
SAMPLE = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5},
}
ROOTS = {"method": "roots/list"}
STATE = "opaque \u00e9 {}"


def rounds(serve: Serve, *results: Json) -> ScriptedServer:
    """A server that answers by `results`, the last one again and again."""
    server = serve()

    def reply(seen: Call) -> Reply:
        number = len([s for s in server.seen if s.message["method"] == seen.message["method"]])
        return seen.result(results[min(number, len(results)) - 1])

    for method in ("tools/call", "prompts/get", "resources/read", "ext/any"):
        server.on[method] = reply
    return server


def needed(state: str | None = STATE, **questions: Json) -> Json:
    result: Json = {"resultType": "input_required"}
    if questions:
        result["inputRequests"] = questions
    if state is not None:
        result["requestState"] = state
    return result


DONE = {"resultType": "complete", "content": [], "messages": [], "contents": []}


async def accept(context: trio_mcp.RequestContext, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": context.request_id})


@pytest.mark.parametrize(
    "call",
    [lambda c: c.call_tool("x", {"a": 1}), lambda c: c.get_prompt("x"), lambda c: c.read_resource("x://y")],
)
async def test_questions_are_answered_and_the_state_goes_back_as_it_came(
    serve: Serve,
    call: Callable[[Connector], Any],
) -> None:
    server = rounds(serve, needed(q=FORM, r=ROOTS), needed(None, q=FORM), DONE)
    async with server.connect(elicitation_callback=accept, roots=[]) as c:
        await call(c)
    first, second, third = server.seen[1:]
    assert second.params["inputResponses"] == {
        "q": {"action": "accept", "content": {"name": "q"}},
        "r": {"roots": []},
    }
    assert second.params["requestState"] == STATE
    assert "requestState" not in third.params  # none came, none goes
    extra = {"inputResponses", "requestState"}
    assert {k: v for k, v in second.params.items() if k not in extra} == first.params
    assert len({first.id, second.id, third.id}) == 3


async def test_the_questions_of_a_round_are_asked_at_the_same_time(serve: Serve) -> None:
    both = trio.Event()
    asked = 0

    async def together(context: Any, params: Any) -> types.ElicitResult:
        nonlocal asked
        asked += 1
        if asked == 2:
            both.set()
        await both.wait()
        return await accept(context, params)

    server = rounds(serve, needed(a=FORM, b=FORM), DONE)
    with trio.fail_after(5):
        async with server.connect(elicitation_callback=together) as c:
            await c.call_tool("x")


async def test_a_state_alone_is_brought_back_after_a_moment(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = rounds(serve, *[needed()] * 4, DONE)
    async with server.connect() as c:
        await c.call_tool("x")
    times = [seen.time for seen in server.seen[1:]]
    waits = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4])


async def test_the_last_round_counts_too(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = rounds(serve, *[needed(r=ROOTS)] * 10, *[needed()] * 10, DONE)
    async with server.connect(roots=[]) as c:
        await c.call_tool("x")


async def test_an_sdks_own_error_is_a_refusal(serve: Serve) -> None:
    class SdkError(Exception):
        error = types.ErrorData(code=-1, message="user said no")

    async def refuse(context: Any, params: Any) -> Any:
        raise SdkError

    async with rounds(serve, needed(q=FORM), DONE).connect(elicitation_callback=refuse) as c:
        with pytest.raises(trio_mcp.InputRefused, match="user said no"):
            await c.call_tool("x")


async def test_rounds_without_end_are_an_error(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = rounds(serve, needed(r=ROOTS))
    async with server.connect(roots=[]) as c:
        with pytest.raises(trio_mcp.ProtocolError, match="more than 10 times"):
            await c.call_tool("x")
    assert len(server.all("tools/call")) == 11


@pytest.mark.parametrize("question", [FORM, SAMPLE, ROOTS, {"method": "unheard/of"}])
async def test_a_question_that_nobody_answers_ends_the_call(serve: Serve, question: Json) -> None:
    server = rounds(serve, needed(q=question), DONE)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.InputRefused, match=question["method"]) as caught:
            await c.call_tool("x")
        assert isinstance(caught.value.__cause__, trio_mcp.MCPError)
    assert len(server.all("tools/call")) == 1


async def test_a_callback_that_fails_fails_the_call_with_its_exception(serve: Serve) -> None:
    error = LookupError("nobody home")

    async def fail(context: Any, params: Any) -> Any:
        raise error

    server = rounds(serve, needed(q=FORM), DONE)
    async with server.connect(elicitation_callback=fail) as c:
        with pytest.raises(LookupError) as caught:
            await c.call_tool("x")
        assert caught.value is error
        assert c.is_connected


@pytest.mark.parametrize(
    "result",
    [
        {"resultType": "input_required"},
        {"resultType": "input_required", "requestState": 5},
        {"resultType": "input_required", "inputRequests": [FORM]},
        {"resultType": "input_required", "inputRequests": {"q": "x"}},
        {"resultType": "input_required", "inputRequests": {"q": {"method": 5}}},
        {"resultType": "input_required", "inputRequests": {"q": {"method": "roots/list", "params": []}}},
    ],
)
async def test_malformed_questions_are_a_protocol_error(serve: Serve, result: Json) -> None:
    async with rounds(serve, result).connect() as c:
        with pytest.raises(trio_mcp.ProtocolError, match="not in the way of the protocol"):
            await c.call_tool("x")


async def test_no_other_method_may_ask(serve: Serve) -> None:
    async with rounds(serve, needed(q=ROOTS)).connect(roots=[]) as c:
        with pytest.raises(trio_mcp.ProtocolError, match="input_required"):
            await c.request("ext/any", {}, types.EmptyResult)


# By hand


async def test_a_round_is_taken_by_hand_and_resumed_on_another_connection(serve: Serve) -> None:
    server = rounds(serve, needed(q=FORM), DONE)
    params = {"name": "x", "arguments": {"a": 1}}
    async with server.connect(elicitation_callback=accept) as c:
        asked = await c.request_round("tools/call", params, types.CallToolResult)
    assert isinstance(asked, types.InputRequiredResult)
    kept = asked.model_dump_json(by_alias=True)

    found = types.InputRequiredResult.model_validate_json(kept)
    assert found.input_requests is not None
    answers = {
        key: types.ElicitResult(action="accept", content={"name": "Ada"}) for key in found.input_requests
    }
    async with server.connect() as c:
        done = await c.request_round(
            "tools/call", params, types.CallToolResult, answers=answers, state=found.request_state
        )
    assert isinstance(done, types.CallToolResult)
    last = server.seen[-1]
    assert last.params["requestState"] == STATE
    assert last.params["inputResponses"] == {"q": {"action": "accept", "content": {"name": "Ada"}}}
    assert last.params["arguments"] == {"a": 1}


async def test_a_round_by_hand_may_be_the_only_one(serve: Serve) -> None:
    server = rounds(serve, DONE)
    async with server.connect() as c:
        result = await c.request_round("prompts/get", {"name": "x"}, types.GetPromptResult, answers={"q": {}})
        assert isinstance(result, types.GetPromptResult)
    assert server.seen[-1].params["inputResponses"] == {"q": {}}
    assert "requestState" not in server.seen[-1].params


@pytest.mark.parametrize("broken", [{"inputRequests": 5}, {"inputRequests": {"q": {"method": "x"}}}, {}])
async def test_questions_that_are_none_break_the_protocol_by_hand_too(serve: Serve, broken: Json) -> None:
    server = rounds(serve, {"resultType": "input_required", **broken})
    async with server.connect() as c:
        with pytest.raises(trio_mcp.ProtocolError):
            await c.request_round("tools/call", {"name": "x"}, types.CallToolResult)


async def test_what_has_no_rounds_and_what_is_no_answer_is_refused(serve: Serve) -> None:
    server = rounds(serve, DONE)
    async with server.connect() as c:
        with pytest.raises(trio_mcp.InvalidArguments, match="have input rounds, not tools/list"):
            await c.request_round("tools/list", {}, types.ListToolsResult)
        with pytest.raises(trio_mcp.InvalidArguments, match="the answer to 'q' must be a result"):
            await c.request_round("tools/call", {}, types.CallToolResult, answers={"q": "yes"})  # type: ignore[dict-item]


async def test_what_was_read_through_rounds_is_not_kept(serve: Serve) -> None:
    server = rounds(serve, needed(q=FORM), {**DONE, "ttlMs": 1000}, needed(q=FORM), {**DONE, "ttlMs": 1000})
    async with server.connect(elicitation_callback=accept) as c:
        first = await c.read_resource("x://y")
        await c.read_resource("x://y")
    assert first.ttl_ms == 0
    assert len(server.all("resources/read")) == 4
