"""A host for the tests of the HTTP engine: it answers by a handler, and remembers what it was asked."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import trio
import trustme

from trio_mcp.http.engine import Engine, HttpRequest, Reply
from trio_mcp.testing import HttpExchange, MemoryNetwork, serve_http
from trio_mcp.testing import HttpRequest as Received

Handler = Callable[[HttpExchange], Awaitable[None]]


async def hello(exchange: HttpExchange) -> None:
    await exchange.respond(200, [("content-type", "text/plain")], b"hello")


class Site:
    """Serves what comes to `listener` in `nursery`.

    Attributes:
        handler: answers each request.
        requests: what came, in order.
        connections: how many there were, with those whose TLS failed.
    """

    def __init__(
        self,
        listener: trio.abc.Listener[trio.abc.Stream],
        nursery: trio.Nursery,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.handler: Handler = hello
        self.requests: list[Received] = []
        self.connections = 0
        self._tls = tls
        nursery.start_soon(trio.serve_listeners, self._serve, [listener])

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        if self._tls is not None:
            stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                await stream.aclose()
                return
        await serve_http(stream, self._handle, cancel_on_disconnect=True)

    async def _handle(self, exchange: HttpExchange) -> None:
        self.requests.append(exchange.request)
        await self.handler(exchange)


def memory_site(network: MemoryNetwork, nursery: trio.Nursery, host: str = "server.test") -> Site:
    """A site for `http://` at `host`."""
    return Site(network.listen(host, 80), nursery)


async def tcp_site(
    nursery: trio.Nursery, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> tuple[Site, int]:
    """A site on a real socket, and its port."""
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    return Site(listener, nursery, tls), listener.socket.getsockname()[1]


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """The context of a server with a certificate for `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The context of a client that trusts `authority` and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


class Answer(NamedTuple):
    status: int
    fields: Mapping[str, str]
    body: bytes
    sent: Mapping[str, str]


async def ask(
    engine: Engine,
    url: str = "http://server.test/",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    method: str = "POST",
    timeout: float = 5,
    silence: float = 60,
) -> Answer:
    """One exchange, read to its end."""
    request = HttpRequest(method, url, headers or {}, body, timeout, silence, True)
    reply, sent = await engine.send(request)
    return Answer(reply.status, reply.fields, await read(reply), sent)


async def read(reply: Reply) -> bytes:
    """What is left of a body; the reply is let go if that fails."""
    body = b""
    try:
        while piece := await reply.receive():
            body += piece
    except BaseException:
        await reply.close()
        raise
    return body
