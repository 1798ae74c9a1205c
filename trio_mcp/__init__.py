"""The MCP (Model Context Protocol) client for Trio.

    async with open_connector("https://example.com/mcp") as c:
        with trio.fail_after(10):
            result = await c.call_tool("add", {"a": 1, "b": 2})

Docstrings cite pages of the specification by revision and path: `26/basic/index` is
https://modelcontextprotocol.io/specification/2026-07-28/basic/index, and so on; `2511/`, `2506/`, `2503/`
and `2411/` are the revisions 2025-11-25, 2025-06-18, 2025-03-26 and 2024-11-05.
"""

import importlib
import logging
from typing import TYPE_CHECKING

from ._version import __version__
from .auth import (
    IdentityProvider,
    MemoryStorage,
    OAuth,
    Registration,
    StoredToken,
    TokenKey,
    TokenStorage,
)
from .auth.storage import ClientKey
from .callbacks import ConnectionChange, RequestContext
from .connector import Connector
from .deadlines import ConnectTimeout, LoginTimeout, Stalled
from .errors import (
    AccessDenied,
    AmbiguousName,
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    HTTPStatusError,
    InputRefused,
    InternalError,
    InvalidArguments,
    InvalidOutput,
    MCPError,
    MessageTooLarge,
    NotConnected,
    OAuthError,
    ProtocolError,
    ServerFailed,
    ServerUnavailable,
    SessionExpired,
    TaskCancelled,
    ToolFailed,
    TransportError,
    UnknownName,
    UnsupportedFeature,
    URLElicitationRequired,
    UsageError,
    VersionMismatch,
)
from .features.extensions import Extension, ResultContext
from .features.listening import Subscription
from .features.listening.events import (
    Event,
    Gap,
    PromptsChanged,
    ResourcesChanged,
    ResourceUpdated,
    TaskChanged,
    ToolsChanged,
)
from .features.response_cache import CacheEntry, CacheKey, CacheStore, MemoryCache
from .features.tasks import TASKS_EXTENSION, TaskHandle, TaskUpdate
from .features.uri_templates import expand_uri_template
from .http_connector import HttpConnector
from .memory_connector import MemoryConnector
from .opening import connect, open_connector
from .reconnecting import ReconnectPolicy
from .statistics import Statistics
from .stdio_connector import StdioConnector
from .stream_connector import StreamConnector, wrap_stream
from .transports.stdio import StdioServer
from .websocket_connector import WebSocketConnector

if TYPE_CHECKING:
    from .auth.file_storage import FileStorage
    from .auth.keyring_storage import KeyringStorage
    from .config import load_servers
    from .group import (
        ConnectorGroup,
        Down,
        GroupEvent,
        GroupEvents,
        GroupPrompt,
        GroupResource,
        GroupResourceTemplate,
        GroupTool,
        Listing,
        Server,
        ServerState,
        Up,
        open_connectors,
    )

__all__ = [
    "AccessDenied",
    "AmbiguousName",
    "AuthorizationError",
    "CacheEntry",
    "CacheKey",
    "CacheStore",
    "ClientKey",
    "ConfigurationError",
    "ConnectError",
    "ConnectionChange",
    "ConnectionLost",
    "Connector",
    "ConnectorError",
    "ConnectorGroup",
    "ConnectTimeout",
    "Down",
    "Event",
    "Extension",
    "FileStorage",
    "Gap",
    "GroupEvent",
    "GroupEvents",
    "GroupPrompt",
    "GroupResource",
    "GroupResourceTemplate",
    "GroupTool",
    "HttpConnector",
    "HTTPStatusError",
    "IdentityProvider",
    "InputRefused",
    "InternalError",
    "InvalidArguments",
    "InvalidOutput",
    "KeyringStorage",
    "Listing",
    "LoginTimeout",
    "MCPError",
    "MemoryCache",
    "MemoryConnector",
    "MemoryStorage",
    "MessageTooLarge",
    "NotConnected",
    "OAuth",
    "OAuthError",
    "PromptsChanged",
    "ProtocolError",
    "ReconnectPolicy",
    "Registration",
    "RequestContext",
    "ResourcesChanged",
    "ResourceUpdated",
    "ResultContext",
    "Server",
    "ServerFailed",
    "ServerState",
    "ServerUnavailable",
    "SessionExpired",
    "Stalled",
    "Statistics",
    "StdioConnector",
    "StdioServer",
    "StoredToken",
    "StreamConnector",
    "Subscription",
    "TaskCancelled",
    "TaskChanged",
    "TaskHandle",
    "TASKS_EXTENSION",
    "TaskUpdate",
    "TokenKey",
    "TokenStorage",
    "ToolFailed",
    "ToolsChanged",
    "TransportError",
    "UnknownName",
    "UnsupportedFeature",
    "Up",
    "URLElicitationRequired",
    "UsageError",
    "VersionMismatch",
    "WebSocketConnector",
    "__version__",
    "connect",
    "expand_uri_template",
    "load_servers",
    "open_connector",
    "open_connectors",
    "wrap_stream",
]

# What not every program needs is imported where it is asked for.
_LATE = {
    "FileStorage": ".auth.file_storage",
    "KeyringStorage": ".auth.keyring_storage",
    "load_servers": ".config",
    "ConnectorGroup": ".group",
    "Down": ".group",
    "GroupEvent": ".group",
    "GroupEvents": ".group",
    "GroupPrompt": ".group",
    "GroupResource": ".group",
    "GroupResourceTemplate": ".group",
    "GroupTool": ".group",
    "Listing": ".group",
    "Server": ".group",
    "ServerState": ".group",
    "Up": ".group",
    "open_connectors": ".group",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_LATE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


# Without a handler of the program's, Python would print warnings to stderr: a library prints nothing.
logging.getLogger("trio_mcp").addHandler(logging.NullHandler())
