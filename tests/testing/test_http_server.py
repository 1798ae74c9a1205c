from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_mcp.network import close_at_once
from trio_mcp.supervision import open_flat_nursery
from trio_mcp.testing.http_requests import MAX_HEAD, HttpRequest
from trio_mcp.testing.http_server import HttpExchange, HttpHandler, serve_http

GET = b"GET /a?b=c HTTP/1.1\r\nhost: h\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Client:
    """The other end of a connection that is being served."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.served = trio.Event()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """What the server has sent, once nothing more comes by itself; `b""` if it has closed."""
        await wait_all_tasks_blocked()
        return bytes(await self.stream.receive_some())

    async def receive_all(self) -> bytes:
        received = b""
        while piece := await self.stream.receive_some():
            received += piece
        return received


@asynccontextmanager
async def serving(
    handler: HttpHandler, *, cancel_on_disconnect: bool = False, max_body: int = 100
) -> AsyncGenerator[Client]:
    """Leaving the block closes the client's end, and waits for the server."""
    ours, theirs = memory_stream_pair()
    client = Client(ours)

    async def serve() -> None:
        await serve_http(theirs, handler, cancel_on_disconnect=cancel_on_disconnect, max_body=max_body)
        client.served.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)  # noqa: ASYNC113 - the stream keeps what comes before it runs
        yield client
        await ours.aclose()
        await client.served.wait()
        with pytest.raises(trio.ClosedResourceError):
            await theirs.send_all(b"x")


class Recorder:
    """A handler that remembers its requests, and answers each with "hello"."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []

    async def __call__(self, exchange: HttpExchange) -> None:
        self.requests.append(exchange.request)
        await exchange.respond(200, body=b"hello")


# Requests


async def test_a_request_is_read_whole() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(
            b"POST /x?y=%20z HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 3\r\n\r\nabc"
        )
        assert await client.receive() == HELLO
    (request,) = recorder.requests
    assert (request.method, request.target, request.body) == ("POST", "/x?y=%20z", b"abc")
    assert request.headers == {"host": "h", "x-a": "1, 2", "content-length": "3"}
    assert request.raw_headers[:2] == [(b"Host", b"h"), (b"X-A", b"1")]
    assert (request.http_version, request.keep_alive) == ("1.1", True)


async def test_requests_follow_each_other_on_one_connection() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        for _ in range(3):
            await client.send(GET)
            assert await client.receive() == HELLO
    assert len(recorder.requests) == 3


async def test_a_request_may_come_one_byte_at_a_time() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        for byte in b"POST /long HTTP/1.1\r\nsome-name: some value\r\ncontent-length: 3\r\n\r\nabc" + GET:
            await client.send(bytes([byte]))
            await wait_all_tasks_blocked()
        assert await client.receive() == HELLO * 2
    first, second = recorder.requests
    assert (first.target, first.body, first.headers["some-name"]) == ("/long", b"abc", "some value")
    assert second.target == "/a?b=c"


async def test_a_chunked_body_is_put_together_and_its_trailers_are_dropped() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await client.send(b"2;extension=1\r\nde\r\n0\r\ntrailer: x\r\n\r\n")
        assert await client.receive() == HELLO
    assert recorder.requests[0].body == b"abcde"
    assert "trailer" not in recorder.requests[0].headers


async def test_pipelined_requests_are_answered_in_order() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(GET + b"GET /second HTTP/1.1\r\n\r\n" + GET[:10])
        assert await client.receive() == HELLO * 2
        await client.send(GET[10:])
        assert await client.receive() == HELLO
    assert [request.target for request in recorder.requests] == ["/a?b=c", "/second", "/a?b=c"]


async def test_what_comes_while_the_handler_works_is_kept_for_the_next_request() -> None:
    go = trio.Event()

    async def handle(exchange: HttpExchange) -> None:
        await go.wait()
        await exchange.respond(200, body=exchange.request.body)

    async with serving(handle) as client:
        await client.send(GET)
        await wait_all_tasks_blocked()
        await client.send(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhe")
        await wait_all_tasks_blocked()
        await client.send(b"llo")
        await wait_all_tasks_blocked()
        go.set()
        assert await client.receive() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" + HELLO


async def test_who_pipelines_too_much_is_not_read_further() -> None:
    go = trio.Event()
    recorder = Recorder()

    async def handle(exchange: HttpExchange) -> None:
        await go.wait()
        await recorder(exchange)

    async with serving(handle, max_body=2 * MAX_HEAD) as client:
        await client.send(GET)
        await wait_all_tasks_blocked()
        await client.send(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (MAX_HEAD + 1))
        await client.send(bytes(MAX_HEAD))
        await wait_all_tasks_blocked()
        await client.send(b"x")
        go.set()
        assert await client.receive() == HELLO * 2
    assert len(recorder.requests[1].body) == MAX_HEAD + 1


async def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(GET + b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
        assert await client.receive() == HELLO + b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"x")
        assert await client.receive() == HELLO


async def test_a_client_may_leave_while_it_is_told_to_go_on() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n")
        await client.stream.aclose()
    assert recorder.requests == []


async def test_a_body_that_comes_with_its_head_needs_no_leave() -> None:
    async with serving(Recorder()) as client:
        await client.send(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx")
        assert await client.receive() == HELLO


async def test_an_offer_to_upgrade_is_not_taken() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(b"GET /ws HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n" + GET)
        assert await client.receive() == HELLO * 2
        await client.send(b"GET /ws HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert await client.receive() == HELLO
    assert [request.target for request in recorder.requests] == ["/ws", "/a?b=c", "/ws"]


@pytest.mark.parametrize("request_", [LAST, OLD], ids=["close", "HTTP/1.0"])
async def test_a_client_that_wants_no_second_request_is_hung_up_on(request_: bytes) -> None:
    async with serving(Recorder()) as client:
        await client.send(request_)
        expected = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
        assert await client.receive_all() == expected


# What is refused

TOO_LARGE = f"413 {HTTPStatus(413).phrase}".encode()  # which changed with Python 3.13


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\nhost: h\n\n", b"400 Bad Request"),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", b"400 Bad Request"),
        (b"POST / HTTP/1.1\r\ncontent-length: 101\r\n\r\n" + bytes(101), TOO_LARGE),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * MAX_HEAD, b"431 Request Header Fields Too Large"),
        (b"GET /" + b"x" * MAX_HEAD + b" HTTP/1.1\r\n\r\n", b"431 Request Header Fields Too Large"),
    ],
)
async def test_what_cannot_be_handled_is_refused_after_what_can(data: bytes, status: bytes) -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(GET)
        assert await client.receive() == HELLO
        await client.send(data)
        expected = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status
        assert await client.receive_all() == expected
    assert len(recorder.requests) == 1


async def test_nobody_need_be_there_to_be_refused() -> None:
    async with serving(Recorder()) as client:
        await client.send(b"nonsense\r\n\r\n")
        await client.stream.aclose()


async def test_a_client_that_leaves_within_its_request_is_no_error() -> None:
    recorder = Recorder()
    async with serving(recorder) as client:
        await client.send(GET[:-2])
        await wait_all_tasks_blocked()
    assert recorder.requests == []


# Responses


async def test_a_body_is_sent_in_chunks_as_it_comes() -> None:
    go = trio.Event()

    async def handle(exchange: HttpExchange) -> None:
        assert repr(exchange) == "<HttpExchange GET /a?b=c new>"
        assert not exchange.started
        await exchange.start(200, [("Content-Type", "text/plain")])
        assert exchange.started
        assert repr(exchange) == "<HttpExchange GET /a?b=c started>"
        await go.wait()
        await exchange.send(b"0123456789abcdef")
        await exchange.send(b"")  # would end the body
        await exchange.send(b"x")
        await exchange.finish()
        assert exchange.ended.is_set()
        assert not exchange.disconnected.is_set()
        assert repr(exchange) == "<HttpExchange GET /a?b=c ended>"

    async with serving(handle) as client:
        await client.send(GET)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
        assert await client.receive() == head
        go.set()
        assert await client.receive() == b"10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n"


def in_pieces(status: int, headers: list[tuple[str, str]], *pieces: bytes) -> HttpHandler:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.start(status, headers)
        for piece in pieces:
            await exchange.send(piece)

    return handle


def whole(status: int, headers: list[tuple[str, str]], body: bytes = b"") -> HttpHandler:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.respond(status, headers, body)

    return handle


@pytest.mark.parametrize(
    ("request_", "handler", "response"),
    [
        pytest.param(
            GET,
            in_pieces(299, [("Content-Length", "3")], b"ab", b"c"),
            b"HTTP/1.1 299 \r\nContent-Length: 3\r\n\r\nabc",
            id="a length is kept to",
        ),
        pytest.param(
            GET,
            in_pieces(200, [("transfer-encoding", "chunked")], b"ab"),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            id="chunks are announced once",
        ),
        pytest.param(
            GET, in_pieces(204, []), b"HTTP/1.1 204 No Content\r\n\r\n", id="204 has no body in pieces"
        ),
        pytest.param(GET, whole(204, []), b"HTTP/1.1 204 No Content\r\n\r\n", id="204 has no body"),
        pytest.param(
            GET,
            whole(304, [("content-length", "9")]),
            b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            id="304 tells the length of what it leaves out",
        ),
        pytest.param(
            HEAD,
            whole(200, [], b"abc"),
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
            id="and so does the answer to HEAD",
        ),
        pytest.param(
            HEAD,
            in_pieces(200, [], b"abc"),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            id="the answer to HEAD has no pieces",
        ),
    ],
)
async def test_a_response_leaves_the_connection_fit_for_the_next(
    request_: bytes, handler: HttpHandler, response: bytes
) -> None:
    async with serving(handler) as client:
        for _ in range(2):
            await client.send(request_)
            assert await client.receive() == response


@pytest.mark.parametrize(
    ("request_", "handler", "response"),
    [
        pytest.param(
            OLD,
            in_pieces(200, [], b"ab", b"c"),
            b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc",
            id="HTTP/1.0 reads to the end",
        ),
        pytest.param(
            GET,
            whole(200, [("Connection", "close")]),
            b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n",
            id="the handler closes",
        ),
        pytest.param(
            LAST,
            in_pieces(200, [], b"a"),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n",
            id="the client closes",
        ),
    ],
)
async def test_a_response_may_be_the_last(request_: bytes, handler: HttpHandler, response: bytes) -> None:
    async with serving(handler) as client:
        await client.send(request_)
        assert await client.receive_all() == response


async def test_a_whole_response_is_one_write() -> None:
    ours, theirs = memory_stream_pair()
    writes: list[bytes] = []
    theirs.send_stream.send_all_hook = None

    async def note() -> None:
        writes.append(bytes(theirs.send_stream.get_data_nowait()))

    theirs.send_stream.send_all_hook = note
    await ours.send_all(LAST)
    await serve_http(theirs, Recorder(), cancel_on_disconnect=False)
    assert len(writes) == 1


async def test_bytes_are_sent_as_they_are() -> None:
    async def handle(exchange: HttpExchange) -> None:
        if exchange.request.method == "HEAD":
            await exchange.send_raw(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await exchange.respond(200)
        else:
            await exchange.send_raw(b"any")
            await exchange.send_raw(b"thing")

    async with serving(handle) as client:
        for _ in range(2):
            await client.send(GET)
            assert await client.receive() == b"anything"
        await client.send(HEAD)
        assert (await client.receive()).startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize("cancel_on_disconnect", [False, True])
async def test_a_connection_can_be_cut_in_the_middle(cancel_on_disconnect: bool) -> None:
    went_on = trio.Event()

    async def handle(exchange: HttpExchange) -> None:
        await exchange.start(200, [("content-length", "5")])
        await exchange.send(b"he")
        await exchange.cut()
        assert exchange.disconnected.is_set()
        assert exchange.ended.is_set()
        with pytest.raises(trio.ClosedResourceError):
            await exchange.send(b"llo")
        await wait_all_tasks_blocked()
        went_on.set()

    async with serving(handle, cancel_on_disconnect=cancel_on_disconnect) as client:
        await client.send(GET)
        assert await client.receive_all() == HELLO[:-3]
    assert went_on.is_set()


async def test_cut_before_it_is_answered_a_request_has_no_response() -> None:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.cut()

    async with serving(handle) as client:
        await client.send(GET)
        assert await client.receive_all() == b""


# Leaving


async def leave(stream: trio.abc.HalfCloseableStream) -> None:
    await stream.aclose()


async def leave_by_half(stream: trio.abc.HalfCloseableStream) -> None:
    await stream.send_eof()


@pytest.mark.parametrize("how", [leave, leave_by_half])
async def test_a_handler_that_sleeps_sees_its_client_leave_at_once(
    how: Callable[[trio.abc.HalfCloseableStream], Awaitable[None]], autojump_clock: MockClock
) -> None:
    log: list[object] = []

    async def handle(exchange: HttpExchange) -> None:
        await trio.sleep(1)
        await exchange.disconnected.wait()
        log.append(trio.current_time())
        assert exchange.ended.is_set()
        await trio.sleep(1)
        log.append("went on")

    begin = trio.current_time()
    async with serving(handle) as client:
        assert isinstance(client.stream, trio.abc.HalfCloseableStream)
        await client.send(GET + GET)
        await trio.sleep(5)
        await how(client.stream)
    assert log == [begin + 5, "went on"]
    assert trio.current_time() == begin + 6


async def test_a_handler_can_be_cancelled_when_its_client_leaves(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def handle(exchange: HttpExchange) -> None:
        try:
            await trio.sleep_forever()
        finally:
            assert exchange.disconnected.is_set()
            log.append("cancelled")

    async with serving(handle, cancel_on_disconnect=True) as client:
        await client.send(GET)
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        await client.served.wait()
    assert log == ["cancelled"]


async def test_that_the_client_has_left_while_it_was_written_to_is_no_error() -> None:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.disconnected.wait()
        await exchange.respond(200)

    async with serving(handle) as client:
        await client.send(GET)


async def test_nor_is_it_within_a_nursery_of_the_handler() -> None:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.start(200)
        await exchange.disconnected.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.send, b"x")
            nursery.start_soon(trio.sleep_forever)

    async with serving(handle) as client:
        await client.send(GET)
        await client.receive()


async def test_a_client_that_resets_its_connection_has_left() -> None:
    ours, theirs = memory_stream_pair()

    async def reset() -> None:
        raise trio.BrokenResourceError

    async def handle(exchange: HttpExchange) -> None:
        theirs.receive_stream.receive_some_hook = reset
        await ours.send_all(b"x")
        await exchange.disconnected.wait()

    await ours.send_all(GET)
    await serve_http(theirs, handle, cancel_on_disconnect=False)


# Mistakes


async def test_a_handlers_exception_comes_out_as_it_is_and_the_connection_is_closed() -> None:
    ours, theirs = memory_stream_pair()
    error = KeyError("x")

    async def handle(exchange: HttpExchange) -> None:
        await exchange.start(200)
        raise error

    await ours.send_all(GET)
    with pytest.raises(KeyError) as caught:
        await serve_http(theirs, handle, cancel_on_disconnect=True)
    assert caught.value is error
    assert error.__context__ is None
    assert (await Client(ours).receive_all()).endswith(b"\r\n\r\n")


async def test_a_stream_of_the_handlers_own_that_breaks_is_an_error() -> None:
    ours, theirs = memory_stream_pair()

    async def handle(exchange: HttpExchange) -> None:
        raise trio.BrokenResourceError("another stream")

    await ours.send_all(GET)
    with pytest.raises(trio.BrokenResourceError, match="another stream"):
        await serve_http(theirs, handle, cancel_on_disconnect=False)


async def silent(exchange: HttpExchange) -> None:
    pass


async def twice(exchange: HttpExchange) -> None:
    await exchange.start(200)
    await exchange.respond(200)


async def too_early(exchange: HttpExchange) -> None:
    await exchange.send(b"x")


async def too_late(exchange: HttpExchange) -> None:
    await exchange.respond(200)
    await exchange.send(b"x")


async def too_late_beside(exchange: HttpExchange) -> None:
    await exchange.start(200)
    async with open_flat_nursery() as nursery:
        nursery.start_soon(exchange.finish)
        for _ in range(2):
            await trio.lowlevel.checkpoint()
        await exchange.send(b"x")  # the end is being written, or has been
    raise AssertionError("it was sent behind the end")


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (silent, r"the handler returned and has not answered <HttpExchange GET /a\?b=c new>"),
        (twice, "has been started already"),
        (too_early, "has not been started"),
        (too_late, "has been finished"),
        (too_late_beside, "has been finished"),
        (in_pieces(200, [("content-length", "2")], b"a", b"bcd"), "2 bytes longer than its content-length"),
        (in_pieces(200, [("content-length", "2")], b"a"), "1 bytes shorter than its content-length"),
        (whole(200, [("content-length", "2")], b"a"), "1 bytes shorter than its content-length"),
        (whole(204, [], b"a"), "1 bytes longer than its content-length"),
    ],
)
async def test_a_handlers_mistake_says_what_it_is(handler: HttpHandler, message: str) -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(GET)
    with pytest.raises(RuntimeError, match=message):
        await serve_http(theirs, handler, cancel_on_disconnect=False)


async def test_an_interim_response_cannot_be_the_response() -> None:
    ours, theirs = memory_stream_pair()
    await ours.send_all(GET)
    with pytest.raises(ValueError, match="100 is not the status of a response"):
        await serve_http(theirs, whole(100, []), cancel_on_disconnect=False)


async def test_cancelled_it_closes_the_stream(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    with trio.move_on_after(1):
        await serve_http(theirs, Recorder(), cancel_on_disconnect=False)
    assert await ours.receive_some() == b""


async def test_it_serves_a_real_socket() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        ours = await trio.testing.open_stream_to_socket_listener(listener)
        theirs = await listener.accept()
        nursery.start_soon(partial(serve_http, theirs, Recorder(), cancel_on_disconnect=True))
        await ours.send_all(GET)
        received = b""
        while len(received) < len(HELLO):
            received += await ours.receive_some()
        assert received == HELLO
        await close_at_once(ours)
