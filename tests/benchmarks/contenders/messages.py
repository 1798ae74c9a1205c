"""The requests of the contenders that are no MCP client: the same JSON and headers as a client sends."""

from __future__ import annotations

import itertools
from typing import Any, Final

from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from .base import ARGUMENTS

VERSION: Final = "2026-07-28"
HEADERS: Final = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": VERSION,
}

_ENVELOPE: Final = {
    PROTOCOL_VERSION_META_KEY: VERSION,
    CLIENT_INFO_META_KEY: {"name": "benchmark", "version": "1.0"},
    CLIENT_CAPABILITIES_META_KEY: {},
}
_ids = itertools.count(1)


def discover() -> dict[str, Any]:
    return _request("server/discover", {"_meta": _ENVELOPE})


def call(tool: str) -> dict[str, Any]:
    return _request("tools/call", {"name": tool, "arguments": ARGUMENTS, "_meta": _ENVELOPE})


def call_with_progress(tool: str) -> dict[str, Any]:
    meta = {**_ENVELOPE, "progressToken": next(_ids)}
    return _request("tools/call", {"name": tool, "arguments": ARGUMENTS, "_meta": meta})


def mirror(message: dict[str, Any]) -> dict[str, str]:
    """The headers that tell what the message is (26/basic/transports/streamable-http)."""
    headers = {"mcp-method": message["method"]}
    if "name" in message["params"]:
        headers["mcp-name"] = message["params"]["name"]
    return headers


def _request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}
