"""An ASGI application on a listener: real servers in memory, on the mock clock.

    app = MCPServer("demo").streamable_http_app()
    async with serve_asgi(app, MemoryNetwork().listen("127.0.0.1", 80)):
        ...

It behaves as uvicorn does where that matters to a client: the head of a response goes out when the
application starts it, each piece of its body when it is sent; an application that fails is answered for by
500, or its connection is cut; one whose client leaves is told so, and not cancelled. There are no
WebSockets.

What an application does in threads, the mock clock does not see: with autojump, timeouts fire at once. The
`mcp` package and Starlette run functions in threads that are not `async`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NoReturn, final
from urllib.parse import unquote

import trio

from ..network import close_at_once
from ..supervision import FlatNursery, open_flat_nursery
from .http_server import HttpExchange, serve_http
from .memory_stream import MemoryStream

__all__ = ["AsgiServer", "serve_asgi"]

logger: Final = logging.getLogger("trio_mcp")

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

# The versions of ASGI and of its HTTP protocol. From 2.4 on, sending to a client that has left is an error;
# uvicorn keeps to 2.3, and so to what most servers meet.
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


@final
class AsgiServer:
    """What `serve_asgi` yields.

    Attributes:
        failures: what the application has raised while it handled requests, in order. The block raises the
            first of them at its end; a test that expects it takes it out.
    """

    def __init__(self, app: AsgiApp, state: dict[str, Any]) -> None:
        self.failures: list[Exception] = []
        self._app = app
        self._state = state

    async def _accept(self, listener: trio.abc.Listener[trio.abc.Stream], nursery: FlatNursery) -> NoReturn:
        async with listener:
            while True:
                stream = await listener.accept()
                nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        handle = partial(self._handle, _scope_of(stream))
        await serve_http(stream, handle, cancel_on_disconnect=False)

    async def _handle(self, connection: dict[str, Any], exchange: HttpExchange) -> None:
        request = exchange.request
        path, _, query = request.target.partition("?")
        scope = {
            "type": "http",
            "asgi": dict(_ASGI),
            "http_version": request.http_version,
            "method": request.method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
            "state": self._state.copy(),
            **connection,
        }
        call = _Call(exchange)
        try:
            await self._app(scope, call.receive, call.send)
            if not exchange.ended.is_set():
                raise RuntimeError(f"the application returned and has not answered {exchange!r}")
        except Exception as exc:
            logger.error("the application failed at %s %s", request.method, path, exc_info=exc)
            self.failures.append(exc)
            if not exchange.started:
                await exchange.respond(500, [("content-type", "text/plain")], b"Internal Server Error")
            elif not exchange.ended.is_set():
                await exchange.cut()


class _Call:
    """`receive` and `send` for one request."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._received = False

    async def receive(self) -> Message:
        if self._received:
            await self._exchange.ended.wait()
            return {"type": "http.disconnect"}
        self._received = True
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": self._exchange.request.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if self._exchange.disconnected.is_set():
            await trio.lowlevel.checkpoint()
            return
        with suppress(trio.BrokenResourceError):  # the client is leaving just now
            if message["type"] == "http.response.start":
                headers = [(_text(name), _text(value)) for name, value in message.get("headers", ())]
                await self._exchange.start(message["status"], headers)
            elif message["type"] == "http.response.body":
                # The last piece and the end are one write: over a stream in memory, an application that fails
                # behind its response has failed by the time that the client has it.
                write = self._exchange.send if message.get("more_body", False) else self._exchange.finish
                await write(message.get("body", b""))
            else:
                raise RuntimeError(f"not a message for an HTTP response: {message['type']!r}")


class _Lifespan:
    """The application's task from its startup to its shutdown. The body's cancellation does not reach it."""

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._scope = trio.CancelScope(shield=True)
        self._asked = False
        self._started = False
        self._answered, self._stopping, self._ended = trio.Event(), trio.Event(), trio.Event()
        self._problem: str | None = None  # what the application says, if it says that it failed
        self._error: Exception | None = None

    async def run(self) -> None:
        scope = {"type": "lifespan", "asgi": dict(_ASGI), "state": self.state}
        try:
            with self._scope:
                await self._app(scope, self._receive, self._send)
            if self._started and self._scope.cancelled_caught:
                raise RuntimeError("the application did not shut down in time")
            if self._started and self._problem is not None:
                raise RuntimeError(f"the application failed to shut down: {self._problem}")
        except Exception as exc:
            if self._started:
                raise
            self._error = exc
        finally:
            self._answered.set()
            self._ended.set()

    async def start(self, limit: float, patience: float) -> None:
        with trio.move_on_after(limit):
            await self._answered.wait()
        if not self._answered.is_set():
            raise RuntimeError(f"the application did not start within {limit} s")
        if self._problem is not None:
            with trio.move_on_after(patience):
                await self._ended.wait()  # for the exception, which tells more
            # Starlette's message is the whole traceback, and the cause shows that already.
            message = self._problem.strip().rpartition("\n")[2]
            raise RuntimeError(f"the application did not start: {message}") from self._error
        if self._error is not None:
            # "If an exception is raised [...], the server must continue" (ASGI, Lifespan Protocol).
            logger.debug("the application has no lifespan: %r", self._error)

    async def stop(self, patience: float) -> None:
        self._stopping.set()
        if self._started:
            with trio.move_on_after(patience, shield=True):
                await self._ended.wait()
        self._scope.cancel(reason="serve_asgi ends")

    async def _receive(self) -> Message:
        if self._asked:
            await self._stopping.wait()
            return {"type": "lifespan.shutdown"}
        self._asked = True
        await trio.lowlevel.checkpoint()
        return {"type": "lifespan.startup"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._started = True
        elif message["type"] != "lifespan.shutdown.complete":
            self._problem = message.get("message", "")
        self._answered.set()
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serve_asgi(
    app: AsgiApp,
    listener: trio.abc.Listener[trio.abc.Stream],
    *,
    startup_timeout: float = 60,
    shutdown_timeout: float = 10,
) -> AsyncGenerator[AsgiServer]:
    """Serve `app` on `listener` for as long as the block lasts.

    The application is started before the block (lifespan `startup`; one that knows no lifespan does without)
    and shut down after it. At the end of the block, nobody is accepted any more and running requests are
    cancelled; then the application is shut down, also if the block was cancelled.

    Args:
        app: an ASGI 3 application. Its failing at a request is answered, logged under `trio_mcp` and kept in
            `AsgiServer.failures`.
        listener: is closed at the end. Over TLS (`trio.SSLListener`), the scheme is `https`. Of a connection
            in memory, `scope["client"]` is `("127.0.0.1", its number)`.
        startup_timeout: seconds that the application has to start.
        shutdown_timeout: seconds that the application has to shut down. A server of `mcp` takes one if a call
            is running in a session.

    Raises:
        RuntimeError: the application did not start, or did not shut down.
        Exception: what the block raised. If it raised nothing, or was cancelled: the first of the
            application's `failures`, so that a failing server does not pass unseen. If both: the latter is
            a note on the former. What the application raises outside of requests ends the block at once.
    """
    lifespan = _Lifespan(app)
    server = AsgiServer(app, lifespan.state)
    try:
        async with open_flat_nursery() as outer:
            outer.start_soon(lifespan.run)
            try:
                await lifespan.start(startup_timeout, shutdown_timeout)
                async with open_flat_nursery() as inner:
                    inner.start_soon(server._accept, listener, inner)
                    try:
                        yield server
                    finally:
                        inner.cancel_scope.cancel(reason="the block of serve_asgi has ended")
            finally:
                await lifespan.stop(shutdown_timeout)  # noqa: ASYNC102 - shielded and bounded
                if server.failures:
                    # As a child's failure: the nursery knows how it ranks against what the body raised.
                    outer.start_soon(_fail, server.failures[0])
    finally:
        # The accepting task has closed it already, unless the application did not start.
        await close_at_once(listener)  # noqa: ASYNC102 - shielded, and never waits


async def _fail(exc: Exception) -> NoReturn:
    raise exc


def _scope_of(stream: trio.abc.Stream) -> dict[str, Any]:
    """What all requests of one connection have in their scopes."""
    scheme = "http"
    if isinstance(stream, trio.SSLStream):
        scheme, stream = "https", stream.transport_stream
    client: tuple[str, int] | None = None
    server: tuple[str, int] | None = None
    if isinstance(stream, trio.SocketStream):
        client, server = _address(stream.socket.getpeername), _address(stream.socket.getsockname)
    elif isinstance(stream, MemoryStream):
        connection = stream.connection
        client, server = ("127.0.0.1", connection.number), (connection.host, connection.port)
    return {"scheme": scheme, "client": client, "server": server}


def _address(name: Callable[[], Any]) -> tuple[str, int] | None:
    try:
        host, port, *_ = name()
    except OSError:  # it is gone already
        return None
    return host, port


def _text(data: bytes) -> str:
    return data.decode("latin-1")
