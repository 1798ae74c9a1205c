"""The clients that are compared, all behind one interface: see `base.py`.

A contender's module is imported in its own process only: it brings the client with it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from .base import Contender

CONTENDERS: Final[Mapping[str, str]] = {
    "floor": "floor:Floor",
    "httpx2": "bare_httpx2:BareHttpx2",
    "trio_mcp": "ours:TrioMcp",
    "trio_mcp-wide": "ours:WideTrioMcp",
    "mcp-trio": "sdk:McpOnTrio",
    "mcp-asyncio": "sdk:McpOnAsyncio",
    "fastmcp": "fastmcp_client:FastMcp",
}
"""The module and the class of each, in the order in which tables show them."""


def load(name: str) -> Contender:
    """The contender of that name.

    Raises:
        ImportError: its client is not installed.
    """
    module, _, kind = CONTENDERS[name].partition(":")
    contender: Contender = getattr(importlib.import_module(f".{module}", __name__), kind)()
    return contender
