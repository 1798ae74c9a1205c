"""What gives an HTTP request the right to be made: one seam for everything that sends requests.

The HTTP client asks an `Authorizer` before it sends, and again when a server refuses. Nothing is held from
one to the other: requests run side by side, and only obtaining a token is one thing at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias

import trio

from ..errors import AuthorizationError, ConfigurationError

__all__ = ["MAX_TRIES", "AskedToken", "Authorizer", "TokenCallback", "bearer"]

TokenCallback: TypeAlias = Callable[[], "str | Awaitable[str]"]

MAX_TRIES: Final = 4
"""How often a request is sent: a first token, a nonce for its proof, a token for more scopes."""


class Authorizer(Protocol):
    """Gives requests their authorization, and finds another one where a server refuses it."""

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """What to send with a request. It may wait for a token to be refreshed.

        Args:
            method: the HTTP method.
            url: where the request goes to, after redirects.

        Raises:
            AuthorizationError: there is no token to be had.
        """
        ...

    async def challenged(
        self,
        method: str,
        status: int,
        response_headers: Mapping[str, str],
        sent_headers: Mapping[str, str],
        tries: int,
        *,
        may_login: bool,
    ) -> bool:
        """The server has refused a request (401, 403), or has said something about proofs of possession.

        Args:
            method: the HTTP method.
            status: the HTTP status.
            response_headers: to be asked for in lower case.
            sent_headers: those of the request.
            tries: how often this request has been sent by now; 1 after the first time.
            may_login: whether it is worth asking a person to log in.

        Returns:
            Whether to send it again, with new headers.

        Raises:
            AuthorizationError: the way to a token failed.
        """
        ...


def bearer(token: str) -> str:
    """The `Authorization` of a bearer token (RFC 6750, 2.1).

    Raises:
        ConfigurationError: a header cannot carry it.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            "auth: a bearer token is visible ASCII without spaces, and comes without the word Bearer"
        )
    return f"Bearer {token}"


class AskedToken:
    """A bearer token that a function of the user's gives, and gives anew when the server refuses it.

    Args:
        ask: returns a token, or an awaitable of one. Called in the task of the request that needs it, by one
            task at a time.
    """

    def __init__(self, ask: TokenCallback) -> None:
        self._ask = ask
        self._asking = trio.Lock()
        self._header: str | None = None

    def __repr__(self) -> str:
        return "AskedToken(…)"

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """The token that was given last; asked for where there is none yet."""
        if self._header is None:
            await self._replace(None)
        assert self._header is not None
        return {"authorization": self._header}

    async def challenged(
        self,
        method: str,
        status: int,
        response_headers: Mapping[str, str],
        sent_headers: Mapping[str, str],
        tries: int,
        *,
        may_login: bool,
    ) -> bool:
        """Ask for another token after a 401; no if it is the one that was refused."""
        if status != 401 or method == "DELETE":
            return False
        refused = sent_headers.get("authorization")
        if tries == 1:
            await self._replace(refused)
        return self._header != refused

    async def _replace(self, refused: str | None) -> None:
        async with self._asking:
            if self._header != refused:
                return  # somebody was faster
            given = self._ask()
            token = await given if inspect.isawaitable(given) else given
            if not isinstance(token, str):
                raise AuthorizationError(
                    f"auth: the function must return a token (str), not {type(token).__name__}"
                )
            self._header = bearer(token)
