"""The deterministic test kit: servers, networks and clocks that a test controls (docs/testing.md).

    async def test_a_slow_tool_is_given_up(mcp_server, autojump_clock):
        mcp_server.on["tools/call"] = lambda call: call.sse(3600, call.response({"content": []}))
        async with mcp_server.connect() as c:
            with pytest.raises(trio.TooSlowError), trio.fail_after(60):
                await c.call_tool("slow")

Nothing here opens a socket, and on Trio's mock clock nothing takes real time.
"""

from .asgi import AsgiServer, serve_asgi
from .call import CUT, HANG, RESET, Call, Reply
from .cancelling import cancel_everywhere
from .http_requests import HttpRequest
from .http_server import HttpExchange, serve_http
from .memory_link import Link
from .memory_network import MemoryListener, MemoryNetwork
from .memory_pipe import Conditions
from .memory_stream import Connection, MemoryStream
from .scripted_server import ScriptedServer
from .simulation import SEED_VARIABLE, Simulation, explore, seeded
from .trace import Entry, Trace

__all__ = [
    "CUT",
    "HANG",
    "RESET",
    "SEED_VARIABLE",
    "AsgiServer",
    "Call",
    "Conditions",
    "Connection",
    "Entry",
    "HttpExchange",
    "HttpRequest",
    "Link",
    "MemoryListener",
    "MemoryNetwork",
    "MemoryStream",
    "Reply",
    "ScriptedServer",
    "Simulation",
    "Trace",
    "cancel_everywhere",
    "explore",
    "seeded",
    "serve_asgi",
    "serve_http",
]
