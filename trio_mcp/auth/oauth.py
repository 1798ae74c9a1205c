"""The OAuth flow of one connection, as an `Authorizer`.

Requests run side by side with the token that there is. What obtains another one is a task of its own, of
which there is one at a time, whoever waits for it: a caller who is cancelled leaves at once, and a refresh
token that the server has replaced meanwhile is not lost with them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Final

import httpx2
import trio

from ..deadlines import LoginTimeout, deadline
from ..errors import OAuthError
from ..origin import same_origin
from .attempts import Attempts, Spawn
from .authorization import authorization_url, check_pkce, read_code
from .challenges import Demand, read_demand
from .client import client_key, given_client, register, stored_client
from .config import AUTHORIZATION_CODE, OAuth
from .discovery import Discovered, discover
from .dpop import ALGORITHM, DpopKey
from .fetcher import Fetcher
from .grants import machine_grant, request_token
from .pkce import Pkce
from .redirect import Redirect, make_redirect
from .storage import Registration, StoredToken, TokenKey
from .tokens import Token, as_stored, in_use

__all__ = ["OAuthAuthorizer"]

logger: Final = logging.getLogger("trio_mcp")

_STORE_SECONDS: Final = 5.0
# A refresh token, or a registration, that the authorization server no longer knows.
_FORGOTTEN: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})


class OAuthAuthorizer:
    """Obtains tokens for one MCP server, and keeps them fresh.

    Args:
        server: the MCP endpoint's URL. Tokens go to its origin only.
        config: how tokens are had.
        fetcher: makes the requests of the flow.
        services: starts a task that lives as long as the connection at most.
        errands: starts a task that may finish even when the connection is closing.
    """

    def __init__(
        self, server: str, config: OAuth, fetcher: Fetcher, *, services: Spawn, errands: Spawn
    ) -> None:
        self._server = server
        self._origin = httpx2.URL(server)
        self._config = config
        self._fetcher = fetcher
        self._attempts = Attempts(services, errands)
        self._redirect: Redirect = make_redirect(config)
        self._token: Token | None = None
        self._found: Discovered | None = None
        # Tokens that the storage did not take: what it has in their place has been used up.
        self._unkept: dict[TokenKey, StoredToken] = {}
        self._key: DpopKey | None = None
        self._may_be_unbound = True

    def __repr__(self) -> str:
        state = "no token" if self._token is None else "a token"
        return f"<OAuthAuthorizer: {state}>"

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """See `Authorizer.headers`. Without a token nothing is sent: the server says what it wants."""
        if url != self._server and not same_origin(httpx2.URL(url), self._origin):
            return {}
        token = self._token
        # Saying goodbye (DELETE) is not worth a refresh.
        if token is not None and method != "DELETE" and token.is_stale() and self._is_renewable(token):
            try:
                await self._attempts.join(partial(self._renew, token))
            except OAuthError as exc:
                # Also when it has ended: that is for the server to say, and then all is discovered anew, as
                # what gives tokens may have moved.
                logger.warning("the token could not be refreshed, and is sent as it is: %s", exc)
                token.leeway = 0.0
            token = self._token
        if token is None:
            return {}
        if token.dpop is None:
            return {"authorization": token.authorization}
        proof = token.dpop.proof(method, url, token.stored.access_token)
        return {"authorization": token.authorization, "dpop": proof}

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
        """See `Authorizer.challenged`."""
        token, sent = self._token, sent_headers.get("authorization")
        if token is not None and token.dpop is not None:
            token.dpop.learn(self._server, response_headers)
        demand = read_demand(response_headers.get("www-authenticate"))
        if status not in (401, 403) or (status == 403 and demand.error != "insufficient_scope"):
            return False
        if token is not None and sent != token.authorization:
            return True  # it was replaced while the request was on its way
        if token is not None and demand.error == "use_dpop_nonce":
            return token.dpop is not None and token.dpop.is_outdated(self._server, sent_headers.get("dpop"))
        if token is not None and status == 403 and demand.scopes <= token.stored.scopes:
            return False  # another token would be no better
        origin = token.origin if token is not None and status == 401 and tries > 1 else None
        if origin == "granted":
            return False  # not even a new token will do: another login would not help
        if method == "DELETE":
            return False  # saying goodbye is not worth it
        work = partial(self._obtain, token, demand, may_refresh=origin != "refreshed", may_login=may_login)
        while self._token is token and not await self._attempts.join(work):
            pass  # what was under way was for another request, and is of no use for this one
        return self._token is not token

    # Obtaining a token

    def _is_renewable(self, token: Token) -> bool:
        return self._config.grant_type != AUTHORIZATION_CODE or token.stored.refresh_token is not None

    async def _renew(self, old: Token) -> None:
        """Another token in the place of one that ends, without a person and without a challenge."""
        assert self._found is not None
        found, scopes = self._found, old.stored.scopes
        if self._config.grant_type == AUTHORIZATION_CODE:
            token = await self._attempts.finish(partial(self._kept_or_refreshed, found, old, scopes))
            # Where there is none, the server refuses the old one, and says what it wants. What that was good
            # for is to be asked for again.
            self._token = token or old
        else:
            self._token = await self._machine_token(found, scopes)

    async def _obtain(self, old: Token | None, demand: Demand, *, may_refresh: bool, may_login: bool) -> None:
        """Another token in the place of one that was refused, or the first one."""
        found = await discover(self._fetcher, self._server, demand, self._trusted_issuer())
        if self._found is not None and found.server.issuer != self._found.server.issuer:
            old = self._token = None  # what one authorization server gave is nothing to another
        self._found = found
        self._choose_key(found, demand)
        previous = frozenset() if old is None else old.stored.scopes
        asked = frozenset((self._config.scope or "").split())
        needed = asked | demand.scopes | previous
        if self._config.grant_type != AUTHORIZATION_CODE:
            self._token = await self._machine_token(found, needed or found.scopes or frozenset())
            return
        token = None
        if may_refresh:
            token = await self._attempts.finish(
                partial(self._kept_or_refreshed, found, old, asked | demand.scopes)
            )
        if token is None and may_login:
            if old is None and (kept := await self._kept(self._token_key(found))):
                needed |= kept.scopes
            token = await self._login(found, needed or found.scopes or frozenset())
        self._token = token or old

    def _trusted_issuer(self) -> str | None:
        """The authorization server that credentials of the program's belong to."""
        config = self._config
        has_credentials = config.client_id is not None or config.assertion is not None
        if config.issuer is not None or not has_credentials or self._found is None:
            return config.issuer
        return self._found.server.issuer  # the first one that was named

    def _choose_key(self, found: Discovered, demand: Demand) -> None:
        wanted = self._config.dpop
        if wanted is None:
            wanted = demand.dpop or found.dpop_required
        offered = found.server.dpop_signing_alg_values_supported
        if wanted and offered is not None and ALGORITHM not in offered:
            raise OAuthError("discovery", f"the authorization server has no DPoP with {ALGORITHM}")
        if not wanted:
            self._key = None
        elif self._key is None:
            self._key = DpopKey()
        self._may_be_unbound = self._config.dpop is None and demand.bearer and not found.dpop_required

    async def _machine_token(self, found: Discovered, scopes: frozenset[str]) -> Token:
        client = given_client(self._config, found.server) or Registration(client_id="")
        scope = _joined(scopes)
        grant = await machine_grant(self._fetcher, self._config, found, scope)
        if scope is not None:
            grant["scope"] = scope
        answer = await request_token(self._fetcher, self._config, found, client, grant, self._key)
        return in_use(
            as_stored(answer, scopes, None, self._key, may_be_unbound=self._may_be_unbound),
            "granted",
            self._key,
        )

    # Tokens that a person has given

    def _token_key(self, found: Discovered) -> TokenKey:
        client = self._config.client_id or self._config.client_metadata_url or ""
        return TokenKey(found.server.issuer, found.resource, client)

    async def _kept(self, key: TokenKey) -> StoredToken | None:
        return self._unkept.get(key) or await self._config.storage.get_token(key)

    async def _kept_or_refreshed(
        self, found: Discovered, old: Token | None, needed: frozenset[str]
    ) -> Token | None:
        """A token from the storage, or a refreshed one; None if a person has to be asked."""
        storage, key = self._config.storage, self._token_key(found)
        async with storage.lock(key):
            kept = await self._kept(key)
            if kept is None or not needed <= kept.scopes:
                return None
            if old is None or kept.access_token != old.stored.access_token:
                # Somebody else has refreshed it, or we were here before.
                token = in_use(kept, "stored", self._key)
                if not token.is_stale() and (token.dpop is not None or self._may_be_unbound):
                    return token
            if kept.refresh_token is None:
                return None
            client = given_client(self._config, found.server) or await storage.get_registration(
                client_key(self._config, found.server.issuer)
            )
            if client is None:
                return None
            dpop = self._key if kept.dpop_key is None else DpopKey(kept.dpop_key)
            grant = {"grant_type": "refresh_token", "refresh_token": kept.refresh_token}
            try:
                answer = await request_token(self._fetcher, self._config, found, client, grant, dpop)
            except OAuthError as exc:
                if exc.error not in _FORGOTTEN:
                    raise
                if self._unkept.pop(key, None) is None:  # else it is not this one that is kept
                    await storage.set_token(key, None)
                await self._forget_client(found, exc)
                return None
            fresh = as_stored(
                answer, kept.scopes, kept.refresh_token, dpop, may_be_unbound=self._may_be_unbound
            )
            await self._keep(key, fresh)
        return in_use(fresh, "refreshed", dpop)

    async def _keep(self, key: TokenKey, token: StoredToken) -> None:
        # Whatever happens to us now, the server has replaced the old one.
        self._unkept[key] = token
        with trio.move_on_after(_STORE_SECONDS, shield=True) as scope:
            try:
                await self._config.storage.set_token(key, token)
                del self._unkept[key]
            except Exception as exc:  # the token is good all the same, and must not be lost with the storage
                logger.warning("a new token could not be kept: %r", exc)
        if scope.cancelled_caught:
            logger.warning("a new token could not be kept within %g s", _STORE_SECONDS)

    async def _login(self, found: Discovered, scopes: frozenset[str]) -> Token:
        """Have a person log in, by the authorization code grant with PKCE."""
        config, server = self._config, found.server
        check_pkce(found)
        if server.authorization_endpoint is None:
            raise OAuthError("discovery", "the authorization server has no authorization endpoint")
        if scopes and "offline_access" in (server.scopes_supported or ()):
            scopes |= {"offline_access"}  # for a refresh token (26/basic/authorization, "Refresh Tokens")
        registrations = client_key(config, server.issuer)
        given = given_client(config, server)
        kept = None if given else await config.storage.get_registration(registrations)
        async with self._redirect.open(kept.redirect_uris if kept else ()) as callback:
            client = given or stored_client(kept, callback.redirect_uri)
            if client is None:
                client = await register(self._fetcher, server, config, callback.redirect_uri, _joined(scopes))
                await config.storage.set_registration(registrations, client)
            pkce, state = Pkce(), secrets.token_urlsafe(32)
            url = authorization_url(
                self._fetcher.guard, found, client.client_id, callback.redirect_uri, pkce, state, scopes
            )
            try:
                with deadline(config.login_timeout, self._too_slow):
                    answer = await callback.ask(url, state)
                code = read_code(found, answer, state)
                grant = {
                    "grant_type": AUTHORIZATION_CODE,
                    "code": code,
                    "redirect_uri": callback.redirect_uri,
                    "code_verifier": pkce.verifier,
                }
                return await self._attempts.finish(partial(self._redeem, found, client, grant, scopes))
            except OAuthError as exc:
                await self._forget_client(found, exc)  # noqa: ASYNC120 - being cancelled matters more
                raise

    async def _redeem(
        self, found: Discovered, client: Registration, grant: Mapping[str, str], scopes: frozenset[str]
    ) -> Token:
        answer = await request_token(self._fetcher, self._config, found, client, grant, self._key)
        token = as_stored(answer, scopes, None, self._key, may_be_unbound=self._may_be_unbound)
        await self._keep(self._token_key(found), token)
        return in_use(token, "granted", self._key)

    def _too_slow(self) -> LoginTimeout:
        return LoginTimeout(
            "authorization", f"nobody logged in within {self._config.login_timeout:g} s (login_timeout)"
        )

    async def _forget_client(self, found: Discovered, exc: OAuthError) -> None:
        """Register anew next time, if the authorization server does not know us any more.

        It then tells the person so, and us nothing at all; so it may be the reason of a login that never
        ended.
        """
        if exc.error in ("invalid_client", "unauthorized_client") or isinstance(exc, LoginTimeout):
            await self._config.storage.set_registration(client_key(self._config, found.server.issuer), None)


def _joined(scopes: frozenset[str]) -> str | None:
    return " ".join(sorted(scopes)) or None
