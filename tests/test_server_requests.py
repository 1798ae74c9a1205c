from __future__ import annotations

from typing import Any, cast

import mcp_types as types
import pytest

from trio_mcp.callbacks import Callbacks, Caller, RequestContext
from trio_mcp.errors import MCPError, UsageError
from trio_mcp.server_requests import ServerRequests

CONTEXT = RequestContext(session=cast("Caller", object()), request_id=1)
METHOD_NOT_FOUND, INVALID_PARAMS = -32601, -32602
LEGACY, MODERN = "2025-11-25", "2026-07-28"


class Recorder:
    """A callback that notes what it is given and answers `answer`."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[tuple[Any, ...]] = []

    async def __call__(self, *args: Any) -> Any:
        self.seen.append(args)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked_by(callbacks: Callbacks, version: str = LEGACY) -> ServerRequests:
    """What answers a server of `version`, which was told what the callbacks give."""
    requests = ServerRequests(callbacks)
    requests.declared = callbacks.capabilities(version)
    return requests


async def refused(callbacks: Callbacks, method: str, params: dict[str, Any] | None) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await asked_by(callbacks).answer(method, params, CONTEXT)
    return caught.value


# Capabilities


async def answer_nothing(*args: Any) -> Any:
    raise AssertionError("not called")


def test_without_callbacks_the_client_declares_nothing() -> None:
    for version in (LEGACY, MODERN):
        assert Callbacks().capabilities(version) == types.ClientCapabilities()


def test_logging_and_messages_need_no_capability() -> None:
    callbacks = Callbacks(logging=answer_nothing, message=answer_nothing)
    assert callbacks.capabilities(LEGACY) == types.ClientCapabilities()


def test_a_sampling_callback_declares_sampling() -> None:
    assert Callbacks(sampling=answer_nothing).capabilities(LEGACY).sampling == types.SamplingCapability()


def test_sampling_is_declared_as_far_as_it_goes() -> None:
    with_tools = types.SamplingCapability(tools=types.SamplingToolsCapability())
    callbacks = Callbacks(sampling=answer_nothing, sampling_capabilities=with_tools)
    assert callbacks.capabilities(LEGACY).sampling == with_tools
    assert Callbacks(sampling_capabilities=with_tools).capabilities(LEGACY).sampling is None


@pytest.mark.parametrize(
    ("version", "declared"),
    [
        ("2025-03-26", None),
        ("2025-06-18", {}),
        ("2025-11-25", {"form": {}, "url": {}}),
        ("2026-07-28", {"form": {}, "url": {}}),
    ],
)
def test_an_elicitation_callback_declares_what_the_version_has(
    version: str, declared: dict[str, Any] | None
) -> None:
    elicitation = Callbacks(elicitation=answer_nothing).capabilities(version).elicitation
    assert (elicitation and elicitation.model_dump(exclude_none=True)) == declared


def test_elicitation_is_declared_as_far_as_it_goes() -> None:
    forms = types.ElicitationCapability(form=types.FormElicitationCapability())
    callbacks = Callbacks(elicitation=answer_nothing, elicitation_capabilities=forms)
    assert callbacks.capabilities(LEGACY).elicitation == forms
    assert Callbacks(elicitation_capabilities=forms).capabilities(LEGACY).elicitation is None


def test_who_takes_no_forms_declares_no_elicitation_to_a_version_that_has_forms_only() -> None:
    urls = types.ElicitationCapability(url=types.UrlElicitationCapability())
    callbacks = Callbacks(elicitation=answer_nothing, elicitation_capabilities=urls)
    assert callbacks.capabilities("2025-06-18").elicitation is None


def test_a_legacy_server_is_told_that_roots_may_change() -> None:
    callbacks = Callbacks(list_roots=answer_nothing)
    assert callbacks.capabilities(LEGACY).roots == types.RootsCapability(list_changed=True)
    assert callbacks.capabilities(MODERN).roots == types.RootsCapability()


# Sampling

ASKED = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}
SAMPLED = types.CreateMessageResult(
    role="assistant", content=types.TextContent(type="text", text="ho"), model="m", stop_reason="endTurn"
)
TOOL = {"name": "t", "inputSchema": {"type": "object"}}
WITH_TOOLS = types.SamplingCapability(tools=types.SamplingToolsCapability())


async def test_sampling_is_answered_by_its_callback() -> None:
    callback = Recorder(SAMPLED)
    answer = await asked_by(Callbacks(sampling=callback)).answer("sampling/createMessage", ASKED, CONTEXT)
    assert answer == {
        "role": "assistant",
        "content": {"type": "text", "text": "ho"},
        "model": "m",
        "stopReason": "endTurn",
    }
    [(context, params)] = callback.seen
    assert context is CONTEXT
    assert isinstance(params, types.CreateMessageRequestParams)
    assert params.max_tokens == 5


async def test_a_sampling_answer_may_use_tools() -> None:
    used = types.CreateMessageResultWithTools(
        role="assistant",
        content=[types.ToolUseContent(type="tool_use", id="1", name="t", input={})],
        model="m",
        stop_reason="toolUse",
    )
    callbacks = Callbacks(sampling=Recorder(used), sampling_capabilities=WITH_TOOLS)
    asked = ASKED | {"tools": [TOOL], "toolChoice": {"mode": "auto"}}
    answer = await asked_by(callbacks).answer("sampling/createMessage", asked, CONTEXT)
    assert answer["content"] == [{"type": "tool_use", "id": "1", "name": "t", "input": {}}]


@pytest.mark.parametrize("capabilities", [None, types.SamplingCapability()])
@pytest.mark.parametrize("extra", [{"tools": [TOOL]}, {"toolChoice": {"mode": "none"}}])
async def test_tools_are_refused_unless_declared(
    capabilities: types.SamplingCapability | None, extra: dict[str, Any]
) -> None:
    callbacks = Callbacks(sampling=answer_nothing, sampling_capabilities=capabilities)
    error = await refused(callbacks, "sampling/createMessage", ASKED | extra)
    assert (error.code, error.message) == (INVALID_PARAMS, "this client has not declared sampling.tools")


async def test_an_empty_list_of_tools_is_no_tools() -> None:
    callbacks = Callbacks(sampling=Recorder(SAMPLED))
    await asked_by(callbacks).answer("sampling/createMessage", ASKED | {"tools": []}, CONTEXT)


def use(*ids: str) -> dict[str, Any]:
    blocks = [{"type": "tool_use", "id": each, "name": "t", "input": {}} for each in ids]
    return {"role": "assistant", "content": blocks}


def results(*ids: str) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [{"type": "tool_result", "toolUseId": each, "content": []} for each in ids],
    }


TEXT = {"role": "user", "content": {"type": "text", "text": "hi"}}
MIXED = {"role": "user", "content": [*results("1")["content"], TEXT["content"]]}


@pytest.mark.parametrize(
    "messages", [[TEXT], [use("1"), results("1")], [TEXT, use("1", "2"), results("2", "1"), TEXT], []]
)
async def test_tool_results_that_answer_the_tool_uses_before_them_are_taken(messages: list[Any]) -> None:
    callbacks = Callbacks(sampling=Recorder(SAMPLED))
    params = {"messages": messages, "maxTokens": 5}
    await asked_by(callbacks).answer("sampling/createMessage", params, CONTEXT)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([use("1"), MIXED], "must hold nothing else"),
        ([use("1"), results("1", "1")], "must hold nothing else"),
        ([use("1"), results("2")], "do not match"),
        ([use("1", "2"), results("1")], "do not match"),
        ([use("1"), TEXT, results("1")], "do not match"),
        ([results("1")], "do not match"),
        ([use("1")], "has no tool result"),
    ],
)
async def test_tool_results_that_answer_nothing_are_refused(messages: list[Any], reason: str) -> None:
    callbacks = Callbacks(sampling=answer_nothing)
    error = await refused(callbacks, "sampling/createMessage", {"messages": messages, "maxTokens": 5})
    assert error.code == INVALID_PARAMS
    assert reason in error.message


# Elicitation

FORM = {
    "message": "who?",
    "requestedSchema": {
        "type": "object",
        "properties": {"name": {"type": "string", "default": "Ann"}, "age": {"type": "integer"}},
    },
}
URL = {"mode": "url", "message": "go", "url": "https://x", "elicitationId": "e1"}


@pytest.mark.parametrize("params", [FORM, FORM | {"mode": "form"}])
async def test_an_elicitation_without_a_mode_is_a_form(params: dict[str, Any]) -> None:
    callback = Recorder(types.ElicitResult(action="accept", content={"name": "Bob", "age": 3}))
    answer = await asked_by(Callbacks(elicitation=callback)).answer("elicitation/create", params, CONTEXT)
    assert answer == {"action": "accept", "content": {"name": "Bob", "age": 3}}
    [(context, asked)] = callback.seen
    assert context is CONTEXT
    assert isinstance(asked, types.ElicitRequestFormParams)


@pytest.mark.parametrize(
    ("content", "sent"),
    [(None, {"name": "Ann"}), ({"age": 3}, {"name": "Ann", "age": 3}), ({"name": "Bob"}, {"name": "Bob"})],
)
async def test_defaults_are_filled_in_where_the_user_left_a_field_out(
    content: dict[str, str | int | float | bool | list[str] | None] | None, sent: dict[str, Any]
) -> None:
    callbacks = Callbacks(elicitation=Recorder(types.ElicitResult(action="accept", content=content)))
    answer = await asked_by(callbacks).answer("elicitation/create", FORM, CONTEXT)
    assert answer["content"] == sent


@pytest.mark.parametrize("properties", [None, [], {"a": True}])
async def test_a_schema_without_properties_has_no_defaults(properties: Any) -> None:
    callbacks = Callbacks(elicitation=Recorder(types.ElicitResult(action="accept")))
    params = {"message": "m", "requestedSchema": {"type": "object", "properties": properties}}
    answer = await asked_by(callbacks).answer("elicitation/create", params, CONTEXT)
    assert answer["content"] == {}


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_content_goes_out_for_accepted_forms_only(action: Any) -> None:
    result = types.ElicitResult(action=action, content={"name": "secret"})
    callbacks = Callbacks(elicitation=Recorder(result))
    answer = await asked_by(callbacks).answer("elicitation/create", FORM, CONTEXT)
    assert answer == {"action": action}
    assert result.content == {"name": "secret"}


async def test_an_elicitation_by_url_has_no_content() -> None:
    callback = Recorder(types.ElicitResult(action="accept", content={"name": "secret"}))
    answer = await asked_by(Callbacks(elicitation=callback)).answer("elicitation/create", URL, CONTEXT)
    assert answer == {"action": "accept"}
    assert isinstance(callback.seen[0][1], types.ElicitRequestURLParams)


@pytest.mark.parametrize(
    ("declared", "params", "mode"),
    [
        (types.ElicitationCapability(form=types.FormElicitationCapability()), URL, "url"),
        (types.ElicitationCapability(url=types.UrlElicitationCapability()), FORM, "form"),
        (types.ElicitationCapability(), URL, "url"),
    ],
)
async def test_a_mode_that_was_not_declared_is_refused(
    declared: types.ElicitationCapability, params: dict[str, Any], mode: str
) -> None:
    callbacks = Callbacks(elicitation=answer_nothing, elicitation_capabilities=declared)
    error = await refused(callbacks, "elicitation/create", params)
    assert error.code == INVALID_PARAMS
    assert error.message == f"this client has not declared elicitation by {mode}"


async def test_a_mode_that_was_declared_is_answered() -> None:
    both = types.ElicitationCapability(
        form=types.FormElicitationCapability(), url=types.UrlElicitationCapability()
    )
    for params in (FORM, URL):
        callbacks = Callbacks(
            elicitation=Recorder(types.ElicitResult(action="decline")), elicitation_capabilities=both
        )
        answer = await asked_by(callbacks).answer("elicitation/create", params, CONTEXT)
        assert answer == {"action": "decline"}


async def test_an_empty_declaration_means_forms() -> None:
    callbacks = Callbacks(
        elicitation=Recorder(types.ElicitResult(action="decline")),
        elicitation_capabilities=types.ElicitationCapability(),
    )
    assert await asked_by(callbacks).answer("elicitation/create", FORM, CONTEXT) == {"action": "decline"}


# Roots


async def test_roots_are_listed_by_their_callback() -> None:
    callback = Recorder(types.ListRootsResult.model_validate({"roots": [{"uri": "file:///a", "name": "a"}]}))
    answer = await asked_by(Callbacks(list_roots=callback)).answer("roots/list", None, CONTEXT)
    assert answer == {"roots": [{"uri": "file:///a", "name": "a"}]}
    assert callback.seen == [(CONTEXT,)]


# What goes wrong

METHODS = [("sampling/createMessage", ASKED), ("elicitation/create", FORM), ("roots/list", None)]


def all_answer(answer: object) -> Callbacks:
    return Callbacks(sampling=Recorder(answer), elicitation=Recorder(answer), list_roots=Recorder(answer))


@pytest.mark.parametrize(("method", "params"), [*METHODS, ("tools/list", {}), ("", None)])
async def test_without_a_callback_there_is_no_such_method(method: str, params: dict[str, Any] | None) -> None:
    assert (await refused(Callbacks(), method, params)).code == METHOD_NOT_FOUND


@pytest.mark.parametrize(("method", "params"), METHODS)
async def test_what_the_server_was_not_told_of_is_no_method(
    method: str, params: dict[str, Any] | None
) -> None:
    with pytest.raises(MCPError) as caught:
        await ServerRequests(all_answer(None)).answer(method, params, CONTEXT)
    assert caught.value.code == METHOD_NOT_FOUND


async def test_a_version_without_elicitation_by_url_is_not_answered_one() -> None:
    with pytest.raises(MCPError) as caught:
        await asked_by(all_answer(None), "2025-06-18").answer("elicitation/create", URL, CONTEXT)
    assert caught.value.code == INVALID_PARAMS


async def test_an_unknown_method_is_refused_though_there_are_callbacks() -> None:
    assert (await refused(all_answer(None), "tools/list", None)).code == METHOD_NOT_FOUND


@pytest.mark.parametrize(
    ("method", "params", "where"),
    [
        ("sampling/createMessage", None, "messages"),
        ("sampling/createMessage", {"messages": [], "maxTokens": "many"}, "maxTokens"),
        ("sampling/createMessage", {"messages": [{"role": "x"}], "maxTokens": 1}, "messages.0"),
        ("elicitation/create", None, ""),
        ("elicitation/create", {"mode": "smoke", "message": "m"}, ""),
    ],
)
async def test_bad_params_are_refused_with_the_place(
    method: str, params: dict[str, Any] | None, where: str
) -> None:
    error = await refused(all_answer(None), method, params)
    assert error.code == INVALID_PARAMS
    assert error.message.startswith("invalid params: ")
    assert where in error.message


async def test_a_bad_form_is_refused_for_what_is_wrong_with_the_form() -> None:
    error = await refused(all_answer(None), "elicitation/create", {"message": 5, "requestedSchema": {}})
    assert "message" in error.message


@pytest.mark.parametrize(("method", "params"), METHODS)
async def test_error_data_that_a_callback_returns_is_the_answer(
    method: str, params: dict[str, Any] | None
) -> None:
    error = await refused(all_answer(types.ErrorData(code=-1, message="no", data={"x": 1})), method, params)
    assert (error.code, error.message, error.data) == (-1, "no", {"x": 1})


@pytest.mark.parametrize(("method", "params"), METHODS)
@pytest.mark.parametrize("error", [MCPError(5, "own"), KeyError("bug")])
async def test_what_a_callback_raises_comes_out_the_same(
    method: str, params: dict[str, Any] | None, error: Exception
) -> None:
    with pytest.raises(type(error)) as caught:
        await asked_by(all_answer(error)).answer(method, params, CONTEXT)
    assert caught.value is error


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        (
            "sampling/createMessage",
            ASKED,
            "sampling_callback returned dict where CreateMessageResult or CreateMessageResultWithTools",
        ),
        ("elicitation/create", FORM, "elicitation_callback returned dict where ElicitResult or ErrorData"),
        ("roots/list", None, "list_roots_callback returned dict where ListRootsResult or ErrorData"),
    ],
)
async def test_a_callback_that_returns_something_else_is_told_so(
    method: str, params: dict[str, Any] | None, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        await asked_by(all_answer({"roots": []})).answer(method, params, CONTEXT)


@pytest.mark.parametrize(
    ("version", "mode", "code"),
    [
        ("2024-11-05", "form", METHOD_NOT_FOUND),
        ("2025-03-26", "url", METHOD_NOT_FOUND),
        ("2025-06-18", "url", INVALID_PARAMS),
    ],
)
async def test_a_server_gets_nothing_that_its_version_was_not_told_of(
    version: str, mode: str, code: int
) -> None:
    requests = asked_by(Callbacks(elicitation=answer_nothing), version)
    params = {**FORM, "mode": "form"} if mode == "form" else URL
    with pytest.raises(MCPError) as caught:
        await requests.answer("elicitation/create", params, CONTEXT)
    assert caught.value.code == code
