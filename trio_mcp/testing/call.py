"""A request as a scripted server saw it, and the ways to answer it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias, final

import trio

from ..errors import MCPError
from . import messages
from .http_server import HttpExchange
from .messages import Json

__all__ = ["CUT", "HANG", "RESET", "Answer", "Call", "Handler", "Piece", "Reply", "check_answer"]


class End(Enum):
    """How a response may break off."""

    HANG = "hang"
    CUT = "cut"
    RESET = "reset"


HANG: Final = End.HANG
"""A piece of a response behind which nothing comes any more, while the connection stays open."""
CUT: Final = End.CUT
"""A piece of a response: the connection is closed here."""
RESET: Final = End.RESET
"""A piece of a response: the connection is reset here, and what the client has not read is lost."""

_JSON: Final = "application/json"

Piece: TypeAlias = "bytes | str | Json | float | End"
"""A piece of a body: bytes and text as they are, an object as a server-sent event, a number as a pause in
seconds, or `HANG`, `CUT`, `RESET`."""


@final
@dataclass(frozen=True)
class Reply:
    """A response to send. Made by the methods of `Call`."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[Piece, ...]


Answer: TypeAlias = "Reply | Json | MCPError | None"
"""What answers a call: a reply, a result, a JSON-RPC error; None is 202, or the end of a stream."""
Handler: TypeAlias = "Callable[[Call], Answer | Awaitable[Answer]]"
"""Answers the calls of one method. It may wait, and send as it goes; raising `MCPError` answers with that."""


@final
@dataclass(eq=False)
class Call:
    """One HTTP request of the client: a JSON-RPC request, a notification, an answer, or a GET or DELETE.

    Attributes:
        verb: the HTTP method.
        target: path and query.
        headers: names in lower case.
        message: the JSON-RPC message; None if there is no body.
        time: when it came, on Trio's clock.
        sent: whether the whole response has been sent.
    """

    verb: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    message: Any
    time: float
    _exchange: HttpExchange = field(repr=False)
    _reset: Callable[[], None] = field(repr=False)
    _ask: Callable[[Call, str, Json | None], Awaitable[Json]] = field(repr=False)
    sent: bool = field(default=False, init=False)
    _answer: Answer = field(default=None, init=False, repr=False)
    _answered: trio.Event = field(default_factory=trio.Event, init=False, repr=False)

    @property
    def method(self) -> str:
        """The JSON-RPC method, "answer" for an answer, or the HTTP verb if there is no message."""
        return self.verb if self.message is None else str(self.message.get("method", "answer"))

    @property
    def is_request(self) -> bool:
        """Whether it is a JSON-RPC request, which wants an answer."""
        return self.message is not None and "method" in self.message and "id" in self.message

    @property
    def id(self) -> Any:
        """The JSON-RPC id; None if there is none."""
        return (self.message or {}).get("id")

    @property
    def params(self) -> Json:
        """The params; an empty object if there are none."""
        params: Json = (self.message or {}).get("params") or {}
        return params

    @property
    def progress_token(self) -> int | str | None:
        """What progress is to be reported under; None if the client wants none."""
        token: int | str | None = (self.params.get("_meta") or {}).get("progressToken")
        return token

    @property
    def closed(self) -> trio.Event:
        """Set when nothing more can be sent: the response is complete, or the client has left."""
        return self._exchange.ended

    # Replies: what a handler returns

    def reply(
        self,
        *pieces: Piece,
        status: int = 200,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Any HTTP response.

        Raises:
            TypeError: a piece is no `Piece`, or an object that is no JSON-RPC message. One that should go out
                all the same is given as `messages.event(...)`.
        """
        _check_pieces(pieces)
        content_type = {} if type is None else {"content-type": type}
        return Reply(status, {**content_type, **(headers or {})}, pieces)

    def json(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """A JSON body."""
        return self.reply(json.dumps(value), status=status, type=_JSON, headers=headers)

    def result(self, result: Json, headers: Mapping[str, str] | None = None) -> Reply:
        """A successful answer, as a JSON body."""
        return self.json(self.response(result), headers=headers)

    def text(self, text: str) -> Reply:
        """The result of a tool, as a JSON body."""
        return self.result({"content": [{"type": "text", "text": text}]})

    def error(self, code: int, message: str = "no", status: int = 200, data: object = None) -> Reply:
        """A JSON-RPC error, as a JSON body."""
        return self.json(messages.error(self.id, code, message, data), status=status)

    def input_required(self, questions: Json, state: str | None = None) -> Reply:
        """A modern server's questions (26/basic/patterns/mrtr): a call with the answers follows.

        Args:
            questions: by key, such as `{"name": {"method": "elicitation/create", "params": {…}}}`. The
                answers come by the same keys in `params["inputResponses"]`.
            state: what is to come back as `params["requestState"]`.
        """
        opaque = {} if state is None else {"requestState": state}
        return self.result({"resultType": "input_required", "inputRequests": questions, **opaque})

    def sse(self, *pieces: Piece) -> Reply:
        """An event stream; `call.sse(call.progress(1), 30, call.response(result))` answers after 30 s."""
        return self.reply(*pieces, type="text/event-stream")

    # Messages: pieces of a stream

    def response(self, result: Json) -> Json:
        """The message that answers this call."""
        return messages.response(self.id, result)

    def progress(self, value: float, total: float | None = None, message: str | None = None) -> Json:
        """The message that reports progress of this call.

        Raises:
            ValueError: the client wants none.
        """
        if self.progress_token is None:
            raise ValueError("the call has no progressToken: give it a progress_callback")
        return messages.progress(self.progress_token, value, total, message)

    # Doing it now: for a handler that waits, and for a test that took the call from `ScriptedServer.calls`

    async def send(self, *pieces: Piece) -> None:
        """Send pieces of an event stream, at once; the answer then comes at its end.

        Raises:
            TypeError: as `reply`.
        """
        _check_pieces(pieces)
        await self._begin(self.sse())
        await self._send(pieces)

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """Ask the client over this call's stream, and wait for its answer (legacy versions).

        Returns the answer's message, with its `result` or its `error`.

        Raises:
            RuntimeError: the server is a modern one; see `input_required`.
            trio.BrokenResourceError: the client left before it answered.
        """
        return await self._ask(self, method, params)

    def answer(self, answer: Answer) -> None:
        """Answer a call that was taken from `ScriptedServer.calls`.

        Raises:
            RuntimeError: it has been answered.
            TypeError: that is no answer.
        """
        if self._answered.is_set() or self.sent:
            raise RuntimeError(f"{self.method} has been answered already")
        check_answer(self, answer)
        self._answer = answer
        self._answered.set()

    async def _wait_answered(self) -> Answer:
        await self._answered.wait()
        return self._answer

    async def _finish(self, answer: Answer) -> None:
        """Send `answer` as the end of the response."""
        if isinstance(answer, Reply) and self._exchange.started and answer.status != 200:
            raise RuntimeError(
                f"{self.method} cannot be answered by {answer.status}: its stream has begun with 200"
            )
        if isinstance(answer, Reply):
            if not self._exchange.started and all(isinstance(piece, bytes | str) for piece in answer.pieces):
                # Nothing to wait for: with its length, and in one write.
                body = b"".join(_encoded(piece) for piece in answer.pieces if isinstance(piece, bytes | str))
                await self._exchange.respond(answer.status, answer.headers.items(), body)
            else:
                pieces = answer.pieces
                if self._exchange.started and answer.headers.get("content-type") == _JSON:
                    # It ends an event stream that `send` began.
                    pieces = tuple(messages.event(p) if isinstance(p, str) else p for p in pieces)
                await self._begin(answer)
                if not await self._send(pieces):
                    return
                await self._exchange.finish()
        elif answer is None:
            await (self._exchange.finish() if self._exchange.started else self._exchange.respond(202))
        else:
            message = (
                messages.error(self.id, answer.code, answer.message, answer.data)
                if isinstance(answer, MCPError)
                else self.response(answer)
            )
            if self._exchange.started:
                await self._exchange.finish(messages.event(message))
            else:
                await self._finish(self.json(message))
        self.sent = True

    async def _begin(self, reply: Reply) -> None:
        if not self._exchange.started:
            await self._exchange.start(reply.status, reply.headers.items())

    async def _send(self, pieces: tuple[Piece, ...]) -> bool:
        """Send `pieces`; False if they end with the end of the connection."""
        for piece in pieces:
            match piece:
                case End.HANG:
                    await trio.sleep_forever()
                case End.CUT | End.RESET:
                    if piece is End.RESET:
                        self._reset()
                    await self._exchange.cut()
                    return False
                case int() | float():
                    await trio.sleep(piece)
                case _:
                    await self._exchange.send(_encoded(piece))
        return True


def check_answer(call: Call, answer: object) -> None:
    """Make sure that `answer` answers `call`.

    Raises:
        TypeError: it is nothing that can be sent; perhaps a handler has forgotten to return.
    """
    if not isinstance(answer, Reply | dict | MCPError | None):
        raise TypeError(
            f"{call.method} was answered by {answer!r:.100}: "
            "a dict (a result), a Reply of the call's methods or an MCPError is expected"
        )
    if answer is None and call.is_request and not call._exchange.started:
        raise TypeError(f"{call.method} was answered by None: does its handler return something?")


def _check_pieces(pieces: tuple[Piece, ...]) -> None:
    for piece in pieces:
        if not isinstance(piece, bytes | str | dict | int | float | End):
            raise TypeError(
                f"{piece!r} is no piece of a response: "
                "bytes, text, a message (a dict), seconds, HANG, CUT or RESET"
            )
        if isinstance(piece, dict) and "jsonrpc" not in piece:
            raise TypeError(
                f"{piece!r:.100} is no JSON-RPC message: for a result, call.response(result) is meant"
            )


def _encoded(piece: bytes | str | Json) -> bytes:
    if isinstance(piece, bytes):
        return piece
    return piece.encode() if isinstance(piece, str) else messages.event(piece)
