"""Servers on the loopback interface, in the test's own loop: each answers everything in one way."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio
import trustme

from trio_mcp.testing import HttpExchange, serve_http

Handle: TypeAlias = Callable[[HttpExchange], Awaitable[None]]


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Handle:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.respond(status, list((headers or {}).items()), body)

    return handle


def documents(pages: Mapping[str, Any], otherwise: Handle) -> Handle:
    """Serves JSON by path; what is not there is answered by `otherwise`."""

    async def handle(exchange: HttpExchange) -> None:
        path = exchange.request.target.partition("?")[0]
        if path in pages:
            await answer(200, {"content-type": "application/json"}, json.dumps(pages[path]).encode())(
                exchange
            )
        elif path.startswith("/.well-known/"):
            await answer(404)(exchange)
        else:
            await otherwise(exchange)

    return handle


async def hang(exchange: HttpExchange) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def serving(handle: Handle, certificate: trustme.LeafCert | None = None) -> AsyncGenerator[int]:
    """The port that it listens at."""
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        if context is None:
            await serve_http(stream, handle, cancel_on_disconnect=True)
            return
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)
        else:
            await serve_http(secured, handle, cancel_on_disconnect=True)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel(reason="the test is over")
