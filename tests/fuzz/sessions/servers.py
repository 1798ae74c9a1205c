"""A model server: it does with a call what its arguments say, and keeps a ledger. Over Streamable HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from typing import Final, final

import trio
from typing_extensions import Unpack

from trio_mcp.connector import Connector
from trio_mcp.options import CommonOptions
from trio_mcp.protocol.versions import is_modern
from trio_mcp.testing import CUT, HANG, RESET, Call, MemoryNetwork, ScriptedServer
from trio_mcp.testing.call import Answer
from trio_mcp.testing.messages import Json, notification

__all__ = [
    "CAPABILITIES",
    "HTTP_ERRORS",
    "LOST",
    "NO_TOOLS",
    "QUESTION",
    "RESULTS",
    "TOOLS_CHANGED",
    "HttpModel",
    "Model",
    "log",
    "text",
]

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
        is_silent: whether a call that is never answered waits until it is cancelled.
    """

    shares: bool
    is_silent = False

    def __init__(self, version: str) -> None:
        self.version = version
        self.carried_out: Counter[str] = Counter()

    @property
    @abstractmethod
    def network(self) -> MemoryNetwork: ...

    @abstractmethod
    def connect(self, silence: float, **options: Unpack[CommonOptions]) -> Connector: ...

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

    def connect(self, silence: float, **options: Unpack[CommonOptions]) -> Connector:
        return self._server.connect(sse_read_timeout=silence, **options)

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
