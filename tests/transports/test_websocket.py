"""WebSocket: the handshake, the messages, the end, and servers that do all of it badly."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import httpx2
import mcp_types as types
import pytest
import trio
import trio.testing
import trustme
from trio_websocket import WebSocketConnection, WebSocketRequest

from tests.http.site import client_tls, server_tls
from trio_mcp import (
    AccessDenied,
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectionChange,
    ConnectionLost,
    Connector,
    ConnectorError,
    ConnectTimeout,
    HTTPStatusError,
    MessageTooLarge,
    NotConnected,
    ReconnectPolicy,
    Stalled,
    TransportError,
    WebSocketConnector,
    connect,
    open_connector,
)
from trio_mcp.testing import HttpExchange, MemoryNetwork, serve_http
from trio_mcp.transports.wires import Wire

from .websocket_servers import (
    CLOSE,
    CONTINUATION,
    HOST,
    PING,
    TEXT,
    URL,
    Json,
    Serve,
    Talk,
    accepting,
    answer,
    frame,
    listen,
    read_head,
    saying,
    scripted,
    switching,
)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


class Site:
    """Serves WebSockets, and connects to them."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self.requests: list[WebSocketRequest] = []
        self._nursery = nursery

    def serve(self, serve: Serve) -> None:
        listen(self._nursery, self.network, serve)

    def talk(self, talk: Talk, **options: Any) -> None:
        self.serve(accepting(talk, self.requests, **options))

    def connect(self, url: str = URL, **options: Any) -> AbstractAsyncContextManager[Connector]:
        options.setdefault("protocol_version", "2025-11-25")
        return open_connector(url, network=self.network, **options)

    async def fail(self, url: str = URL, **options: Any) -> Exception:
        """What opening raises."""
        with pytest.raises(Exception) as caught:  # noqa: PT011
            async with self.connect(url, **options):
                pass
        return caught.value

    def header(self, name: bytes, index: int = -1) -> bytes | None:
        return dict(self.requests[index].headers).get(name)


@pytest.fixture
def site(network: MemoryNetwork, nursery: trio.Nursery) -> Site:
    return Site(network, nursery)


async def hang(message: Json) -> None:
    await trio.sleep_forever()


async def nothing(message: Json) -> None:
    await trio.lowlevel.checkpoint()


# The handshake


async def test_a_connection_says_what_it_is(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.talk(scripted())
    async with site.connect("ws://user:secret@server.test:80/mcp?key=secret#x") as c:
        assert c.transport == "websocket"
        assert c.public_identifier == "ws://server.test/mcp"
        assert repr(c) == "<WebSocketConnector ws://server.test/mcp websocket 2025-11-25>"
        await c.ping()
    assert site.requests[0].path == "/mcp?key=secret"
    assert site.requests[0].proposed_subprotocols == ("mcp",)


async def test_it_lives_in_a_nursery_as_well(
    site: Site, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    site.talk(scripted())
    c = await connect(nursery, URL, network=site.network, protocol_version="2025-11-25", ping_interval=1)
    await c.ping()
    await c.aclose()
    with pytest.raises(NotConnected):
        await c.ping()


async def test_a_server_may_select_no_subprotocol(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.talk(scripted(), subprotocol=None)
    async with site.connect() as c:
        await c.ping()


async def test_headers_are_sent_with_the_handshake(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted())
    async with site.connect(headers={"X-Mine": "1", "Origin": "https://a.test", "Host": "other.test"}):
        pass
    assert site.header(b"x-mine") == b"1"
    assert site.header(b"origin") == b"https://a.test"
    agent = site.header(b"user-agent")
    assert agent is not None
    assert agent.startswith(b"trio_mcp/")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "closed the connection during the WebSocket handshake"),
        (b"HTT", "closed the connection during the WebSocket handshake"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "Bad HTTP message"),
        (b"\x00" * 100, "Bad HTTP message"),
        (b"HTTP/1.1 101 Go\r\n\r\n", "Connection: Upgrade"),
        (b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\n\r\n", "Upgrade: websocket"),
        (b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "Bad accept token"),
        (b"HTTP/1.1 101 Go\r\nx: " + b"x" * (1 << 20), "Bad HTTP message"),
        (b"HTTP/1.1 404 ", "broken"),
        (b"HTTP/1.1 404 No\r\n\x00: 1\r\n\r\n", "broken"),
    ],
)
async def test_a_handshake_that_is_broken_is_a_connect_error(
    site: Site, autojump_clock: trio.testing.MockClock, reply: bytes, reason: str
) -> None:
    site.serve(saying(reply))
    error = await site.fail()
    assert type(error) is ConnectError
    assert reason in str(error)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sec_websocket_protocol": "graphql-ws"}, "unrecognized subprotocol graphql-ws"),
        ({"sec_websocket_protocol": "\x7f\xff"}, "the server broke the WebSocket handshake"),
        ({"sec_websocket_extensions": "permessage-deflate"}, "unrecognized extension"),
    ],
)
async def test_what_was_not_offered_must_not_be_selected(
    site: Site, autojump_clock: trio.testing.MockClock, changes: dict[str, str], reason: str
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream), **changes))
        await trio.sleep_forever()

    site.serve(serve)
    error = await site.fail()
    assert type(error) is ConnectError
    assert reason in str(error)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 1", b"HTTP/1.1 101 Go\r\n", b"HTTP/1.1 404 No\r\n"])
async def test_a_handshake_that_does_not_end_is_a_connect_timeout(
    site: Site, autojump_clock: trio.testing.MockClock, reply: bytes
) -> None:
    site.serve(saying(reply, stay=True))
    error = await site.fail(timeout=7)
    assert type(error) is ConnectTimeout
    assert error.message == "no WebSocket within 7 s (timeout=)"
    assert trio.current_time() == 7


async def test_a_server_that_cannot_be_reached_is_a_connect_timeout(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.network.link(HOST).drop()
    assert type(await site.fail()) is ConnectTimeout
    assert trio.current_time() == 5


async def test_a_host_that_refuses_or_does_not_exist_is_a_connect_error(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    error = await site.fail("ws://127.0.0.1:9/mcp")
    assert type(error) is ConnectError
    assert "refused" in str(error)
    error = await site.fail("ws://nowhere.test/mcp")
    assert type(error) is ConnectError
    assert "not known" in str(error)


async def test_an_answer_byte_by_byte_is_as_good(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        for byte in switching(await read_head(stream)):
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.001)
        await stream.send_all(frame(CLOSE, b"\x03\xe8"))

    site.serve(serve)
    assert "code 1000" in str(await site.fail())


# Refusals


@pytest.mark.parametrize("framing", [b"content-length: 2\r\n", b"", b"content-length: 900\r\n"])
async def test_401_is_access_denied_with_its_challenge_however_its_body_is_framed(
    site: Site, autojump_clock: trio.testing.MockClock, framing: bytes
) -> None:
    head = b"HTTP/1.1 401 No\r\nwww-authenticate: Bearer\r\ncontent-type: text/plain\r\n" + framing
    site.serve(saying(head + b"\r\nno"))
    error = await site.fail(auth="secret-token")
    assert type(error) is AccessDenied
    assert (error.status_code, error.www_authenticate) == (401, "Bearer")
    assert error.message == "HTTP 401: no; it wants credentials, or other ones than these (auth=)"


async def test_a_refusal_shows_no_credentials(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    head = b"HTTP/1.1 403 No\r\nx-echo: Bearer secret-token\r\ncontent-type: text/plain\r\n\r\n"
    site.serve(saying(head + b"secret-token is not allowed"))
    error = await site.fail(auth="secret-token")
    assert type(error) is AccessDenied
    assert "secret" not in f"{error!r} {error} {error.headers}".replace("[secret]", "")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"503 Later\r\nretry-after: 7\r\ncontent-length: 0", "HTTP 503"),
        (b"404 No\r\ncontent-length: 0", "HTTP 404; is this the URL of a WebSocket endpoint?"),
        (
            b"307 There\r\nlocation: wss://other.test/mcp?key=secret\r\ncontent-length: 0",
            "HTTP 307: a redirect to wss://other.test/mcp, which is not followed",
        ),
        (b"304 Same", "HTTP 304: a redirect, which is not followed"),
        (b"500 Oh\r\ncontent-type: text/html\r\ncontent-length: 3", "HTTP 500"),
    ],
)
async def test_any_other_status_is_an_http_status_error(
    site: Site, autojump_clock: trio.testing.MockClock, reply: bytes, text: str
) -> None:
    site.serve(saying(b"HTTP/1.1 " + reply + b"\r\n\r\n<p>"))
    error = await site.fail()
    assert type(error) is HTTPStatusError
    assert error.message == text
    assert error.status_code == int(reply[:3])
    assert error.retry_after == (7 if reply.startswith(b"503") else None)


async def test_a_web_page_is_no_websocket(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    site.serve(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
    error = await site.fail()
    assert type(error) is ConnectError
    assert "is this the URL" in str(error)


async def test_a_refusal_without_end_is_read_for_a_while_only(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 500 Oh\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 10_000)

    site.serve(serve)
    error = await site.fail()
    assert isinstance(error, HTTPStatusError)
    assert error.status_code == 500
    assert trio.current_time() == 0


# Credentials


async def test_a_token_and_the_user_of_the_url_are_sent(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted())
    async with site.connect(auth="t0ken"):
        assert site.header(b"authorization") == b"Bearer t0ken"
    async with site.connect("ws://user:pass@server.test/mcp"):
        assert site.header(b"authorization") == b"Basic dXNlcjpwYXNz"


class Fetched(httpx2.Auth):
    """Fetches a token elsewhere when the server wants one."""

    requires_response_body = True

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        response = yield request
        assert (response.status_code, response.text) == (401, "who?")
        assert str(request.url) == "http://server.test/mcp"
        token = yield httpx2.Request("POST", "http://login.test/token", content=b"please")
        request.headers["authorization"] = token.text
        yield request


class ForeignFetched(httpx.Auth):
    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        assert response.status_code == 401
        token = yield httpx.Request("POST", "http://login.test/token")
        request.headers["authorization"] = token.text
        yield request


def serve_login(site: Site, nursery: trio.Nursery) -> None:
    async def give(exchange: HttpExchange) -> None:
        await exchange.respond(200, body=b"Bearer fetched")

    async def serve(stream: trio.abc.Stream) -> None:
        await serve_http(stream, give, cancel_on_disconnect=True)

    nursery.start_soon(trio.serve_listeners, serve, [site.network.listen("login.test", 80)])
    accept = accepting(scripted(), site.requests)

    async def guard(stream: trio.abc.Stream) -> None:
        head = await read_head(stream)
        if b"authorization: Bearer fetched" not in head.replace(b"Authorization", b"authorization"):
            await stream.send_all(b"HTTP/1.1 401 No\r\ncontent-length: 4\r\n\r\nwho?")
            return
        await accept(Replayed(stream, head))

    site.serve(guard)


class Replayed(trio.abc.Stream):
    """A stream of which something has been read already."""

    def __init__(self, stream: trio.abc.Stream, read: bytes) -> None:
        self._stream = stream
        self._read = read

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._read:
            await trio.lowlevel.checkpoint()
            read, self._read = self._read, b""
            return read
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("auth", [Fetched(), ForeignFetched()], ids=["httpx2", "httpx"])
async def test_an_auth_flow_sees_the_refusal_and_fetches_a_token_over_http(
    site: Site, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, auth: Any
) -> None:
    serve_login(site, nursery)
    async with site.connect(auth=auth) as c:
        await c.ping()
    assert site.header(b"authorization") == b"Bearer fetched"


async def test_an_auth_flow_that_the_server_refuses_is_access_denied(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    class Constant(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            request.headers["authorization"] = "Bearer constant"
            yield request

    site.serve(saying(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"))
    assert type(await site.fail(auth=Constant())) is AccessDenied


async def test_an_auth_flow_that_fails_is_an_authorization_error(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    class Failing(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            raise ValueError("secret")
            yield request

    error = await site.fail(auth=Failing())
    assert type(error) is AuthorizationError
    assert "secret" not in str(error)


async def test_an_auth_flow_without_end_is_ended(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    class Endless(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            while True:
                yield request

    site.talk(scripted())  # it is accepted each time
    error = await site.fail(auth=Endless())
    assert type(error) is ConnectError
    assert "does not end" in str(error)
    await trio.testing.wait_all_tasks_blocked()
    assert not site.network.connections


async def test_an_auth_flow_that_hangs_is_bounded_by_the_handshakes_deadline(
    site: Site, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    class Slow(httpx2.Auth):
        async def async_auth_flow(
            self, request: httpx2.Request
        ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
            await trio.sleep_forever()
            yield request

    assert type(await site.fail(auth=Slow(), connect_timeout=9)) is ConnectTimeout
    assert trio.current_time() == 9


async def test_a_header_that_an_auth_flow_breaks_is_a_configuration_error(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    class Broken(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
            request.headers["authorization"] = "secret\nx: y"
            yield request

    site.talk(scripted())
    error = await site.fail(auth=Broken())
    assert type(error) is ConfigurationError
    assert "secret" not in f"{error!r}"


# TLS


async def test_wss_is_secured_and_the_server_verified(
    site: Site, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, network: MemoryNetwork
) -> None:
    authority = trustme.CA()
    context = server_tls(authority, HOST)

    async def serve(stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await accepting(scripted(), site.requests)(secured)

    listen(nursery, network, serve, 443)
    async with site.connect(f"wss://{HOST}/mcp", verify=client_tls(authority)) as c:
        await c.ping()
        assert c.public_identifier == f"wss://{HOST}/mcp"
    error = await site.fail(f"wss://{HOST}/mcp")
    assert type(error) is ConnectError
    assert "certificate" in str(error)


async def test_a_ca_file_that_cannot_be_read_is_a_configuration_error(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted())
    error = await site.fail(f"wss://{HOST}:80/mcp", verify="/nowhere.pem")
    assert type(error) is ConfigurationError


# Messages


async def test_binary_frames_are_taken_as_text(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    async def talk(socket: WebSocketConnection) -> None:
        while True:
            message = json.loads(await socket.get_message())
            if "id" in message:
                info = {"name": "scripted", "version": "1"}
                result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info}
                await socket.send_message(answer(message, result).encode())

    site.talk(talk)
    async with site.connect() as c:
        assert c.server_info is not None
        await c.ping()


async def test_what_is_no_message_is_dropped_and_counted(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def talk(socket: WebSocketConnection) -> None:
        for junk in ("hello", "", "[]"):
            await socket.send_message(junk)
        await scripted()(socket)

    site.talk(talk)
    async with site.connect() as c:
        await c.ping()
        assert c.statistics().unknown_messages == 3


def bytewise(*frames: bytes) -> Serve:
    """A server that completes the handshake, and sends these frames on the first message."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream)))
        await stream.receive_some()
        for each in frames:
            await stream.send_all(each)
        while await stream.receive_some():
            pass

    return serve


async def test_a_message_that_is_too_large_in_fragments_ends_the_connection(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    pieces = [frame(CONTINUATION, b"x" * 60_000, fin=False) for _ in range(40)]
    site.serve(bytewise(frame(TEXT, b"x", fin=False), *pieces))
    error = await site.fail(max_message_size=1_000_000)
    assert isinstance(error, MessageTooLarge)
    assert "1000000 bytes; max_message_size" in str(error)


async def test_a_message_of_empty_frames_without_end_ends_the_connection(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    sent = 0

    async def flood(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(switching(await read_head(stream)))
        await stream.receive_some()
        await stream.send_all(frame(TEXT, b"", fin=False))
        while True:
            await stream.send_all(frame(CONTINUATION, b"", fin=False) * 1000)
            sent += 1

    site.serve(flood)
    error = await site.fail(max_message_size=10_000)
    assert isinstance(error, MessageTooLarge)
    assert sent < 200  # with what the connection has room for


async def test_the_size_of_a_message_counts_in_bytes(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def large(message: Json) -> Json:
        return {"text": "🎈" * 300}

    site.talk(scripted(ping=large))
    async with site.connect(max_message_size=1000) as c:
        with pytest.raises(MessageTooLarge):
            await c.ping()


async def test_a_message_that_is_too_large_for_the_server_is_not_taken_for_one_of_the_servers(
    site: Site,
    autojump_clock: trio.testing.MockClock,
) -> None:
    site.talk(scripted(), max_message_size=1000)
    async with site.connect(max_message_size=1000) as c:
        with pytest.raises(ConnectionLost, match="code 1009") as caught:
            await c.call_tool("x", {"text": "y" * 2000})
    assert not isinstance(caught.value, MessageTooLarge)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(TEXT, b"{}", mask=True)], "1002"),
        ([frame(11, b"")], "1002"),
        ([frame(CONTINUATION, b"{}")], "1002"),
        ([frame(TEXT, b"{", fin=False), frame(TEXT, b"}")], "1002"),
        ([frame(PING, b"x", fin=False)], "1002"),
        ([frame(TEXT | 0x40, b"{}")], "1002"),
        ([frame(TEXT, b"\xff")], "1007"),
    ],
    ids=["masked", "opcode", "continuation", "interleaved", "fragmented-ping", "reserved", "utf-8"],
)
async def test_frames_that_break_the_protocol_end_the_connection(
    site: Site, autojump_clock: trio.testing.MockClock, frames: list[bytes], code: str
) -> None:
    site.serve(bytewise(*frames))
    error = await site.fail()
    assert type(error) is ConnectionLost
    assert f"closed with code {code}" in str(error)


async def test_pings_are_answered_in_a_flood_too(site: Site, autojump_clock: trio.testing.MockClock) -> None:
    pongs = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal pongs
        await stream.send_all(switching(await read_head(stream)))
        await stream.receive_some()
        await stream.send_all(frame(PING, b"x") * 5000 + frame(CLOSE, b"\x0f\xa0bye"))
        while data := await stream.receive_some():
            pongs += bytes(data).count(b"\x8a")

    site.serve(serve)
    error = await site.fail()
    assert "code 4000 (PRIVATE_RESERVED): bye" in str(error)
    assert pongs >= 5000


async def test_a_flood_of_pings_whose_pongs_nobody_reads_ends_by_the_timeout(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.network.set_link(HOST, window=1000)

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream)))
        while True:
            await stream.send_all(frame(PING, b"x") * 1000)

    site.serve(serve)
    with trio.fail_after(60):
        assert isinstance(await site.fail(timeout=5), Stalled | ConnectTimeout)


# The end


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4999])
async def test_a_server_that_closes_says_why(
    site: Site, autojump_clock: trio.testing.MockClock, code: int
) -> None:
    async def close(message: Json) -> None:
        await socket.aclose(code, "so it is")

    socket: WebSocketConnection

    async def talk(its_socket: WebSocketConnection) -> None:
        nonlocal socket
        socket = its_socket
        await scripted(ping=close)(socket)

    site.talk(talk)
    async with site.connect() as c:
        with pytest.raises(ConnectionLost, match=rf"closed with code {code} \(.*\): so it is"):
            await c.ping()
        assert not c.is_connected


async def test_a_reason_that_repeats_the_token_does_not_show_it(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def talk(socket: WebSocketConnection) -> None:
        await socket.aclose(1008, "secret-token is no good")

    site.talk(talk)
    error = await site.fail(auth="secret-token")
    assert "[secret] is no good" in str(error)
    assert "secret-token" not in f"{error!r}"


async def test_a_close_without_a_code_and_a_connection_without_a_close_are_told_apart(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.serve(bytewise(frame(CLOSE, b"")))
    assert "closed with code 1005" in str(await site.fail())


async def test_a_connection_that_ends_without_a_closing_handshake_is_lost(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream)))

    site.serve(serve)
    error = await site.fail()
    assert type(error) is ConnectionLost
    assert "not closed in order" in str(error)


async def test_a_connection_that_is_reset_fails_the_calls_that_wait(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted(tools__call=hang))
    async with site.connect() as c, trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(ConnectionLost):
                await c.call_tool("x")

        nursery.start_soon(call)
        nursery.start_soon(call)
        await trio.sleep(1)
        site.network.link(HOST).reset()
        await trio.sleep(1)
        with pytest.raises(ConnectionLost):
            await c.ping()


async def test_what_came_before_the_end_is_still_taken_when_sending_fails(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def talk(socket: WebSocketConnection) -> None:
        await socket.send_message("last")
        await socket.aclose(1001)

    site.talk(talk)
    received: list[bytes] = []

    async def receive(wire: Wire) -> None:
        received.append(await wire.receive())

    async with WebSocketConnector(URL, network=site.network)._open_wire() as wire:
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            with pytest.raises(ConnectionLost, match="1001"):
                nursery.start_soon(receive, wire)
                await wire.send(b"x")
            assert received == [b"last"]


async def test_the_block_ends_with_a_closing_handshake(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    ends: list[Any] = []

    async def talk(socket: WebSocketConnection) -> None:
        try:
            await scripted()(socket)
        finally:
            ends.append(socket.closed)

    site.talk(talk)
    async with site.connect():
        pass
    await trio.testing.wait_all_tasks_blocked()
    assert [(end.code, end.reason) for end in ends] == [(1000, None)]
    assert trio.current_time() == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_server_that_does_not_answer_the_close_is_waited_for_briefly(
    site: Site, autojump_clock: trio.testing.MockClock, cancelled: bool
) -> None:
    async def talk(socket: WebSocketConnection) -> None:
        await scripted(ping=nothing)(socket)

    site.talk(talk)
    with trio.CancelScope() as scope:
        async with site.connect():
            site.network.link(HOST).drop()
            if cancelled:
                scope.cancel()
    assert 0 < trio.current_time() <= 1


async def test_pings_that_cross_with_the_close_do_no_harm(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream)))
        message = json.loads(unmask(await stream.receive_some()))
        info = {"name": "scripted", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info}
        await stream.send_all(frame(TEXT, answer(message, result).encode()))
        while (data := await stream.receive_some())[0] != 0x88:
            pass
        del data
        await stream.send_all(frame(PING, b"late"))

    site.serve(serve)
    async with site.connect():
        pass
    assert trio.current_time() < 1


def unmask(data: bytes | bytearray) -> bytes:
    size = data[1] & 0x7F
    start = 4 if size == 126 else 2
    mask, payload = data[start : start + 4], data[start + 4 :]
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


# Silence


async def test_a_connection_without_traffic_is_kept_alive(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted())
    async with site.connect() as c:
        await trio.sleep(3600)
        await c.ping()


async def test_a_server_that_answers_no_ping_is_lost(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted(tools__call=hang))
    async with site.connect(ping_interval=10) as c:
        site.network.link(HOST).drop()
        with pytest.raises(Stalled, match=r"for 10 s after a ping \(ping_interval=\)"):
            await c.call_tool("x", {"text": "y"})
        assert trio.current_time() == 20
        assert not c.is_connected
    assert trio.current_time() == 20  # no closing handshake with the dead


async def test_a_server_that_sends_is_alive_even_if_it_answers_no_ping(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream)))
        message = json.loads(unmask(await stream.receive_some()))
        info = {"name": "scripted", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info}
        await stream.send_all(frame(TEXT, answer(message, result).encode()))
        for _ in range(100):
            await stream.send_all(frame(TEXT, b"{}"))
            await trio.sleep(9)

    site.serve(serve)
    async with site.connect(ping_interval=10) as c:
        await trio.sleep(800)
        assert c.is_connected
        await trio.sleep(200)
        assert not c.is_connected


async def test_without_pings_silence_is_no_failure(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted())
    async with site.connect(ping_interval=None) as c:
        site.network.link(HOST).drop()
        await trio.sleep(3600)
        assert c.is_connected
        site.network.link(HOST).heal()
        await c.ping()


async def test_a_server_that_takes_nothing_of_a_message_is_lost(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    site.talk(scripted(tools__call=hang))
    site.network.set_link(HOST, window=1000)
    async with site.connect(timeout=5, ping_interval=None) as c:

        async def call() -> None:
            with pytest.raises(Stalled, match="timeout="):
                await c.call_tool("x", {"text": "y" * 500_000})

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
    assert trio.current_time() == 5  # half a frame is out: no farewell could be understood


async def test_a_server_that_closes_and_reads_no_more_is_lost_at_the_next_ping(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(switching(await read_head(stream)))
        await trio.sleep(1)
        await stream.send_all(frame(CLOSE, b"\x03\xe9"))
        await trio.sleep_forever()

    site.serve(serve)
    site.network.set_link(HOST, window=1000)
    info = types.Implementation(name="x" * 1000, version="1")
    error = await site.fail(client_info=info, timeout=1000, ping_interval=10)
    assert "code 1001" in str(error)
    assert trio.current_time() == 10.5


# Reconnecting


async def test_a_connection_that_was_lost_is_opened_again_where_that_is_wanted(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    changes: list[ConnectionChange] = []

    async def note(change: ConnectionChange) -> None:
        changes.append(change)

    site.talk(scripted(tools__call=hang))
    policy = ReconnectPolicy(initial=1, jitter=0)
    async with site.connect(reconnect=policy, connection_callback=note) as c:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(ConnectionLost):
                    await c.call_tool("x")

            nursery.start_soon(call)
            await trio.sleep(1)
            site.network.link(HOST).reset()
        await c.ping()
        assert c.statistics().reconnects == 1
        assert len(site.requests) == 2
    assert [change.connected for change in changes] == [False, True]


# Options


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ws://", "no host"),
        ("wss://server.test:99999/", "port"),
        ("ws://user:secret@host:port", "it cannot be read"),
        ("ws://a b/", "white space"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        open_connector(url)
    assert "secret" not in str(caught.value)


def test_options_that_cannot_work_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="wss://example.com"):
        WebSocketConnector("http://server.test/")
    with pytest.raises(ConfigurationError, match="sec-websocket-key"):
        WebSocketConnector(URL, headers={"Sec-WebSocket-Key": "x"})
    with pytest.raises(ConfigurationError, match="upgrade"):
        WebSocketConnector(URL, headers={"upgrade": "x"})
    with pytest.raises(ConfigurationError, match="ping_interval"):
        WebSocketConnector(URL, ping_interval=0)
    with pytest.raises(TypeError, match="open_stream"):
        WebSocketConnector(URL, network=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="verify"):
        WebSocketConnector(URL, verify=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="auth"):
        WebSocketConnector(URL, auth=object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OSError("no route"), ConnectError),
        (UnicodeError("label too long"), ConfigurationError),
        (ZeroDivisionError("odd"), TransportError),
    ],
)
async def test_a_network_that_fails_is_a_typed_error(raised: Exception, kind: type[Exception]) -> None:
    class Failing:
        async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise raised

    with pytest.raises(ConnectorError) as caught:
        async with open_connector(URL, network=Failing()):
            pass
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised


async def test_a_stream_that_raises_anything_is_a_lost_connection(
    site: Site, autojump_clock: trio.testing.MockClock
) -> None:
    class Odd(trio.abc.Stream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            self._stream = stream
            self.reads = 0

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            self.reads += 1
            if self.reads == 3:
                raise RuntimeError("odd")
            return await self._stream.receive_some(max_bytes)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self._stream.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self._stream.aclose()

    class OddNetwork:
        async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
            return Odd(await site.network.open_stream(host, port))

    site.talk(scripted())
    with pytest.raises(ConnectionLost, match="RuntimeError") as caught:
        async with open_connector(URL, network=OddNetwork(), protocol_version="2025-11-25") as c:
            await c.ping()
    assert isinstance(caught.value.__cause__, RuntimeError)
