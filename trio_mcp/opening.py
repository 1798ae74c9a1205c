"""From a target to its connector: `open_connector` for a block, `connect` for a nursery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import mcp_types as types
import trio
from typing_extensions import Unpack

from .auth import AuthOption
from .block import check_trio
from .connector import Connector
from .errors import ConfigurationError
from .http import HttpClientOption, Verify
from .http_connector import HttpConnector, HttpTransportOption
from .memory_connector import MemoryConnector, MemoryOptions, is_server
from .network import Network
from .options import CommonOptions
from .reconnecting import ReconnectPolicy
from .stdio_connector import StdioConnector, StdioOptions
from .transports.stdio import StdioServer
from .websocket_connector import WebSocketConnector, WebSocketOptions

if TYPE_CHECKING:
    from .memory_connector import InProcessServer

__all__ = ["HttpOptions", "connect", "open_connector", "options_of"]


class HttpOptions(CommonOptions, total=False):
    """The options of an `http(s)://` target; what they mean stands at `HttpConnector`."""

    headers: Mapping[str, str] | None
    timeout: float
    sse_read_timeout: float
    auth: AuthOption
    verify: Verify | None
    roots: Sequence[types.Root] | None
    transport: HttpTransportOption
    http_client: HttpClientOption
    network: Network | None
    proxy: str | None
    reconnect: bool | ReconnectPolicy
    max_message_size: int
    max_connections: int


@overload
def open_connector(target: str, **options: Unpack[HttpOptions]) -> Connector: ...
@overload
def open_connector(target: str, **options: Unpack[WebSocketOptions]) -> Connector: ...
@overload
def open_connector(target: StdioServer, **options: Unpack[StdioOptions]) -> Connector: ...
@overload
def open_connector(target: InProcessServer, **options: Unpack[MemoryOptions]) -> Connector: ...
def open_connector(target: str | StdioServer | InProcessServer, **options: Any) -> Connector:
    """The connector for `target`, to be entered:

        async with open_connector("https://example.com/mcp", auth="token") as c:
            tools = await c.list_tools()

    Args:
        target: the URL of an MCP endpoint, `http://`, `https://`, `ws://` or `wss://`; a `StdioServer`, which
            is started; or a server object of the official SDK, which runs in this process.
        **options: see `HttpConnector`, `WebSocketConnector`, `StdioConnector` and `MemoryConnector`.

    Raises:
        ConfigurationError: a target or an option that cannot work. Entering the block raises `ConnectError`,
            and the other errors of `errors.py`, each flat and typed.
    """
    make, _ = _kind_of(target)
    return make(target, **options)


def options_of(target: object) -> frozenset[str]:
    """The names of the options that `open_connector` takes for `target`.

    Raises:
        ConfigurationError: it is no target.
    """
    _, options = _kind_of(target)
    names: frozenset[str] = options.__optional_keys__
    return names


def _kind_of(target: object) -> tuple[Callable[..., Connector], Any]:
    """What makes the connector, and the type of its options."""
    if isinstance(target, str):
        if target.partition("://")[0].lower() in ("ws", "wss"):
            return WebSocketConnector, WebSocketOptions
        return HttpConnector, HttpOptions
    if isinstance(target, StdioServer):
        return StdioConnector, StdioOptions
    if is_server(target):
        return MemoryConnector, MemoryOptions
    raise ConfigurationError(
        f"a target is a URL (str), a StdioServer or a server object, not {type(target).__name__}"
    )


@overload
async def connect(nursery: trio.Nursery, target: str, **options: Unpack[HttpOptions]) -> Connector: ...
@overload
async def connect(nursery: trio.Nursery, target: str, **options: Unpack[WebSocketOptions]) -> Connector: ...
@overload
async def connect(
    nursery: trio.Nursery, target: StdioServer, **options: Unpack[StdioOptions]
) -> Connector: ...
@overload
async def connect(
    nursery: trio.Nursery, target: InProcessServer, **options: Unpack[MemoryOptions]
) -> Connector: ...
async def connect(nursery: trio.Nursery, target: Any, **options: Any) -> Connector:
    """Connect to `target`, with the connection's tasks in the caller's nursery.

    It is open when this returns. End it with `await c.aclose()`; cancelling the nursery ends it too, and
    says goodbye all the same. What a callback raises comes out of the nursery.

    Args:
        nursery: where the connection lives.
        target: see `open_connector`.
        **options: see `open_connector`.

    Raises:
        ConnectorError: it could not be opened.
    """
    check_trio()
    connector = open_connector(target, **options)
    await nursery.start(connector.run)
    return connector
