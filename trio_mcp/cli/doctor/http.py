"""What answers at a URL, before anything is said of MCP."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx2
import trio

from ...errors import ConnectorError
from ...http import open_engine
from ...http.engine import HttpRequest, Reply
from .findings import Findings, Stopwatch

__all__ = ["Answered", "check_http"]

_MAX_BODY: Final = 1 << 16
# Two, and not one with all between: of a page of nothing but `<title>`, each would be tried to its end.
_TITLE: Final = re.compile(r"<title[^<>]*>", re.IGNORECASE)
_TITLE_END: Final = re.compile(r"</title", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came.

    Attributes:
        status: of HTTP.
        content_type: without its parameters, in lower case.
        headers: by name, in lower case.
        title: of an HTML page.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    title: str | None = None

    @property
    def is_page(self) -> bool:
        """Whether it is something to be looked at in a browser."""
        return self.content_type == "text/html"


async def check_http(
    findings: Findings, url: httpx2.URL, options: Mapping[str, Any], patience: float
) -> Answered | None:
    """GET the URL, as a browser would; what came, or None if nothing did.

    That it is refused says nothing yet: MCP POSTs.
    """
    watch = Stopwatch()
    headers = {"accept": "text/event-stream, text/html;q=0.5", **options["headers"]}
    if isinstance(options.get("auth"), str):
        headers["authorization"] = f"Bearer {options['auth']}"
    request = HttpRequest("GET", str(url), headers, None, patience, patience, True)
    answered = None
    why = f"the server takes the connection, but has not answered a GET within {patience:g} s"
    try:
        with trio.move_on_after(patience):
            async with open_engine(url, verify=options.get("verify", True)) as engine:
                reply, _ = await engine.send(request)
                seconds = watch.seconds
                try:
                    answered = await _read(reply)
                finally:
                    await reply.close()  # noqa: ASYNC102 - shielded, and never waits
    except ConnectorError as exc:
        why = exc.message
    if answered is None:
        findings.add("HTTP", "note", why, watch.seconds)
        return None
    findings.add("HTTP", "ok", _described(answered), seconds)
    return answered


async def _read(reply: Reply) -> Answered:
    content_type = reply.fields.get("content-type", "").partition(";")[0].strip().lower()
    title = None
    if content_type == "text/html":
        body = b""
        while len(body) < _MAX_BODY and (piece := await reply.receive()):
            body += piece
        title = _title(body.decode("utf-8", "replace"))
    return Answered(reply.status, content_type, reply.fields, title)


def _title(page: str) -> str | None:
    begin = _TITLE.search(page)
    end = begin and _TITLE_END.search(page, begin.end())
    if not begin or not end:
        return None
    return " ".join(html.unescape(page[begin.end() : end.start()]).split())[:100]


def _described(answered: Answered) -> str:
    try:
        phrase = f" {HTTPStatus(answered.status).phrase}"
    except ValueError:
        phrase = ""
    parts = [f"a GET is answered by {answered.status}{phrase}"]
    if answered.is_page:
        parts.append(f"an HTML page{f', {answered.title!r}' if answered.title else ''}")
    elif answered.content_type:
        parts.append(answered.content_type)
    if server := answered.headers.get("server"):
        parts.append(f"server {server[:50]}")
    return ", ".join(parts)
