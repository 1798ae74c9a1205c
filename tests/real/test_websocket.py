"""What is the WebSocket's own: certificates and large messages, with the official SDK's server behind it."""

from __future__ import annotations

import mcp_types as types
import pytest

from trio_mcp import ConnectError, open_connector

from .ways import WAYS, Kit

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
]


async def test_a_certificate_of_an_unknown_authority_is_a_connect_error(kit: Kit) -> None:
    async with WAYS["wss"].serve(kit, False) as serving:
        with pytest.raises(ConnectError, match="certificate"):
            async with open_connector(serving.target):
                pass


async def test_a_large_message_goes_both_ways(kit: Kit) -> None:
    async with WAYS["ws"].serve(kit, False) as serving, serving.connect() as c:
        prompt = await c.get_prompt("introduce", {"name": "é" * 2_000_000})
        (message,) = prompt.messages
        assert isinstance(message.content, types.TextContent)
        assert len(message.content.text) == 2_000_010
