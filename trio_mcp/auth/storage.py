"""Where tokens and client registrations are kept: the interface, and memory.

Credentials belong to the authorization server that gave them: every key has its issuer in it
(26/basic/authorization/client-registration, "Authorization Server Binding").
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import trio

__all__ = ["ClientKey", "MemoryStorage", "Registration", "StoredToken", "TokenKey", "TokenStorage"]


@dataclass(frozen=True, slots=True)
class ClientKey:
    """Which registration: at which authorization server, and under which name we registered there."""

    issuer: str
    client_name: str


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Which token.

    Attributes:
        issuer: the authorization server's identifier, exactly as it says it.
        resource: what the token is for: the resource identifier of the MCP server.
        client: a client id that was given, or the URL of a metadata document; "" for a registered client.
    """

    issuer: str
    resource: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token, and what is needed to use it and to get the next one. All of it is secret.

    Attributes:
        access_token: what is sent to the MCP server.
        token_type: "Bearer" or "DPoP".
        refresh_token: what gets the next one; None if there is none.
        scopes: what it is good for, as far as is known.
        expires_at: seconds since 1970; None if nobody said.
        dpop_key: the private key that a DPoP token is bound to, as PEM.
    """

    access_token: str = field(repr=False)
    token_type: str = "Bearer"
    refresh_token: str | None = field(default=None, repr=False)
    scopes: frozenset[str] = frozenset()
    expires_at: float | None = None
    dpop_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A client that an authorization server knows (RFC 7591).

    Attributes:
        client_id: its name there.
        client_secret: None for a public client.
        secret_expires_at: seconds since 1970; None for never.
        auth_method: how it authenticates at the token endpoint.
        redirect_uris: where it may be called back.
    """

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    secret_expires_at: float | None = None
    auth_method: str = "none"
    redirect_uris: tuple[str, ...] = ()


@runtime_checkable
class TokenStorage(Protocol):
    """Keeps tokens and registrations.

    Its methods are to come to an end: no deadline of the connector's ends them. What one raises comes out of
    the request that needed it, but a token that cannot be kept is used all the same: that is logged.
    """

    async def get_token(self, key: TokenKey) -> StoredToken | None:
        """The token of `key`; None if there is none."""
        ...

    async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
        """Keep `token` in the place of what was there; None forgets it. When it returns, it is kept."""
        ...

    async def get_registration(self, key: ClientKey) -> Registration | None:
        """The registration of `key`; None if there is none."""
        ...

    async def set_registration(self, key: ClientKey, registration: Registration | None) -> None:
        """Keep `registration`; None forgets it."""
        ...

    def lock(self, key: TokenKey) -> AbstractAsyncContextManager[object]:
        """Keeps all others that share the storage, other processes too, from refreshing the token of `key`.

        A refresh token is often good for one use only, so that two who refresh at once destroy it.
        """
        ...


class MemoryStorage:
    """Keeps them for as long as the process lives. To be shared by connectors of the same person only."""

    def __init__(self) -> None:
        self._tokens: dict[TokenKey, StoredToken] = {}
        self._registrations: dict[ClientKey, Registration] = {}
        self._locks: dict[TokenKey, trio.Lock] = {}

    def __repr__(self) -> str:
        return f"<MemoryStorage: {len(self._tokens)} tokens, {len(self._registrations)} registrations>"

    async def get_token(self, key: TokenKey) -> StoredToken | None:
        """See `TokenStorage.get_token`."""
        await trio.lowlevel.checkpoint()
        return self._tokens.get(key)

    async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
        """See `TokenStorage.set_token`."""
        await trio.lowlevel.checkpoint()
        if token is None:
            self._tokens.pop(key, None)
        else:
            self._tokens[key] = token

    async def get_registration(self, key: ClientKey) -> Registration | None:
        """See `TokenStorage.get_registration`."""
        await trio.lowlevel.checkpoint()
        return self._registrations.get(key)

    async def set_registration(self, key: ClientKey, registration: Registration | None) -> None:
        """See `TokenStorage.set_registration`."""
        await trio.lowlevel.checkpoint()
        if registration is None:
            self._registrations.pop(key, None)
        else:
            self._registrations[key] = registration

    def lock(self, key: TokenKey) -> AbstractAsyncContextManager[object]:
        """See `TokenStorage.lock`."""
        return self._locks.setdefault(key, trio.Lock())
