"""The steps of an examination, in their order; the first that fails is the last."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import httpx2

from ...auth.config import is_loopback
from ...errors import AccessDenied, ConnectorError, UsageError
from ...http.setup import is_proxied, ssl_context
from ...http.urls import check_url, public_url
from ...transports.stdio import StdioServer
from ..connecting import Connecting
from ..exits import FAILED, code_of
from .authorization import check_authorization
from .explanations import explain
from .findings import Findings, Stopwatch
from .http import Answered, check_http
from .network import check_name, check_port, check_tls
from .server import check_offer, check_speed, tell_server

__all__ = ["examine"]

_SCHEMES: Final = ("ws", "wss", "http", "https")
_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}


async def examine(where: Connecting, findings: Findings, patience: float) -> None:
    """Examine the way to a server, and the server.

    Args:
        where: which one.
        findings: where to tell what is found.
        patience: seconds for each step.

    Raises:
        UsageError: there is no such target.
    """
    place = where.place
    options = await where.options()
    url = answered = None
    if place.url is None:
        if not _check_program(findings, place.where):
            return
    else:
        url = check_url(place.url, _SCHEMES)
        shown = public_url(url) + ("" if place.name is None else f", by the name {place.name}")
        if url.scheme in ("http", "ws") and not is_loopback(url.host):
            findings.add(
                "address", "note", f"{shown}: not encrypted", None, "use https://, if the server can"
            )
        else:
            findings.add("address", "ok", shown)
        if not await _check_way(findings, url, options, patience):
            return
        if url.scheme.startswith("http"):
            answered = await check_http(findings, url.copy_with(userinfo=b""), options, patience)
    await _check_server(where, findings, url, answered, options, patience)


def _check_program(findings: Findings, server: StdioServer) -> bool:
    path = shutil.which(server.command, path=server.environment.get("PATH"))
    if path is None:
        advice = "install it, or give its whole path; PATH is all that is searched"
        if " " in server.command:
            advice = "its arguments are words of their own: no quotes around the whole, and `args` in a file"
        return findings.add("program", "failed", f"there is no program {server.command!r}", None, advice, 3)
    if server.cwd is not None and not os.path.isdir(server.cwd):
        return findings.add("program", "failed", f"there is no directory {os.fspath(server.cwd)}", code=3)
    return findings.add("program", "ok", path)


async def _check_way(
    findings: Findings, url: httpx2.URL, options: Mapping[str, Any], patience: float
) -> bool:
    if url.scheme.startswith("http") and is_proxied(url, None):
        text = "the environment names a proxy (HTTPS_PROXY and the like), which makes the connections"
        return findings.add("proxy", "note", text)
    port = url.port or _PORTS[url.scheme]
    addresses = await check_name(findings, url.host, port, patience)
    if not addresses or not await check_port(findings, url.host, addresses, port, patience):
        return False
    if url.scheme not in ("https", "wss"):
        return True
    context = partial(ssl_context, options.get("verify", True))
    return await check_tls(findings, url.host, port, context, patience)


async def _check_server(
    where: Connecting,
    findings: Findings,
    url: httpx2.URL | None,
    answered: Answered | None,
    options: Mapping[str, Any],
    patience: float,
) -> None:
    watch = Stopwatch()
    try:
        async with where.open(closed="a doctor asks nobody", connect_timeout=2 * patience) as session:
            tell_server(findings, session.connector, watch.seconds)
            await check_offer(findings, session.connector, patience)
            await check_speed(findings, session, patience)
    except UsageError:
        raise
    except AccessDenied as exc:
        assert url is not None
        if url.scheme in ("ws", "wss"):
            text = f"the WebSocket handshake is refused (HTTP {exc.status_code})"
            advice = (
                "is there a WebSocket at this address? if there is, it wants other credentials: --token or -H"
            )
            findings.add("MCP", "failed", text, watch.seconds, advice, code_of(exc) or FAILED)
            return
        login = f"trio-mcp login {where.place.shown}"
        await check_authorization(findings, exc, url.copy_with(userinfo=b""), options, login, patience)
    except ConnectorError as exc:
        what, todo = explain(exc, answered)
        findings.add("MCP", "failed", what, watch.seconds, todo, code_of(exc) or FAILED)
