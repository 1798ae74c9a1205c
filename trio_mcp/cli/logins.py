"""Logins that are kept: which token goes with a URL, without a person being asked for anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

from ..auth import OAuth
from ..auth.config import AUTHORIZATION_CODE
from ..auth.discovery import covers
from ..auth.file_storage import FileStorage
from ..auth.storage import TokenKey
from ..errors import OAuthError

__all__ = ["SECRET_VARIABLE", "as_oauth", "kept_auth", "keys_for", "open_storage"]

TOKENS_VARIABLE: Final = "TRIO_MCP_TOKENS"
SECRET_VARIABLE: Final = "TRIO_MCP_CLIENT_SECRET"


def open_storage() -> FileStorage:
    """Where logins are kept: TRIO_MCP_TOKENS, or among the user's data."""
    return FileStorage(os.environ.get(TOKENS_VARIABLE) or None)


async def keys_for(storage: FileStorage, url: str) -> list[TokenKey]:
    """What is kept for the server at `url`; of several, that of the nearest resource first."""
    if not storage.directory.is_dir():  # and it is not made before there is something to keep
        return []
    if url.lower().startswith("ws"):
        url = f"http{url[2:]}"  # a WebSocket begins as a GET of that, which is what a token is for
    keys = [key for key in await storage.entries() if covers(key.resource, url)]
    return sorted(keys, key=lambda key: len(key.resource), reverse=True)


async def kept_auth(url: str, configured: Any, login: str) -> Any:
    """What `auth=` is to be, where no token was given.

    Args:
        url: the server's.
        configured: what the configuration file says, or None.
        login: the command that logs in, which is named where a login is needed.
    """
    oauth = as_oauth(configured)
    if oauth is None and configured is not None:
        return configured
    storage = open_storage()
    if oauth is None:
        keys = await keys_for(storage, url)
        if not keys:
            return None
        oauth = _as_it_was(keys[0])
    if oauth.grant_type != AUTHORIZATION_CODE:
        return oauth  # no person has a part in it

    def refuse(address: str) -> NoReturn:
        raise OAuthError("authorization", f"a person has to log in: `{login}`")

    return replace(oauth, storage=storage, on_redirect=refuse)


def as_oauth(configured: Any) -> OAuth | None:
    """What a configuration file says of OAuth; None if it says nothing of it.

    Raises:
        ConfigurationError: it cannot work.
    """
    if isinstance(configured, Mapping):
        return OAuth.from_mapping(configured)
    return configured if isinstance(configured, OAuth) else None


def _as_it_was(key: TokenKey) -> OAuth:
    """The OAuth of a login by its key: its authorization server, and no other, may refresh the token."""
    if not key.client:
        return OAuth(issuer=key.issuer)
    if key.client.startswith("https://"):
        return OAuth(issuer=key.issuer, client_metadata_url=key.client)
    secret = os.environ.get(SECRET_VARIABLE) or None
    return OAuth(issuer=key.issuer, client_id=key.client, client_secret=secret)
