"""The block: what lives in it, what comes out of it, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import mcp_types as types
import pytest
import trio
import trio.testing
from mcp.server import MCPServer

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import HANG, RESET, Call, ScriptedServer
from trio_mcp.testing.messages import notification, request

LEGACY = "2025-11-25"
URL = "http://server.test/mcp"
DONE = {"content": [{"type": "text", "text": "done"}]}


def hang(seen: Call) -> Any:
    return trio.sleep_forever()


def a_server(serve: Serve, version: str = "2026-07-28", **options: Any) -> ScriptedServer:
    server = serve(version, **options)
    server.on["tools/call"] = lambda seen: seen.result(DONE)
    return server


# What comes out


async def test_the_bodys_exception_comes_out_as_the_same_object(serve: Serve) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with a_server(serve).connect():
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None


async def test_the_context_of_the_bodys_exception_is_kept(serve: Serve) -> None:
    async def body() -> None:
        async with a_server(serve).connect():
            try:
                raise ValueError("first")
            except ValueError:
                raise KeyError("second")  # noqa: B904

    with pytest.raises(KeyError) as caught:
        await body()
    assert isinstance(caught.value.__context__, ValueError)


@pytest.mark.parametrize(
    "error", [ExceptionGroup("mine", [KeyError(1)]), StopIteration(1), StopAsyncIteration(), SystemExit(3)]
)
async def test_whatever_the_body_raises_stays_as_it_is(serve: Serve, error: BaseException) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        async with a_server(serve).connect():
            raise error
    assert caught.value is error


async def test_cancelling_the_block_is_plain_cancellation_and_says_goodbye(serve: Serve) -> None:
    server = a_server(serve, LEGACY)
    with trio.CancelScope() as scope:
        async with server.connect():
            scope.cancel()
            try:
                await trio.sleep_forever()
            except BaseException as exc:
                assert type(exc) is trio.Cancelled
                raise
    assert scope.cancelled_caught
    assert server.methods()[-1] == "DELETE"


async def test_a_failure_to_connect_is_one_typed_error(serve: Serve) -> None:
    server = serve()
    server.link.refuse()
    with pytest.raises(trio_mcp.ConnectError) as caught:
        async with server.connect():
            pass
    assert caught.value.server == URL
    assert str(caught.value) == (f"{URL}: could not connect: [Errno {errno.ECONNREFUSED}] Connection refused")


async def test_a_callback_that_fails_ends_the_block_with_its_exception(serve: Serve) -> None:
    server = a_server(serve, LEGACY)
    server.on["GET"] = lambda seen: seen.sse(request("s1", "sampling/createMessage", SAMPLE), HANG)
    error = RuntimeError("model on fire")

    async def sample(context: Any, params: Any) -> Any:
        raise error

    with pytest.raises(RuntimeError) as caught:
        async with server.connect(sampling_callback=sample):
            await trio.sleep_forever()
    assert caught.value is error
    (answer,) = server.all("answer")
    assert answer.message["error"]["code"] == -32603
    assert "fire" not in str(answer.message)  # it gives nothing away
    assert server.methods()[-1] == "DELETE"


SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}


# How it ends


async def test_closing_waits_for_a_silent_server_one_second(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve, LEGACY)
    server.on["DELETE"] = hang
    async with server.connect():
        left = trio.current_time()
    assert trio.current_time() - left == pytest.approx(1)
    async with server.connect(goodbye_timeout=0.25):
        left = trio.current_time()
    assert trio.current_time() - left == pytest.approx(0.25)


@pytest.mark.parametrize("status", [200, 204, 404, 405, 500])
async def test_any_answer_to_the_goodbye_will_do(serve: Serve, status: int) -> None:
    server = a_server(serve, LEGACY)
    server.on["DELETE"] = lambda seen: seen.reply(status=status)
    async with server.connect():
        pass
    assert server.methods()[-1] == "DELETE"
    assert server.all("DELETE")[0].headers["mcp-session-id"] == "session-1"


async def test_a_goodbye_that_breaks_disturbs_nobody(serve: Serve) -> None:
    server = a_server(serve, LEGACY)
    server.on["DELETE"] = lambda seen: seen.reply(RESET)
    async with server.connect():
        pass
    assert server.methods()[-1] == "DELETE"


async def test_without_a_session_there_is_no_goodbye(serve: Serve) -> None:
    modern, legacy = a_server(serve), serve(LEGACY, session_id=None)
    for server in (modern, legacy):
        async with server.connect():
            pass
        assert "DELETE" not in server.methods()


async def test_calls_in_flight_end_with_the_block(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = a_server(serve, LEGACY)
    server.on["tools/call"] = hang
    failures: list[Exception] = []

    async def call(c: trio_mcp.Connector) -> None:
        try:
            await c.call_tool("slow")
        except trio_mcp.NotConnected as exc:
            failures.append(exc)

    async with trio.open_nursery() as nursery:
        async with server.connect() as c:
            for _ in range(3):
                nursery.start_soon(call, c)
            await trio.testing.wait_all_tasks_blocked()
    assert len(failures) == 3
    assert "closed while this was in flight" in str(failures[0])
    assert len(server.all("notifications/cancelled")) == 3


async def test_a_notification_in_flight_ends_with_the_block_and_none_is_sent_after_it(serve: Serve) -> None:
    server = a_server(serve)
    server.on["notifications/x"] = hang
    failures: list[Exception] = []

    async def notify(c: trio_mcp.Connector) -> None:
        try:
            await c.notify("notifications/x")
        except trio_mcp.NotConnected as exc:
            failures.append(exc)

    async with trio.open_nursery() as nursery:
        async with server.connect() as c:
            nursery.start_soon(notify, c)
            await trio.testing.wait_all_tasks_blocked()
            await c.aclose()
            with pytest.raises(trio_mcp.NotConnected, match="the connector was closed"):
                await c.notify("notifications/x")
    assert len(failures) == 1
    assert len(server.all("notifications/x")) == 1


async def test_a_call_that_waits_for_a_callback_ends_with_the_block(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve)
    question = {"method": "roots/list"}
    server.on["tools/call"] = lambda seen: seen.result(
        {"resultType": "input_required", "inputRequests": {"q": question}}
    )
    ended: list[float] = []

    async def slow(context: Any) -> Any:
        await trio.sleep(100)

    async def call(c: trio_mcp.Connector) -> None:
        with pytest.raises(trio_mcp.NotConnected):
            await c.call_tool("x")
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with server.connect(list_roots_callback=slow) as c:
            nursery.start_soon(call, c)
            await trio.sleep(1)
    assert ended == [1]


async def test_what_is_drained_and_said_at_the_end_shares_one_second(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve, LEGACY)
    log = notification("notifications/message", {"level": "info", "data": "x"})
    server.on["tools/call"] = lambda seen: seen.sse(log, seen.response(DONE))
    server.on["DELETE"] = hang

    async def stuck(params: object) -> None:
        await trio.sleep_forever()

    async with server.connect(logging_callback=stuck) as c:
        await c.call_tool("x")
        left = trio.current_time()
    assert trio.current_time() - left == pytest.approx(1)


async def test_callbacks_that_take_long_to_end_cost_the_server_no_goodbye(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve, LEGACY)
    server.on["GET"] = lambda seen: seen.sse(request("s", "sampling/createMessage", SAMPLE), HANG)
    began = trio.Event()

    async def sample(context: Any, params: Any) -> Any:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with server.connect(sampling_callback=sample):
        await began.wait()
    assert server.methods()[-1] == "DELETE"


async def test_an_errand_that_nobody_answers_does_not_cost_the_goodbye(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve, LEGACY)
    server.on["tools/call"] = server.on["notifications/cancelled"] = hang
    async with server.connect() as c:
        with trio.move_on_after(1):
            await c.call_tool("x")
    assert server.methods()[-1] == "DELETE"


async def test_notifications_that_came_are_seen_before_the_block_is_left(serve: Serve) -> None:
    server = a_server(serve)
    log = notification("notifications/message", {"level": "info", "data": "x"})
    server.on["tools/call"] = lambda seen: seen.sse(log, log, log, seen.response(DONE))
    seen: list[Any] = []

    async def slow_log(params: types.LoggingMessageNotificationParams) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(params.data)

    async with server.connect(logging_callback=slow_log) as c:
        await c.call_tool("x")
    assert seen == ["x"] * 3


async def test_a_callback_that_never_ends_delays_the_end_by_the_goodbye_timeout_only(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve)
    log = notification("notifications/message", {"level": "info", "data": "x"})
    server.on["tools/call"] = lambda seen: seen.sse(log, seen.response(DONE))

    async def stuck(params: object) -> None:
        await trio.sleep_forever()

    async with server.connect(logging_callback=stuck) as c:
        await c.call_tool("x")
    assert trio.current_time() == pytest.approx(1 / 3)


async def test_what_the_server_sends_while_goodbye_is_said_is_not_taken(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = a_server(serve, LEGACY)
    server.on["GET"] = lambda seen: seen.sse(1, request(1, "ping"), notification("x"), HANG)
    server.on["DELETE"] = hang
    async with server.connect(goodbye_timeout=5) as c:
        pass
    assert trio.current_time() == pytest.approx(5)
    assert c.statistics().server_requests == 0
    assert c.statistics().notifications == 0


# Used wrongly


async def test_used_outside_of_its_block_it_says_so(serve: Serve) -> None:
    c = a_server(serve).connect()
    with pytest.raises(trio_mcp.NotConnected, match="its block has not begun, or has ended"):
        await c.list_tools()
    assert not c.is_connected
    assert repr(c) == f"<HttpConnector {URL} closed>"
    async with c:
        assert c.is_connected
        assert repr(c) == f"<HttpConnector {URL} streamable-http 2026-07-28>"
    assert not c.is_connected
    with pytest.raises(trio_mcp.NotConnected):
        _ = c.protocol_version


async def test_who_is_cancelled_together_with_a_connection_is_cancelled_and_not_told_that_it_has_ended(
    serve: Serve,
) -> None:
    """Whichever of the two the scheduler looks at first."""

    async def is_cancelled(use: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await use()
        assert scope.cancelled_caught

    async def pass_on(context: Any, call_next: Any) -> Any:
        return await call_next(context)

    for middleware in ([], [pass_on]):
        c = a_server(serve, url=f"http://server{len(middleware)}.test/mcp").connect(middleware=middleware)
        uses: list[Callable[[], Awaitable[object]]] = [
            partial(c.call_tool, "x"),
            c.list_tools,
            partial(c.request, "x", None, dict),
            partial(c.notify, "notifications/x"),
        ]
        for use in uses:
            await is_cancelled(use)
        async with c:
            await c.aclose()
            for use in uses:
                with pytest.raises(trio_mcp.NotConnected):
                    await use()
                await is_cancelled(use)
        for use in uses:
            await is_cancelled(use)


async def test_a_connector_can_be_entered_again_once_it_has_been_left(serve: Serve) -> None:
    server = a_server(serve)
    c = server.connect()
    for _ in range(2):
        async with c:
            await c.call_tool("x")
            with pytest.raises(trio_mcp.UsageError, match="open already"):
                await c.__aenter__()
    server.on["server/discover"] = lambda seen: seen.reply(status=500)
    for _ in range(2):
        with pytest.raises(trio_mcp.HTTPStatusError):
            await c.__aenter__()


def test_under_asyncio_it_says_what_to_do() -> None:
    async def main() -> None:
        async with trio_mcp.open_connector(URL):
            pass

    with pytest.raises(trio_mcp.UsageError, match=r"trio\.run"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("ftp://example.com", "scheme 'ftp'"),
        ("example.com/mcp", "did you mean http://example.com/mcp"),
        ("127.0.0.1:8000/mcp", "did you mean http://127.0.0.1:8000/mcp"),
        ("http://", "no host"),
        ("http://a b/mcp", "white space in it$"),
        ("python server.py", "white space in it; a program to start is a StdioServer"),
        ("http://example.com/mcp ", "white space"),
        ("http://example.com:99999/mcp", "between 1 and 65535, not 99999"),
        ("http://example.com:0/mcp", "between 1 and 65535, not 0"),
        ("http://exa mple.com:port", "not a usable URL"),
        ("http://example.com/\ud800", "not a usable URL"),
        ("http://s3cret:\ud800@example.com/", "not a usable URL: it cannot be read"),
        ("http://example.com:port", "Invalid port"),
        (b"http://example.com", "a target is a URL"),
    ],
)
def test_a_target_that_cannot_work_is_told_at_once(target: Any, text: str) -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match=text):
        trio_mcp.open_connector(target)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": "5"},
        {"sse_read_timeout": -1},
        {"connect_timeout": True},
        {"goodbye_timeout": float("nan")},
        {"transport": "carrier-pigeon"},
        {"middleware": [object()]},
        {"max_message_size": 0},
        {"max_connections": 1.5},
        {"max_connections": None},
        {"roots": ["file:///x"]},
        {"roots": "file:///x"},
        {"client_info": {"name": "x"}},
        {"elicitation_callback": 5},
        {"logging_callback": "x"},
        {"headers": {"x": 1}},
        {"headers": [("x", "y")]},
        {"auth": "Bearer x"},
        {"max_connections": 0},
        {"headers": {"x": "a\r\nb: c"}},
        {"headers": {"no name": "a"}},
        {"auth": "two words"},
        {"auth": {"client": "x"}},
    ],
)
def test_an_option_that_cannot_work_is_told_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(trio_mcp.ConfigurationError):
        trio_mcp.open_connector(URL, **options)


@pytest.mark.parametrize("options", [{"auth": 5}, {"http_client": object()}, {"verify": 3}])
def test_an_option_of_a_wrong_type_is_a_type_error(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        trio_mcp.open_connector(URL, **options)
    with pytest.raises(trio_mcp.ConfigurationError, match="must be a str"):
        trio_mcp.HttpConnector(5)  # type: ignore[arg-type]


def test_the_parameters_of_http_connector_are_those_of_mcp_use_in_its_order() -> None:
    import inspect

    parameters = inspect.signature(trio_mcp.HttpConnector).parameters.values()
    positional = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert positional == {
        "base_url": inspect.Parameter.empty,
        "headers": None,
        "timeout": 5,
        "sse_read_timeout": 300,
        "auth": None,
        "sampling_callback": None,
        "elicitation_callback": None,
        "message_handler": None,
        "logging_callback": None,
        "middleware": None,
        "verify": True,
    }


async def test_the_identifier_and_the_errors_show_no_secret_of_the_url(serve: Serve) -> None:
    connector = trio_mcp.open_connector("https://user:secret@example.com/mcp?key=secret")
    assert connector.public_identifier == "https://example.com/mcp"
    assert "secret" not in repr(connector)
    for url in ("user:hunter2@example.com/mcp?key=hunter2", "http://user:hunter2/x@example.com/mcp"):
        with pytest.raises(trio_mcp.ConfigurationError) as caught:
            trio_mcp.open_connector(url)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    server = a_server(serve)
    url = "http://user:secret@server.test/mcp"
    async with trio_mcp.open_connector(url, network=server.network, verify=None):
        pass
    assert server.seen[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="


async def test_client_info_and_headers_are_sent_and_the_callers_dict_stays_as_it_was(serve: Serve) -> None:
    server = a_server(serve)
    headers = {"X-Team": "a"}
    me = types.Implementation(name="me", version="9")
    async with server.connect(headers=headers, client_info=me, auth="token") as c:
        assert c.client_info is me
        await c.call_tool("x")
    assert headers == {"X-Team": "a"}
    for seen in server.seen:
        assert seen.headers["x-team"] == "a"
        assert seen.headers["authorization"] == "Bearer token"
        assert seen.headers["user-agent"].startswith("trio_mcp/")
        assert seen.params["_meta"]["io.modelcontextprotocol/clientInfo"] == {"name": "me", "version": "9"}


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".com"])
async def test_a_host_that_cannot_be_is_a_typed_error(host: str) -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match="not a usable URL"):
        async with trio_mcp.open_connector(f"http://{host}/mcp"):
            pass


async def test_connect_under_asyncio_says_what_to_do_too() -> None:
    def run() -> None:
        asyncio.run(trio_mcp.connect(None, URL))  # type: ignore[call-overload]

    with pytest.raises(trio_mcp.UsageError, match=r"trio\.run"):
        await trio.to_thread.run_sync(run)


async def test_nothing_is_printed_and_no_log_shows_a_secret(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    autojump_clock: trio.testing.MockClock,
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_mcp")
    server = a_server(serve, LEGACY)
    server.session_id = "session-s3cr3t"
    server.on["GET"] = lambda seen: seen.sse(
        request(1, "ping"), notification("bad/s3cr3t"), {"jsonrpc": "2.0", "id": 5, "result": {}}
    )
    server.on["answer"] = server.on["DELETE"] = lambda seen: seen.reply(
        seen.headers["mcp-session-id"], seen.headers["authorization"], status=500, type="text/plain"
    )
    async with server.connect(auth="token-s3cr3t") as c:
        await c.call_tool("x", {"password": "argument-s3cr3t"})
        await trio.sleep(100)
        assert c.statistics().undelivered > 0
        shown = repr(c) + repr(c.statistics())
    assert caplog.records
    for secret in ("session-s3cr3t", "token-s3cr3t", "argument-s3cr3t"):
        assert secret not in caplog.text + shown
    assert capfd.readouterr() == ("", "")


def test_a_warning_is_not_printed_where_no_handler_is_set_up() -> None:
    program = "import logging, trio_mcp; logging.getLogger('trio_mcp').warning('hello')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout + ran.stderr == ""


# In a nursery


async def test_connect_lives_in_the_callers_nursery_until_aclose(serve: Serve) -> None:
    server = a_server(serve, LEGACY)
    async with trio.open_nursery() as nursery:
        c = await trio_mcp.connect(nursery, URL, network=server.network)
        assert c.is_connected
        await c.call_tool("x")
        await c.aclose()
        assert not c.is_connected
        assert server.methods()[-1] == "DELETE"
        await c.aclose()


async def test_connect_that_fails_raises_one_flat_error(serve: Serve) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.reply(status=503)
    async with trio.open_nursery() as nursery:
        with pytest.raises(trio_mcp.HTTPStatusError):
            await trio_mcp.connect(nursery, URL, network=server.network)


async def test_cancelling_the_callers_nursery_ends_the_connection_with_a_goodbye(serve: Serve) -> None:
    server = a_server(serve, LEGACY)
    async with trio.open_nursery() as nursery:
        await trio_mcp.connect(nursery, URL, network=server.network)
        nursery.cancel_scope.cancel()
    assert server.methods()[-1] == "DELETE"


async def test_a_connector_that_runs_cannot_be_run_again_and_can_still_be_closed(serve: Serve) -> None:
    c = a_server(serve).connect()
    async with trio.open_nursery() as nursery:
        await nursery.start(c.run)
        with pytest.raises(trio_mcp.UsageError, match="open already"):
            await c.run()
        await c.aclose()
    assert not c.is_connected
    async with trio.open_nursery() as nursery:  # and run anew
        await nursery.start(c.run)
        assert c.is_connected
        await c.aclose()


async def test_aclose_ends_a_handshake_under_way(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["server/discover"] = hang
    c = server.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.run)
        await trio.sleep(1)
        await c.aclose()
        assert trio.current_time() == pytest.approx(1)


async def test_aclose_ends_an_opening_in_a_block_too(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve()
    server.on["server/discover"] = hang
    c = server.connect()

    async def close() -> None:
        await trio.sleep(1)
        await c.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        with pytest.raises(trio_mcp.NotConnected, match="closed while it was being opened"):
            async with c:
                pass
    assert trio.current_time() == pytest.approx(1)


async def test_closing_what_is_closed_leaves_nothing_behind(serve: Serve) -> None:
    c = a_server(serve).connect()
    await c.aclose()
    async with c:
        await c.aclose()
    await c.aclose()
    async with trio.open_nursery() as nursery:
        await nursery.start(c.run)
        assert c.is_connected
        await c.aclose()


async def test_aclose_in_a_block_ends_calls_and_leaves_the_rest_to_the_block(serve: Serve) -> None:
    server = a_server(serve, LEGACY)
    server.on["tools/call"] = hang
    async with server.connect() as c, trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(trio_mcp.NotConnected):
                await c.call_tool("slow")

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await c.aclose()
        assert not c.is_connected
        with pytest.raises(trio_mcp.NotConnected):
            await c.call_tool("x")
    assert server.methods()[-1] == "DELETE"


async def test_every_public_method_is_a_checkpoint(serve: Serve) -> None:
    server = serve(LEGACY)
    for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        key = {"tools/list": "tools", "resources/list": "resources", "prompts/list": "prompts"}
        server.on[method] = lambda seen, key=key.get(method, "resourceTemplates"): seen.result({key: []})  # type: ignore[misc]
    server.on["tools/call"] = lambda seen: seen.result(DONE)
    async with server.connect(roots=[]) as c:
        for call in (
            c.list_tools,
            c.list_resources,
            c.list_prompts,
            c.list_resource_templates,
            lambda: c.call_tool("x"),
            lambda: c.set_roots([]),
            lambda: c.notify("notifications/x"),
        ):
            with trio.testing.assert_checkpoints():
                await call()
    async with serve().connect() as modern:
        with trio.testing.assert_checkpoints():
            await modern.set_logging_level("info")
    for close in (c.aclose, lambda: c.set_roots([])):
        with trio.testing.assert_checkpoints():
            await close()


async def test_over_http_a_connection_is_never_lost_for_good(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = a_server(serve)
    async with server.connect() as c:
        server.link.reset()
        server.link.refuse()
        with trio.move_on_after(3600) as scope:
            await c.until_lost()
        assert scope.cancelled_caught
        await c.aclose()
        with pytest.raises(trio_mcp.NotConnected):
            await c.until_lost()


@pytest.mark.parametrize(
    "target",
    [
        "http://a.example/mcp",
        "ws://a.example/mcp",
        trio_mcp.StdioServer("a"),
        MCPServer("a"),
    ],
    ids=["http", "ws", "stdio", "memory"],
)
def test_an_option_that_there_is_not_is_refused_whatever_the_target(target: Any) -> None:
    options: Any = {"elicitation_calback": None}
    with pytest.raises(TypeError, match="elicitation_calback"):
        trio_mcp.open_connector(target, **options)


def test_a_mistyped_option_is_told_with_the_right_one() -> None:
    target = trio_mcp.StdioServer("a")
    options: Any = {"elicitation_calback": None}
    with pytest.raises(TypeError) as caught:
        trio_mcp.open_connector(target, **options)
    assert str(caught.value) == (
        "'elicitation_calback' is no option of a connector to stdio:a: did you mean 'elicitation_callback'?"
    )
    options = {"verify": False}
    with pytest.raises(TypeError, match="^'verify' is no option of a connector to stdio:a$"):
        trio_mcp.open_connector(target, **options)
