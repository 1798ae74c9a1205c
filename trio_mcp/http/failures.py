"""What an httpx2 client raises, as trio_mcp's own errors, and the other way round."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import httpx2

from ..deadlines import ConnectTimeout, Stalled
from ..errors import (
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    MessageTooLarge,
    ProtocolError,
    TransportError,
)

__all__ = ["as_httpx2", "check_coding", "root_cause", "too_large", "translate_errors"]

# How h11's messages begin when the peer went away, in distinction to nonsense from it.
_HUNG_UP = ("Server disconnected", "peer closed connection", "peer unexpectedly closed")

_COUNTERPARTS: Final[list[tuple[type[ConnectorError], type[httpx2.RequestError]]]] = [
    (ConnectTimeout, httpx2.ConnectTimeout),
    (ConnectError, httpx2.ConnectError),
    (Stalled, httpx2.ReadTimeout),
    (ConnectionLost, httpx2.ReadError),
    (ProtocolError, httpx2.RemoteProtocolError),
    (ConfigurationError, httpx2.LocalProtocolError),
    (TransportError, httpx2.TransportError),
]
"""What our own engine raises, the more special first."""


@contextmanager
def as_httpx2(request: httpx2.Request) -> Generator[None]:
    """Raise our own engine's errors as an httpx2 transport does; ours is the cause."""
    try:
        yield
    except ConnectorError as exc:
        kind = next(theirs for ours, theirs in _COUNTERPARTS if isinstance(exc, ours))
        raise kind(exc.message, request=request) from exc


@contextmanager
def translate_errors(timeout: float, *, authorizing: bool = False) -> Generator[None]:
    """Turn the exceptions of an httpx2 client into ours.

    Args:
        timeout: what to name in them, in seconds.
        authorizing: whether an auth flow of the user's is at work, which may raise anything.
    """
    try:
        yield
    except ConnectorError:
        raise
    except (httpx2.RequestError, httpx2.StreamError) as exc:
        ours = exc.__cause__
        if isinstance(ours, ConnectorError):  # it was ours before
            raise ours from ours.__cause__
        if isinstance(exc, httpx2.LocalProtocolError):
            # Its text may quote a header, and so a token.
            raise ConfigurationError(
                "the request cannot be sent: it breaks HTTP, perhaps in a header"
            ) from None
        raise _translate(exc, timeout) from exc
    except (httpx2.InvalidURL, UnicodeError) as exc:  # the second one: a host name that IDNA refuses
        raise ConfigurationError(f"not a usable URL: {exc}") from exc
    except Exception as exc:
        kind = AuthorizationError if authorizing else TransportError
        raise kind(f"the HTTP client{' or its auth' * authorizing} failed: {type(exc).__name__}") from exc


def _translate(exc: Exception, timeout: float) -> ConnectorError:
    match exc:
        case httpx2.ConnectTimeout():
            return ConnectTimeout(f"no connection within {timeout:g} s (timeout=)")
        case httpx2.PoolTimeout():
            return ConnectTimeout(
                f"the http_client had no connection free for {timeout:g} s (timeout=): its limits allow too "
                "few; each call takes one while it lasts, and so does a server's GET stream"
            )
        case httpx2.TimeoutException():
            return Stalled(f"the server did not take or send anything for {timeout:g} s")
        case httpx2.ConnectError() | httpx2.ProxyError():
            return ConnectError(f"could not connect: {root_cause(exc)}")
        case httpx2.UnsupportedProtocol():
            return ConfigurationError(f"the request cannot be sent: {exc}")
        case httpx2.RemoteProtocolError() if not str(exc).startswith(_HUNG_UP):
            return ProtocolError(f"the server broke HTTP: {exc}")
        case httpx2.DecodingError():
            return ProtocolError(f"the server's content encoding is broken: {exc}")
        case _:
            return ConnectionLost(f"the connection broke: {root_cause(exc)}")


def check_coding(value: str | None) -> None:
    """Make sure that a `Content-Encoding` is one coding at most.

    In layers, a few bytes can be gigabytes in between, of which nothing comes out that could be counted.

    Raises:
        ProtocolError: it has layers.
    """
    if (
        value is not None
        and sum(each.strip().lower() not in ("", "identity") for each in value.split(",")) > 1
    ):
        raise ProtocolError("the server's content encoding has several layers, which nobody asked for")


def too_large(max_size: int) -> MessageTooLarge:
    """The error where a body is larger than the limit."""
    return MessageTooLarge(
        f"the server sent a body of more than {max_size} bytes; max_message_size raises the limit"
    )


def root_cause(exc: BaseException) -> str:
    """The innermost reason: "[Errno 111] Connection refused", rather than "all attempts failed".

    `__context__` is no reason: it may be what the program itself was handling when it asked for this.
    """
    while (inner := exc.__cause__) is not None:
        exc = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else inner
    return str(exc) or type(exc).__name__
