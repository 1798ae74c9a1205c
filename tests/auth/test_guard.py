"""Which URLs may be fetched, and where names may lead."""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_mcp
from trio_mcp import OAuthError
from trio_mcp.auth.guard import Guard, is_public_address
from trio_mcp.network import TcpNetwork
from trio_mcp.testing import HttpExchange, MemoryNetwork, serve_http

PUBLIC = "https://mcp.example.com/mcp"


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example.com/x",
        "https://8.8.8.8/",
        "https://auth.example.com:8443/a?b=c",
    ],
)
def test_a_public_server_may_name_what_is_public(url: str) -> None:
    assert str(Guard(PUBLIC).check(url, "discovery")) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example.com/x",
        "https://localhost/",
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[64:ff9b:1::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://[::10.0.0.1]/",
        "https://[fec0::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[fe80::1%25eth0]/",
        "https://0177.0.0.1/",
        "https://localhost./",
        "https://10.0.0.1./",
        "https://240.0.0.1/",
        "https://224.0.0.1/",
        "ftp://auth.example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://user:pass@auth.example.com/",
        "https:///x",
        "https://a:x",
        "https://auth.example.com:0/",
        "https://auth.example.com:65959/",
        "",
    ],
)
def test_a_public_server_may_name_nothing_else(url: str) -> None:
    with pytest.raises(OAuthError) as caught:
        Guard(PUBLIC).check(url, "discovery")
    assert caught.value.step == "discovery"
    assert "pass" not in str(caught.value).replace("/etc/passwd", "")


@pytest.mark.parametrize(
    "server", ["http://127.0.0.1:8000/mcp", "https://10.0.0.5/mcp", "http://localhost/mcp"]
)
def test_a_private_server_may_name_its_neighbours_but_not_without_https(server: str) -> None:
    guard = Guard(server)
    assert guard.check("https://10.0.0.1/", "token").host == "10.0.0.1"
    assert guard.check("http://127.0.0.1:9000/", "token").port == 9000
    with pytest.raises(OAuthError, match="must be https"):
        guard.check("http://10.0.0.1/", "token")


def test_what_the_program_names_may_be_anywhere() -> None:
    guard = Guard(PUBLIC, ["https://10.0.0.1/idp"])
    assert guard.check("https://10.0.0.1/token", "token").path == "/token"
    assert guard.allows("10.0.0.1", "10.0.0.1")


def test_a_teredo_address_is_where_it_leads_to() -> None:
    assert not is_public_address(ipaddress.ip_address("2001:0:4136:e378:8000:63bf:f5ff:fffe"))  # 10.0.0.1


def test_where_a_server_was_reached_says_whether_it_is_public() -> None:
    guard = Guard("https://mcp.corp/mcp")
    guard.saw("elsewhere", "10.0.0.1")
    assert not guard.allows("auth.corp", "10.0.0.2")
    guard.saw("mcp.corp", "10.0.0.1")
    assert guard.allows("auth.corp", "10.0.0.2")


def test_a_name_that_changes_its_mind_opens_no_private_network() -> None:
    guard = Guard(PUBLIC)
    guard.saw("mcp.example.com", "8.8.8.8")
    guard.saw("mcp.example.com", "10.0.0.1")
    assert not guard.allows("auth.example.com", "10.0.0.2")


class Names(trio.abc.HostnameResolver):
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def getaddrinfo(self, host: Any, port: Any, *args: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    async def getnameinfo(self, *args: Any) -> Any:
        raise NotImplementedError


async def test_a_name_that_leads_to_a_private_address_is_not_dialled(nursery: trio.Nursery) -> None:
    accepted = []

    async def serve(stream: trio.SocketStream) -> None:
        accepted.append(stream)

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1"))
    with pytest.raises(OSError, match="not public"):
        await Guard(PUBLIC).guarded(TcpNetwork()).open_stream("evil.example.com", port)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert accepted == []


async def test_a_name_that_leads_elsewhere_the_second_time_is_left_at_once(nursery: trio.Nursery) -> None:
    received = []

    async def serve(stream: trio.SocketStream) -> None:
        received.append(await stream.receive_some())

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    trio.socket.set_custom_hostname_resolver(Names("8.8.8.8", "127.0.0.1"))
    with pytest.raises(OSError, match="not public"):
        await Guard(PUBLIC).guarded(TcpNetwork()).open_stream("evil.example.com", port)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert received == [b""]


async def test_a_server_on_this_machine_is_seen_to_be_here(nursery: trio.Nursery) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1"))
    guard = Guard("https://mcp.corp/mcp")
    async with await guard.watched(TcpNetwork()).open_stream("mcp.corp", port):
        pass
    async with await guard.guarded(TcpNetwork()).open_stream("auth.corp", port):
        pass


@pytest.mark.parametrize("public", [True, False])
async def test_a_connector_looks_where_the_names_lead(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    async def refuse(exchange: HttpExchange) -> None:
        where = f"https://evil.test:{port}/meta"
        await exchange.respond(401, [("www-authenticate", f'Bearer resource_metadata="{where}"')])

    serve = partial(serve_http, handler=refuse, cancel_on_disconnect=True)
    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    trio.socket.set_custom_hostname_resolver(Names("127.0.0.1"))
    if public:
        monkeypatch.setattr("trio_mcp.auth.guard._peer", lambda stream: "8.8.8.8")
    with pytest.raises(OAuthError) as caught:
        async with trio_mcp.open_connector(f"http://mcp.test:{port}/mcp", auth={}):
            pass
    assert ("not public" in str(caught.value)) is public


async def test_another_network_is_used_as_it_is() -> None:
    network = MemoryNetwork()
    assert Guard(PUBLIC).watched(network) is network
    assert Guard(PUBLIC).guarded(network) is network
