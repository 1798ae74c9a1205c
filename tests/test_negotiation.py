"""Which version the two sides agree on, and what is never taken for an answer about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp.testing import RESET, Call, Reply, ScriptedServer

MODERN = "2026-07-28"
LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
META = "io.modelcontextprotocol/"


async def test_a_modern_server_is_found_by_discover_alone(serve: Serve) -> None:
    server = serve(instructions="be kind")
    async with server.connect() as c:
        assert c.protocol_version == MODERN
        assert c.server_info is not None
        assert c.server_info.name == "scripted"
        assert c.instructions == "be kind"
        assert c.server_capabilities.tools is not None
        assert c.transport == "streamable-http"
        assert c.is_connected
    assert server.methods() == ["server/discover"]
    (seen,) = server.seen
    assert seen.headers["mcp-protocol-version"] == MODERN
    assert seen.headers["mcp-method"] == "server/discover"
    meta = seen.params["_meta"]
    assert meta[META + "protocolVersion"] == MODERN
    assert meta[META + "clientInfo"]["name"] == "trio_mcp"
    assert meta[META + "clientCapabilities"] == {}


@pytest.mark.parametrize("version", LEGACY)
async def test_a_legacy_server_gets_initialize_and_the_initialized_notification(
    serve: Serve, version: str
) -> None:
    server = serve(version, instructions="be kind")
    async with server.connect() as c:
        assert c.protocol_version == version
        assert c.server_info is not None
        assert c.instructions == "be kind"
        await trio.testing.wait_all_tasks_blocked()
    assert server.methods() == [
        "server/discover",
        "initialize",
        "notifications/initialized",
        "GET",
        "DELETE",
    ]
    (initialize,) = server.all("initialize")
    assert initialize.params["protocolVersion"] == "2025-11-25"
    assert "mcp-protocol-version" not in initialize.headers
    (initialized,) = server.all("notifications/initialized")
    assert initialized.headers["mcp-session-id"] == "session-1"
    has_header = version in ("2025-06-18", "2025-11-25")
    assert initialized.headers.get("mcp-protocol-version") == (version if has_header else None)


@pytest.mark.parametrize(
    "refusal",
    [
        lambda seen: seen.reply(status=400),
        lambda seen: seen.reply(status=404),
        lambda seen: seen.reply(status=405),
        lambda seen: seen.reply("<p>no</p>", status=404, type="text/html"),
        lambda seen: seen.error(-32000, "Bad Request: Server not initialized", status=400),
        lambda seen: seen.error(-32601, "Method not found"),
        lambda seen: seen.result({"hello": "world"}),
        lambda seen: seen.result({"supportedVersions": ["2025-11-25"], "capabilities": {}}),
        lambda seen: seen.error(-32022, "old", status=400, data={"supported": ["2025-11-25"]}),
    ],
)
async def test_what_is_no_modern_answer_leads_to_initialize(
    serve: Serve,
    refusal: Callable[[Call], Reply],
) -> None:
    server = serve("2025-11-25")
    server.on["server/discover"] = refusal
    async with server.connect() as c:
        assert c.protocol_version == "2025-11-25"


@pytest.mark.parametrize("status", [401, 403, 407, 408, 429, 500, 502, 503])
async def test_authorization_limits_and_outages_tell_nothing_of_the_version(
    serve: Serve, status: int
) -> None:
    server = serve("2025-11-25")
    server.on["server/discover"] = lambda seen: seen.reply(status=status)
    with pytest.raises(trio_mcp.HTTPStatusError) as caught:
        async with server.connect():
            pass
    assert caught.value.status_code == status
    assert isinstance(caught.value, trio_mcp.AccessDenied) == (status in (401, 403))
    assert server.methods() == ["server/discover"]


async def test_a_broken_network_tells_nothing_of_the_version(serve: Serve) -> None:
    server = serve("2025-11-25")
    server.link.refuse()
    events: list[str] = []
    server.network.on_event = events.append
    with pytest.raises(trio_mcp.ConnectError, match="refused"):
        async with server.connect():
            pass
    assert events == ["server.test:80 refuses"]  # once, and no initialize after it


async def test_a_connection_that_breaks_tells_nothing_of_the_version(serve: Serve) -> None:
    server = serve("2025-11-25")
    server.on["server/discover"] = lambda seen: seen.reply(RESET)
    with pytest.raises(trio_mcp.ConnectionLost, match="reset by peer"):
        async with server.connect():
            pass
    assert server.methods() == ["server/discover"]


async def test_a_page_that_is_no_endpoint_is_an_error_at_once(serve: Serve) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.reply("<html>", type="text/html; charset=utf-8")
    with pytest.raises(trio_mcp.ProtocolError, match="text/html instead of JSON"):
        async with server.connect():
            pass


async def test_a_server_that_names_a_mutual_version_is_asked_again_at_it(serve: Serve) -> None:
    server = serve()
    discover = server.on["server/discover"]

    def first_refuse(seen: Call) -> Any:
        if len(server.seen) == 1:
            return seen.error(-32022, "unsupported", 400, {"supported": [MODERN, "2099-01-01"]})
        return discover(seen)

    server.on["server/discover"] = first_refuse
    async with server.connect() as c:
        assert c.protocol_version == MODERN
    assert server.methods() == ["server/discover", "server/discover"]


async def test_refused_twice_is_an_error_and_not_a_loop(serve: Serve) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.error(-32022, "no", 400, {"supported": [MODERN]})
    with pytest.raises(trio_mcp.MCPError):
        async with server.connect():
            pass
    assert server.methods() == ["server/discover", "server/discover"]


@pytest.mark.parametrize(
    "data", [None, [], {"supported": "all"}, {"supported": []}, {"supported": ["2099-01-01"]}]
)
async def test_a_modern_server_without_a_common_version_is_an_error(serve: Serve, data: object) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.error(-32022, "unsupported", 400, data)
    with pytest.raises(trio_mcp.MCPError) as caught:
        async with server.connect():
            pass
    assert caught.value.code == -32022
    assert caught.value.http_status == 400
    assert server.methods() == ["server/discover"]


@pytest.mark.parametrize("code", [-32020, -32021])
async def test_other_modern_errors_are_not_followed_by_initialize(serve: Serve, code: int) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.error(code, status=400)
    with pytest.raises(trio_mcp.MCPError):
        async with server.connect():
            pass
    assert server.methods() == ["server/discover"]


async def test_a_discover_result_without_any_known_version_is_a_mismatch(serve: Serve) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.result(
        {"supportedVersions": ["2099-01-01"], "capabilities": {}}
    )
    with pytest.raises(trio_mcp.VersionMismatch, match="2099-01-01"):
        async with server.connect():
            pass


async def test_a_negative_ttl_and_a_malformed_server_info_do_not_matter(serve: Serve) -> None:
    server = serve()
    server.on["server/discover"] = lambda seen: seen.result(
        {
            "supportedVersions": [MODERN],
            "capabilities": {},
            "ttlMs": -5,
            "_meta": {META + "serverInfo": "me"},
        }
    )
    async with server.connect() as c:
        assert c.protocol_version == MODERN
        assert c.server_info is None
        assert c.instructions is None


async def test_initialize_refused_by_a_modern_error_leads_back_to_discover(serve: Serve) -> None:
    server = serve()
    discover = server.on["server/discover"]
    server.on["server/discover"] = lambda seen: (
        seen.reply(status=400) if len(server.seen) == 1 else discover(seen)
    )
    server.on["initialize"] = lambda seen: seen.error(-32022, "modern only", 400, {"supported": [MODERN]})
    async with server.connect() as c:
        assert c.protocol_version == MODERN
    assert server.methods() == ["server/discover", "initialize", "server/discover"]


async def test_when_both_ways_fail_the_error_tells_both(serve: Serve) -> None:
    server = serve("2025-11-25")
    server.on["initialize"] = lambda seen: seen.error(-32603, "out of order")
    with pytest.raises(trio_mcp.MCPError, match="out of order") as caught:
        async with server.connect():
            pass
    assert "unknown method" in str(caught.value.__cause__)


async def test_a_server_silent_on_discover_is_tried_by_initialize(
    serve: Serve,
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = serve("2025-11-25")
    server.on["server/discover"] = lambda seen: trio.sleep_forever()
    async with server.connect(connect_timeout=30) as c:
        assert c.protocol_version == "2025-11-25"
        assert trio.current_time() == pytest.approx(10)


async def test_the_whole_handshake_has_a_deadline(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = serve("2025-11-25")
    server.on["initialize"] = lambda seen: trio.sleep_forever()
    with pytest.raises(trio_mcp.ConnectTimeout, match="no handshake within 30 s") as caught:
        async with server.connect():
            pass
    assert isinstance(caught.value, trio.TooSlowError)
    assert trio.current_time() == pytest.approx(30)
    assert "notifications/cancelled" not in server.methods()  # initialize must not be cancelled


@pytest.mark.parametrize("version", LEGACY)
async def test_a_pinned_legacy_version_is_initialized_without_discover(serve: Serve, version: str) -> None:
    server = serve(version)
    async with server.connect(protocol_version=version) as c:
        assert c.protocol_version == version
    assert server.methods()[0] == "initialize"
    assert server.seen[0].params["protocolVersion"] == version


async def test_a_pinned_version_that_the_server_answers_otherwise_is_a_mismatch(serve: Serve) -> None:
    server = serve("2025-03-26")
    with pytest.raises(trio_mcp.VersionMismatch, match="2025-03-26.*2025-11-25"):
        async with server.connect(protocol_version="2025-11-25"):
            pass


async def test_a_server_that_answers_initialize_with_an_unknown_version_is_a_mismatch(serve: Serve) -> None:
    server = serve("1999-01-01")
    with pytest.raises(trio_mcp.VersionMismatch, match="1999-01-01"):
        async with server.connect():
            pass


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (lambda seen: seen.error(-32601), trio_mcp.MCPError),
        (lambda seen: seen.result({}), trio_mcp.ProtocolError),
        (
            lambda seen: seen.result({"supportedVersions": ["2025-11-25"], "capabilities": {}}),
            trio_mcp.VersionMismatch,
        ),
        (
            lambda seen: seen.result({"supportedVersions": [], "capabilities": {}}),
            trio_mcp.VersionMismatch,
        ),
    ],
)
async def test_a_pinned_modern_version_never_falls_back(
    serve: Serve, reply: Callable[[Call], Reply], error: type[Exception]
) -> None:
    server = serve("2025-11-25")
    server.on["server/discover"] = reply
    with pytest.raises(error):
        async with server.connect(protocol_version=MODERN):
            pass
    assert server.methods() == ["server/discover"]


async def test_an_invalid_initialize_result_is_a_protocol_error(serve: Serve) -> None:
    server = serve("2025-11-25")
    server.on["initialize"] = lambda seen: seen.result({"protocolVersion": "2025-11-25"})
    with pytest.raises(trio_mcp.ProtocolError, match="InitializeResult"):
        async with server.connect():
            pass


def test_an_unknown_version_cannot_be_pinned() -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match="2026-07-28"):
        ScriptedServer().connect(protocol_version="2020-01-01")
