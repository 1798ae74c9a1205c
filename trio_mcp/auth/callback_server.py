"""The server on this machine that a browser comes back to after a login (RFC 8252, 7.3): one shot."""

from __future__ import annotations

import secrets
import webbrowser
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import trio

from ..errors import OAuthError
from ..supervision import open_flat_nursery
from .callback_page import ARRIVED, LOGGED_IN, NOTHING, STRAY, Page, failure

__all__ = ["CallbackServer", "open_browser", "open_callback_server"]

_PATH: Final = "/callback"
_MAX_HEAD: Final = 1 << 14
_HEAD_SECONDS: Final = 10
_MAX_VISITORS: Final = 16
_HOLD_SECONDS: Final = 5
_SEND_SECONDS: Final = 1


class CallbackServer:
    """Waits for one redirect. Made by `open_callback_server` only.

    Who brings it is answered when it is known how the login ended, which may take a few seconds.

    Attributes:
        redirect_uri: where it listens.
    """

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri: str = redirect_uri
        self._path = urlsplit(redirect_uri).path or "/"
        self._state: str | None = None
        self._came_to: str | None = None
        self._arrived = trio.Event()
        self._is_awaited = False
        self._ended = trio.Event()
        self._end = ARRIVED
        self._visitors = 0

    def expect(self, state: str) -> None:
        """Turn away what does not repeat `state`; before this, everything.

        To be called before anybody is shown where to log in: a browser can be fast.
        """
        self._state = state

    async def wait(self) -> str:
        """The URL that the browser came to."""
        self._is_awaited = True
        await self._arrived.wait()
        assert self._came_to is not None
        return self._came_to

    def end(self, page: Page) -> None:
        """Tell those who brought the answer how the login ended."""
        self._end = page
        self._ended.set()

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer one visitor."""
        self._visitors += 1
        try:
            if self._visitors <= _MAX_VISITORS:
                await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the browser has left
        finally:
            self._visitors -= 1
            await trio.aclose_forcefully(stream)  # noqa: ASYNC102 - it never waits

    async def _answer(self, stream: trio.abc.HalfCloseableStream) -> None:
        head = b""
        with trio.move_on_after(_HEAD_SECONDS):
            while b"\r\n\r\n" not in head:
                piece = await stream.receive_some()
                if not piece or len(head) > _MAX_HEAD:
                    return
                head += piece
        if b"\r\n\r\n" not in head:
            return
        page = self._judge(head.split(b"\r\n", 1)[0].decode("latin-1"))
        # Shielded, because the end of the login ends the server, and is what there is to tell.
        if page is None and self._is_awaited:
            with trio.move_on_after(_HOLD_SECONDS, shield=True):
                await self._ended.wait()
        with trio.move_on_after(_SEND_SECONDS, shield=True):
            await stream.send_all((page or self._end).response())
            await stream.send_eof()

    def _judge(self, line: str) -> Page | None:
        """What a visitor is told who does not bring the answer; None for one who does."""
        method, _, rest = line.partition(" ")
        target = urlsplit(rest.rpartition(" ")[0])
        if method != "GET" or target.path != self._path:
            return NOTHING
        states = parse_qs(target.query).get("state", [])
        if self._state is None or len(states) != 1:
            return STRAY
        if not secrets.compare_digest(states[0].encode(), self._state.encode()):
            return STRAY
        if self._came_to is None:  # the first answer counts, and a page that is loaded again is told the same
            self._came_to = f"{self.redirect_uri}?{target.query}"
            self._arrived.set()
        return None


@asynccontextmanager
async def open_callback_server(uris: Sequence[str], *, must: bool) -> AsyncGenerator[CallbackServer]:
    """Listen on 127.0.0.1 for the block, which makes the login: how it ends is what the browser shows.

    Args:
        uris: the redirect URI to listen at, the first that is free.
        must: whether it has to be one of those; else any free port will do.

    Raises:
        OAuthError: none of them is free.
    """
    listeners: list[trio.SocketListener] = []
    uri = ""
    for uri in uris:
        try:
            listeners = await trio.open_tcp_listeners(urlsplit(uri).port or 80, host="127.0.0.1")
            break
        except OSError as exc:
            if must:
                raise OAuthError(
                    "authorization", f"cannot listen at {uri} for the browser to come back: {exc.strerror}"
                ) from exc
    if not listeners:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        uri = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}{_PATH}"
    server = CallbackServer(uri)
    async with open_flat_nursery() as nursery:
        # The sockets listen already, and what comes meanwhile waits in them.
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)  # noqa: ASYNC113
        try:
            yield server
        except BaseException as exc:
            server.end(failure(exc))
            raise
        server.end(LOGGED_IN)
        nursery.cancel_scope.cancel(reason="the browser has come back")


async def open_browser(url: str) -> None:
    """Open the person's browser, without a shell between.

    Raises:
        OAuthError: there is none.
    """
    if not await trio.to_thread.run_sync(webbrowser.open, url, abandon_on_cancel=True):
        raise OAuthError(
            "authorization",
            "there is no browser to log in with: pass on_redirect, to show the URL in another way",
        )
