"""What is HTTP's own, against the official SDK: restarts, answers that are none, headers, TLS.

What all transports have in common is shown by `test_every_transport.py`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import httpx2
import mcp_types as types
import pytest
import trio
import trustme
from pydantic import FileUrl
from typing_extensions import Unpack

from trio_mcp import (
    AccessDenied,
    ConnectError,
    ConnectionChange,
    ConnectionLost,
    Connector,
    ProtocolError,
    ReconnectPolicy,
)
from trio_mcp.opening import HttpOptions

from .children import Child, StartServer, connected, free_port

pytestmark = pytest.mark.real

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
Open = Callable[..., AbstractAsyncContextManager[Connector]]

over_eras = pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])


@pytest.fixture
def connect(version: str, shared_server: StartServer) -> Open:
    """Connects in the test's version."""

    def open_version(**options: Unpack[HttpOptions]) -> AbstractAsyncContextManager[Connector]:
        options["protocol_version"] = version
        return connected(shared_server().url, **options)

    return open_version


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def count(c: Connector, tool: str, key: str) -> int:
    return int(text_of(await c.call_tool(tool, {"key": key})))


async def reaches_one(c: Connector, tool: str, key: str) -> None:
    while await count(c, tool, key) != 1:
        await trio.sleep(0.01)


# Servers that go away


@pytest.mark.parametrize("version", LEGACY)
async def test_a_session_that_ended_with_the_server_is_opened_anew_once_for_all_calls(
    own_server: StartServer, version: str
) -> None:
    server = own_server()
    options: HttpOptions = {"roots": [types.Root(uri=FileUrl("file:///one"))], "protocol_version": version}
    async with connected(server.url, **options) as c:
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        server.kill()
        own_server("--port", str(server.port))
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(c.call_tool, "add", {"a": 3, "b": 4})
        assert c.statistics().reinitializations == 1
        assert c.statistics().requests_failed == 0
        # The GET stream has been opened anew as well: the server's question comes that way.
        assert text_of(await c.call_tool("roots_aside")) == "file:///one"


@pytest.mark.parametrize("version", LEGACY)
async def test_over_http_sse_a_restarted_server_is_found_again_and_calls_in_flight_are_lost(
    own_server: StartServer, version: str
) -> None:
    server = own_server("--sse")
    tell, told = trio.open_memory_channel[ConnectionChange](10)

    async def restart_once_started() -> None:
        await reaches_one(c, "started_calls", "doomed")
        server.kill()
        own_server("--sse", "--port", str(server.port))

    policy = ReconnectPolicy(initial=0.1, maximum=0.5, attempts=None)
    options: HttpOptions = {"protocol_version": version, "reconnect": policy}
    options["connection_callback"] = tell.send
    async with connected(server.url, **options) as c:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart_once_started)
            with pytest.raises(ConnectionLost):
                await c.call_tool("forever", {"key": "doomed"})
        assert [(await told.receive()).connected for _ in range(2)] == [False, True]
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"
        assert c.statistics().reinitializations == 1


# Servers that are none


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2026-07-28"])
async def test_a_port_that_nobody_listens_on_is_a_connect_error(version: str) -> None:
    with pytest.raises(ConnectError, match="refused"):
        async with connected(f"http://127.0.0.1:{free_port()}/mcp", protocol_version=version):
            pass


StaticServer = Callable[[int, dict[str, str], bytes], str]


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2026-07-28"])
async def test_a_web_page_is_a_protocol_error_that_asks_for_the_url(
    static_server: StaticServer, version: str
) -> None:
    url = static_server(200, {"content-type": "text/html; charset=utf-8"}, b"<!doctype html><p>hello")
    with pytest.raises(ProtocolError, match=r"text/html.*is this the URL of an MCP endpoint"):
        async with connected(url, protocol_version=version):
            pass


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2026-07-28"])
async def test_a_401_is_access_denied_with_its_challenge(static_server: StaticServer, version: str) -> None:
    challenge = 'Bearer resource_metadata="https://example.com/meta"'
    url = static_server(401, {"www-authenticate": challenge}, b"")
    with pytest.raises(AccessDenied) as caught:
        async with connected(url, protocol_version=version, auth="very-secret"):
            pass
    assert caught.value.status_code == 401
    assert caught.value.www_authenticate == challenge
    assert "very-secret" not in f"{caught.value!r} {caught.value}"


# What is sent along


async def headers_at_server(c: Connector) -> dict[str, str]:
    content = (await c.call_tool("headers")).structured_content
    assert isinstance(content, dict)
    return content


@over_eras
async def test_headers_and_a_bearer_token_arrive_at_the_server(connect: Open) -> None:
    async with connect(headers={"X-Mine": "yes"}, auth="token") as c:
        arrived = await headers_at_server(c)
    assert (arrived["x-mine"], arrived["authorization"]) == ("yes", "Bearer token")
    assert arrived["user-agent"].startswith("trio_mcp/")


@pytest.mark.parametrize("client_class", [httpx2.AsyncClient, httpx.AsyncClient])
@over_eras
async def test_a_client_of_either_library_sends_and_stays_the_callers(
    connect: Open, client_class: type[httpx2.AsyncClient] | type[httpx.AsyncClient]
) -> None:
    async with client_class(headers={"x-clients": "own"}) as client:
        async with connect(http_client=client, headers={"x-mine": "too"}, auth="token") as c:
            arrived = await headers_at_server(c)
        assert not client.is_closed
    assert (arrived["x-clients"], arrived["x-mine"]) == ("own", "too")
    assert arrived["authorization"] == "Bearer token"


# TLS


@dataclass(frozen=True)
class SecureServer:
    url: str
    ca_file: Path


@pytest.fixture(scope="module")
def secure_server(shared_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> SecureServer:
    folder = tmp_path_factory.mktemp("tls")
    ca_file, certfile, keyfile = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(ca_file)
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(keyfile)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certfile, append=True)
    child: Child = shared_server("--certfile", str(certfile), "--keyfile", str(keyfile))
    return SecureServer(child.url.replace("http:", "https:"), ca_file)


@pytest.mark.parametrize(
    "verify",
    [
        pytest.param(lambda ca_file: ca_file, id="path"),
        pytest.param(str, id="str"),
        pytest.param(lambda ca_file: ssl.create_default_context(cafile=ca_file), id="context"),
        pytest.param(lambda ca_file: False, id="off"),
    ],
)
async def test_a_server_whose_authority_is_trusted_is_talked_to_over_tls(
    secure_server: SecureServer, verify: Callable[[Path], bool | str | Path | ssl.SSLContext]
) -> None:
    async with connected(secure_server.url, verify=verify(secure_server.ca_file)) as c:
        assert text_of(await c.call_tool("add", {"a": 1, "b": 2})) == "3"


async def test_a_server_whose_authority_is_unknown_is_a_connect_error(secure_server: SecureServer) -> None:
    with pytest.raises(ConnectError, match="certificate"):
        async with connected(secure_server.url):
            pass
