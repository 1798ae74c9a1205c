"""JSON-RPC messages as a script writes them, and server-sent events."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

__all__ = ["Json", "error", "event", "notification", "progress", "request", "response"]

Json: TypeAlias = dict[str, Any]
"""A JSON object."""


def request(id: int | str, method: str, params: Json | None = None) -> Json:
    """A request of the server."""
    return {**notification(method, params), "id": id}


def notification(method: str, params: Json | None = None) -> Json:
    """A notification."""
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}


def progress(token: int | str, value: float, total: float | None = None, message: str | None = None) -> Json:
    """A `notifications/progress`; `Call.progress` knows the token."""
    params = {"progressToken": token, "progress": value, "total": total, "message": message}
    return notification("notifications/progress", {k: v for k, v in params.items() if v is not None})


def response(id: int | str | None, result: Json) -> Json:
    """A successful answer."""
    return {"jsonrpc": "2.0", "id": id, "result": result}


def error(id: int | str | None, code: int, message: str = "no", data: object = None) -> Json:
    """The answer that a request failed."""
    body = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return {"jsonrpc": "2.0", "id": id, "error": body}


def event(message: Json | str, id: str | None = None, retry: int | str | None = None) -> bytes:
    """One server-sent event.

    Args:
        message: what it carries; text as it is, so "" makes an event that only marks a place.
        id: the place to resume from, behind this event.
        retry: milliseconds after which to come back; text as it is.
    """
    lines = [] if id is None else [f"id: {id}"]
    lines += [] if retry is None else [f"retry: {retry}"]
    data = message if isinstance(message, str) else json.dumps(message)
    return "\n".join([*lines, f"data: {data}", "", ""]).encode()
