"""HTTP+SSE, the transport of 2024-11-05 (2411/basic/transports), which later versions deprecate.

The answer to one GET is an event stream. Its first event, `endpoint`, names where all messages to the
server are POSTed; all messages of the server come as events on that stream. So it is a pipe for reading,
and for writing each message is an exchange of its own, which the caller's own task makes: one that the
server refuses fails that call alone.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import httpx2
import trio

from ..callbacks import in_callback
from ..deadlines import ConnectTimeout, deadline
from ..errors import ConnectionLost, ProtocolError
from ..http import HttpClient, HttpResponse
from ..origin import has_lawful_port, same_origin
from ..protocol import headers as h
from ..protocol.sse import ServerSentEvent, SSEDecoder
from ..protocol.versions import has_batches, is_repeatable, sends_version_header
from ..protocol.wire import ErrorResponse, Request, decode
from ..reconnecting import ReconnectPolicy
from ..statistics import Statistics
from ..supervision import Supervisor
from .base import Inbox, logger
from .pipe import Pipe
from .refusals import redacted, refusal
from .wires import Outgoing, Wire

__all__ = ["LegacySse", "NoEventStream"]

_JSON: Final = "application/json"
_SSE: Final = "text/event-stream"
_POST_HEADERS: Final = {"accept": _JSON, "content-type": _JSON}
_ENDPOINT_SHARE: Final = 0.5  # of the time for a handshake: the rest is for `initialize`


class NoEventStream(ProtocolError):
    """What answers the GET is something else."""


class LegacySse(Pipe):
    """A server of HTTP+SSE.

    Args:
        url: where its event stream is.
        http: what makes the exchanges.
        silence: the longest time in seconds in which nothing may come over the stream.
        max_message_size: bytes of one event.
        max_connections: requests that are POSTed at a time; further ones queue, first come, first served.
        connect_timeout: seconds that a handshake may take; the `endpoint` event has half of them.
        policy: how to replace a stream that was lost; None for not at all.
        rng: the source of jitter.
    """

    legacy = True

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
        connect_timeout: float,
        policy: ReconnectPolicy | None,
        rng: random.Random,
    ) -> None:
        super().__init__(
            "sse",
            self._open_stream,
            inbox=inbox,
            supervisor=supervisor,
            statistics=statistics,
            send_timeout=http.timeout,
            policy=policy,
            rng=rng,
        )
        self._url = httpx2.URL(url)
        self._http = http
        self._silence = silence
        self._max_message_size = max_message_size
        self._places = trio.Semaphore(max_connections)
        self._patience = connect_timeout * _ENDPOINT_SHARE
        self._stream: _EventStream

    # The stream

    @asynccontextmanager
    async def _open_stream(self) -> AsyncGenerator[Wire]:
        with deadline(self._patience, self._no_endpoint) as scope:
            async with await self._http.send(
                "GET", str(self._url), {"accept": _SSE, "cache-control": "no-store"}, silence=self._silence
            ) as response:
                if not 200 <= response.status < 300:
                    raise await refusal(response, patience=self._http.timeout, doubt=True)
                if response.content_type != _SSE:
                    what = response.redact(response.content_type) or "no content type"
                    raise NoEventStream(
                        f"the server answered HTTP {response.status} with {what} instead of an event stream: "
                        "is this the URL of an MCP endpoint?"
                    )
                stream = _EventStream(response, self._max_message_size)
                # What comes before it can be no message to us, as nothing has been asked yet.
                while (event := await stream.event()).type != "endpoint":
                    pass
                stream.endpoint = self._resolve(event.data)
                response.keep_secret(stream.endpoint)
                scope.deadline = math.inf
                yield stream

    def _no_endpoint(self) -> ConnectTimeout:
        return ConnectTimeout(
            f"no event stream that names an endpoint within {self._patience:g} s, half of connect_timeout: "
            "does the server speak HTTP+SSE?"
        )

    def _resolve(self, reference: bytes) -> str:
        """Where messages go. It is secret, as it most often holds the session's id."""
        try:
            endpoint = self._url.join(reference.decode("utf-8").strip())
            if not has_lawful_port(endpoint):
                raise ValueError
        except (httpx2.InvalidURL, ValueError):
            raise ProtocolError("the server named an endpoint that is not a URL") from None
        if not same_origin(endpoint, self._url):
            # Whoever is there must get neither our credentials nor our messages.
            raise ProtocolError(
                "the server named an endpoint of another origin, "
                f"{endpoint.scheme}://{endpoint.netloc.decode('ascii')}, and not of its own"
            )
        return str(endpoint.copy_with(userinfo=b"", fragment=None))

    async def _use(self, wire: Wire) -> None:
        assert isinstance(wire, _EventStream)
        self._stream = wire
        await super()._use(wire)

    # The exchanges

    async def _write(self, wire: Wire, outbox: trio.MemoryReceiveChannel[Outgoing]) -> None:
        pass  # nothing comes out of there: each message is sent by its caller

    async def _send(self, outgoing: Outgoing) -> None:
        # The answer may come while the POST goes on; and when the stream is lost, nothing will come of it.
        with trio.CancelScope() as outgoing.sending:
            queues = outgoing.wants_answer and not self._is_handshake(outgoing) and not in_callback.get()
            async with self._places if queues else nullcontext():
                with nullcontext() if outgoing.wants_answer else self._http.brief(outgoing.data):
                    await self._exchange(outgoing)
            if not outgoing.wants_answer:
                outgoing.end(None)

    async def _exchange(self, outgoing: Outgoing) -> None:
        message = outgoing.message
        headers, silence, repeatable = dict(_POST_HEADERS), self._http.timeout, True
        if isinstance(message, Request):
            headers = {**(message.headers or {}), **_POST_HEADERS}
            # Some servers answer when they are done.
            silence, repeatable = self._silence, is_repeatable(message.method)
        if self._version and sends_version_header(self._version) and not self._is_handshake(outgoing):
            headers[h.VERSION] = self._version
        async with await self._http.send(
            "POST",
            self._stream.endpoint,
            headers,
            outgoing.data,
            silence=silence,
            repeatable=repeatable,
            on_sent=outgoing.begin,
        ) as response:
            if not 200 <= response.status < 300:
                request = message.id if isinstance(message, Request) else None
                raise await refusal(response, patience=self._http.timeout, request=request)
            if response.content_type == _JSON:
                self._take_body(await response.read(), response, outgoing)

    def _take_body(self, body: bytes, response: HttpResponse, outgoing: Outgoing) -> None:
        """Take what came where nothing should: some servers answer there."""
        try:
            messages = decode(body, batches=has_batches(self._version))
        except ProtocolError:
            return  # something like {"status": "accepted"}
        for message in messages:
            if isinstance(message, ErrorResponse):
                message = redacted(message, response.redact)
            if isinstance(message, ErrorResponse) and message.id is None:
                outgoing.end(message)
            else:
                self._take_in(message)

    def _is_handshake(self, outgoing: Outgoing) -> bool:
        return isinstance(outgoing.message, Request) and outgoing.message.method == "initialize"


class _EventStream(Wire):
    """What the server sends.

    Attributes:
        response: the response that it is.
        endpoint: where messages to the server go.
    """

    endpoint: str

    def __init__(self, response: HttpResponse, max_message_size: int) -> None:
        self.response = response
        self._decoder = SSEDecoder(max_message_size)
        self._events: deque[ServerSentEvent] = deque()

    async def event(self) -> ServerSentEvent:
        while not self._events:
            self._decoder.check()
            chunk = await self.response.receive()
            if not chunk:
                raise ConnectionLost("the server ended its event stream")
            self._events.extend(self._decoder.feed(chunk))
        return self._events.popleft()

    async def receive(self) -> bytes:
        while True:
            event = await self.event()
            if event.type == "message" and event.data:
                return event.data
            logger.debug("an event that is no message was dropped")

    def redact(self, text: str) -> str:
        return self.response.redact(text)

    async def send(self, message: bytes) -> None:
        raise NotImplementedError("messages are POSTed")  # pragma: no cover
