"""What a server does, whatever carries its messages; and what it has seen, for the oracle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final

import trio

from trio_mcp.errors import MCPError
from trio_mcp.protocol.versions import is_modern
from trio_mcp.testing.messages import Json, notification, progress

__all__ = ["LEGACY", "MODERN", "SSE_VERSION", "Channel", "Peer", "Seen"]

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
SSE_VERSION: Final = "2024-11-05"

_SCHEMA: Final = {"type": "object"}
_QUESTION: Final = {
    "message": "who?",
    "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
}
_LISTS: Final = {"listChanged": True}


class Channel(ABC):
    """The way back to the client, while a request of it is being answered."""

    @abstractmethod
    async def say(self, message: Json) -> None:
        """Send a message."""

    @abstractmethod
    async def ask(self, method: str, params: Json) -> Json:
        """Ask the client, and give its answer's message."""


@dataclass
class Seen:
    """A request that came, and how it ended."""

    id: int | str
    method: str
    tool: str | None
    answered: bool = False
    left: bool = False
    """Whether the server's work on it was cut short."""


@dataclass
class Peer:
    """A server of one version.

    Attributes:
        version: its protocol version.
        requests: those that it has begun to work on, in order.
        known: the ids of all requests that came.
        told: the ids that `notifications/cancelled` named.
        notified: the methods of all notifications that came.
    """

    version: str
    requests: list[Seen] = field(default_factory=list)
    known: set[int | str] = field(default_factory=set)
    told: list[int | str] = field(default_factory=list)
    notified: list[str] = field(default_factory=list)

    def notice(self, message: Json) -> None:
        """Take a notification."""
        self.notified.append(message["method"])
        if message["method"] == "notifications/cancelled":
            self.told.append(message["params"]["requestId"])

    async def result(self, message: Json, channel: Channel) -> Json:
        """The result of a request."""
        params = message.get("params") or {}
        seen = Seen(message["id"], message["method"], params.get("name"))
        self.requests.append(seen)
        self.known.add(seen.id)
        try:
            result = await self._result(seen, params, channel)
        except BaseException:
            seen.left = True
            raise
        seen.answered = True
        return {"resultType": "complete", **result} if is_modern(self.version) else result

    async def _result(self, seen: Seen, params: Json, channel: Channel) -> Json:
        fresh = {"ttlMs": 0, "cacheScope": "private"} if is_modern(self.version) else {}
        capabilities = {"tools": _LISTS, "resources": {"subscribe": True}}
        match seen.method:
            case "server/discover" if is_modern(self.version):
                return {"supportedVersions": [self.version], "capabilities": capabilities, **fresh}
            case "initialize":
                info = {"name": "peer", "version": "1"}
                return {"protocolVersion": self.version, "capabilities": capabilities, "serverInfo": info}
            case "tools/list":
                page = {"tools": [{"name": f"t{params.get('cursor', '1')}", "inputSchema": _SCHEMA}], **fresh}
                return page if "cursor" in params else {**page, "nextCursor": "2"}
            case "tools/call":
                return await self._call(seen, params, channel)
            case "subscriptions/listen" if is_modern(self.version):
                meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": seen.id}}
                honoured = {"notifications": params["notifications"], **meta}
                await channel.say(notification("notifications/subscriptions/acknowledged", honoured))
                await channel.say(notification("notifications/tools/list_changed", meta))
                await trio.sleep_forever()
            case "resources/subscribe" | "resources/unsubscribe":
                return {}
        raise MCPError(-32601, f"no method {seen.method}")

    async def _call(self, seen: Seen, params: Json, channel: Channel) -> Json:
        match seen.tool:
            case "slow":
                token = params.get("_meta", {}).get("progressToken")
                for step in range(3):
                    await trio.sleep(1)
                    if token is not None:
                        await channel.say(progress(token, step))
            case "silent":
                await trio.sleep_forever()
            case "asks" if is_modern(self.version):
                if "inputResponses" not in params:
                    question = {"method": "elicitation/create", "params": _QUESTION}
                    return {"resultType": "input_required", "inputRequests": {"who": question}}
            case "asks":
                await channel.ask("elicitation/create", _QUESTION)
        return {"content": [{"type": "text", "text": "done"}]}

    # What the oracle wants to know

    def calls(self) -> list[Seen]:
        return [each for each in self.requests if each.method == "tools/call"]
