"""How a person is shown where to log in, and how we hear of it: the interface, and what `OAuth` makes."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlsplit

import trio

from ..errors import OAuthError
from .callback_server import CallbackServer, open_browser, open_callback_server
from .config import OAuth, is_loopback

__all__ = ["Callback", "Redirect", "make_redirect", "read_callback"]

_MAX_URL: Final = 1 << 14


class Callback(Protocol):
    """One login in the making.

    Attributes:
        redirect_uri: where the authorization server is to send the browser back to.
    """

    redirect_uri: str

    async def ask(self, url: str, state: str) -> Mapping[str, str]:
        """Show `url` to the person, and wait for what the authorization server answers.

        Args:
            url: the authorization URL; checked.
            state: what the answer has to repeat. A server discards what does not, and goes on waiting.

        Returns:
            The parameters of the redirect.

        Raises:
            OAuthError: the answer makes no sense.
        """
        ...


class Redirect(Protocol):
    """Makes logins."""

    def open(self, known: Sequence[str]) -> AbstractAsyncContextManager[Callback]:
        """Be ready to be called back, for the block.

        Args:
            known: redirect URIs that are registered already: one of them, if it can be had.
        """
        ...


def make_redirect(config: OAuth) -> Redirect:
    """What `redirect_uri`, `callback_port` and `on_redirect` come to."""
    uri = config.redirect_uri
    if uri is not None:
        parsed = urlsplit(uri)
        if parsed.scheme != "http" or parsed.port is None or not is_loopback(parsed.hostname or ""):
            return _ByHand(config)
    return _Loopback(config)


class _ByHand:
    """The browser comes back to somewhere else, and `on_redirect` tells where."""

    def __init__(self, config: OAuth) -> None:
        assert config.redirect_uri is not None
        self.redirect_uri: str = config.redirect_uri
        self._config = config

    @asynccontextmanager
    async def open(self, known: Sequence[str]) -> AsyncGenerator[Callback]:
        yield self

    async def ask(self, url: str, state: str) -> Mapping[str, str]:
        came_to = await _show(self._config, url)
        if came_to is None:
            raise OAuthError(
                "authorization",
                "on_redirect must return where the browser came to, as nobody listens at the redirect_uri",
            )
        return read_callback(came_to)


class _Loopback:
    """The browser comes back to a server on this machine."""

    def __init__(self, config: OAuth) -> None:
        self._config = config

    @asynccontextmanager
    async def open(self, known: Sequence[str]) -> AsyncGenerator[Callback]:
        config = self._config
        if config.redirect_uri is not None:
            uris, must = [config.redirect_uri], True
        elif config.callback_port is not None:
            uris, must = [f"http://127.0.0.1:{config.callback_port}/callback"], True
        else:
            uris, must = [each for each in known if each.startswith("http://127.0.0.1:")], False
        async with open_callback_server(uris, must=must) as server:
            yield _AtServer(config, server)


class _AtServer:
    def __init__(self, config: OAuth, server: CallbackServer) -> None:
        self.redirect_uri: str = server.redirect_uri
        self._config = config
        self._server = server

    async def ask(self, url: str, state: str) -> Mapping[str, str]:
        self._server.expect(state)
        came_to = await _show(self._config, url)
        return read_callback(await self._server.wait() if came_to is None else came_to)


async def _show(config: OAuth, url: str) -> str | None:
    if config.on_redirect is None:
        await open_browser(url)
        return None
    shown = config.on_redirect(url)
    came_to = await shown if inspect.isawaitable(shown) else shown
    await trio.lowlevel.checkpoint()
    return came_to


def read_callback(url: str) -> dict[str, str]:
    """The parameters of a redirect to us.

    Raises:
        OAuthError: one comes twice, so that it is not clear which counts (RFC 6749, 3.1), or there is too
            much.
    """
    pairs = [] if len(url) > _MAX_URL else parse_qsl(urlsplit(url).query, keep_blank_values=True)
    parameters = dict(pairs)
    if not pairs or len(parameters) < len(pairs):
        raise OAuthError("authorization", "what came back is no answer of an authorization server")
    return parameters
