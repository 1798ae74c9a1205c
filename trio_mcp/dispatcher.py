"""What the server sends of its own accord, into the user's callbacks.

`receive` is called by readers and never waits. A server's request becomes a child task; notifications
queue, one mailbox for each kind of callback; the progress of a call goes to that call's own mailbox.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, get_args
from weakref import WeakValueDictionary

import mcp_types as types
import trio

from .callbacks import Callbacks, Caller, ConnectionChange, RequestContext, in_callback
from .errors import MCPError
from .mailbox import Mailbox
from .protocol.envelope import with_meta
from .protocol.versions import is_modern
from .protocol.wire import (
    INTERNAL_ERROR,
    ErrorResponse,
    Incoming,
    JSONObject,
    Notification,
    Request,
    RequestId,
    Response,
)
from .server_requests import ServerRequests
from .statistics import Statistics
from .supervision import Supervisor
from .transports.base import OneWay

__all__ = [
    "INTERRUPTED",
    "AroundNotification",
    "Dispatcher",
    "NotificationHandler",
    "Progress",
    "ProgressSink",
    "Watcher",
]

INTERRUPTED: Final = "trio_mcp/interrupted"
"""What a watcher is told, as if by a notification, where some may have been lost; `reason` says why."""

Progress: TypeAlias = tuple[float, float | None, str | None]
NotificationHandler: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Takes the params of an extension's notifications, one after the other."""
AroundNotification: TypeAlias = Callable[[str, Any, Callable[[Any], Awaitable[None]]], Awaitable[None]]
"""Has the params of a notification handed on, and does what is to be done around that."""
Watcher: TypeAlias = Callable[[str, JSONObject], object]
"""Is told of a notification's method and params by the reader, before any callback: it must not wait."""

logger: Final = logging.getLogger("trio_mcp")

_MAILBOX_CAPACITY: Final = 1000
_MAX_CALLBACKS: Final = 100
"""Callbacks that answer the server at a time; further requests wait for one to end."""
_MAX_SERVER_REQUESTS: Final = 1000
"""Requests of the server that may be waiting or being answered; further ones are dropped and counted."""

_MAX_BREATHS: Final = 100

RELATED_TASK_META_KEY: Final = "io.modelcontextprotocol/related-task"

_NOTIFICATIONS: Final[dict[str, type[types.Notification[Any, Any]]]] = {
    kind.model_fields["method"].default: kind for kind in get_args(types.ServerNotification)
}


class ProgressSink(Protocol):
    """Takes reports of progress. A reader calls it: it never waits."""

    def put(self, entry: Progress, /) -> None: ...


class Dispatcher:
    """Routes one connection's incoming messages.

    Args:
        callbacks: the user's.
        caller: what a callback may call back into.
        deliver: sends a message in the background.
        supervisor: where callbacks run.
        statistics: what to count in.
        requests: answers the server's requests.
        handlers: for the notifications of extensions, by method.
        around: what is to be done around handing a notification to its callbacks; None for nothing.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        caller: Caller,
        deliver: Callable[[OneWay], None],
        supervisor: Supervisor,
        statistics: Statistics,
        requests: ServerRequests,
        handlers: Mapping[str, NotificationHandler],
        around: AroundNotification | None,
    ) -> None:
        self.requests: ServerRequests = requests
        self.version: str | None = None
        self.caller: Caller = caller
        self._deliver = deliver
        self._supervisor = supervisor
        self._statistics = statistics
        self._running = trio.Semaphore(_MAX_CALLBACKS)
        self._answering: dict[RequestId, trio.CancelScope] = {}
        self._progress: dict[RequestId, Mailbox[Progress]] = {}
        self._followers: WeakValueDictionary[RequestId, ProgressSink] = WeakValueDictionary()
        self._watchers: dict[str, list[Watcher]] = {}
        self._mailboxes: list[Mailbox[Any]] = []
        self._closed = False
        self._connected = True  # what the callback for that was told last
        self._logs = self._open_mailbox(callbacks.logging)
        self._messages = self._open_mailbox(callbacks.message)
        self._changes = self._open_mailbox(callbacks.connection)
        self._extra = {method: self._open_mailbox(handler) for method, handler in handlers.items()}
        self._first: Mailbox[Any] | None = None
        if around is not None:
            self._first = Mailbox(_MAILBOX_CAPACITY, self._count_drop)
            supervisor.callbacks.start_soon(self._first.serve, partial(self._pass_on, around))

    # Notifications

    def _open_mailbox(self, callback: Callable[[Any], Awaitable[None]] | None) -> Mailbox[Any] | None:
        if callback is None:
            return None
        mailbox: Mailbox[Any] = Mailbox(_MAILBOX_CAPACITY, self._count_drop)
        self._mailboxes.append(mailbox)
        self._supervisor.callbacks.start_soon(mailbox.serve, callback)
        return mailbox

    def _count_drop(self) -> None:
        self._statistics.notifications_dropped += 1

    def close(self) -> None:
        """Take nothing more from the server."""
        self._closed = True
        if self._first is not None:
            self._first.close()
        else:
            self._close_mailboxes()

    def _close_mailboxes(self) -> None:
        for mailbox in self._mailboxes:
            mailbox.close()

    async def drain(self) -> None:
        """After `close`: wait until the callbacks have seen the notifications that had come."""
        if self._first is not None:
            await self._first.drained.wait()
            self._close_mailboxes()
        for mailbox in self._mailboxes:
            await mailbox.drained.wait()

    @contextmanager
    def watch(self, methods: Iterable[str], watcher: Watcher) -> Generator[None]:
        """Within the block, tell `watcher` of the notifications of these methods."""
        methods = tuple(methods)
        for method in methods:
            self._watchers.setdefault(method, []).append(watcher)
        try:
            yield
        finally:
            for method in methods:
                self._watchers[method].remove(watcher)

    def watch_progress(self, token: RequestId) -> Mailbox[Progress]:
        """A mailbox for the progress that the server reports under `token`."""
        mailbox: Mailbox[Progress] = Mailbox(_MAILBOX_CAPACITY, self._count_drop)
        self._progress[token] = mailbox
        return mailbox

    def end_progress(self, token: RequestId) -> None:
        """No more progress is wanted under `token`."""
        self._progress.pop(token).close()

    def follow_progress(self, token: RequestId, sink: ProgressSink) -> None:
        """Give what the server reports under `token` to `sink`, for as long as somebody holds that."""
        self._followers[token] = sink

    async def breathe(self) -> None:
        """Let the callbacks catch up: some turns of the scheduler, and none on a callback that sleeps."""
        for _ in range(_MAX_BREATHS):
            await trio.lowlevel.checkpoint()
            if not any(mailbox.filling for mailbox in self._all_mailboxes()):
                break

    def interrupted(self, reason: str) -> None:
        """Notifications may have been lost: tell those who watch for it."""
        for watcher in self._watchers.get(INTERRUPTED, ()):
            watcher(INTERRUPTED, {"reason": reason})

    def connection_changed(self, connected: bool, reason: str) -> None:
        """The connection was lost, or is there again; that it still is so is no news."""
        if connected is not self._connected and self._changes is not None:
            self._changes.put(ConnectionChange(connected, reason))
        self._connected = connected

    def forget_requests(self) -> None:
        """The server that asked is gone: whoever takes its place must not get the answers."""
        for scope in self._answering.values():
            scope.cancel(reason="the server that asked is gone")

    def _all_mailboxes(self) -> Iterator[Mailbox[Any]]:
        yield from self._mailboxes
        yield from self._progress.values()
        if self._first is not None:
            yield self._first

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
            # Its method is not told where nobody knows it: it may be any text, and so a secret.
            method = message.method if message.method in _NOTIFICATIONS else "an unknown method"
            logger.debug("a notification was dropped: %s: %s", method, type(exc).__name__)

    def _take_notification(self, message: Notification) -> None:
        params = message.params or {}
        watchers = self._watchers.get(message.method)
        for watcher in tuple(watchers or ()):
            watcher(message.method, params)
        if message.method == "notifications/cancelled":
            scope = self._answering.get(params["requestId"])
            if scope is not None:
                scope.cancel(reason="the server cancelled its request")
            return
        # By hand, as a call may bring thousands: validating a model costs ten times as much.
        if message.method == "notifications/progress":
            token = params["progressToken"]
            sink = self._progress.get(token) or self._followers.get(token)
            if sink is None:
                self._statistics.unknown_messages += 1
            else:
                sink.put(_progress(params))
            if self._messages is None and self._first is None:
                return
        if message.method in self._extra:
            entry: Any = params
        elif message.method in _NOTIFICATIONS or not watchers:
            kind = _NOTIFICATIONS[message.method]
            if self._messages is None and self._logs is None and self._first is None:
                return
            entry = kind.model_validate({"method": message.method, "params": message.params})
        else:
            return
        if self._first is None:
            self._hand_on(message.method, entry)
        else:
            self._first.put((message.method, entry))

    def _hand_on(self, method: str, entry: Any) -> None:
        """Queue what a callback is to be given: a typed notification, or the params of an extension's."""
        extra = self._extra.get(method)
        if extra is not None:
            extra.put(entry)
            return
        if self._logs is not None and isinstance(entry, types.LoggingMessageNotification):
            self._logs.put(entry.params)
        if self._messages is not None:
            self._messages.put(entry)

    async def _pass_on(self, around: AroundNotification, queued: tuple[str, Any]) -> None:
        method, entry = queued

        async def hand_on(params: Any) -> None:
            typed = isinstance(entry, types.Notification)
            self._hand_on(method, entry.model_copy(update={"params": params}) if typed else params)

        await around(method, entry.params if isinstance(entry, types.Notification) else entry, hand_on)

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
                    answer = await self._answer(request)
                    # A callback may end in spite of having been cancelled, and nobody waits for its answer.
                    if not scope.cancel_called:
                        self._deliver(answer)
        finally:
            del self._answering[request.id]

    async def _answer(self, request: Request) -> Response | ErrorResponse:
        meta = (request.params or {}).get("_meta")
        task_id = _related_task(meta)
        context = RequestContext(session=self.caller, request_id=request.id, meta=meta, related_task=task_id)
        try:
            result = await self.requests.answer(request.method, request.params, context)
            if task_id is not None:
                # What belongs to a task says so, answers included (2511/basic/utilities/tasks).
                result = with_meta(result, {RELATED_TASK_META_KEY: {"taskId": task_id}}) or result
            return Response(request.id, result)
        except MCPError as exc:
            return ErrorResponse(request.id, exc.code, exc.message, exc.data)
        except Exception:
            # The server learns nothing of what went wrong; the program does.
            self._deliver(ErrorResponse(request.id, INTERNAL_ERROR, "the client failed to answer"))
            raise


def _related_task(meta: Any) -> str | None:
    """The id of the task that a request belongs to, as its `_meta` says it."""
    match meta:
        case {"io.modelcontextprotocol/related-task": {"taskId": str(task_id)}}:
            return task_id
    return None


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
