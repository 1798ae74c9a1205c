"""Groups of servers that are reached over scripted wires."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

import trio

from tests.transports.wires import JSON, LEGACY, MODERN, WireServer
from trio_mcp.errors import ConnectError
from trio_mcp.group import ConnectorGroup
from trio_mcp.group.member import Member
from trio_mcp.group.names import Names
from trio_mcp.reconnecting import ReconnectPolicy

STEADY = ReconnectPolicy(jitter=0)
PAGE: JSON = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
EVERYTHING: JSON = {
    name: {"listChanged": True, "subscribe": True} if name == "resources" else {"listChanged": True}
    for name in ("tools", "prompts", "resources")
}


def wire_server(*tools: str, version: str = LEGACY) -> WireServer:
    """A server with these tools, each of which answers with its name."""
    server = WireServer(version)
    lists(server, "tools", [{"name": name, "inputSchema": {"type": "object"}} for name in tools])
    server.on["tools/call"] = lambda message: {
        "resultType": "complete",
        "content": [{"type": "text", "text": message["params"]["name"]}],
    }
    return server


def lists(server: WireServer, kind: str, items: list[JSON], key: str | None = None) -> None:
    """Have the server list these from now on."""
    server.on[f"{kind}/list"] = lambda message: {**PAGE, key or kind: items}


def declares(server: WireServer, **capabilities: JSON) -> WireServer:
    """Have the server declare these capabilities, and no others."""
    if server.version == MODERN:
        discovered = server.on["server/discover"]({}) or {}
        server.on["server/discover"] = lambda message: {**discovered, "capabilities": capabilities}
    else:
        initialized = server.on["initialize"]({}) or {}
        server.on["initialize"] = lambda message: {**initialized, "capabilities": capabilities}
    return server


def refuses(server: WireServer, error: Exception | None = None) -> WireServer:
    """Have the server not be reached."""

    async def refuse() -> None:
        await trio.lowlevel.checkpoint()
        raise error or ConnectError("refused")

    server.on_open = refuse
    return server


def hangs(server: WireServer, seconds: float = float("inf")) -> WireServer:
    """Have the server take so long until it is reached."""

    async def hang() -> None:
        await trio.sleep(seconds)

    server.on_open = hang
    return server


def make_group(
    servers: Mapping[str, WireServer],
    *,
    optional: Collection[str] = (),
    policy: ReconnectPolicy | None = STEADY,
    deadline: float = 30,
    tools: Collection[str] | None = None,
    separator: str = "__",
    **options: Any,
) -> ConnectorGroup:
    """A group of them."""
    members = {
        name: Member(
            name,
            server.connect(connect_timeout=deadline, **options),
            required=name not in optional,
            policy=policy,
            deadline=deadline,
            allows=lambda name: tools is None or name in tools,
            rng=random.Random(0),
        )
        for name, server in servers.items()
    }
    return ConnectorGroup(members, Names({name: name for name in servers}, separator))


def statuses(group: ConnectorGroup) -> dict[str, str]:
    return {name: state.status for name, state in group.states.items()}


async def until(group: ConnectorGroup, server: str, status: str) -> float:
    """Wait until a server of the group is so; gives the time."""
    while (state := group.states[server]).status != status:
        await group._member(server).until_changed(state)
    return trio.current_time()
