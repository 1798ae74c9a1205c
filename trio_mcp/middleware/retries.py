"""Trying again, where the server cannot have done twice what was asked once."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any, Final

import mcp_types as types
import trio

from ..errors import ConfigurationError, ConnectError, ConnectionLost, ConnectorError, HTTPStatusError
from ..protocol.versions import is_repeatable
from .base import CallNext, Middleware, MiddlewareContext

__all__ = ["RetryMiddleware"]

# The server, or what is before it, has not begun: too many requests; too early a one (RFC 6585, 8470).
_REFUSED: Final = frozenset({425, 429})
# It is away for the moment; whether it had begun, nobody knows.
_AWAY: Final = frozenset({408, 502, 503, 504})


class RetryMiddleware(Middleware):
    """Tries a request again that failed in a way that may pass.

    Any request is tried again if the server has not begun with it: no connection could be made
    (`ConnectError`), or it answered 429 or 425. Requests that do the same twice as once (lists, resources,
    prompts, completions, the handshake; not tool calls, nor an extension's requests) are tried again also
    after a connection that was lost or fell silent (`ConnectionLost`), and after 408, 502, 503 and 504. A
    JSON-RPC error is the server's answer, and never a reason; nor is a call of which an earlier round had
    been answered (`ConnectorError.begun`).

    The wait before try n + 1 is `initial * factor ** (n - 1)` seconds, at most `maximum`, less a random part.
    A server that asks for a longer one (`Retry-After`) is obeyed; if it asks for more than `longest_wait`,
    the request has failed. The last error is raised as it is, with a note of how often it was tried.

    The caller's deadline bounds it all, and for the handshake `connect_timeout`.

    Args:
        attempts: how often a request is tried at most, the first time included.
        initial: seconds before the second try.
        maximum: seconds that a wait is not to exceed by itself.
        factor: by what it grows.
        jitter: the random part of each wait, from 0 for none to 1 for all of it.
        longest_wait: seconds of `Retry-After` that are obeyed.
        repeatable_tools: tools whose calls do the same twice as once, because you know them.
        rng: the source of the random part; None for one of its own.

    Raises:
        ConfigurationError: a number that makes no sense.
    """

    def __init__(
        self,
        attempts: int = 3,
        *,
        initial: float = 0.5,
        maximum: float = 30,
        factor: float = 2,
        jitter: float = 0.5,
        longest_wait: float = 60,
        repeatable_tools: Collection[str] = (),
        rng: random.Random | None = None,
    ) -> None:
        if type(attempts) is not int or attempts < 1:
            raise ConfigurationError(f"attempts must be an int above 0, not {attempts!r}")
        lawful = initial >= 0 and maximum >= 0 and factor >= 1 and 0 <= jitter <= 1 and longest_wait >= 0
        if not lawful:
            raise ConfigurationError("no wait is negative, factor is at least 1, jitter is between 0 and 1")
        if isinstance(repeatable_tools, str):
            raise ConfigurationError("repeatable_tools is a collection of names, not one name")
        self._attempts = attempts
        self._initial = initial
        self._maximum = maximum
        self._factor = factor
        self._jitter = jitter
        self._longest_wait = longest_wait
        self._repeatable_tools = frozenset(repeatable_tools)
        self._rng = rng or random.Random()

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `Middleware`."""
        delay = min(self._initial, self._maximum)
        attempt = 1
        while True:
            try:
                return await call_next(context)
            except ConnectorError as exc:
                wait = self._wait(exc, delay) if self._may_pass(exc, context) else None
                if wait is None or attempt == self._attempts:
                    if attempt > 1:
                        exc.add_note(f"tried {attempt} times")
                    raise
            await trio.sleep(wait)
            delay = min(delay * self._factor, self._maximum)
            attempt += 1

    def _may_pass(self, exc: ConnectorError, context: MiddlewareContext[Any]) -> bool:
        """Whether it may go better next time, and trying does no harm."""
        status = exc.status_code if isinstance(exc, HTTPStatusError) else None
        if self._is_repeatable(context):
            return isinstance(exc, ConnectError | ConnectionLost) or status in _REFUSED | _AWAY
        return not exc.begun and (isinstance(exc, ConnectError) or status in _REFUSED)

    def _is_repeatable(self, context: MiddlewareContext[Any]) -> bool:
        if isinstance(context.params, types.CallToolRequestParams):
            return context.params.name in self._repeatable_tools
        return is_repeatable(context.method)

    def _wait(self, exc: ConnectorError, delay: float) -> float | None:
        """Seconds to wait; None if the server asks for too many."""
        asked = exc.retry_after if isinstance(exc, HTTPStatusError) else None
        if asked is not None and asked > self._longest_wait:
            return None
        return max(asked or 0, delay * (1 - self._jitter * self._rng.random()))
