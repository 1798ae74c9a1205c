"""An MCP server that a test scripts, in memory and on whatever clock runs.

    async with ScriptedServer() as server:
        server.on["tools/call"] = lambda call: call.sse(call.progress(1, 2), 3600, call.response(RESULT))
        async with server.connect() as c:
            with trio.move_on_after(60):
                await c.call_tool("slow")
        assert server.methods() == ["server/discover", "tools/call"]

It speaks real HTTP over a `MemoryNetwork`, so that all of the client is at work but the operating system's
sockets; what the network does to it can be set at `ScriptedServer.link`.
"""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, final
from urllib.parse import urlsplit

import trio
from mcp_types import INVALID_REQUEST, SERVER_INFO_META_KEY
from typing_extensions import Unpack

from ..connector import Connector
from ..errors import MCPError
from ..http_connector import HttpConnector
from ..network import close_at_once
from ..opening import HttpOptions
from ..protocol.versions import is_modern
from ..protocol.wire import METHOD_NOT_FOUND
from ..supervision import open_flat_nursery
from .call import HANG, Answer, Call, Handler, check_answer
from .http_server import HttpExchange, serve_http
from .memory_link import Link
from .memory_network import MemoryNetwork
from .memory_stream import MemoryStream
from .messages import Json, error, notification, request

__all__ = ["ScriptedServer"]

_INFO: Final = {"name": "scripted", "version": "1"}


@final
class ScriptedServer:
    """A server of Streamable HTTP, of either era.

    What is not one JSON-RPC message, a batch for instance, it answers by 400, whatever the version is.

    Args:
        version: the protocol version that it speaks.
        url: where it is reached; `https://` with `tls`, and only then.
        network: where it listens; None for one of its own.
        session_id: what it names its first session, if it is a legacy server; None for no sessions.
        capabilities: what it declares; tools unless set.
        instructions: what it gives as such.
        tls: the context of a server, with its certificate.

    Raises:
        ValueError: the URL is not `http://`, nor `https://` with `tls`.
        OSError: something listens there already.

    Attributes:
        on: how calls are answered, by method; what is not a request, under "GET", "DELETE" and "answer". A
            request without an entry is answered by "method not found", all else by 202.
        seen: every call that came, in order.
        session_id: the current session: the last one that `initialize` has named, or the next one. Each
            `initialize` begins a new one. Those that `restart` has ended are answered by 404; others are
            for handlers to refuse.
    """

    def __init__(
        self,
        version: str = "2026-07-28",
        *,
        url: str = "http://server.test/mcp",
        network: MemoryNetwork | None = None,
        session_id: str | None = "session-1",
        capabilities: Json | None = None,
        instructions: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.version: str = version
        self.url: str = url
        self.network: MemoryNetwork = network or MemoryNetwork()
        self.session_id: str | None = session_id
        self.capabilities: Json = {"tools": {}} if capabilities is None else capabilities
        self.instructions: str | None = instructions
        self.seen: list[Call] = []
        self.on: dict[str, Handler] = {
            "server/discover": self._discover,
            "initialize": self._initialize,
            "GET": lambda call: call.reply(status=405),
            "DELETE": lambda call: call.reply(),
        }
        address = urlsplit(url)
        if address.scheme != ("http" if tls is None else "https"):
            raise ValueError(f"the url begins with http://, or with https:// if there is tls: not {url!r}")
        self._path = address.path or "/"
        self._host = address.hostname or ""
        self._port = address.port or (443 if address.scheme == "https" else 80)
        self._tls = tls
        self._named: set[str] = set()
        self._expired: set[str] = set()
        self._asked: dict[Any, trio.Event] = {}
        self._answers: dict[Any, Json] = {}
        self._ids = itertools.count(1)
        self._sessions = itertools.count(2)
        self._block: AbstractAsyncContextManager[None] | None = None
        self._begun = False
        self._failure: Exception | None = None  # the first of a handler
        self._listener = self.network.listen(self._host, self._port)

    def __repr__(self) -> str:
        return f"<ScriptedServer {self.url} {self.version}: {len(self.seen)} calls seen>"

    # The block

    async def __aenter__(self) -> Self:
        self._block = self._lifetime()
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._block is not None
        return await self._block.__aexit__(kind, exc, traceback)  # noqa: ASYNC102 - its own business

    @asynccontextmanager
    async def _lifetime(self) -> AsyncGenerator[None]:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(self.run)
            body: Exception | None = None
            try:
                yield
            except Exception as exc:
                body = exc
            finally:
                nursery.cancel_scope.cancel(reason="the server's block has ended")
            if body is not None:  # pragma: no branch - the other way leads through the nursery's end
                # If a handler has failed, then the body most likely because of that.
                chosen = self._failure or body
                if chosen is not body:
                    chosen.add_note(f"also failed: {body!r}")
                context = chosen.__context__
                try:
                    raise chosen
                finally:
                    chosen.__context__ = context  # and not what is being handled further out
                    del body, chosen, context

    async def run(self) -> None:
        """Serve until cancelled: a task for a nursery, instead of the block.

        Connections that come before it runs wait for it. What a handler raises comes out of here.

        Raises:
            RuntimeError: it runs already, or has run.
        """
        if self._begun:
            raise RuntimeError(f"{self!r} runs already, or has run: make one for each block")
        self._begun = True
        async with open_flat_nursery() as nursery, self._listener:
            while True:
                stream = await self._listener.accept()
                nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: MemoryStream) -> None:
        async def handle(exchange: HttpExchange) -> None:
            await self._handle(exchange, stream)

        if self._tls is None:
            await serve_http(stream, handle, cancel_on_disconnect=True)
            return
        secured = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError:
            await close_at_once(stream)
            return  # the client does not trust us, or left
        except BaseException:
            await close_at_once(stream)  # noqa: ASYNC102 - shielded, and never waits
            raise
        await serve_http(secured, handle, cancel_on_disconnect=True)

    # What a test does with it

    def connect(self, **options: Unpack[HttpOptions]) -> Connector:
        """A connector to this server, over its network, from whose generator its jitter is drawn."""
        options.setdefault("network", self.network)
        return HttpConnector(self.url, **options)

    @property
    def link(self) -> Link:
        """The way to it: latency, bandwidth, and what may befall connections."""
        return self.network.link(self._host, self._port)

    def methods(self) -> list[str]:
        """What it was asked, in order; see `Call.method`."""
        return [call.method for call in self.seen]

    def all(self, method: str) -> list[Call]:
        """The calls of one method, in order."""
        return [call for call in self.seen if call.method == method]

    def calls(self, method: str) -> trio.MemoryReceiveChannel[Call]:
        """Take the calls of `method` from now on by hand: each is to be answered by `Call.answer`.

        call = await calls.receive()
        await trio.sleep(30)
        call.answer({"content": []})
        """
        send, receive = trio.open_memory_channel[Call](100)

        async def hand_over(call: Call) -> Answer:
            await send.send(call)
            return await call._wait_answered()

        self.on[method] = hand_over
        return receive

    def listen(self) -> None:
        """Offer a GET stream (legacy versions); `notify` and `ask` then reach clients over it."""
        self.on["GET"] = lambda call: call.sse(HANG)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a notification over the GET stream of each session: the one that was opened last.

        Raises:
            RuntimeError: no such stream is open.
        """
        for stream in self._streams():
            await stream.send(notification(method, params))

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """Ask over the GET stream of the latest session, and wait for the answer; see `Call.ask`."""
        return await self._ask(self._streams()[-1], method, params)

    async def restart(self, downtime: float = 0) -> None:
        """Break all connections, forget the sessions, and be away for `downtime` seconds.

        Calls of the old sessions are answered by 404 from now on.
        """
        if self.session_id is not None:
            self._named.add(self.session_id)
            self._expired |= self._named
            self._name_session()
        self.link.reset()
        if downtime:
            self.link.refuse()
            try:
                await trio.sleep(downtime)
            finally:
                self.link.refusing = False
        await trio.lowlevel.checkpoint()

    # What it does

    async def _handle(self, exchange: HttpExchange, stream: MemoryStream) -> None:
        incoming = exchange.request
        try:
            message = json.loads(incoming.body) if incoming.body else None
        except ValueError:
            message = incoming.body
        if not isinstance(message, dict | None):
            refusal = error(None, INVALID_REQUEST, "the body is not one JSON-RPC message")
            await exchange.respond(400, [("content-type", "application/json")], json.dumps(refusal).encode())
            return
        call = Call(
            incoming.method,
            incoming.target,
            incoming.headers,
            message,
            trio.current_time(),
            exchange,
            stream.connection.reset,
            self._ask,
        )
        self.seen.append(call)
        try:
            answer = await self._answer(call)
            check_answer(call, answer)
            await call._finish(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise  # most likely the client has left
        except Exception as exc:
            self._failure = self._failure or exc
            if not exchange.ended.is_set() and not exchange.started:
                # So that what the client says of it names the cause, too.
                text = f"the handler of {call.method} raised {exc!r}"
                with trio.move_on_after(1, shield=True):
                    await exchange.respond(500, [("content-type", "text/plain")], text.encode())
            raise

    async def _answer(self, call: Call) -> Answer:
        if urlsplit(call.target).path != self._path:
            return call.reply(status=404)
        if call.headers.get("mcp-session-id") in self._expired:
            return call.reply(status=404)
        handler = self.on.get(call.method)
        if call.method == "answer" and (asked := self._asked.get(call.message.get("id"))) is not None:
            self._answers[call.id] = call.message
            asked.set()
        if handler is None:
            return MCPError(METHOD_NOT_FOUND, f"no method {call.method}") if call.is_request else None
        try:
            answer = handler(call)
            return await answer if isinstance(answer, Awaitable) else answer
        except MCPError as exc:
            return exc

    def _streams(self) -> list[Call]:
        """The latest open GET stream of each session, in the order of the sessions."""
        streams: dict[str | None, Call] = {}
        for call in self.all("GET"):
            if not call.closed.is_set():
                streams[call.headers.get("mcp-session-id")] = call
        if not streams:
            raise RuntimeError("the client has no GET stream open: call listen() before it connects")
        return list(streams.values())

    async def _ask(self, call: Call, method: str, params: Json | None) -> Json:
        if is_modern(self.version):
            raise RuntimeError(
                f"a server of {self.version} has no way to ask: return call.input_required(...) and read "
                "the answers in the params of the call that follows"
            )
        id = f"ask-{next(self._ids)}"
        asked = self._asked[id] = trio.Event()
        try:
            await call.send(request(id, method, params))
            async with open_flat_nursery() as nursery:
                nursery.start_soon(_cancel_when, call.closed, nursery.cancel_scope)
                await asked.wait()
                nursery.cancel_scope.cancel(reason="the client has answered")
            if id not in self._answers:
                raise trio.BrokenResourceError(f"the client left before it answered {method}")
            return self._answers.pop(id)
        finally:
            del self._asked[id]

    def _discover(self, call: Call) -> Answer:
        if not is_modern(self.version):
            return call.error(METHOD_NOT_FOUND, "unknown method", status=400)
        return {
            "resultType": "complete",
            "supportedVersions": [self.version],
            "capabilities": self.capabilities,
            "instructions": self.instructions,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {SERVER_INFO_META_KEY: _INFO},
        }

    def _initialize(self, call: Call) -> Answer:
        headers = {}
        if self.session_id is not None:
            if self.session_id in self._named:
                self._name_session()
            self._named.add(self.session_id)
            headers["mcp-session-id"] = self.session_id
        return call.result(
            {
                "protocolVersion": self.version,
                "capabilities": self.capabilities,
                "serverInfo": _INFO,
                "instructions": self.instructions,
            },
            headers=headers,
        )

    def _name_session(self) -> None:
        while self.session_id in self._named:
            self.session_id = f"session-{next(self._sessions)}"


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel(reason="the client has left")
