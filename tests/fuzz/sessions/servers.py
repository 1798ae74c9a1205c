"""Model servers: over each transport one that does with a call what its arguments say, and keeps a ledger."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from typing import Any, Final, final

import trio
from typing_extensions import Unpack

from tests.transports.sse_server import Posted, SseServer
from trio_mcp.connector import Connector
from trio_mcp.opening import HttpOptions
from trio_mcp.protocol.versions import is_modern
from trio_mcp.testing import CUT, HANG, RESET, Call, MemoryNetwork, ScriptedServer
from trio_mcp.testing.call import Answer
from trio_mcp.testing.messages import Json, error, notification, request

__all__ = ["HTTP_ERRORS", "LOST", "RESULTS", "HttpModel", "Model", "SseModel"]

RESULTS: Final = ("answer", "stream", "slow", "ask", "twice")
"""What a call is answered by a result to, over every transport."""
LOST: Final = ("cut", "reset")
"""What breaks the connection that the call came by."""
HTTP_ERRORS: Final = ("not json", "html", "wrong id", "503", "hang")
"""What over HTTP goes wrong for this call alone. Over a pipe, garbage is dropped, and the answer follows."""

CAPABILITIES: Final[Json] = {"tools": {"listChanged": True}, "logging": {}}
NO_TOOLS: Final[Json] = {"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}
TOOLS_CHANGED: Final = "notifications/tools/list_changed"
QUESTION: Final[Json] = {"messages": [], "maxTokens": 1}


def text(nonce: str) -> Json:
    return {"resultType": "complete", "content": [{"type": "text", "text": nonce}]}


def log(number: int) -> Json:
    return notification("notifications/message", {"level": "info", "data": number})


class Model(ABC):
    """A server.

    Attributes:
        carried_out: how often, by nonce.
        shares: whether calls share a connection, and its fate.
    """

    shares: bool

    def __init__(self, version: str) -> None:
        self.version = version
        self.carried_out: Counter[str] = Counter()

    @property
    @abstractmethod
    def network(self) -> MemoryNetwork: ...

    @abstractmethod
    def connect(self, **options: Unpack[HttpOptions]) -> Connector: ...

    @abstractmethod
    async def notify(self, message: Json) -> None:
        """Tell all clients, as far as there is a way to."""

    @abstractmethod
    async def restart(self, downtime: float) -> None: ...

    @abstractmethod
    def expire(self) -> None:
        """Forget the session, if there are such things."""

    def reset(self) -> None:
        self.network.link("server.test", 80).reset()

    async def outage(self, seconds: float) -> None:
        link = self.network.link("server.test", 80)
        link.refuse()
        await trio.sleep(seconds)
        link.heal()


@final
class HttpModel(Model):
    """Streamable HTTP of either era."""

    shares = False

    def __init__(self, nursery: trio.Nursery, network: MemoryNetwork, version: str) -> None:
        super().__init__(version)
        self._server = ScriptedServer(version, network=network, capabilities=CAPABILITIES)
        self._server.on |= {
            "tools/call": self._call,
            "subscriptions/listen": self._listen,
            "GET": self._get,
            "tools/list": lambda call: self._refusal(call) or call.result(NO_TOOLS),
        }
        self._forgotten: set[str | None] = set()
        self._streams: list[Call] = []
        nursery.start_soon(self._server.run)

    @property
    def network(self) -> MemoryNetwork:
        return self._server.network

    def connect(self, **options: Unpack[HttpOptions]) -> Connector:
        return self._server.connect(**options)

    def expire(self) -> None:
        self._forgotten |= {call.headers.get("mcp-session-id") for call in self._server.seen} - {None}

    async def restart(self, downtime: float) -> None:
        await self._server.restart(downtime)

    async def notify(self, message: Json) -> None:
        for call in self._streams:
            if call.closed.is_set():
                continue
            stamped = message
            if is_modern(self.version):
                if message["method"] != TOOLS_CHANGED:
                    continue
                stamp = {"io.modelcontextprotocol/subscriptionId": call.id}
                stamped = {**message, "params": {"_meta": stamp}}
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await call.send(stamped)

    def _refusal(self, call: Call) -> Answer:
        return call.reply(status=404) if call.headers.get("mcp-session-id") in self._forgotten else None

    async def _get(self, call: Call) -> Answer:
        if refusal := self._refusal(call):
            return refusal
        self._streams.append(call)
        return call.sse(HANG)

    async def _listen(self, call: Call) -> Answer:
        stamp = {"io.modelcontextprotocol/subscriptionId": call.id}
        wanted = {"notifications": call.params["notifications"], "_meta": stamp}
        await call.send(notification("notifications/subscriptions/acknowledged", wanted))
        self._streams.append(call)
        return call.sse(HANG)

    async def _call(self, call: Call) -> Answer:
        if refusal := self._refusal(call):
            return refusal
        nonce, do = call.params["arguments"]["nonce"], call.params["arguments"]["do"]
        modern = is_modern(self.version)
        if do == "503":
            return call.reply(status=503, headers={"retry-after": "1"})
        if do == "ask" and modern and "inputResponses" not in call.params:
            question = {**QUESTION, "systemPrompt": nonce}
            return call.input_required({"q": {"method": "sampling/createMessage", "params": question}})
        self.carried_out[nonce] += 1
        match do:
            case "stream":
                return call.sse(call.progress(1), 0.5, call.progress(2), call.response(text(nonce)))
            case "slow":
                await trio.sleep(3)
            case "ask":
                answers = call.params["inputResponses"]["q"] if modern else await self._ask(call, nonce)
                nonce = answers["content"]["text"]
            case "twice":
                return call.sse(call.response(text(nonce)), call.response(text(nonce)))
            case "cut":
                return call.sse(call.progress(1), CUT)
            case "reset":
                return call.sse(RESET)
            case "not json":
                return call.reply("{", type="application/json")
            case "html":
                return call.reply("<p>", type="text/html")
            case "wrong id":
                return call.json({"jsonrpc": "2.0", "id": f"not {call.id}", "result": text(nonce)})
            case "hang":
                return call.sse(HANG)
            case "error":
                return call.error(-32000, "no", data=nonce)
        return call.result(text(nonce))

    async def _ask(self, call: Call, nonce: str) -> Json:
        answer = await call.ask("sampling/createMessage", {**QUESTION, "systemPrompt": nonce})
        result: Json = answer["result"]
        return result


@final
class SseModel(Model):
    """HTTP+SSE, where one stream brings the answers to all calls."""

    shares = True

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__("2024-11-05")
        self._nursery = nursery
        self._server = SseServer(nursery)
        self._server.on |= {
            "tools/call": self._call,
            "initialize": self._initialize,
            "answer": self._answered,
            "tools/list": self._list,
        }
        self._questions: dict[str, trio.Event] = {}
        self._answers: dict[str, str] = {}

    @property
    def network(self) -> MemoryNetwork:
        return self._server.network

    def connect(self, **options: Unpack[HttpOptions]) -> Connector:
        return self._server.connect(**options)

    def expire(self) -> None:
        pass  # its session is its stream

    async def restart(self, downtime: float) -> None:
        self.reset()
        await self.outage(downtime)

    async def notify(self, message: Json) -> None:
        for stream in self._server.streams:
            if not stream.ended.is_set():
                await self._send(stream, message)

    async def _send(self, stream: Any, message: object) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._server.sending:
                await stream.send(f"data: {json.dumps(message)}\n\n".encode())

    async def _initialize(self, posted: Posted) -> None:
        await posted.accept()
        info = {"name": "sse", "version": "1"}
        await posted.answer(
            {"protocolVersion": self.version, "capabilities": CAPABILITIES, "serverInfo": info}
        )

    async def _call(self, posted: Posted) -> None:
        arguments = posted.message["params"]["arguments"]
        nonce, do = arguments["nonce"], arguments["do"]
        if do == "503":
            await posted.exchange.respond(503)
            return
        await posted.accept()
        self.carried_out[nonce] += 1
        match do:
            case "stream":
                token = posted.message["params"]["_meta"]["progressToken"]
                report = {"progressToken": token, "progress": 1}
                await posted.send(notification("notifications/progress", report))
                await trio.sleep(0.5)
            case "slow":
                await trio.sleep(3)
            case "ask":
                nonce = await self._ask(posted, nonce)
            case "twice":
                await posted.answer(text(nonce))
            case "cut":
                await posted.stream.cut()
                return
            case "reset":
                self.reset()
                return
            case "not json" | "html":
                await posted.stream.send(b"data: <p>\n\n")
            case "wrong id":
                await posted.send({"jsonrpc": "2.0", "id": "nobody's", "result": text(nonce)})
            case "hang":
                return
            case "error":
                await posted.send(error(posted.message["id"], -32000, "no", nonce))
                return
        await posted.answer(text(nonce))

    async def _list(self, posted: Posted) -> None:
        await posted.accept()
        await posted.answer(NO_TOOLS)

    async def _ask(self, posted: Posted, nonce: str) -> str:
        asked = self._questions[nonce] = trio.Event()
        await posted.send(request(nonce, "sampling/createMessage", {**QUESTION, "systemPrompt": nonce}))
        await asked.wait()
        return self._answers[nonce]

    async def _answered(self, posted: Posted) -> None:
        await posted.accept()
        id = posted.message["id"]
        self._answers[id] = posted.message["result"]["content"]["text"]
        self._questions[id].set()
