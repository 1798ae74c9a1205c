"""What the HTTP engine raises, as trio_mcp's own errors."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

import httpx2

from ..deadlines import ConnectTimeout, Stalled
from ..errors import (
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    ProtocolError,
    TransportError,
)

__all__ = ["translate_errors"]

# How h11's messages begin when the peer went away, in distinction to nonsense from it.
_HUNG_UP = ("Server disconnected", "peer closed connection", "peer unexpectedly closed")


@contextmanager
def translate_errors(timeout: float, *, authorizing: bool = False) -> Generator[None]:
    """Turn the engine's exceptions into ours.

    Args:
        timeout: what to name in them, in seconds.
        authorizing: whether an auth flow of the user's is at work, which may raise anything.
    """
    handled = sys.exception()  # the program's own, if this is in an `except` block of it
    try:
        yield
    except ConnectorError:
        raise
    except httpx2.LocalProtocolError:
        # Its text may quote a header, and so a token.
        raise ConfigurationError("the request cannot be sent: it breaks HTTP, perhaps in a header") from None
    except (httpx2.RequestError, httpx2.StreamError) as exc:
        raise _translate(exc, timeout, handled) from exc
    except (httpx2.InvalidURL, UnicodeError) as exc:  # the second one: a host name that IDNA refuses
        raise ConfigurationError(f"not a usable URL: {exc}") from exc
    except Exception as exc:
        kind = AuthorizationError if authorizing else TransportError
        raise kind(f"the HTTP client{' or its auth' * authorizing} failed: {type(exc).__name__}") from exc


def _translate(exc: Exception, timeout: float, handled: BaseException | None) -> ConnectorError:
    match exc:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return ConnectTimeout(f"no connection within {timeout:g} s (timeout=)")
        case httpx2.TimeoutException():
            return Stalled(f"the server did not take or send anything for {timeout:g} s")
        case httpx2.ConnectError() | httpx2.ProxyError():
            return ConnectError(f"could not connect: {_root_cause(exc, handled)}")
        case httpx2.UnsupportedProtocol():
            return ConfigurationError(f"the request cannot be sent: {exc}")
        case httpx2.RemoteProtocolError() if not str(exc).startswith(_HUNG_UP):
            return ProtocolError(f"the server broke HTTP: {exc}")
        case httpx2.DecodingError():
            return ProtocolError(f"the server's content encoding is broken: {exc}")
        case _:
            return ConnectionLost(f"the connection broke: {_root_cause(exc, handled)}")


def _root_cause(exc: BaseException, handled: BaseException | None) -> str:
    """The innermost reason: "[Errno 111] Connection refused", rather than "all attempts failed"."""
    while True:
        inner = exc.__cause__ or exc.__context__
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        if inner is None or inner is handled:
            return str(exc) or type(exc).__name__
        exc = inner
