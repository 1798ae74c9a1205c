"""What the HTTP engine raises, as trio_mcp's own errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import httpx2

from ..deadlines import ConnectTimeout, Stalled
from ..errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    ProtocolError,
)

__all__ = ["translate_errors"]

# How h11's messages begin when the peer went away, in distinction to nonsense from it.
_HUNG_UP = ("Server disconnected", "peer closed connection", "peer unexpectedly closed")


@contextmanager
def translate_errors(timeout: float) -> Generator[None]:
    """Turn the engine's exceptions into ours; `timeout` is what to name in them, in seconds."""
    try:
        yield
    except (httpx2.RequestError, httpx2.StreamError) as exc:
        raise _translate(exc, timeout) from exc
    except httpx2.InvalidURL as exc:
        raise ConfigurationError(f"not a usable URL: {exc}") from exc


def _translate(exc: Exception, timeout: float) -> ConnectorError:
    match exc:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return ConnectTimeout(f"no connection within {timeout:g} s (timeout=)")
        case httpx2.TimeoutException():
            return Stalled(f"the server did not take or send anything for {timeout:g} s")
        case httpx2.ConnectError() | httpx2.ProxyError():
            return ConnectError(f"could not connect: {_root_cause(exc)}")
        case httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
            return ConfigurationError(f"the request cannot be sent: {exc}")
        case httpx2.RemoteProtocolError() if not str(exc).startswith(_HUNG_UP):
            return ProtocolError(f"the server broke HTTP: {exc}")
        case httpx2.DecodingError():
            return ProtocolError(f"the server's content encoding is broken: {exc}")
        case _:
            return ConnectionLost(f"the connection broke: {_root_cause(exc)}")


def _root_cause(exc: BaseException) -> str:
    """The innermost reason: "[Errno 111] Connection refused", rather than "all attempts failed"."""
    while True:
        inner = exc.__cause__ or exc.__context__
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        if inner is None:
            return str(exc) or type(exc).__name__
        exc = inner
