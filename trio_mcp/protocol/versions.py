"""Which protocol versions there are, and what each of them has.

Versions are an enumerated set, never compared as text (26/basic/versioning).
"""

from __future__ import annotations

from typing import Final

from mcp_types import (
    HEADER_MISMATCH,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS as LEGACY_VERSIONS,
)
from mcp_types.version import (
    KNOWN_PROTOCOL_VERSIONS as KNOWN_VERSIONS,
)
from mcp_types.version import (
    LATEST_HANDSHAKE_VERSION as LATEST_LEGACY_VERSION,
)
from mcp_types.version import (
    LATEST_MODERN_VERSION,
    is_version_at_least,
)
from mcp_types.version import (
    MODERN_PROTOCOL_VERSIONS as MODERN_VERSIONS,
)

__all__ = [
    "KNOWN_VERSIONS",
    "LATEST_LEGACY_VERSION",
    "LATEST_MODERN_VERSION",
    "LEGACY_VERSIONS",
    "MODERN_ERRORS",
    "MODERN_VERSIONS",
    "has_batches",
    "has_elicitation",
    "has_method",
    "has_url_elicitation_error",
    "is_modern",
    "is_repeatable",
    "sends_version_header",
]

MODERN_ERRORS: Final = frozenset(
    {HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION}
)
"""The codes of errors that only a modern server answers with (26/basic/index)."""

_LEGACY_ONLY: Final = frozenset(
    {
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    }
)
_REPEATABLE: Final = frozenset(
    {
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "tasks/cancel",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "tools/list",
    }
)
_MODERN_ONLY: Final = frozenset({"server/discover", "subscriptions/listen", "tasks/update"})


def is_modern(version: str) -> bool:
    """Whether `version` is of the stateless era, with its metadata on every request."""
    return version in MODERN_VERSIONS


def has_method(method: str, version: str) -> bool:
    """Whether `version` has the client's request `method`; a method of no version is an extension's."""
    return method not in (_LEGACY_ONLY if is_modern(version) else _MODERN_ONLY)


def is_repeatable(method: str) -> bool:
    """Whether a request does the same twice as it does once. A tool call need not, nor an extension's."""
    return method in _REPEATABLE


def has_batches(version: str | None) -> bool:
    """Whether the peer may send JSON-RPC batches: 2025-03-26 alone had them (2503/basic)."""
    return version == "2025-03-26"


def has_elicitation(version: str) -> bool:
    """Whether the server may send `elicitation/create` (since 2025-06-18)."""
    return is_version_at_least(version, "2025-06-18")


def has_url_elicitation_error(version: str | None) -> bool:
    """Whether the error -32042 asks for elicitation by URL: in 2025-11-25 alone (2511/client/elicitation)."""
    return version == "2025-11-25"


def sends_version_header(version: str | None) -> bool:
    """Whether requests carry `MCP-Protocol-Version`: defined since 2025-06-18 (2506/basic/transports)."""
    return version is not None and is_version_at_least(version, "2025-06-18")
