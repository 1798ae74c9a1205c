"""The requests of an OAuth flow: small, bounded, and only to where the guard lets them go.

They never carry what the connector sends to the MCP server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import httpx2
from pydantic_core import from_json

from .._version import __version__
from ..errors import ConnectorError, OAuthError, OAuthStep
from ..protocol.headers import VERSION
from ..protocol.versions import LATEST_MODERN_VERSION
from .guard import Guard

__all__ = ["MAX_DOCUMENT", "Answer", "Fetcher", "Send", "quoted"]

MAX_DOCUMENT: Final = 1 << 16
"""Bytes that a document of a flow may have."""

_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_QUOTED: Final = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; its headers are to be asked for in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any] | None:
        """The JSON object that the body is; None if it is none."""
        try:
            value = from_json(self.body)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


class Send(Protocol):
    """Makes one exchange: no redirects, a deadline of its own, a body of `MAX_DOCUMENT` at most."""

    async def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send it.

        Raises:
            ConnectorError: there is no answer.
        """
        ...


class Fetcher:
    """Makes the requests of a flow.

    Args:
        send: makes one exchange.
        guard: says which URLs may be fetched.
    """

    def __init__(self, send: Send, guard: Guard) -> None:
        self._send = send
        self.guard: Guard = guard

    async def get(self, url: str, step: OAuthStep) -> Answer:
        """Fetch a public document, by way of some redirects perhaps, each of them judged anew.

        Raises:
            OAuthError: it may not be fetched, or there is no answer.
        """
        headers = {"accept": "application/json", VERSION: LATEST_MODERN_VERSION}
        for _ in range(_MAX_REDIRECTS + 1):
            target = self.guard.check(url, step)
            answer = await self._exchange(step, "GET", str(target), headers, None)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            url = self.join(target, location, step)
        raise OAuthError(step, f"more than {_MAX_REDIRECTS} redirects")

    @staticmethod
    def join(base: httpx2.URL, reference: str, step: OAuthStep) -> str:
        """`reference`, as a server at `base` means it.

        Raises:
            OAuthError: it is not a URL.
        """
        try:
            return str(base.join(reference))
        except (httpx2.InvalidURL, ValueError) as exc:
            raise OAuthError(step, "the server names something that is not a URL") from exc

    async def post(self, url: str, step: OAuthStep, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send what is secret. No redirect is followed.

        Raises:
            OAuthError: it may not be sent there, or there is no answer.
        """
        target = str(self.guard.check(url, step))
        return await self._exchange(step, "POST", target, {"accept": "application/json", **headers}, body)

    async def post_form(
        self, url: str, step: OAuthStep, headers: Mapping[str, str], form: Mapping[str, str]
    ) -> Answer:
        """Send a form; see `post`."""
        headers = {"content-type": "application/x-www-form-urlencoded", **headers}
        return await self.post(url, step, headers, urlencode(form).encode("ascii"))

    async def _exchange(
        self, step: OAuthStep, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        headers = {"user-agent": f"trio_mcp/{__version__}", **headers}
        try:
            return await self._send(method, url, headers, body)
        except ConnectorError as exc:
            where = url.partition("?")[0]
            raise OAuthError(step, f"no usable answer from {where}: {exc.message}") from exc


def quoted(text: object, secrets: tuple[str, ...] = ()) -> str | None:
    """What a server says, fit for an error message: short, on one line, without what we sent it in secret."""
    if not isinstance(text, str):
        return None
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        if len(secret) > 3:
            text = text.replace(secret, "[secret]")
    text = " ".join("".join(each if each.isprintable() else " " for each in text[:4096]).split())
    return text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "…"
