"""`trio-mcp login` and `trio-mcp logout`: a login that later commands use without asking for it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import trio
import typer
from rich.console import Console

from ..auth import OAuth
from ..auth.callback_server import open_browser
from ..auth.file_storage import FileStorage
from ..auth.storage import ClientKey, StoredToken, TokenKey
from ..errors import OAuthError, UsageError
from ..text import one_line
from .connecting import Connecting
from .exits import DONE
from .logins import SECRET_VARIABLE, as_oauth, keys_for, open_storage
from .output import print_json, print_text
from .terminal import is_at_terminal, read_line
from .tools import AsJson

__all__ = ["login", "logout"]


async def login(
    where: Connecting,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address to log in at, and open no browser.")
    ] = False,
    paste: Annotated[
        bool,
        typer.Option(
            "--paste", help="The browser is on another machine: ask for the address that it came to."
        ),
    ] = False,
    scope: Annotated[
        str | None, typer.Option("--scope", help="Scopes to ask for, between spaces; else the server's.")
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option("--client-id", help="A client that is registered; its secret: TRIO_MCP_CLIENT_SECRET."),
    ] = None,
    callback_port: Annotated[
        int | None, typer.Option("--callback-port", help="The port that the browser comes back to.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Log in to a server by OAuth, and keep the tokens for later commands.

    They are kept in a directory that only you can read, or where TRIO_MCP_TOKENS says. If a login is kept
    that is still good, nobody is asked; `trio-mcp logout` forgets it.
    """
    url, storage, notes = _url(where), open_storage(), Console(stderr=True)
    oauth = as_oauth(where.place.options.get("auth")) or OAuth()
    given: dict[str, Any] = {
        "scope": scope,
        "client_id": client_id,
        "client_secret": client_id and os.environ.get(SECRET_VARIABLE),
        "callback_port": callback_port,
    }
    oauth = replace(
        oauth,
        storage=storage,
        on_redirect=_guide(notes, browser=not no_browser and not paste, paste=paste),
        **{name: value for name, value in given.items() if value},
    )
    async with where.open(auth=oauth) as session:
        c = session.connector
        if c.server_capabilities.tools is not None:
            await c.list_tools()  # some servers let anybody connect
    found = [(key, token) for key in await keys_for(storage, url) if (token := await storage.get_token(key))]
    if json:
        print_json(Console(), [_as_object(key, token) for key, token in found])
    elif not found:
        print_text(notes, f"{session.terminal.server} asks for no login; nothing was kept")
    else:
        _show(Console(), session.terminal.server, *found[0], storage)
    return DONE


def _url(where: Connecting) -> str:
    url = where.place.url
    if url is None:
        raise UsageError("a login is for a URL, and not for a command")
    return url


def _guide(notes: Console, *, browser: bool, paste: bool) -> Callable[[str], Awaitable[str | None]]:
    """What brings the person to the login."""

    async def guide(url: str) -> str | None:
        if browser:
            print_text(notes, "The browser opens; if it does not, log in at:")
        else:
            print_text(notes, "Log in at:")
        print_text(notes, f"  {url}")
        if paste:
            print_text(
                notes, "Then copy the address that the browser came to, whether it shows a page or not:"
            )
            return await _pasted()
        if browser:
            try:
                await open_browser(url)
            except OAuthError:
                print_text(notes, "No browser could be opened.")
        return None

    return guide


async def _pasted() -> str:
    if not is_at_terminal():
        raise UsageError("--paste needs a terminal")
    try:
        return (await trio.to_thread.run_sync(read_line, abandon_on_cancel=True)).strip()
    except EOFError:
        raise OAuthError("authorization", "no address was given") from None


def _show(console: Console, server: str, key: TokenKey, token: StoredToken, storage: FileStorage) -> None:
    """Everything about a login but what is secret."""
    lines = {
        "logged in to": server,
        "for": key.resource,
        "at": key.issuer,
        "as client": key.client or "(registered by trio-mcp)",
        "scopes": " ".join(sorted(token.scopes)) or "(none named)",
        "expires": _expiry(token),
        "kept in": str(storage.directory),
    }
    for name, value in lines.items():
        print_text(console, f"{name + ':':<14}{one_line(value)}")


def _expiry(token: StoredToken) -> str:
    renewed = "; it is renewed by itself" if token.refresh_token else "; then log in again"
    if token.expires_at is None:
        return "(the server does not say)"
    if (end := _end(token)) is None:
        return f"at no day that a calendar has{renewed}"
    when = end.astimezone()
    minutes = max(0, round((token.expires_at - time.time()) / 60))
    return f"{when:%Y-%m-%d %H:%M}, in {minutes} minutes{renewed}"


def _end(token: StoredToken) -> datetime | None:
    """When it expires; None if nobody said, or no calendar has that day: servers may say anything."""
    try:
        return None if token.expires_at is None else datetime.fromtimestamp(token.expires_at, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _as_object(key: TokenKey, token: StoredToken) -> dict[str, Any]:
    end = _end(token)
    return {
        "resource": key.resource,
        "issuer": key.issuer,
        "client": key.client or None,
        "scopes": sorted(token.scopes),
        "expiresAt": None if end is None else end.isoformat(),
        "renewable": token.refresh_token is not None,
    }


async def logout(where: Connecting) -> int:
    """Forget the login that is kept for a server. The server is not told: its tokens end by themselves."""
    url, storage, notes = _url(where), open_storage(), Console(stderr=True)
    keys = await keys_for(storage, url)
    for key in keys:
        await storage.set_token(key, None)
        print_text(notes, one_line(f"forgotten: the login to {key.resource} at {key.issuer}"))
    left = {key.issuer for key in await storage.entries()} if keys else set()
    for issuer in {key.issuer for key in keys if not key.client} - left:
        # The client that was registered for it; the next login registers anew.
        await storage.set_registration(ClientKey(issuer, OAuth().client_name), None)
    if not keys:
        print_text(notes, "no login is kept for it")
    return DONE
