"""The URLs of servers: what is accepted, and what of them may be shown."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2

from ..errors import ConfigurationError
from ..origin import has_lawful_port

__all__ = ["check_url", "public_url"]


def check_url(url: str, schemes: Sequence[str]) -> httpx2.URL:
    """`url`, read.

    Args:
        url: the user's.
        schemes: those that are accepted, the one to recommend last.

    Raises:
        ConfigurationError: it is not the URL of a server. The error shows nothing of it that may be secret.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"the URL must be a str, not {type(url).__name__}")
    if any(character.isspace() for character in url):
        hint = "" if "://" in url else "; a program to start is a StdioServer"
        raise ConfigurationError(f"not a usable URL: it has white space in it{hint}")
    if "://" not in url:
        shown = url.partition("?")[0].rpartition("@")[2]  # a user, a password and a query may be secret
        raise ConfigurationError(f"the URL has no scheme: did you mean {schemes[0]}://{shown}?")
    try:
        read = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as exc:
        # It quotes what it cannot read: with an @ in the URL, that may be a password.
        reason = "it cannot be read" if "@" in url else str(exc)
        raise ConfigurationError(f"not a usable URL: {reason}") from None
    if read.scheme not in schemes or not read.host:
        raise ConfigurationError(
            f"the URL of an MCP endpoint looks like {schemes[-1]}://example.com/mcp; this one has "
            + (f"the scheme {read.scheme!r}" if read.host else "no host")
        )
    if not has_lawful_port(read):
        raise ConfigurationError(f"the port of a URL is between 1 and 65535, not {read.port}")
    return read


def public_url(url: httpx2.URL) -> str:
    """`url` without user, password, query and fragment, which may be secret."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
