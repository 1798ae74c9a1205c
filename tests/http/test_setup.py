"""Which engine sends, and over which way: options, the environment, and what cannot work."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

import trio_mcp
from tests.http.site import Site, ask, memory_site, tcp_site
from trio_mcp.errors import ConfigurationError, ConnectError
from trio_mcp.http.client_engine import ClientEngine
from trio_mcp.http.pool_engine import PoolEngine
from trio_mcp.http.setup import check_http_client, check_verify, open_engine
from trio_mcp.network import Network, TcpNetwork
from trio_mcp.testing import HttpExchange, MemoryNetwork, ScriptedServer

URL = "http://server.test/mcp"  # a host that does not exist: only a proxy can answer for it
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names none."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def mcp(exchange: HttpExchange) -> None:
    """An MCP server, just large enough to be called."""
    message = json.loads(exchange.request.body)
    result = DISCOVERED if message["method"] == "server/discover" else {"content": []}
    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    await exchange.respond(200, [("content-type", "application/json")], body)


class Proxy:
    """A proxy on a real socket, which answers in the name of whomever it is asked for."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.url = f"http://127.0.0.1:{port}"
        site.handler = mcp

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.site.requests]


@pytest.fixture
async def proxy(nursery: trio.Nursery) -> Proxy:
    return Proxy(*await tcp_site(nursery))


async def call(url: str = URL, **options: Any) -> None:
    with trio.fail_after(20):
        async with trio_mcp.open_connector(url, **options) as c:
            await c.call_tool("x")


# Which engine


async def test_by_default_it_is_our_own_on_real_sockets(nursery: trio.Nursery) -> None:
    site, port = await tcp_site(nursery)
    url = f"http://127.0.0.1:{port}/"
    with trio.fail_after(20):
        async with open_engine(httpx2.URL(url)) as engine:
            assert isinstance(engine, PoolEngine)
            assert (await ask(engine, url)).body == b"hello"
    assert site.connections == 1


async def test_a_network_of_the_users_is_dialled(nursery: trio.Nursery) -> None:
    network = MemoryNetwork()
    site = memory_site(network, nursery)
    async with open_engine(httpx2.URL(URL), network=network) as engine:
        assert isinstance(engine, PoolEngine)
        assert (await ask(engine, URL)).body == b"hello"
        assert len(network.connections) == 1
    await trio.testing.wait_all_tasks_blocked()
    assert (site.connections, network.connections) == (1, [])  # with the block ends what was idle


async def test_a_network_of_the_users_is_stronger_than_the_environment(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    async with ScriptedServer() as server:
        server.on["tools/call"] = lambda call: call.text("done")
        await call(server.url, network=server.network)
    assert proxy.asked == []


class Flow(httpx2.Auth):
    """Gets a token from another host first."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        if "token" not in request.headers:
            response = yield httpx2.Request("POST", "http://auth.test/token", json={"id": 1, "method": "x"})
            request.headers["token"] = str(response.status_code)
        yield request


# Proxies


async def test_a_proxy_is_asked_for_what_is_wanted(proxy: Proxy) -> None:
    await call(proxy=proxy.url)
    assert proxy.asked == [f"POST {URL}"] * 2
    assert {request.headers["host"] for request in proxy.site.requests} == {"server.test"}


VIA: list[Mapping[str, str]] = [
    {"HTTP_PROXY": "{}"},
    {"http_proxy": "{}"},
    {"ALL_PROXY": "{}"},
    {"ALL_PROXY": "{}", "NO_PROXY": "other.test"},
    {"HTTP_PROXY": "{}", "HTTPS_PROXY": "http://127.0.0.1:1"},
]
DIRECT: list[Mapping[str, str]] = [
    {"HTTPS_PROXY": "{}"},
    {"HTTP_PROXY": "{}", "NO_PROXY": "127.0.0.1"},
    {"ALL_PROXY": "{}", "NO_PROXY": "other.test, 127.0.0.1"},
    {"ALL_PROXY": "{}", "NO_PROXY": "*"},
    {"HTTP_PROXY": ""},
]


@pytest.mark.parametrize("environment", VIA)
async def test_the_environments_proxy_is_used(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(proxy.url))
    await call()
    assert proxy.asked == [f"POST {URL}"] * 2


@pytest.mark.parametrize("environment", DIRECT)
async def test_the_environments_proxy_is_not_used_for_what_is_excepted(
    proxy: Proxy, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(proxy.url))
    site, port = await tcp_site(nursery)
    site.handler = mcp
    await call(f"http://127.0.0.1:{port}/mcp")
    assert (len(site.requests), proxy.asked) == (2, [])


async def test_an_option_is_stronger_than_the_environment(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "server.test")
    await call(proxy=proxy.url)
    assert proxy.asked == [f"POST {URL}"] * 2


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_a_proxy_is_asked_for_a_tunnel_to_https(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        await exchange.respond(403)

    proxy.site.handler = refuse
    monkeypatch.setenv(variable, proxy.url)
    with pytest.raises(ConnectError, match="could not connect: 403"):
        await call("https://server.test/mcp")
    assert proxy.asked == ["CONNECT server.test:443"]


async def test_a_proxy_that_is_not_there_is_no_connection() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(ConnectError, match="could not connect"):
        await call(proxy=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("excepted", [True, False])
async def test_what_an_auth_flow_asks_of_other_hosts_goes_through_the_proxy_too(
    proxy: Proxy, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, excepted: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    if not excepted:
        await call(auth=Flow())
        assert proxy.asked == ["POST http://auth.test/token", f"POST {URL}"] * 2
        return
    site, port = await tcp_site(nursery)
    site.handler = mcp
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    await call(f"http://127.0.0.1:{port}/mcp", auth=Flow())
    assert proxy.asked == ["POST http://auth.test/token"] * 2
    assert [request.headers["token"] for request in site.requests] == ["200", "200"]


async def test_without_a_flow_the_direct_way_stays_the_direct_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "server.test")
    async with open_engine(httpx2.URL(URL)) as engine:
        assert isinstance(engine, PoolEngine)
    async with open_engine(httpx2.URL(URL), auth=Flow()) as beside:
        assert isinstance(beside, ClientEngine)
    monkeypatch.delenv("HTTP_PROXY")
    async with open_engine(httpx2.URL(URL), auth=Flow()) as engine:
        assert isinstance(engine, PoolEngine)


async def test_where_servers_name_the_hosts_we_dial_what_goes_to_no_proxy(
    proxy: Proxy, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = await tcp_site(nursery)
    proxy.site.handler = plain
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    dialled: list[Network] = []

    def dial(network: Network) -> Network:
        dialled.append(network)
        return Refusing()

    with trio.fail_after(20):
        async with open_engine(httpx2.URL(URL), anywhere=True, dial=dial) as engine:
            await ask(engine, URL)
            assert proxy.asked == [f"POST {URL}"]
            with pytest.raises(ConnectError, match="not there"):
                await ask(engine, f"http://127.0.0.1:{port}/")
    assert len(dialled) == 1


async def plain(exchange: HttpExchange) -> None:
    await exchange.respond(200, [], b"hello")


class Refusing:
    """A network that leads nowhere."""

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        raise OSError("not there")


async def test_cookies_that_cannot_be_sent_back_are_not_kept_behind_a_proxy_either(proxy: Proxy) -> None:
    async def set_cookies(exchange: HttpExchange) -> None:
        await exchange.respond(200, [("set-cookie", "a=\xff"), ("set-cookie", "b=plain")])

    proxy.site.handler = set_cookies
    with trio.fail_after(20):
        async with open_engine(httpx2.URL(URL), proxy=proxy.url) as engine:
            for _ in range(2):
                assert (await ask(engine, URL)).status == 200
    assert proxy.site.requests[1].headers["cookie"] == "b=plain"


# What cannot work


MOCK = httpx2.MockTransport(lambda request: httpx2.Response(200))
CLIENT = httpx2.AsyncClient(transport=MOCK)


@pytest.mark.parametrize(
    "options",
    [
        {"http_client": CLIENT, "network": TcpNetwork()},
        {"http_client": CLIENT, "proxy": "http://127.0.0.1:1"},
        {"network": TcpNetwork(), "proxy": "http://127.0.0.1:1"},
    ],
)
def test_there_is_one_way_to_the_server(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="http_client, network and proxy exclude each other"):
        trio_mcp.open_connector(URL, **options)


@pytest.mark.parametrize("network", [object(), "network", trio.open_tcp_stream])
def test_what_cannot_dial_is_no_network(network: Any) -> None:
    with pytest.raises(TypeError, match=r"network must have open_stream\(\)"):
        trio_mcp.open_connector(URL, network=network)


@pytest.mark.parametrize("client", [object(), httpx2.Client(transport=MOCK), httpx2.AsyncClient])
def test_what_is_no_client_of_either_library_is_refused(client: Any) -> None:
    with pytest.raises(TypeError, match="http_client must be an httpx2.AsyncClient or an httpx.AsyncClient"):
        check_http_client(client)


@pytest.mark.parametrize("verify", [1, b"ca.pem", 0.5, object()])
def test_what_cannot_verify_is_refused(verify: Any) -> None:
    with pytest.raises(TypeError, match="verify must be a bool, a CA file or an ssl.SSLContext"):
        trio_mcp.open_connector(URL, verify=verify)


def test_none_verifies_as_true_does() -> None:
    assert check_verify(None) is True
    assert check_verify(False) is False


@pytest.mark.parametrize("way", [{}, {"network": MemoryNetwork()}, {"proxy": "http://127.0.0.1:1"}])
async def test_a_ca_file_that_is_none_is_told_before_anything_is_sent(
    way: dict[str, Any], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file in (tmp_path / "none.pem", empty):
        with pytest.raises(ConfigurationError, match=f"verify: cannot read certificates from .*{file.name}"):
            await call(verify=file, **way)
