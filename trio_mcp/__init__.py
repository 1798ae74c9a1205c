"""The MCP (Model Context Protocol) client for Trio.

    async with open_connector("https://example.com/mcp") as c:
        with trio.fail_after(10):
            result = await c.call_tool("add", {"a": 1, "b": 2})

Docstrings cite pages of the specification by revision and path: `26/basic/index` is
https://modelcontextprotocol.io/specification/2026-07-28/basic/index, and so on; `2511/`, `2506/`, `2503/`
and `2411/` are the revisions 2025-11-25, 2025-06-18, 2025-03-26 and 2024-11-05.
"""

import logging

from ._version import __version__
from .callbacks import RequestContext
from .connector import Connector
from .deadlines import ConnectTimeout, Stalled
from .errors import (
    AccessDenied,
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
    ProtocolError,
    SessionExpired,
    TaskCancelled,
    TransportError,
    UnsupportedFeature,
    UsageError,
    VersionMismatch,
)
from .features.tasks import TASKS_EXTENSION, TaskHandle, TaskUpdate
from .http_connector import HttpConnector
from .opening import connect, open_connector
from .statistics import Statistics

__all__ = [
    "TASKS_EXTENSION",
    "AccessDenied",
    "AuthorizationError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "Connector",
    "ConnectorError",
    "HTTPStatusError",
    "HttpConnector",
    "InputRefused",
    "InternalError",
    "InvalidArguments",
    "InvalidOutput",
    "MCPError",
    "MessageTooLarge",
    "NotConnected",
    "ProtocolError",
    "RequestContext",
    "SessionExpired",
    "Stalled",
    "Statistics",
    "TaskCancelled",
    "TaskHandle",
    "TaskUpdate",
    "TransportError",
    "UnsupportedFeature",
    "UsageError",
    "VersionMismatch",
    "__version__",
    "connect",
    "open_connector",
]

# Without a handler of the program's, Python would print warnings to stderr: a library prints nothing.
logging.getLogger("trio_mcp").addHandler(logging.NullHandler())
