"""The HTTP headers that mirror a message, and how their values are made safe.

26/basic/transports/streamable-http, "Request Metadata" and "Value Encoding" (SEP-2243).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

from ..errors import ConfigurationError
from .wire import Notification, Request

__all__ = [
    "LAST_EVENT_ID",
    "PARAM_PREFIX",
    "SESSION_ID",
    "VERSION",
    "check_headers",
    "check_request_headers",
    "encode_value",
    "is_plain",
    "is_session_id",
    "mirror_headers",
]

VERSION: Final = "mcp-protocol-version"
SESSION_ID: Final = "mcp-session-id"
LAST_EVENT_ID: Final = "last-event-id"
PARAM_PREFIX: Final = "mcp-param-"
_METHOD: Final = "mcp-method"
_NAME: Final = "mcp-name"

_NAME_SOURCE: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}

# How a message is framed is HTTP's own business: set from outside, they would break or smuggle requests.
_FRAMING: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_MARKER: Final = re.compile(r"=\?base64\?.*\?=", re.DOTALL)


def mirror_headers(message: Request | Notification, version: str) -> dict[str, str]:
    """The standard headers of a modern message: its version, its method, and the name it is about."""
    headers = {VERSION: version, _METHOD: message.method}
    source = _NAME_SOURCE.get(message.method)
    if source is not None and message.params is not None:
        name = message.params.get(source)
        if isinstance(name, str):
            headers[_NAME] = encode_value(name)
    return headers


def encode_value(value: str) -> str:
    """`value` as a header can carry it: itself where that is safe, else in base64 between markers.

    This is also the defence against header injection: a line break never gets through as one.
    """
    if not value or (is_plain(value) and not _MARKER.fullmatch(value)):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A copy of the caller's headers, names in lower case.

    Raises:
        ConfigurationError: a name or value that would not survive, or would forge, a request.
    """
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"headers must be a mapping of names to values, not {type(headers).__name__}"
        )
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not the name of an HTTP header")
        if name.lower() in _FRAMING:
            raise ConfigurationError(f"the header {name!r} is set by the HTTP client itself")
        # The value may be a credential: say which header it is, and not what it holds.
        if not isinstance(value, str):
            raise ConfigurationError(
                f"the value of header {name!r} must be a str, not {type(value).__name__}"
            )
        if value and not is_plain(value):
            raise ConfigurationError(f"the value of header {name!r} is not visible ASCII")
        checked[name.lower()] = value
    return checked


def check_request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A copy of the headers for one request, names in lower case.

    Raises:
        ConfigurationError: see `check_headers`; or one of the protocol's own, which the request settles.
    """
    checked = check_headers(headers)
    for name in checked:
        if name.startswith("mcp-") and not name.startswith(PARAM_PREFIX):
            raise ConfigurationError(f"the header {name!r} is the protocol's own")
    return checked


def is_plain(value: str) -> bool:
    """Whether a header can carry `value` as it is."""
    return _PLAIN.fullmatch(value) is not None


def is_session_id(value: str | None) -> bool:
    """Whether the server's session id may be sent back: visible ASCII (2511/basic/transports)."""
    return value is not None and _VISIBLE.fullmatch(value) is not None
