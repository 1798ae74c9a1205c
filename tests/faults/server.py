"""A server of either era that does as it should, except where it was told to misbehave.

It speaks HTTP on whatever stream it is given: in memory for the matrix, on a loopback socket for
`compare.py`. Beside MCP it has an OAuth token endpoint, so that getting tokens can go wrong as well.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import trio

from trio_mcp.testing import HttpExchange, MemoryStream, serve_http
from trio_mcp.testing.messages import Json, error, event, notification, progress, request, response

__all__ = ["LEGACY", "MARK", "MODERN", "Asked", "Era", "Server", "Strike"]

Era: TypeAlias = Literal["modern", "legacy"]
MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"

MARK: Final = "5ecret"
"""Stands in everything that is secret, and in nothing else: where it is found, something leaks."""

ISSUER: Final = "http://127.0.0.1:8000"
_JSON: Final = "application/json"
_SSE: Final = "text/event-stream"
_SECRET_HEADERS: Final = ("authorization", "mcp-session-id", "x-api-key")
_INFO: Final = {"name": "faulty", "version": "1"}
_CAPABILITIES: Final[Json] = {"tools": {"listChanged": True}}


@dataclass(eq=False)
class Asked:
    """One request of the client, and the means to answer it, well or badly.

    Attributes:
        result: what is right for it.
        headers: what belongs to the head of a right answer.
    """

    http: HttpExchange
    stream: trio.abc.Stream
    name: str
    message: Json | None
    result: Json
    headers: dict[str, str]

    @property
    def id(self) -> int:
        """Of the request; 0 where there is none."""
        found = (self.message or {}).get("id")
        return found if isinstance(found, int) else 0

    @property
    def echo(self) -> str:
        """Everything that the request kept secret, as hostile or careless servers repeat it."""
        incoming = self.http.request
        kept = [incoming.headers[name] for name in _SECRET_HEADERS if name in incoming.headers]
        if self.name == "token":
            kept.append(incoming.body.decode())
        return " ".join([*kept, incoming.target])

    @property
    def token(self) -> str:
        """The bearer token that came with it."""
        return self.http.request.headers.get("authorization", "").rpartition(" ")[2]

    @property
    def answer(self) -> Json:
        """The document that answers it if all is well."""
        return self.result if self.name == "token" else response(self.id, self.result)

    async def reply(
        self, status: int, body: str | bytes = b"", type: str | None = None, **headers: str
    ) -> None:
        """Send a whole response; underscores in the names of headers are hyphens."""
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if type is not None:
            fields.append(("content-type", type))
        await self.http.respond(status, fields, body.encode() if isinstance(body, str) else body)

    async def json(
        self, value: object, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Send a JSON body."""
        await self.reply(status, json.dumps(value), _JSON, **headers)

    async def begin_stream(self) -> None:
        """Begin an event stream."""
        if not self.http.started:
            await self.http.start(200, [("content-type", _SSE)])

    async def say(self, *messages: Json) -> None:
        """Send messages on the event stream."""
        await self.begin_stream()
        await self.http.send(b"".join(map(event, messages)))

    async def raw(self, data: bytes) -> None:
        """Send bytes in place of a response, or amid one."""
        await self.http.send_raw(data)

    async def cut(self) -> None:
        """End the connection: FIN."""
        await self.http.cut()

    async def reset(self) -> None:
        """Break the connection: RST."""
        if isinstance(self.stream, MemoryStream):
            self.stream.connection.reset()
        elif isinstance(self.stream, trio.SocketStream):
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.http.cut()


Strike: TypeAlias = Callable[[Asked], Awaitable[None]]
"""Answers a request badly."""


@dataclass(eq=False)
class _Plan:
    strike: Strike
    times: int


@dataclass(eq=False)
class Server:
    """The server.

    Attributes:
        era: which protocol version it speaks.
        wants: the token that it wants; None for those of its token endpoint.
        struck: set, once it has begun to misbehave.
        struck_at: when that was, on Trio's clock; 0 is never.
        seen: the names of the requests that came. A call's is "tools/call" and its tool; "token", "GET",
            "DELETE" and "answer" are those of requests that have no method.
        tokens: how many it has given.
    """

    era: Era
    wants: str | None = None
    struck: trio.Event = field(default_factory=trio.Event)
    struck_at: float = 0.0
    seen: list[str] = field(default_factory=list)
    tokens: int = 0
    _plans: dict[str, _Plan] = field(default_factory=dict)
    _session: int = 1
    _streams: list[Asked] = field(default_factory=list)
    _answered: trio.Event = field(default_factory=trio.Event)
    _victim: int = 0  # the id of the call that may be resumed

    @property
    def version(self) -> str:
        return MODERN if self.era == "modern" else LEGACY

    @property
    def session_id(self) -> str:
        return f"session-{MARK}-{self._session}"

    def misbehave(self, name: str, strike: Strike, times: int = 1) -> None:
        """Answer the next requests of that name by `strike`."""
        self._plans[name] = _Plan(strike, times)

    def behave(self) -> None:
        """Do as it should from now on."""
        self._plans.clear()

    def forget_sessions(self) -> None:
        """What a restart does."""
        self._session += 1

    async def notify(self) -> bool:
        """Tell the client on its stream that the tools have changed; whether there was one."""
        streams = [each for each in self._streams if not each.http.ended.is_set()]
        for stream in streams:
            meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": stream.id}} if stream.id else {}
            await stream.say(notification("notifications/tools/list_changed", meta))
        return bool(streams)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer what comes over `stream`, until the client leaves."""
        await serve_http(stream, partial(self._handle, stream), cancel_on_disconnect=True)

    async def _handle(self, stream: trio.abc.Stream, http: HttpExchange) -> None:
        message: Json | None = None
        if http.request.headers.get("content-type") == _JSON and http.request.body:
            message = json.loads(http.request.body)
        name = _name(http, message)
        headers = {}
        if name == "initialize" and self.era == "legacy":
            headers["mcp-session-id"] = self.session_id
        asked = Asked(http, stream, name, message, self._result(name), headers)
        self.seen.append(asked.name)
        plan = self._plans.get(asked.name)
        if plan is None or not plan.times:
            await self._behave(asked)
            return
        plan.times -= 1
        self._victim = asked.id
        if not self.struck.is_set():
            self.struck_at = trio.current_time()
        self.struck.set()
        await plan.strike(asked)

    # As it should be

    async def _behave(self, asked: Asked) -> None:
        path = asked.http.request.target.partition("?")[0]
        if path.startswith("/.well-known/") or path == "/token":
            await self._authorize(asked, path)
        elif not self._admits(asked):
            challenge = f'Bearer resource_metadata="{ISSUER}/.well-known/oauth-protected-resource/mcp"'
            await asked.reply(401, www_authenticate=challenge)
        elif (
            self.era == "legacy"
            and asked.name not in ("initialize", "server/discover")
            and asked.http.request.headers.get("mcp-session-id") != self.session_id
        ):
            await asked.reply(404)
        else:
            await self._answer(asked)

    def _admits(self, asked: Asked) -> bool:
        if self.wants is not None:
            return asked.token == self.wants
        return asked.token in {f"token-{MARK}-{number}" for number in range(1, self.tokens + 1)}

    async def _authorize(self, asked: Asked, path: str) -> None:
        if path == "/token":
            await asked.json(asked.answer)
        elif "protected-resource" in path:
            await asked.json({"resource": f"{ISSUER}/mcp", "authorization_servers": [ISSUER]})
        else:
            await asked.json(
                {
                    "issuer": ISSUER,
                    "token_endpoint": f"{ISSUER}/token",
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                    "grant_types_supported": ["client_credentials"],
                }
            )

    def _result(self, name: str) -> Json:
        match name:
            case "server/discover":
                discovered = {"supportedVersions": [MODERN], "capabilities": _CAPABILITIES}
                return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **discovered}
            case "initialize":
                return {"protocolVersion": self.version, "capabilities": _CAPABILITIES, "serverInfo": _INFO}
            case "token":
                self.tokens += 1
                token = f"token-{MARK}-{self.tokens}"
                return {"access_token": token, "token_type": "Bearer", "expires_in": 100}
            case _:
                return {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}

    async def _answer(self, asked: Asked) -> None:
        match asked.name:
            case "server/discover" if self.era == "modern":
                await asked.json(asked.answer)
            case "initialize" if self.era == "legacy":
                await asked.json(asked.answer, headers=asked.headers)
            case "tools/call slow":
                await asked.say(notification("notifications/message", {"level": "info", "data": "begun"}))
                await trio.sleep(2)
                await asked.say(asked.answer)
            case "tools/call stuck":
                await asked.begin_stream()
                await trio.sleep_forever()
            case "tools/call asking":
                question = {"message": "name?", "requestedSchema": {"type": "object", "properties": {}}}
                await asked.say(request("q1", "elicitation/create", question))
                await self._answered.wait()
                await asked.say(asked.answer)
            case "answer":
                self._answered.set()
                await asked.reply(202)
            case "DELETE":
                await asked.reply(200)
            case "GET":
                await self._stream(asked)
            case "subscriptions/listen":
                await self._subscribe(asked)
            case "tools/list":
                kept = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
                await asked.json(response(asked.id, {**kept, "tools": []}))
            case name if name.startswith("tools/call"):
                await asked.json(asked.answer)
            case _ if asked.message is not None and "id" not in asked.message:
                await asked.reply(202)
            case _:
                await asked.json(error(asked.id, -32601, "no such method"), 400)

    def count_as_answered(self) -> None:
        """The client's answer has come, though it was not received well."""
        self._answered.set()

    async def _stream(self, asked: Asked) -> None:
        if self.era == "modern":
            await asked.reply(405)
            return
        if self._victim and asked.http.request.headers.get("last-event-id") == "resume-here":
            await asked.say(response(self._victim, asked.result))
            return
        await asked.begin_stream()
        self.keep(asked)
        await self.go_on(asked)

    async def _subscribe(self, asked: Asked) -> None:
        await self.acknowledge(asked)
        self.keep(asked)
        await self.go_on(asked)

    def keep(self, asked: Asked) -> None:
        """Use an event stream for what `notify` has to tell."""
        self._streams.append(asked)

    @staticmethod
    async def go_on(asked: Asked) -> None:
        """Give signs of life on an event stream until the client leaves."""
        while not asked.http.ended.is_set():
            await asked.http.send(b": still here\n\n")
            await trio.sleep(4)

    @staticmethod
    async def acknowledge(asked: Asked) -> None:
        """Begin a subscription."""
        assert asked.message is not None
        honoured = {
            "notifications": asked.message["params"]["notifications"],
            "_meta": {"io.modelcontextprotocol/subscriptionId": asked.id},
        }
        await asked.say(notification("notifications/subscriptions/acknowledged", honoured))

    @staticmethod
    async def report_progress(asked: Asked) -> None:
        """Begin the answer of a call by a sign of life."""
        assert asked.message is not None
        token = asked.message["params"].get("_meta", {}).get("progressToken", "nobody")
        await asked.say(progress(token, 1))


def _name(http: HttpExchange, message: Json | None) -> str:
    if message is None:
        is_token = http.request.target.partition("?")[0] == "/token"
        return "token" if is_token else http.request.method
    name = str(message.get("method", "answer"))
    return f"{name} {message['params']['name']}" if name == "tools/call" else name
