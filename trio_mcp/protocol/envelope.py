"""The `_meta` of a request: what a modern one must carry, and what the caller adds (26/basic/index)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from pydantic import BaseModel

from .wire import JSONObject

__all__ = ["dump", "envelope", "envelope_version", "with_lawful_ttl", "with_meta"]


def dump(model: BaseModel) -> dict[str, Any]:
    """A protocol model as the JSON object that goes on the wire."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def envelope(
    version: str, client_info: types.Implementation, capabilities: types.ClientCapabilities
) -> dict[str, Any]:
    """The `_meta` that every request of the modern `version` carries."""
    return {
        PROTOCOL_VERSION_META_KEY: version,
        CLIENT_INFO_META_KEY: dump(client_info),
        CLIENT_CAPABILITIES_META_KEY: dump(capabilities),
    }


def envelope_version(params: JSONObject | None) -> str | None:
    """The protocol version that a modern request carries in its `_meta`; None for a legacy one."""
    meta = params.get("_meta") if params is not None else None
    version = meta.get(PROTOCOL_VERSION_META_KEY) if meta is not None else None
    return version if isinstance(version, str) else None


def with_meta(params: JSONObject | None, *metas: Mapping[str, Any] | None) -> JSONObject | None:
    """`params` with `_meta` entries added, the later ones stronger; as they are if there are none."""
    added: dict[str, Any] = {}
    for meta in metas:
        added.update(meta or ())
    if not added:
        return params
    params = params or {}
    return {**params, "_meta": {**(params.get("_meta") or {}), **added}}


def with_lawful_ttl(result: JSONObject) -> JSONObject:
    """`result` with a negative `ttlMs` as 0, which it means (26/server/utilities/caching)."""
    ttl = result.get("ttlMs")
    return {**result, "ttlMs": 0} if isinstance(ttl, int | float) and ttl < 0 else result
