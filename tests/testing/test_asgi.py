from __future__ import annotations

import gc
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httptools
import pytest
import trio
import trustme
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CLIENT_CAPABILITIES_META_KEY, PROTOCOL_VERSION_META_KEY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_mcp.network import dial
from trio_mcp.testing.asgi import AsgiApp, AsgiServer, Message, _scope_of, serve_asgi
from trio_mcp.testing.memory_network import MemoryNetwork

Json = dict[str, Any]


class Client:
    """A connection to the server, and one exchange after the other on it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, method: str, target: str, body: bytes = b"", headers: Json | None = None) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1:80", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.headers, self.body, self._ended = {}, b"", False
        self._parser = httptools.HttpResponseParser(self)
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)

    async def receive(self, until: bytes | None = None) -> bytes:
        """The body, or what has come of it when `until` is in it; b"" of a connection that was cut."""
        while not self._ended and not (until is not None and until in self.body):
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._parser.feed_data(data)
            self.status = self._parser.get_status_code()
        return self.body

    async def get(self, target: str) -> bytes:
        await self.send("GET", target)
        return await self.receive()

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self._ended = True


@asynccontextmanager
async def serving(app: AsgiApp, **options: Any) -> AsyncGenerator[tuple[Client, AsgiServer]]:
    network = MemoryNetwork()
    async with serve_asgi(app, network.listen("127.0.0.1", 80), **options) as server:
        stream = await network.open_stream("127.0.0.1", 80)
        async with stream:
            yield Client(stream), server


def only_http(scope: Message) -> None:
    """What applications do that know no lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])


async def answer(send: Any, body: bytes = b"", **options: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, **options})


# Requests and responses


async def test_an_application_is_told_all_about_its_request() -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        only_http(scope)
        seen.append(dict(scope))
        seen.append(await receive())
        await answer(send, b"hello")
        seen.append(await receive())

    async with serving(app) as (client, server):
        await client.send("POST", "/a%20b?c=%20d", b"body", {"X-A": "1"})
        assert await client.receive() == b"hello"
        assert client.headers == {"transfer-encoding": "chunked"}
        await wait_all_tasks_blocked()
    assert server.failures == []
    assert seen == [
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/a b",
            "raw_path": b"/a%20b",
            "query_string": b"c=%20d",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:80"), (b"content-length", b"4"), (b"x-a", b"1")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        },
        {"type": "http.request", "body": b"body", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_a_starlette_application_has_its_lifespan_and_its_state() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        log.append("started")
        yield {"counter": [0]}
        await trio.lowlevel.checkpoint()
        log.append("shut down")

    async def count(request: Request) -> Response:
        request.state.counter[0] += 1
        request.state.own = 1  # is not seen by the next request
        assert "own" not in lifespan_state
        return JSONResponse(request.state.counter)

    lifespan_state: dict[str, Any] = {}
    app = Starlette(routes=[Route("/", count)], lifespan=lifespan)
    async with serving(app) as (client, _):
        assert log == ["started"]
        assert await client.get("/") == b"[1]"
        assert await client.get("/") == b"[2]"
        assert client.headers["content-type"] == "application/json"
        assert client.headers["content-length"] == "3"
    assert log == ["started", "shut down"]


async def test_a_response_streams(autojump_clock: MockClock) -> None:
    async def numbers() -> AsyncIterator[bytes]:
        for n in range(3):
            yield b"%d " % n
            await trio.sleep(10)

    async def stream(request: Request) -> Response:
        return StreamingResponse(numbers())

    async with serving(Starlette(routes=[Route("/", stream)])) as (client, _):
        begin = trio.current_time()
        await client.send("GET", "/")
        times = []
        for n in range(3):
            await client.receive(until=b"%d " % n)
            times.append(trio.current_time() - begin)
        assert await client.receive() == b"0 1 2 "
    assert times == [0, 10, 20]


async def test_the_head_goes_out_before_there_is_a_body() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        only_http(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"\xe9")]})
        await trio.sleep_forever()

    async with serving(app) as (client, _):
        await client.send("GET", "/")
        assert await client.stream.receive_some() == (
            b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\ntransfer-encoding: chunked\r\n\r\n"
        )


async def test_an_application_sees_its_client_leave_and_is_not_cancelled(autojump_clock: MockClock) -> None:
    log: list[object] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        only_http(scope)
        await receive()
        log.append((await receive())["type"])
        await trio.sleep(1)
        await answer(send)  # goes nowhere, and is no error
        log.append("went on")

    async with serving(app) as (client, server):
        await client.send("GET", "/")
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        await trio.sleep(2)
    assert log == ["http.disconnect", "went on"]
    assert server.failures == []


async def test_a_client_that_leaves_while_it_is_written_to_is_no_failure(autojump_clock: MockClock) -> None:
    finished = trio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        only_http(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(1 << 22), "more_body": True})
        await answer_rest(send)
        finished.set()

    async def answer_rest(send: Any) -> None:
        await send({"type": "http.response.body", "body": b"x"})

    async with serving(app) as (client, server):
        await client.send("GET", "/")
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        await finished.wait()
    assert server.failures == []


async def test_running_requests_are_cancelled_at_the_end_of_the_block() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        log.append("shut down")

    async def forever(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    async with serving(Starlette(routes=[Route("/", forever)], lifespan=lifespan)) as (client, server):
        await client.send("GET", "/")
        await wait_all_tasks_blocked()
    assert log == ["cancelled", "shut down"]
    assert server.failures == []


async def test_over_tls_the_scheme_is_https_and_sockets_have_addresses() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        only_http(scope)
        await answer(send, json.dumps([scope["scheme"], scope["client"], scope["server"]]).encode())

    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = tcp.socket.getsockname()[1]
    listener = trio.SSLListener(tcp, context, https_compatible=True)
    async with serve_asgi(app, listener):
        stream = await dial(_Tcp(), "127.0.0.1", port, trusting)
        assert isinstance(stream, trio.SSLStream)
        own = list(stream.transport_stream.socket.getsockname())
        assert json.loads(await Client(stream).get("/")) == ["https", own, ["127.0.0.1", port]]
        await trio.aclose_forcefully(stream)


class _Tcp:
    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream(host, port)


async def test_a_connection_that_is_gone_has_no_address() -> None:
    with trio.socket.socket() as sock:
        assert _scope_of(trio.SocketStream(sock))["client"] is None
    assert _scope_of(memory_stream_pair()[0])["client"] is None


# Failures


async def fails(request: Request) -> Response:
    raise ValueError("a bug")


FAILING = Starlette(routes=[Route("/", fails), Route("/ok", lambda request: PlainTextResponse("ok"))])


async def plain_failing(scope: Message, receive: Any, send: Any) -> None:
    only_http(scope)
    if scope["path"] == "/started":
        await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("a bug")


@pytest.mark.parametrize("app", [FAILING, plain_failing])
async def test_a_failure_is_answered_logged_and_raised_at_the_end(
    app: AsgiApp, caplog: pytest.LogCaptureFixture
) -> None:
    body_ended = False
    with pytest.raises(ValueError, match="a bug"):
        async with serving(app) as (client, _):
            for _ in range(2):
                assert await client.get("/") == b"Internal Server Error"
                assert client.status == 500
            body_ended = True
    assert body_ended
    messages = [(record.name, record.getMessage()) for record in caplog.records]
    assert messages == [("trio_mcp", "the application failed at GET /")] * 2


async def test_a_failure_after_the_start_of_a_response_cuts_the_connection() -> None:
    async with serving(plain_failing) as (client, server):
        await client.send("GET", "/started")
        with pytest.raises(EOFError):
            await client.receive()
        assert [repr(exc) for exc in server.failures] == ["ValueError('a bug')"]
        server.failures.clear()


async def test_a_test_that_expects_a_failure_takes_it_out() -> None:
    async with serving(FAILING) as (client, server):
        await client.get("/")
        # It is there, although Starlette raises it only after its answer.
        assert isinstance(server.failures.pop(), ValueError)


async def test_what_the_block_raises_comes_before_what_the_application_raised() -> None:
    error = KeyError("body")
    with pytest.raises(KeyError) as caught:
        async with serving(FAILING) as (client, _):
            await client.get("/")
            raise error
    assert caught.value is error
    assert error.__notes__ == ["also failed: ValueError('a bug')"]


async def test_a_timeout_does_not_hide_what_the_application_raised(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="a bug"), trio.fail_after(5):
        async with serving(FAILING) as (client, _):
            await client.get("/")
            await trio.sleep_forever()


async def returns_at_once(send: Any) -> None:
    pass


async def sends_no_end(send: Any) -> None:
    await answer(send, more_body=True)


async def sends_after_the_end(send: Any) -> None:
    await answer(send)
    await answer(send)


async def sends_something_else(send: Any) -> None:
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize(
    ("misbehave", "message"),
    [
        (returns_at_once, r"the application returned and has not answered <HttpExchange GET / new>"),
        (sends_no_end, r"the application returned and has not answered <HttpExchange GET / started>"),
        (sends_after_the_end, "started already"),
        (sends_something_else, "not a message for an HTTP response: 'websocket.accept'"),
    ],
)
async def test_an_application_that_breaks_the_protocol_fails(misbehave: Any, message: str) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        only_http(scope)
        await misbehave(send)

    with pytest.raises(RuntimeError, match=message):
        async with serving(app) as (client, _):
            await client.send("GET", "/")
            await wait_all_tasks_blocked()


# The lifespan


def with_lifespan(
    start: Exception | None = None, end: Exception | None = None, pause: float = 0
) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if start is not None:
            raise start
        yield
        await trio.sleep(pause)
        if end is not None:
            raise end

    return Starlette(lifespan=lifespan)


async def test_an_application_that_does_not_start_ends_it_before_the_block() -> None:
    error = ValueError("no database")
    network = MemoryNetwork()
    with pytest.raises(
        RuntimeError, match=r"^the application did not start: ValueError: no database$"
    ) as caught:
        async with serve_asgi(with_lifespan(error), network.listen("127.0.0.1", 80)):
            pytest.fail("the block was entered")
    assert caught.value.__cause__ is error
    with pytest.raises(OSError, match="failed"):
        await network.open_stream("127.0.0.1", 80)


async def test_an_application_may_fail_to_start_and_stay(autojump_clock: MockClock) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed"})
        await trio.sleep_forever()

    with pytest.raises(RuntimeError, match=r"^the application did not start: $"):
        async with serving(app):
            pytest.fail("the block was entered")


async def test_starting_is_bounded(autojump_clock: MockClock) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    with trio.fail_after(100), pytest.raises(RuntimeError, match="did not start within 5 s"):
        async with serving(app, startup_timeout=5):
            pytest.fail("the block was entered")
    assert trio.current_time() == 5


async def test_starting_can_be_cancelled(autojump_clock: MockClock) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        async with serving(app):
            pytest.fail("the block was entered")
    assert scope.cancelled_caught


async def test_an_application_that_fails_to_shut_down_fails_the_block() -> None:
    with pytest.raises(ValueError, match="too late"):
        async with serving(with_lifespan(end=ValueError("too late"))):
            pass


async def test_an_application_may_say_that_it_failed_to_shut_down() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.failed", "message": "sorry"})

    with pytest.raises(RuntimeError, match="the application failed to shut down: sorry"):
        async with serving(app):
            pass


@pytest.mark.parametrize(("pause", "in_time"), [(0.9, True), (1.1, False)])
async def test_shutting_down_is_bounded(pause: float, in_time: bool, autojump_clock: MockClock) -> None:
    problem = None
    try:
        async with serving(with_lifespan(pause=pause), shutdown_timeout=1):
            begin = trio.current_time()
    except RuntimeError as exc:
        problem = str(exc)
    assert trio.current_time() - begin == pytest.approx(min(pause, 1))
    assert problem == (None if in_time else "the application did not shut down in time")


async def test_a_cancelled_block_still_shuts_the_application_down(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await trio.sleep(0.5)
        ended.set()

    with trio.move_on_after(1):
        async with serving(Starlette(lifespan=lifespan)):
            await trio.sleep_forever()
    assert ended.is_set()


async def test_an_application_that_breaks_down_in_the_background_ends_the_block() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield

    async def fail() -> None:
        await wait_all_tasks_blocked()
        raise ValueError("broken down")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="broken down")):
        async with serving(Starlette(lifespan=lifespan)):
            await trio.sleep_forever()


async def test_an_application_without_a_lifespan_may_just_return(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(send, b"ok")

    async with serving(app) as (client, _):
        assert await client.get("/") == b"ok"


# Servers of the official SDK


def official(**options: Any) -> AsgiApp:
    server = MCPServer("official", log_level="CRITICAL")

    @server.tool()
    async def slow(seconds: float, ctx: Context) -> str:
        await ctx.report_progress(0.5, 1)
        await trio.sleep(seconds)
        return "done"

    return server.streamable_http_app(**options)


class McpClient(Client):
    """JSON-RPC by hand, over one connection."""

    session_id: str | None = None
    version: str = "2025-11-25"

    async def post(self, method: str, id: int | None = None, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
        await self.send(
            "POST", "/mcp", json.dumps(message).encode(), self._headers(method, params.get("name"))
        )

    async def listen(self) -> None:
        await self.send("GET", "/mcp", headers=self._headers("GET"))

    def _headers(self, method: str, name: str | None = None) -> dict[str, str]:
        session = {} if self.session_id is None else {"mcp-session-id": self.session_id}
        return {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "mcp-protocol-version": self.version,
            "mcp-method": method,
            **({} if name is None else {"mcp-name": name}),
            **session,
        }

    async def ask(self, method: str, **params: Any) -> Json:
        await self.post(method, 1, **params)
        body = (await self.receive()).decode()
        assert self.status == 200, body
        if self.headers["content-type"] == "text/event-stream":
            body = [line for line in body.splitlines() if line.startswith("data: ")][-1].removeprefix(
                "data: "
            )
        result: Json = json.loads(body)["result"]
        return result

    async def initialize(self) -> None:
        info = {"name": "test", "version": "1"}
        result = await self.ask("initialize", protocolVersion=self.version, capabilities={}, clientInfo=info)
        assert result["serverInfo"]["name"] == "official"
        self.session_id = self.headers.get("mcp-session-id")
        await self.post("notifications/initialized")
        await self.receive()
        assert self.status == 202


MODES = pytest.mark.parametrize("json_response", [False, True], ids=["sse", "json"])
SESSIONS = pytest.mark.parametrize("stateless_http", [False, True], ids=["stateful", "stateless"])


@MODES
@SESSIONS
async def test_an_official_server_runs_in_memory(
    json_response: bool, stateless_http: bool, autojump_clock: MockClock
) -> None:
    app = official(json_response=json_response, stateless_http=stateless_http)
    async with serving(app) as (connection, server):
        client = McpClient(connection.stream)
        await client.initialize()
        assert (client.session_id is None) == stateless_http
        assert [tool["name"] for tool in (await client.ask("tools/list"))["tools"]] == ["slow"]
        assert ("application/json" in client.headers["content-type"]) == json_response
        begin = trio.current_time()
        result = await client.ask("tools/call", name="slow", arguments={"seconds": 5})
        assert result["content"][0]["text"] == "done"
        assert trio.current_time() - begin == pytest.approx(5)
    assert server.failures == []


@MODES
@SESSIONS
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_official_server_at_work_ends_with_the_block(
    json_response: bool, stateless_http: bool, cancelled: bool, autojump_clock: MockClock
) -> None:
    network = MemoryNetwork()
    app = official(json_response=json_response, stateless_http=stateless_http)
    with trio.move_on_after(4 if cancelled else 10):
        async with serve_asgi(app, network.listen("127.0.0.1", 80)) as server:
            first, second = [McpClient(await network.open_stream("127.0.0.1", 80)) for _ in range(2)]
            await first.initialize()
            second.session_id = first.session_id
            if not stateless_http:
                await second.listen()
            await first.post("tools/call", 2, name="slow", arguments={"seconds": 100})
            await trio.sleep(5)
    assert server.failures == []
    gc.collect()  # what was not closed would warn


async def test_an_official_server_sees_its_client_leave(autojump_clock: MockClock) -> None:
    async with serving(official()) as (connection, server):
        client = McpClient(connection.stream)
        await client.initialize()
        await client.listen()
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        await trio.sleep(1)
    assert server.failures == []
    gc.collect()


async def test_an_official_server_of_the_modern_era_sees_its_client_leave(autojump_clock: MockClock) -> None:
    log: list[float] = []
    official_server = MCPServer("modern", log_level="CRITICAL")

    @official_server.tool()
    async def forever(ctx: Context) -> None:
        await ctx.report_progress(1)
        try:
            await trio.sleep_forever()
        finally:
            log.append(trio.current_time())

    async with serving(official_server.streamable_http_app()) as (connection, server):
        client = McpClient(connection.stream)
        client.version = "2026-07-28"
        meta = {
            PROTOCOL_VERSION_META_KEY: client.version,
            CLIENT_CAPABILITIES_META_KEY: {},
            "progressToken": 1,
        }
        await client.post("tools/call", 1, name="forever", arguments={}, _meta=meta)
        await client.receive(until=b"notifications/progress")
        await trio.sleep(5)
        left = trio.current_time()
        await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert log == [left]
    assert server.failures == []
