"""What a browser shows that has come back from a login: one page, whole in itself, with nothing to run.

It never holds anything of what the browser came with: that may be anybody's (RFC 9207, 2.4). What an
authorization server says is told only when the answer is known to be its own, and only in our words.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from ..errors import OAuthError

__all__ = ["ARRIVED", "FAILED", "LOGGED_IN", "NOTHING", "STRAY", "Page", "failure"]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fff; --line: #0a7d4f }
:root.bad { --line: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #16191c; --line: #4cc38a }
  :root.bad { --line: #ff8a80 }
}
body { margin: 0; padding: 16vh 1.5rem 2rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 system-ui, sans-serif; overflow-wrap: break-word }
main { max-width: 32rem; margin: auto; padding-left: 1.25rem; border-left: .25rem solid var(--line) }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25 }
p { margin: 0 }
"""
_HTML: Final = """<!doctype html>
<html lang="en" class="{kind}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<main>
<h1>{title}</h1>
<p>{text}</p>
</main>
"""
_HEAD: Final = """HTTP/1.1 {status}
content-type: text/html; charset=utf-8
content-length: {length}
cache-control: no-store
referrer-policy: no-referrer
x-content-type-options: nosniff
content-security-policy: default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; \
form-action 'none'; frame-ancestors 'none'
connection: close

"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# RFC 6749, 4.1.2.1 and 5.2; RFC 8707, 2.
_REASONS: Final = {
    "access_denied": "access was denied",
    "invalid_client": "it does not know this program",
    "invalid_grant": "this login is too old, or was used already",
    "invalid_request": "it did not understand what the program asked for",
    "invalid_scope": "it does not give the permissions that the program asked for",
    "invalid_target": "it gives nothing for the server that the program asked for",
    "server_error": "something went wrong there",
    "temporarily_unavailable": "it is too busy, or closed for a while; try again later",
    "unauthorized_client": "this program may not log in there, or not in this way",
    "unsupported_response_type": "this program may not log in there, or not in this way",
}


@dataclass(frozen=True)
class Page:
    """One thing to tell the person."""

    title: str
    text: str
    status: str = "200 OK"
    kind: str = "bad"

    def response(self) -> bytes:
        """The page as a whole HTTP response."""
        body = _HTML.format(kind=self.kind, title=self.title, text=self.text, style=_STYLE).encode()
        head = _HEAD.format(status=self.status, length=len(body), style=_STYLE_HASH)
        return head.replace("\n", "\r\n").encode() + body


LOGGED_IN: Final = Page(
    "You are logged in", "You can close this window, and go back to the program.", kind="good"
)
ARRIVED: Final = Page(
    "The program has the answer",
    "It now finishes the login, and tells you how that went. You can close this window, and go back to it.",
    kind="good",
)
FAILED: Final = Page(
    "You are not logged in",
    "The login could not be finished. You can close this window: the program knows why.",
)
STRAY: Final = Page(
    "No login waits for this",
    "It may be from an old login, or from somebody else, and was thrown away. To log in, start again from "
    "the program.",
    "400 Bad Request",
)
NOTHING: Final = Page(
    "There is nothing here", "This is only where a browser comes back to after a login.", "404 Not Found"
)


def failure(exc: BaseException) -> Page:
    """What the person is told of a login that ended with `exc`."""
    error = exc.error if isinstance(exc, OAuthError) else None
    if error is None or error not in _REASONS:
        return FAILED
    return Page(
        FAILED.title,
        f"The authorization server refused: {_REASONS[error]} ({error}). "
        "You can close this window, and go back to the program.",
    )
