"""Streamable HTTP, in both of its shapes.

Modern (26/basic/transports/streamable-http): every request is an exchange of its own, and closing its
response cancels it. Legacy (2511/basic/transports): there is a session as well, a GET stream for what the
server sends of its own accord, streams that break and are resumed, and a DELETE at the end.

The caller's own task makes the exchange and reads the answer: cancelling the caller is cancelling the
exchange, and no other task stands between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import trio

from ..callbacks import in_callback
from ..errors import (
    AccessDenied,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    HTTPStatusError,
    ProtocolError,
    TransportError,
)
from ..http import HttpClient, HttpResponse
from ..protocol import headers as h
from ..protocol.envelope import envelope_version
from ..protocol.versions import has_batches, is_modern, is_repeatable, sends_version_header
from ..protocol.wire import ErrorResponse, Message, Notification, Request, Response, decode, encode
from ..reconnecting import ReconnectPolicy
from ..statistics import Statistics
from ..supervision import Supervisor
from .base import Inbox, OneWay, Transport, TransportName, logger
from .event_stream import StreamCursor, read_messages
from .refusals import redacted, refusal

__all__ = ["StreamableHttp"]

T = TypeVar("T")

_JSON: Final = "application/json"
_SSE: Final = "text/event-stream"
_POST_HEADERS: Final = {"accept": f"{_JSON}, {_SSE}", "content-type": _JSON}
_LISTEN_PATIENCE: Final = 0.5
_LISTEN: Final = "subscriptions/listen"  # for as long as somebody listens: it must not take a place
# A handshake is what calls wait for: it must not wait for a place among them.
_UNQUEUED: Final = frozenset({"initialize", "server/discover"})


class StreamableHttp(Transport):
    """One MCP endpoint.

    Args:
        url: the endpoint.
        http: what makes the exchanges.
        silence: the longest time in seconds in which nothing may come while an answer is awaited.
        max_message_size: bytes of one JSON body or one event.
        max_connections: requests at a time; further ones queue, first come, first served.
        policy: how to come back to a stream that broke; None for not at all.
        rng: the source of jitter.
    """

    name: TransportName = "streamable-http"

    def __init__(
        self,
        url: str,
        http: HttpClient,
        *,
        inbox: Inbox,
        supervisor: Supervisor,
        statistics: Statistics,
        silence: float,
        max_message_size: int,
        max_connections: int,
        policy: ReconnectPolicy | None,
        rng: random.Random,
    ) -> None:
        super().__init__(inbox, supervisor, statistics)
        self._url = url
        self._http = http
        self._silence = silence
        self._max_message_size = max_message_size
        self._places = trio.Semaphore(max_connections)
        self._policy = policy
        self._rng = rng
        self._version: str | None = None
        self._session_id: str | None = None
        self._listening = trio.CancelScope()
        self._heard = False  # whether its GET stream has been open in this session
        self._served = trio.Event()  # whether a request has been answered since the stream was refused

    # What the session calls

    def adopt(self, version: str) -> None:
        self._version = version

    async def start(self) -> None:
        self._listening.cancel(reason="a new session begins")
        self._listening = trio.CancelScope()
        self._heard = False
        settled = trio.Event()
        self._supervisor.services.start_soon(self._listen, self._listening, settled)
        # A request that the server sends when nobody listens is lost, so the first call must not overtake
        # the GET; but a server that holds its headers back until it has something to say is not waited for.
        with trio.move_on_after(_LISTEN_PATIENCE):
            await settled.wait()

    async def request(self, message: Request) -> Response:
        body = encode(message)
        version = envelope_version(message.params)
        sent = False  # whole: before that, the server knows nothing of it, and cannot be told that it ended

        def on_sent() -> None:
            nonlocal sent
            sent = True

        queues = message.method not in _UNQUEUED and message.method != _LISTEN and not in_callback.get()
        if queues:
            await self._take_place()
        try:
            # Not before: the session may have been opened anew while this waited for its place. Until a new
            # handshake is made, calls carry the old session, and learn by 404 that it has ended.
            if version is not None:
                own = h.mirror_headers(message, version)
            else:
                own = {} if message.method == "initialize" else self._session_headers()
            try:
                headers = {**(message.headers or {}), **_POST_HEADERS, **own}
                return await self._exchange(message, headers, body, version is None, on_sent)
            except trio.Cancelled:
                # A modern server sees that the response was closed; a legacy one has to be told. The
                # handshake must not be cancelled (2511/basic/utilities/cancellation).
                if sent and version is None and message.method != "initialize":
                    params = {"requestId": message.id, "reason": "the caller was cancelled"}
                    self.deliver(Notification("notifications/cancelled", params))
                raise
        finally:
            if queues:
                self._places.release()

    async def notify(self, message: OneWay) -> None:
        body = encode(message)
        if self._version is not None and is_modern(self._version) and isinstance(message, Notification):
            headers = h.mirror_headers(message, self._version)
        else:
            headers = self._session_headers()
        if isinstance(message, Notification) and message.headers:
            headers = {**message.headers, **headers}
        timeout = self._http.timeout
        with self._http.brief(body):
            async with await self._http.send(
                "POST", self._url, headers | _POST_HEADERS, body, silence=timeout
            ) as response:
                if 200 <= response.status < 300:
                    return
                raise await self._refusal(response, None)

    async def goodbye(self) -> None:
        """End the session, where there is one (2511/basic/transports, "Session Management")."""
        if self._session_id is None:
            return
        try:
            async with await self._http.send(
                "DELETE", self._url, self._session_headers(), silence=self._http.timeout
            ) as response:
                await response.abandon()  # 405 is allowed, and nothing in the body matters
        except ConnectorError as exc:
            logger.debug("the session was not ended at the server: %r", exc)

    # One request and its answer

    async def _take_place(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._places.acquire_nowait()  # without a turn of the scheduler, as the exchange takes some
        except trio.WouldBlock:
            await self._places.acquire()

    async def _exchange(
        self,
        message: Request,
        headers: Mapping[str, str],
        body: bytes | None,
        resumable: bool,
        on_sent: Callable[[], object],
    ) -> Response:
        cursor = StreamCursor(self._policy, self._rng)
        method, repeatable = "POST", is_repeatable(message.method)
        while True:
            lost: TransportError
            try:
                async with await self._http.send(
                    method,
                    self._url,
                    headers,
                    body,
                    silence=self._silence,
                    repeatable=repeatable,
                    on_sent=on_sent,
                ) as response:
                    answer = await self._answer(response, message, cursor)
                if answer is not None:
                    return answer
                lost = ConnectionLost("the server's event stream ended before the answer came")
            except ConnectionLost as exc:
                lost = exc
            except ConnectError as exc:
                # It says that nothing was sent, which is true of this exchange only.
                lost = exc
                if method == "GET":
                    lost = ConnectionLost(f"the answer's stream was lost: {exc}")
                    lost.__cause__ = exc
            except HTTPStatusError as exc:
                if method == "POST" or isinstance(exc, AccessDenied):
                    raise
                # The server has seen the request, so its session's end does not make it one to send again.
                lost = ConnectionLost(f"the answer's stream could not be resumed: {exc}")
                if not _is_outage(exc.status_code):
                    raise lost from exc
            if not resumable or not cursor.resumable or not await cursor.pause():
                raise lost
            self._statistics.stream_reconnects += 1
            method, body, repeatable = "GET", None, True
            headers = {**(message.headers or {}), **self._stream_headers(cursor)}

    async def _answer(
        self, response: HttpResponse, message: Request, cursor: StreamCursor
    ) -> Response | None:
        """The answer that `response` holds; None if it is a stream that ended before the answer."""
        if not 200 <= response.status < 300:
            raise await self._refusal(response, message)
        self._served.set()
        if message.method == "initialize":
            session_id = response.headers.get(h.SESSION_ID)
            self._session_id = session_id if h.is_session_id(session_id) else None

        def take(received: Message) -> Response | None:
            if isinstance(received, ErrorResponse):
                received = redacted(received, response.redact)
            return self._take(received, message.id)

        content_type = response.content_type
        if content_type == _SSE:
            return await self._read_stream(response, cursor, take)
        if content_type != _JSON:
            what = response.redact(content_type) or "no content type"
            raise ProtocolError(
                f"the server answered HTTP {response.status} with {what} instead of JSON or an event stream: "
                "is this the URL of an MCP endpoint?"
            )
        answers = [
            take(received) for received in decode(await response.read(), batches=has_batches(self._version))
        ]
        answer = next((each for each in answers if each is not None), None)
        if answer is None:
            raise ProtocolError("the server's response holds no answer to the request")
        return answer

    async def _read_stream(
        self, response: HttpResponse, cursor: StreamCursor, take: Callable[[Message], T | None]
    ) -> T | None:
        batches, breathe = has_batches(self._version), self._inbox.breathe
        return await read_messages(response, cursor, self._max_message_size, batches, take, breathe)

    async def _refusal(self, response: HttpResponse, message: Request | None) -> ConnectorError:
        patience = self._http.timeout
        if message is None:
            return await refusal(response, patience=patience)
        doubt = message.method in _UNQUEUED
        return await refusal(response, patience=patience, request=message.id, doubt=doubt)

    # Headers

    def _session_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self._session_id is not None:
            headers[h.SESSION_ID] = self._session_id
        if self._version is not None and sends_version_header(self._version):
            headers[h.VERSION] = self._version
        return headers

    def _stream_headers(self, cursor: StreamCursor) -> dict[str, str]:
        headers = {"accept": _SSE, **self._session_headers()}
        if cursor.resumable:
            headers[h.LAST_EVENT_ID] = cursor.last_event_id
        return headers

    # The GET stream

    async def _listen(self, scope: trio.CancelScope, settled: trio.Event) -> None:
        """Hear what the server sends of its own accord, for as long as it offers that.

        The stream is optional: whatever becomes of it, calls go on. `settled` is set when it is open, or
        when it is known that it will not be.
        """
        cursor = StreamCursor(self._policy, self._rng)
        with scope:
            while await self._listen_once(cursor, settled) and await cursor.pause():
                self._statistics.stream_reconnects += 1
                if not cursor.resumable:
                    self._inbox.interrupted("the server's GET stream was lost and opened again")
        logger.debug("the server's GET stream has ended")

    async def _listen_once(self, cursor: StreamCursor, settled: trio.Event) -> bool:
        """Follow the stream until it ends; True if it may be opened again."""
        try:
            async with await self._http.send(
                "GET", self._url, self._stream_headers(cursor), silence=self._silence, may_login=False
            ) as response:
                settled.set()
                if response.status != 200 or response.content_type != _SSE:
                    self._heard_no_more(f"HTTP {response.status}")
                    if response.status == 401 and self._heard:
                        # Nobody is asked to log in for a stream. The token of a call will do for it, too.
                        await response.abandon()
                        self._served = trio.Event()
                        await self._served.wait()
                        return True
                    return _is_outage(response.status)
                self._heard = True
                self._inbox.connection_changed(True, "the server's GET stream is open again")
                await self._read_stream(response, cursor, self._overhear)
            # A server that lets its client come back for more has lost nothing.
            if not cursor.resumable:
                self._heard_no_more("it ended")
        except Exception as exc:
            logger.debug("the server's GET stream broke: %r", exc)
            self._heard_no_more(str(exc) if isinstance(exc, ConnectorError) else type(exc).__name__)
        finally:
            settled.set()
        return True

    def _heard_no_more(self, reason: str) -> None:
        if self._heard:  # a server that offers no such stream has not lost it
            self._inbox.connection_changed(False, f"the server's GET stream was lost: {reason}")

    def _overhear(self, received: Message) -> None:
        if isinstance(received, Request | Notification):
            self._inbox.receive(received)
        else:
            self._statistics.unknown_messages += 1


def _is_outage(status: int) -> bool:
    """Whether a status may be another one in a moment."""
    return status >= 500 or status == 429
