"""Sessions of legacy servers, opened anew where the server has ended one (2511/basic/transports)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from .callbacks import in_callback
from .deadlines import patience
from .dispatcher import Dispatcher
from .errors import ConnectorError, NotConnected, SessionExpired, UsageError
from .protocol.wire import JSONObject, Notification, Request, RequestId
from .statistics import Statistics
from .supervision import Supervisor
from .transports.base import Transport

__all__ = ["LASTING", "Renewals"]

T = TypeVar("T")
M = TypeVar("M", Request, Notification)
logger: Final = logging.getLogger("trio_mcp")

LASTING: Final = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""The requests whose effect a new session must be told of."""


class Renewals:
    """Sends over the session that there is, and sees to it that there is one.

    Args:
        transport: what carries it.
        dispatcher: is told of what that means for the server's own messages.
        supervisor: where handshakes are made.
        statistics: what to count in.
        handshake: opens a session, within a bound.
        next_id: gives the ids of requests.
        patience: seconds that telling a new session what the old one knew may take.
    """

    def __init__(
        self,
        transport: Transport,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        statistics: Statistics,
        *,
        handshake: Callable[[], Awaitable[None]],
        next_id: Callable[[], RequestId],
        patience: float,
    ) -> None:
        self._transport = transport
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._statistics = statistics
        self._handshake = handshake
        self._next_id = next_id
        self._patience = patience
        self._renewal: _Renewal | None = None
        self._standing: dict[str, tuple[str, JSONObject]] = {}

    def remember(self, method: str, params: JSONObject) -> None:
        """Keep what a new session is to be told, should the server end this one."""
        match method:
            case "logging/setLevel":
                self._standing["level"] = (method, params)
            case "resources/subscribe":
                self._standing[f"uri {params.get('uri')}"] = (method, params)
            case _:
                self._standing.pop(f"uri {params.get('uri')}", None)

    async def send(self, send: Callable[[M], Awaitable[T]], message: M) -> T:
        """`send(message)`, and again with a new session if the server has ended the one that there was."""
        renewal = None
        if self._renewal is not None or not self._transport.connected:
            renewal = await self._settled()
        try:
            return await send(message)
        except SessionExpired:
            # The server refused it unread, so it is safe to send again, once.
            await self._renewed_since(renewal)
            if isinstance(message, Request):
                message.id = self._next_id()
            return await send(message)

    async def _settled(self) -> _Renewal | None:
        """Wait until there is a connection, and a session on it; gives the renewal that it came of."""
        while True:
            if not self._transport.connected:
                await self._transport.ready()
            renewal = self._renewal
            if renewal is not None:
                await self._await_renewal(renewal)
                if renewal.error is not None and self._transport.connected and renewal is self._renewal:
                    await self._renewed_since(renewal)
            # From here to the sending there is no checkpoint: what is sent goes to whom this session is with.
            latest = self._renewal
            if self._transport.connected and (latest is None or (latest.done.is_set() and not latest.error)):
                return latest

    async def _await_renewal(self, renewal: _Renewal) -> None:
        if renewal.task is trio.lowlevel.current_task() and not renewal.done.is_set():
            raise NotConnected("a hook around the handshake cannot use the session that is being opened")
        await renewal.done.wait()

    async def _renewed_since(self, seen: _Renewal | None) -> None:
        """Have the session renewed, unless that happened since `seen` was the latest renewal.

        However many calls find the session expired, there is one handshake; it is a task of the
        connection, so that no caller's cancellation ends it for the others.
        """
        renewal = self._renewal
        if renewal is seen or renewal is None:
            renewal = self._renewal = _Renewal()
            self._dispatcher.connection_changed(False, "the server has ended the session")
            self._dispatcher.forget_requests()
            self._supervisor.errands.start_soon(self._renew, renewal)
        await self._await_renewal(renewal)
        # Each caller gets an error of its own: one object raised in many tasks would mix their stories.
        if isinstance(renewal.error, ConnectorError):
            error = copy.copy(renewal.error)
            error.message = f"the server ended the session, and a new one was refused: {error.message}"
            error.__notes__ = [*getattr(error, "__notes__", ())]  # as notes are for one caller, too
            raise error from renewal.error
        if renewal.error is not None:
            raise UsageError(
                f"the server ended the session, and opening a new one failed: {type(renewal.error).__name__}"
            ) from renewal.error

    def begin_anew(self) -> None:
        """There is another server at the other end, which knows of no session: have one opened."""
        if self._renewal is not None:
            self._renewal.scope.cancel(reason="the connection that this was for is lost")
        self._renewal = _Renewal()
        self._supervisor.errands.start_soon(self._renew, self._renewal)

    async def _renew(self, renewal: _Renewal) -> None:
        in_callback.set(True)  # calls wait for this: it must not queue behind them
        renewal.task = trio.lowlevel.current_task()
        try:
            with renewal.scope:
                await self._handshake()
                self._statistics.reinitializations += 1
                self._dispatcher.connection_changed(True, "there is a new session")
                self._dispatcher.interrupted("the server had ended the session, and there is a new one")
                with patience(self._patience):
                    await self._restore()
        except Exception as exc:  # also what a hook around the handshake raises: it is for those who wait
            renewal.error = exc
        finally:
            renewal.done.set()

    async def _restore(self) -> None:
        """Tell the new session what the old one was to remember."""
        for key, (method, params) in list(self._standing.items()):
            try:
                await self._transport.request(Request(self._next_id(), method, params))
            except ConnectorError as exc:
                if not self._transport.connected:
                    return  # the next connection has a session of its own, which is told all of it
                self._standing.pop(key, None)
                logger.warning("the new session refused %s: %r", method, exc)


class _Renewal:
    """One handshake that opens an expired session anew."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.error: Exception | None = None
        self.task: trio.lowlevel.Task | None = None  # which makes it, and must not wait for itself
