"""What a server wants that refuses us: OAuth, and of which kind, or another credential."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import httpx2
import trio

from ...auth.challenges import parse_challenges, read_demand
from ...auth.discovery import Discovered, discover
from ...auth.fetcher import Fetcher
from ...auth.guard import Guard
from ...errors import AccessDenied, OAuthError
from ...http import open_engine
from ...http.fetch import EngineSend
from ...network import TcpNetwork, close_at_once
from .findings import Findings, Stopwatch

__all__ = ["check_authorization"]

_CODE: Final = 4


async def check_authorization(
    findings: Findings,
    exc: AccessDenied,
    url: httpx2.URL,
    options: Mapping[str, Any],
    login: str,
    patience: float,
) -> None:
    """Tell how to get in.

    Args:
        findings: where to tell it.
        exc: the refusal.
        url: the server's.
        options: of the connection.
        login: the command that logs in.
        patience: seconds for each request's connection.
    """
    step = "authorization"
    given = options.get("auth") is not None or any(
        name.lower() == "authorization" for name in options["headers"]
    )
    if exc.status_code == 403:
        text = "the server knows who asks, and does not let them in (HTTP 403)"
        findings.add(
            step, "failed", text, None, "ask its owner for access; or is it the wrong account?", _CODE
        )
        return
    refused = "does not take the credentials that it was given" if given else "wants credentials"
    schemes = sorted({each.scheme for each in parse_challenges(exc.www_authenticate or "")})
    named = f" ({', '.join(schemes)})" if schemes else ""
    watch = Stopwatch()
    try:
        found = await _discovered(exc, url, options, patience)
    except OAuthError as problem:
        why = problem.message.removeprefix(f"{problem.step}: ")
        text = f"the server {refused}{named}, and has no OAuth that could be used: {why}"
        advice = "ask its owner for a token, and give it: --token, TRIO_MCP_TOKEN, or another header by -H"
        findings.add(step, "failed", text, watch.seconds, advice, _CODE)
        return
    text = f"the server {refused}: OAuth, at {found.server.issuer}{_scopes(found)}"
    again = "log in again" if given else "log in"
    findings.add(step, "failed", text, watch.seconds, f"{again}: `{login}`{_needs(found)}", _CODE)


async def _discovered(
    exc: AccessDenied, url: httpx2.URL, options: Mapping[str, Any], patience: float
) -> Discovered:
    guard = Guard(str(url))
    with suppress(OSError), trio.move_on_after(patience):
        # Where the server is, is where its authorization server may be, too.
        port = url.port or (443 if url.scheme == "https" else 80)
        await close_at_once(await guard.watched(TcpNetwork()).open_stream(url.host, port))
    verify = options.get("verify", True)
    async with open_engine(url, verify=verify, dial=guard.guarded, anywhere=True) as engine:
        fetcher = Fetcher(EngineSend(engine, patience), guard)
        found = await discover(fetcher, str(url), read_demand(exc.www_authenticate), None)
    if not found.published:
        raise OAuthError("discovery", "it publishes nothing about an authorization server")
    return found


def _scopes(found: Discovered) -> str:
    return f", scopes {' '.join(sorted(found.scopes))}" if found.scopes else ""


def _needs(found: Discovered) -> str:
    """What a login needs beyond a browser."""
    if found.server.registration_endpoint is None:
        return (
            " --client-id ID, with a client that you have registered there, as it registers nobody by itself"
        )
    return ""
