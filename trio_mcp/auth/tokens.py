"""Tokens, from what an authorization server says to what is kept and what is sent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal, TypeAlias

import trio

from ..errors import OAuthError
from .documents import TokenAnswer
from .dpop import DpopKey
from .fetcher import quoted
from .storage import StoredToken

__all__ = ["Origin", "Token", "as_stored", "in_use"]

Origin: TypeAlias = Literal["stored", "refreshed", "granted"]

_LEEWAY: Final = 10.0  # seconds before its end in which a token is refreshed, and a tenth of its life at most


@dataclass(eq=False, slots=True)
class Token:
    """The token in use.

    Attributes:
        stored: what is kept of it.
        origin: where it is from.
        deadline: when it ends, on Trio's clock; None if nobody said.
        leeway: seconds before that in which it is refreshed.
        dpop: the key that it is bound to; None for a bearer token.
    """

    stored: StoredToken = field(repr=False)
    origin: Origin
    deadline: float | None
    leeway: float
    dpop: DpopKey | None = None

    @property
    def authorization(self) -> str:
        """The header that carries it."""
        return f"{'DPoP' if self.dpop else 'Bearer'} {self.stored.access_token}"

    def is_stale(self) -> bool:
        """Whether it is time for another one."""
        return self.deadline is not None and trio.current_time() >= self.deadline - self.leeway


def as_stored(
    answer: TokenAnswer,
    asked: frozenset[str],
    refresh_token: str | None,
    dpop: DpopKey | None,
    *,
    may_be_unbound: bool,
) -> StoredToken:
    """What a token endpoint has given, to be kept.

    Args:
        answer: what it said.
        asked: the scopes that were asked for.
        refresh_token: the one that there was before.
        dpop: the key that the request proved.
        may_be_unbound: whether a token that is not bound to it will do.

    Raises:
        OAuthError: it is a token of another kind than was asked for.
    """
    bound = answer.token_type.lower() == "dpop"
    if answer.token_type.lower() not in ("bearer", "dpop") or (bound and dpop is None):
        raise OAuthError("token", f"a token of a type that is not known: {quoted(answer.token_type)}")
    if dpop is not None and not bound and not may_be_unbound:
        raise OAuthError("token", "the authorization server gave a token that is not bound to our key (DPoP)")
    # A server that leaves the scope out grants what was asked for (RFC 6749, 5.1). What it grants less is
    # remembered as asked for: asking again would be a loop.
    granted = frozenset((answer.scope or "").split())
    lifetime = answer.expires_in
    if lifetime is not None and not 0 < lifetime < inf:
        # It would be replaced before each request. Like that it is used until the server refuses it.
        lifetime = None
    return StoredToken(
        access_token=answer.access_token,
        token_type="DPoP" if bound else "Bearer",
        # One that comes without another stays good (RFC 6749, 6).
        refresh_token=answer.refresh_token or refresh_token,
        scopes=asked | granted,
        expires_at=None if lifetime is None else time.time() + lifetime,
        dpop_key=dpop.pem if bound and dpop is not None else None,
    )


def in_use(
    stored: StoredToken,
    origin: Origin,
    dpop: DpopKey | None,
) -> Token:
    """A token that was kept, or has just been got, to be sent; `dpop` is the key that there is already."""
    lifetime = None if stored.expires_at is None else max(0.0, stored.expires_at - time.time())
    key = None
    if stored.dpop_key is not None:
        is_same = dpop is not None and dpop.pem == stored.dpop_key
        key = dpop if is_same else DpopKey(stored.dpop_key)
    return Token(
        stored,
        origin,
        deadline=None if lifetime is None else trio.current_time() + lifetime,
        leeway=0.0 if lifetime is None else min(_LEEWAY, lifetime / 10),
        dpop=key,
    )
