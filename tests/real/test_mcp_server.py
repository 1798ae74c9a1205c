"""Against the official SDK: in every version, with and without sessions, by event streams and by JSON."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import httpx2
import mcp_types as types
import pytest
import trio
import trustme
from pydantic import FileUrl
from typing_extensions import Unpack

from trio_mcp import (
    AccessDenied,
    ConnectError,
    ConnectionChange,
    ConnectionLost,
    Connector,
    MCPError,
    ProtocolError,
    ReconnectPolicy,
    RequestContext,
    UnsupportedFeature,
)
from trio_mcp.opening import HttpOptions

from .children import Child, connected, free_port
from .conftest import StartServer

pytestmark = pytest.mark.real

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28", "auto")
TOUCHED = "memo://touched"


@dataclass(frozen=True)
class Case:
    """A version that the client asks for, and how the server answers."""

    version: str
    stateless: bool = False
    json: bool = False
    sse: bool = False

    def __str__(self) -> str:
        return "-".join((self.version, *(flag[2:] for flag in self.flags)))

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--stateless",) * self.stateless + ("--json",) * self.json + ("--sse",) * self.sse

    @property
    def modern(self) -> bool:
        return self.version in MODERN

    @property
    def negotiated(self) -> str:
        return "2026-07-28" if self.version == "auto" else self.version

    @property
    def has_back_channel(self) -> bool:
        """Whether a server can ask within a call: in the modern era, by the call's result."""
        return self.modern or not (self.stateless or self.json)

    @property
    def server_sees_cancellation(self) -> bool:
        """This SDK watches for a disconnect where it streams; a session has `notifications/cancelled`."""
        return not self.json or not (self.modern or self.stateless)


CASES = [
    *(Case(*each) for each in itertools.product((*LEGACY, *MODERN), (False, True), (False, True))),
    *(Case(version, sse=True) for version in LEGACY),
]
WITH_SESSION = [case for case in CASES if not case.modern and not case.stateless]
Open = Callable[..., AbstractAsyncContextManager[Connector]]


def over(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", list(cases), ids=str)


@pytest.fixture
def connect(case: Case, shared_server: StartServer) -> Open:
    """Connects as the test's case says."""

    def open_case(**options: Unpack[HttpOptions]) -> AbstractAsyncContextManager[Connector]:
        options["protocol_version"] = case.version
        return connected(shared_server(*case.flags).url, **options)

    return open_case


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def count(c: Connector, tool: str, key: str) -> int:
    return int(text_of(await c.call_tool(tool, {"key": key})))


async def reaches_one(c: Connector, tool: str, key: str) -> None:
    while await count(c, tool, key) != 1:
        await trio.sleep(0.01)


async def accept(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    if isinstance(params, types.ElicitRequestURLParams):
        assert (params.message, params.url) == ("go there", "https://example.com/consent")
        return types.ElicitResult(action="accept")
    assert params.message == "who?"
    assert set(params.requested_schema["properties"]) == {"name", "polite"}
    return types.ElicitResult(action="accept", content={"name": "ada"})


async def say(context: RequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    assert (params.system_prompt, params.max_tokens) == ("be brief", 10)
    (message,) = params.messages
    assert message.content == types.TextContent(text="say it")
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="it"), model="m")


# Asking the server


@over(CASES)
async def test_the_handshake_tells_about_the_server(connect: Open, case: Case) -> None:
    async with connect() as c:
        assert c.protocol_version == case.negotiated
        assert c.transport == ("sse" if case.sse else "streamable-http")
        assert c.server_info is not None
        assert (c.server_info.name, c.server_info.version) == ("real", "1.0")
        assert c.instructions == "add first"
        assert c.server_capabilities.tools is not None


@over(CASES)
async def test_everything_that_the_server_has_is_listed(connect: Open) -> None:
    async with connect() as c:
        tools = {tool.name: tool for tool in await c.list_tools()}
        assert tools["add"].input_schema["required"] == ["a", "b"]
        assert {str(resource.uri) for resource in await c.list_resources()} == {TOUCHED, "memo://bytes"}
        assert [each.uri_template for each in await c.list_resource_templates()] == ["greeting://{name}"]
        assert [prompt.name for prompt in await c.list_prompts()] == ["introduce"]


@over(CASES)
async def test_a_tool_answers_with_text_and_with_structured_content(connect: Open) -> None:
    async with connect() as c:
        await c.list_tools()  # so the structured content is validated as well
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        summed = await c.call_tool("sum_up", {"terms": [1, 2, 3]})
        assert summed.structured_content == {"total": 6, "terms": [1, 2, 3]}


@over(CASES)
async def test_a_tool_that_fails_or_is_not_there_is_a_result_with_is_error(connect: Open) -> None:
    async with connect() as c:
        for name in ("fail", "nowhere"):
            result = await c.call_tool(name)
            assert result.is_error
            assert name in text_of(result)


@over(CASES)
async def test_what_the_server_refuses_is_an_mcp_error_and_the_connection_goes_on(connect: Open) -> None:
    async with connect() as c:
        with pytest.raises(MCPError, match="memo://nowhere") as caught:
            await c.read_resource("memo://nowhere")
        assert caught.value.code == -32602
        assert caught.value.data == {"uri": "memo://nowhere"}
        with pytest.raises(MCPError):
            await c.get_prompt("nowhere")
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"


@over(CASES)
async def test_resources_are_read_as_text_as_bytes_and_by_template(connect: Open) -> None:
    async with connect() as c:
        found = [(await c.read_resource(uri)).contents for uri in (TOUCHED, "memo://bytes", "greeting://ada")]
        assert found == [
            [types.TextResourceContents(uri=TOUCHED, text="some text", mime_type="text/plain")],
            [types.BlobResourceContents(uri="memo://bytes", blob="AP8=", mime_type="application/x-bytes")],
            [types.TextResourceContents(uri="greeting://ada", text="hello ada", mime_type="text/plain")],
        ]


@over(CASES)
async def test_a_prompt_is_filled_with_its_arguments(connect: Open) -> None:
    async with connect() as c:
        (message,) = (await c.get_prompt("introduce", {"name": "ada"})).messages
        assert message.content == types.TextContent(text="introduce ada")


@over(CASES)
async def test_arguments_of_prompts_and_templates_are_completed_in_their_context(connect: Open) -> None:
    argument = {"name": "name", "value": "a"}
    async with connect() as c:
        prompt = await c.complete(types.PromptReference(name="introduce"), argument, {"other": "anne"})
        assert prompt.completion.values == ["prompt", "anne", "ada", "alan"]
        template = await c.complete(types.ResourceTemplateReference(uri="greeting://{name}"), argument)
        assert template.completion.values == ["template", "ada", "alan"]


@over(case for case in CASES if not case.modern)
async def test_a_legacy_server_answers_a_ping(connect: Open) -> None:
    async with connect() as c:
        await c.ping()


@over(case for case in CASES if case.modern)
async def test_what_the_modern_era_has_not_is_an_unsupported_feature(connect: Open) -> None:
    async with connect() as c:
        for unsupported in (c.ping(), c.subscribe_resource(TOUCHED), c.unsubscribe_resource(TOUCHED)):
            with pytest.raises(UnsupportedFeature, match="2026-07-28"):
                await unsupported


# Calls that take their time


@over(case for case in CASES if not case.json)
async def test_progress_comes_in_order_and_is_complete_when_the_call_returns(connect: Open) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((progress, total, message))

    async with connect() as c:
        await c.call_tool("slow", {"n": 100}, progress_callback=note)
        assert seen == [(step, 100, f"step {step}") for step in range(1, 101)]


@over(case for case in CASES if case.server_sees_cancellation)
async def test_a_call_that_is_cancelled_is_cancelled_on_the_server(connect: Open, case: Case) -> None:
    key = str(case)
    async with connect() as c, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_once_started, c, key, scope)
            await c.call_tool("forever", {"key": key})
        assert scope.cancelled_caught
        await reaches_one(c, "cancelled_calls", key)
        assert c.statistics().requests_cancelled == 1


async def _cancel_once_started(c: Connector, key: str, scope: trio.CancelScope) -> None:
    await reaches_one(c, "started_calls", key)
    scope.cancel()


@over(CASES)
async def test_fifty_calls_at_once_each_get_their_own_answer(connect: Open) -> None:
    answers: dict[int, str] = {}

    async def call(c: Connector, n: int) -> None:
        answers[n] = text_of(await c.call_tool("add", {"a": n, "b": 1000}))

    async with connect() as c:
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(call, c, n)
        assert answers == {n: str(n + 1000) for n in range(50)}


# What the server asks and tells


def _interactions() -> Iterable[object]:
    """Each question that a server may have, in the versions that have it."""
    questions = {"ask": ("ada, please", "2025-06-18"), "ask_url": ("accept", "2025-11-25")}
    questions |= {"sample": ("it", LEGACY[0]), "roots": ("file:///one", LEGACY[0])}
    for (tool, (answer, since)), case in itertools.product(questions.items(), CASES):
        if case.has_back_channel and case.negotiated >= since:
            yield pytest.param(case, tool, answer, id=f"{tool}-{case}")


@pytest.mark.parametrize(("case", "tool", "answer"), list(_interactions()))
async def test_what_the_server_asks_within_a_call_is_answered(connect: Open, tool: str, answer: str) -> None:
    options: HttpOptions = {
        "elicitation_callback": accept,
        "sampling_callback": say,
        "roots": [types.Root(uri=FileUrl("file:///one"))],
    }
    async with connect(**options) as c:
        assert text_of(await c.call_tool(tool)) == answer


@over(case for case in CASES if case.has_back_channel and case.negotiated < "2025-11-25")
async def test_elicitation_by_url_is_refused_in_versions_that_had_none(connect: Open) -> None:
    async with connect(elicitation_callback=accept) as c:
        with pytest.raises(MCPError) as caught:
            await c.call_tool("ask_url")
        assert caught.value.code in (-32601, -32602)


@over([Case("2025-11-25"), Case("2026-07-28")])
async def test_a_callback_may_call_back_into_the_connection(connect: Open) -> None:
    async def ask_the_server(
        context: RequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        name = text_of(await context.session.call_tool("add", {"a": 40, "b": 2}))
        return types.ElicitResult(action="accept", content={"name": name, "polite": False})

    async with connect(elicitation_callback=ask_the_server) as c:
        assert text_of(await c.call_tool("ask")) == "42, now"


@over(case for case in CASES if case.modern or not case.stateless)
async def test_the_server_gets_the_roots_that_were_set_last(connect: Open, case: Case) -> None:
    # A legacy server asks over the session's GET stream, a modern one by its result.
    tool = "roots" if case.modern else "roots_aside"
    async with connect(roots=[types.Root(uri=FileUrl("file:///one"))]) as c:
        assert text_of(await c.call_tool(tool)) == "file:///one"
        await c.set_roots([types.Root(uri=FileUrl("file:///two"))])
        assert text_of(await c.call_tool(tool)) == "file:///two"
        assert c.get_roots() == [types.Root(uri=FileUrl("file:///two"))]


@over(case for case in CASES if not case.json and (case.modern or not case.stateless))
async def test_log_messages_come_from_the_level_that_was_set(connect: Open) -> None:
    logged: list[types.LoggingMessageNotificationParams] = []

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params)

    async with connect(logging_callback=note) as c:
        await c.set_logging_level("warning")
        for level in ("info", "warning", "error"):
            await c.call_tool("log", {"level": level, "text": f"a {level}"})
    assert [(each.level, each.data, each.logger) for each in logged] == [
        ("warning", "a warning", "real"),
        ("error", "a error", "real"),
    ]


@over(WITH_SESSION)
async def test_message_handler_hears_of_what_is_subscribed_until_it_is_unsubscribed(connect: Open) -> None:
    send, heard = trio.open_memory_channel[types.ServerNotification](10)
    update = types.ResourceUpdatedNotification(params=types.ResourceUpdatedNotificationParams(uri=TOUCHED))
    async with connect(message_handler=send.send) as c:
        await c.subscribe_resource(TOUCHED)
        await c.call_tool("touch")
        assert await heard.receive() == update
        assert isinstance(await heard.receive(), types.ToolListChangedNotification)
        await c.unsubscribe_resource(TOUCHED)
        await c.call_tool("touch")
        assert isinstance(await heard.receive(), types.ToolListChangedNotification)


# Servers that go away


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["sse", "json"])
async def test_a_server_that_dies_fails_the_call_at_once_and_the_next_one_too(
    own_server: StartServer, version: str, flags: tuple[str, ...]
) -> None:
    server = own_server(*flags)
    death = trio.CancelScope(deadline=float("inf"))

    async def kill_once_started() -> None:
        await reaches_one(c, "started_calls", "doomed")
        server.kill()
        death.deadline = trio.current_time() + 1

    async with connected(server.url, protocol_version=version) as c, trio.open_nursery() as nursery:
        nursery.start_soon(kill_once_started)
        with death, pytest.raises(ConnectionLost):
            await c.call_tool("forever", {"key": "doomed"})
        assert not death.cancelled_caught
        with trio.fail_after(1), pytest.raises(ConnectError):
            await c.call_tool("add", {"a": 1, "b": 2})


@pytest.mark.parametrize("version", LEGACY)
async def test_a_session_that_ended_with_the_server_is_opened_anew_once_for_all_calls(
    own_server: StartServer, version: str
) -> None:
    server = own_server()
    options: HttpOptions = {"roots": [types.Root(uri=FileUrl("file:///one"))], "protocol_version": version}
    async with connected(server.url, **options) as c:
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        server.kill()
        own_server("--port", str(server.port))
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(c.call_tool, "add", {"a": 3, "b": 4})
        assert c.statistics().reinitializations == 1
        assert c.statistics().requests_failed == 0
        # The GET stream has been opened anew as well: the server's question comes that way.
        assert text_of(await c.call_tool("roots_aside")) == "file:///one"


@pytest.mark.parametrize("version", LEGACY)
async def test_over_http_sse_a_restarted_server_is_found_again_and_calls_in_flight_are_lost(
    own_server: StartServer, version: str
) -> None:
    server = own_server("--sse")
    tell, told = trio.open_memory_channel[ConnectionChange](10)

    async def restart_once_started() -> None:
        await reaches_one(c, "started_calls", "doomed")
        server.kill()
        own_server("--sse", "--port", str(server.port))

    policy = ReconnectPolicy(initial=0.1, maximum=0.5, attempts=None)
    options: HttpOptions = {"protocol_version": version, "reconnect": policy}
    options["connection_callback"] = tell.send
    async with connected(server.url, **options) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart_once_started)
            with pytest.raises(ConnectionLost):
                await c.call_tool("forever", {"key": "doomed"})
        assert [(await told.receive()).connected for _ in range(2)] == [False, True]
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        assert c.statistics().reinitializations == 1


# Servers that are none


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2026-07-28"])
async def test_a_port_that_nobody_listens_on_is_a_connect_error(version: str) -> None:
    with pytest.raises(ConnectError, match="refused"):
        async with connected(f"http://127.0.0.1:{free_port()}/mcp", protocol_version=version):
            pass


StaticServer = Callable[[int, dict[str, str], bytes], str]


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2026-07-28"])
async def test_a_web_page_is_a_protocol_error_that_asks_for_the_url(
    static_server: StaticServer, version: str
) -> None:
    url = static_server(200, {"content-type": "text/html; charset=utf-8"}, b"<!doctype html><p>hello")
    with pytest.raises(ProtocolError, match=r"text/html.*is this the URL of an MCP endpoint"):
        async with connected(url, protocol_version=version):
            pass


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2026-07-28"])
async def test_a_401_is_access_denied_with_its_challenge(static_server: StaticServer, version: str) -> None:
    challenge = 'Bearer resource_metadata="https://example.com/meta"'
    url = static_server(401, {"www-authenticate": challenge}, b"")
    with pytest.raises(AccessDenied) as caught:
        async with connected(url, protocol_version=version, auth="very-secret"):
            pass
    assert caught.value.status_code == 401
    assert caught.value.www_authenticate == challenge
    assert "very-secret" not in f"{caught.value!r} {caught.value}"


# What is sent along


async def headers_at_server(c: Connector) -> dict[str, str]:
    content = (await c.call_tool("headers")).structured_content
    assert isinstance(content, dict)
    return content


@over([Case("2025-11-25"), Case("2026-07-28")])
async def test_headers_and_a_bearer_token_arrive_at_the_server(connect: Open) -> None:
    async with connect(headers={"X-Mine": "yes"}, auth="token") as c:
        arrived = await headers_at_server(c)
    assert (arrived["x-mine"], arrived["authorization"]) == ("yes", "Bearer token")
    assert arrived["user-agent"].startswith("trio_mcp/")


@pytest.mark.parametrize("client_class", [httpx2.AsyncClient, httpx.AsyncClient])
@over([Case("2025-11-25"), Case("2026-07-28")])
async def test_a_client_of_either_library_sends_and_stays_the_callers(
    connect: Open, client_class: type[httpx2.AsyncClient] | type[httpx.AsyncClient]
) -> None:
    async with client_class(headers={"x-clients": "own"}) as client:
        async with connect(http_client=client, headers={"x-mine": "too"}, auth="token") as c:
            arrived = await headers_at_server(c)
        assert not client.is_closed
    assert (arrived["x-clients"], arrived["x-mine"]) == ("own", "too")
    assert arrived["authorization"] == "Bearer token"


# TLS


@dataclass(frozen=True)
class SecureServer:
    url: str
    ca_file: Path


@pytest.fixture(scope="module")
def secure_server(shared_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> SecureServer:
    folder = tmp_path_factory.mktemp("tls")
    ca_file, certfile, keyfile = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(ca_file)
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(keyfile)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certfile, append=True)
    child: Child = shared_server("--certfile", str(certfile), "--keyfile", str(keyfile))
    return SecureServer(child.url.replace("http:", "https:"), ca_file)


@pytest.mark.parametrize(
    "verify",
    [
        pytest.param(lambda ca_file: ca_file, id="path"),
        pytest.param(str, id="str"),
        pytest.param(lambda ca_file: ssl.create_default_context(cafile=ca_file), id="context"),
        pytest.param(lambda ca_file: False, id="off"),
    ],
)
async def test_a_server_whose_authority_is_trusted_is_talked_to_over_tls(
    secure_server: SecureServer, verify: Callable[[Path], bool | str | Path | ssl.SSLContext]
) -> None:
    async with connected(secure_server.url, verify=verify(secure_server.ca_file)) as c:
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"


async def test_a_server_whose_authority_is_unknown_is_a_connect_error(secure_server: SecureServer) -> None:
    with pytest.raises(ConnectError, match="certificate"):
        async with connected(secure_server.url):
            pass
