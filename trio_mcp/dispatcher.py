"""What the server sends of its own accord, into the user's callbacks.

`receive` is called by readers and never waits. A server's request becomes a child task; notifications
queue, one mailbox for each kind of callback; the progress of a call goes to that call's own mailbox.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, get_args

import mcp_types as types
import trio

from .callbacks import Callbacks, Caller, RequestContext, in_callback
from .errors import MCPError
from .mailbox import Mailbox
from .protocol.versions import is_modern
from .protocol.wire import INTERNAL_ERROR, ErrorResponse, Incoming, Notification, Request, RequestId, Response
from .server_requests import ServerRequests
from .statistics import Statistics
from .supervision import Supervisor
from .transports.base import OneWay

__all__ = ["Dispatcher", "Progress"]

Progress: TypeAlias = tuple[float, float | None, str | None]

logger: Final = logging.getLogger("trio_mcp")

_MAILBOX_CAPACITY: Final = 1000
_MAX_CALLBACKS: Final = 100
"""Callbacks that answer the server at a time; further requests wait for one to end."""
_MAX_SERVER_REQUESTS: Final = 1000
"""Requests of the server that may be waiting or being answered; further ones are dropped and counted."""

_MAX_BREATHS: Final = 100

_NOTIFICATIONS: Final[dict[str, type[types.Notification[Any, Any]]]] = {
    kind.model_fields["method"].default: kind for kind in get_args(types.ServerNotification)
}


class Dispatcher:
    """Routes one connection's incoming messages.

    Args:
        callbacks: the user's.
        caller: what a callback may call back into.
        deliver: sends a message in the background.
        supervisor: where callbacks run.
        statistics: what to count in.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        caller: Caller,
        deliver: Callable[[OneWay], None],
        supervisor: Supervisor,
        statistics: Statistics,
    ) -> None:
        self.requests: ServerRequests = ServerRequests(callbacks)
        self.version: str | None = None
        self.caller: Caller = caller
        self._deliver = deliver
        self._supervisor = supervisor
        self._statistics = statistics
        self._running = trio.Semaphore(_MAX_CALLBACKS)
        self._answering: dict[RequestId, trio.CancelScope] = {}
        self._progress: dict[RequestId, Mailbox[Progress]] = {}
        self._drained: list[trio.Event] = []
        self._closed = False
        self._logs = self._open_mailbox(callbacks.logging)
        self._messages = self._open_mailbox(callbacks.message)

    # Notifications

    def _open_mailbox(self, callback: Callable[[Any], Awaitable[None]] | None) -> Mailbox[Any] | None:
        if callback is None:
            return None
        mailbox: Mailbox[Any] = Mailbox(_MAILBOX_CAPACITY, self._count_drop)
        drained = trio.Event()
        self._drained.append(drained)

        async def serve() -> None:
            await mailbox.serve(callback)
            drained.set()

        self._supervisor.callbacks.start_soon(serve)
        return mailbox

    def _count_drop(self) -> None:
        self._statistics.notifications_dropped += 1

    def close(self) -> None:
        """Take nothing more from the server."""
        self._closed = True
        for mailbox in (self._logs, self._messages):
            if mailbox is not None:
                mailbox.close()

    async def drain(self) -> None:
        """After `close`: wait until the callbacks have seen the notifications that had come."""
        for drained in self._drained:
            await drained.wait()

    def watch_progress(self, token: RequestId) -> Mailbox[Progress]:
        """A mailbox for the progress that the server reports under `token`."""
        mailbox: Mailbox[Progress] = Mailbox(_MAILBOX_CAPACITY, self._count_drop)
        self._progress[token] = mailbox
        return mailbox

    def end_progress(self, token: RequestId) -> None:
        """No more progress is wanted under `token`."""
        self._progress.pop(token).close()

    async def breathe(self) -> None:
        """Let the callbacks catch up: some turns of the scheduler, and none on a callback that sleeps."""
        for _ in range(_MAX_BREATHS):
            await trio.lowlevel.checkpoint()
            mailboxes = (self._logs, self._messages, *self._progress.values())
            if not any(mailbox is not None and mailbox.filling for mailbox in mailboxes):
                break

    # Everything that comes in

    def receive(self, message: Incoming) -> None:
        """Take a message of the server. Called by readers: never waits, never raises."""
        if self._closed:
            return
        if isinstance(message, Request):
            self._take_request(message)
            return
        self._statistics.notifications += 1
        try:
            self._take_notification(message)
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            self._statistics.unknown_messages += 1
            logger.debug("a notification was dropped: %s: %s", message.method, type(exc).__name__)

    def _take_notification(self, message: Notification) -> None:
        params = message.params or {}
        if message.method == "notifications/cancelled":
            scope = self._answering.get(params["requestId"])
            if scope is not None:
                scope.cancel(reason="the server cancelled its request")
            return
        # By hand, as a call may bring thousands: validating a model costs ten times as much.
        if message.method == "notifications/progress":
            mailbox = self._progress.get(params["progressToken"])
            if mailbox is None:
                self._statistics.unknown_messages += 1
            else:
                mailbox.put(_progress(params))
            if self._messages is None:
                return
        kind = _NOTIFICATIONS[message.method]
        if self._messages is None and self._logs is None:
            return
        notification = kind.model_validate({"method": message.method, "params": message.params})
        if self._logs is not None and isinstance(notification, types.LoggingMessageNotification):
            self._logs.put(notification.params)
        if self._messages is not None:
            self._messages.put(notification)

    # Requests

    def _take_request(self, request: Request) -> None:
        if self.version is not None and is_modern(self.version):
            # There are none in the modern era (26/basic/transports/streamable-http), nor a way to answer.
            self._statistics.unknown_messages += 1
            return
        busy = len(self._answering) + self._supervisor.errands.busy
        if busy >= _MAX_SERVER_REQUESTS or request.id in self._answering:
            self._statistics.unanswerable_requests += 1
            return
        self._statistics.server_requests += 1
        if request.method == "ping":
            self._deliver(Response(request.id, {}))
            return
        scope = self._answering[request.id] = trio.CancelScope()
        self._supervisor.callbacks.start_soon(self._serve, request, scope)

    async def _serve(self, request: Request, scope: trio.CancelScope) -> None:
        in_callback.set(True)
        try:
            with scope:
                async with self._running:
                    self._deliver(await self._answer(request))
        finally:
            del self._answering[request.id]

    async def _answer(self, request: Request) -> Response | ErrorResponse:
        meta = (request.params or {}).get("_meta")
        context = RequestContext(session=self.caller, request_id=request.id, meta=meta)
        try:
            return Response(request.id, await self.requests.answer(request.method, request.params, context))
        except MCPError as exc:
            return ErrorResponse(request.id, exc.code, exc.message, exc.data)
        except Exception:
            # The server learns nothing of what went wrong; the program does.
            self._deliver(ErrorResponse(request.id, INTERNAL_ERROR, "the client failed to answer"))
            raise


def _progress(params: Any) -> Progress:
    progress, total, message = params["progress"], params.get("total"), params.get("message")
    if (
        isinstance(progress, bool | str)
        or not isinstance(total, int | float | None)
        or not isinstance(message, str | None)
    ):
        raise TypeError
    numbers = float(progress), None if total is None else float(total)
    if not all(map(math.isfinite, filter(None, numbers))):
        raise ValueError  # 1e999 is JSON, but no progress
    return *numbers, message
