"""`https://`: who is trusted, what the server is told, and what goes wrong."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
import trio.testing
import trustme

import trio_mcp
from tests.http.site import Site, ask, client_tls, server_tls, tcp_site
from trio_mcp.errors import ConnectError, ConnectionLost
from trio_mcp.http import setup
from trio_mcp.http.setup import Verify, open_engine
from trio_mcp.testing import MemoryNetwork, ScriptedServer

HOST = "server.test"
URL = f"https://{HOST}/"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def secure_site(
    network: MemoryNetwork, nursery: trio.Nursery, context: ssl.SSLContext, host: str = HOST
) -> Site:
    return Site(network.listen(host, 443), nursery, context)


async def get(network: MemoryNetwork | None, verify: Verify, url: str = URL) -> bytes:
    async with open_engine(httpx2.URL(url), network=network, verify=verify) as engine:
        return (await ask(engine, url, method="GET")).body


# Who is trusted


async def test_the_systems_trust_store_refuses_an_authority_of_ones_own(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    site = secure_site(network, nursery, server_tls(authority, HOST))
    with pytest.raises(ConnectError, match="could not connect: .*certificate") as caught:
        await get(network, True)
    assert type(caught.value) is ConnectError
    assert site.requests == []
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_a_ca_file_is_trusted(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery, ca_file: Path
) -> None:
    secure_site(network, nursery, server_tls(authority, HOST))
    for verify in (ca_file, str(ca_file)):
        assert await get(network, verify) == b"hello"


async def test_a_ca_file_is_all_that_is_trusted(
    network: MemoryNetwork, nursery: trio.Nursery, ca_file: Path
) -> None:
    secure_site(network, nursery, server_tls(trustme.CA(), HOST))
    with pytest.raises(ConnectError, match="certificate verify failed"):
        await get(network, ca_file)


async def test_a_context_is_used_as_it_is(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    secure_site(network, nursery, server_tls(authority, HOST))
    assert await get(network, client_tls(authority)) == b"hello"
    with pytest.raises(ConnectError, match="certificate verify failed"):
        await get(network, client_tls(trustme.CA()))


async def test_false_trusts_everybody_under_any_name(network: MemoryNetwork, nursery: trio.Nursery) -> None:
    secure_site(network, nursery, server_tls(trustme.CA(), "another.test"))
    assert await get(network, False) == b"hello"


async def test_the_environment_names_the_systems_trust_store(
    network: MemoryNetwork, nursery: trio.Nursery, ca_file: Path, authority: trustme.CA, monkeypatch: Any
) -> None:
    secure_site(network, nursery, server_tls(authority, HOST))
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert await get(network, True) == b"hello"


async def test_the_certificate_of_another_name_is_refused(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    secure_site(network, nursery, server_tls(authority, "another.test"))
    with pytest.raises(ConnectError, match="Hostname mismatch.*not valid for 'server.test'"):
        await get(network, client_tls(authority))


@pytest.mark.parametrize(
    # With TLS 1.3 the client believes to be connected, and is refused before or after it has sent something.
    ("latency", "reason"),
    [(1, "the server closed the connection without an answer"), (0, "the connection broke: .*Broken pipe")],
)
async def test_a_client_certificate_is_shown_to_a_server_that_wants_one(
    authority: trustme.CA,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    latency: float,
    reason: str,
) -> None:
    network.set_link(HOST, latency=latency)
    context = server_tls(authority, HOST)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    secure_site(network, nursery, context)
    trusting = client_tls(authority)
    with pytest.raises(ConnectionLost, match=reason):
        await get(network, trusting)
    authority.issue_cert("client.test").configure_cert(trusting)
    assert await get(network, trusting) == b"hello"


async def test_a_context_that_is_none_of_a_client_is_told(
    network: MemoryNetwork, nursery: trio.Nursery, authority: trustme.CA
) -> None:
    secure_site(network, nursery, server_tls(authority, HOST))
    with pytest.raises(ConnectError, match="could not connect: Cannot create a client socket"):
        await get(network, server_tls(authority, HOST))
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


# The context is made once, and only when it is needed


@pytest.fixture
def contexts_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the contexts were made of, in order."""
    made: list[Any] = []
    of_file, of_system = ssl.create_default_context, httpx2.create_ssl_context

    def from_file(*args: Any, **options: Any) -> ssl.SSLContext:
        made.append(options["cafile"])
        return of_file(*args, **options)

    def from_system(**options: Any) -> ssl.SSLContext:
        made.append(options["verify"])
        return of_system(**options)

    setup._default_context.cache_clear()
    monkeypatch.setattr(ssl, "create_default_context", from_file)
    monkeypatch.setattr(httpx2, "create_ssl_context", from_system)
    yield made
    setup._default_context.cache_clear()


async def ask_three_times_over_new_connections(network: MemoryNetwork, verify: Verify, url: str) -> None:
    async with open_engine(httpx2.URL(url), network=network, verify=verify) as engine:

        async def one() -> None:
            assert (await ask(engine, url)).body == b"hello"

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)


async def test_a_ca_file_is_read_once_for_an_engine(
    authority: trustme.CA,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    ca_file: Path,
    contexts_made: list[Any],
) -> None:
    site = secure_site(network, nursery, server_tls(authority, HOST))
    contexts_made.clear()  # the server's
    await ask_three_times_over_new_connections(network, ca_file, URL)
    assert site.connections == 3
    assert contexts_made == [str(ca_file)]


async def test_the_systems_store_is_read_once_for_all_engines(
    authority: trustme.CA,
    network: MemoryNetwork,
    nursery: trio.Nursery,
    ca_file: Path,
    contexts_made: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = secure_site(network, nursery, server_tls(authority, HOST))
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    for _ in range(2):
        await ask_three_times_over_new_connections(network, True, URL)
    assert site.connections == 6
    assert contexts_made == [True, str(ca_file)]  # the one asks for the other


async def test_plain_http_needs_no_certificates(
    network: MemoryNetwork, nursery: trio.Nursery, contexts_made: list[Any]
) -> None:
    Site(network.listen(HOST, 80), nursery)
    await ask_three_times_over_new_connections(network, True, f"http://{HOST}/")
    assert contexts_made == []


# What is said to the server


async def test_the_server_is_told_which_name_is_meant(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    names: list[str | None] = []
    hosts = ("server.test", "xn--mnchen-3ya.test", "10.0.0.1", "::1")
    for host, shown in zip(hosts, ("server.test", "MÜNCHEN.test", "10.0.0.1", "[::1]"), strict=True):
        context = server_tls(authority, host)
        context.sni_callback = lambda _, name, __: names.append(name)
        site = secure_site(network, nursery, context, host)
        assert await get(network, client_tls(authority), f"https://{shown}/") == b"hello"
        assert site.requests[0].headers["host"] == (f"[{host}]" if ":" in host else host)
    # An address is no name (RFC 6066, 3).
    assert names == ["server.test", "xn--mnchen-3ya.test", None, None]


async def test_a_host_header_of_the_users_changes_nothing_about_whom_to_trust(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    names: list[str | None] = []
    context = server_tls(authority, HOST)
    context.sni_callback = lambda _, name, __: names.append(name)
    site = secure_site(network, nursery, context)
    async with open_engine(httpx2.URL(URL), network=network, verify=client_tls(authority)) as engine:
        assert (await ask(engine, URL, {"host": "another.test"})).status == 200
    assert names == [HOST]
    assert site.requests[0].headers["host"] == "another.test"


async def test_a_connection_is_used_again_with_tls_too(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    site = secure_site(network, nursery, server_tls(authority, HOST))
    async with open_engine(httpx2.URL(URL), network=network, verify=client_tls(authority)) as engine:
        for _ in range(3):
            await ask(engine, URL)
        assert site.connections == 1
        (connection,) = network.connections
        connection.close()
        await ask(engine, URL)
        assert (site.connections, len(site.requests)) == (2, 4)


async def test_http_and_https_to_one_port_are_two_origins(
    authority: trustme.CA, network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    secure_site(network, nursery, server_tls(authority, HOST))
    async with open_engine(httpx2.URL(URL), network=network, verify=client_tls(authority)) as engine:
        await ask(engine, URL)
        with pytest.raises((trio_mcp.TransportError, trio_mcp.ProtocolError)):
            await ask(engine, f"http://{HOST}:443/")


# What goes wrong


async def test_an_http_server_is_told_from_an_https_one(
    network: MemoryNetwork, nursery: trio.Nursery
) -> None:
    site = Site(network.listen(HOST, 443), nursery)
    with pytest.raises(ConnectError, match="could not connect: .*(?i:wrong.version.number)") as caught:
        await get(network, True)
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
    assert site.requests == []


@pytest.mark.parametrize("says_something", [True, False])
async def test_a_server_that_leaves_in_the_handshake_is_told(
    network: MemoryNetwork, nursery: trio.Nursery, says_something: bool
) -> None:
    async def leave(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        if says_something:
            await stream.send_all(b"\x16\x03\x03\x00")  # the beginning of a record
        await stream.aclose()

    nursery.start_soon(trio.serve_listeners, leave, [network.listen(HOST, 443)])
    with pytest.raises(ConnectError, match="could not connect: .*(?i:eof)"):
        await get(network, True)
    await trio.testing.wait_all_tasks_blocked()
    assert network.connections == []


async def test_the_timeout_for_connecting_has_the_handshake_in_it(
    network: MemoryNetwork, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(stream: trio.abc.Stream) -> None:
        async with stream:
            while await stream.receive_some():
                pass

    network.set_link(HOST, latency=1)
    nursery.start_soon(trio.serve_listeners, silent, [network.listen(HOST, 443)])
    with pytest.raises(trio_mcp.ConnectTimeout, match="no connection within 5 s"):
        await get(network, True)
    assert trio.current_time() == 5
    await trio.sleep(10)
    assert network.connections == []


# Over real sockets


class Resolver(trio.abc.HostnameResolver):
    """Knows one name, and two addresses for it, of which the first one is wrong."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        await trio.lowlevel.checkpoint()
        assert host == HOST.encode()
        stream = socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        return [
            (socket.AF_INET6, *stream, ("::1", port, 0, 0)),
            (socket.AF_INET, *stream, ("127.0.0.1", port)),
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_each_address_of_a_name_is_tried(authority: trustme.CA, nursery: trio.Nursery) -> None:
    site, port = await tcp_site(nursery, server_tls(authority, HOST))
    trio.socket.set_custom_hostname_resolver(Resolver())  # for this run of Trio
    with trio.fail_after(20):
        assert await get(None, client_tls(authority), f"https://{HOST}:{port}/") == b"hello"
    assert site.requests[0].headers["host"] == f"{HOST}:{port}"


async def test_localhost_is_found_where_only_one_of_its_addresses_listens(
    authority: trustme.CA, nursery: trio.Nursery
) -> None:
    _, port = await tcp_site(nursery, server_tls(authority, "localhost"))
    with trio.fail_after(20):
        assert await get(None, client_tls(authority), f"https://localhost:{port}/") == b"hello"


async def test_an_address_that_refuses_is_told(authority: trustme.CA) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    trio.socket.set_custom_hostname_resolver(Resolver())
    with trio.fail_after(20), pytest.raises(ConnectError, match=r"could not connect: \[Errno \d+\]"):
        await get(None, client_tls(authority), f"https://{HOST}:{port}/")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_in_the_url_is_connected_to(
    authority: trustme.CA, nursery: trio.Nursery, address: str
) -> None:
    try:
        site, port = await tcp_site(nursery, server_tls(authority, address), address)
    except OSError as exc:
        assert address == "::1"
        pytest.skip(f"IPv6 has no loopback here: {exc}")
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    with trio.fail_after(20):
        assert await get(None, client_tls(authority), f"https://{shown}/") == b"hello"
    assert site.requests[0].headers["host"] == shown


# A whole connector


async def test_a_whole_connection_goes_over_tls(
    authority: trustme.CA, autojump_clock: trio.testing.MockClock
) -> None:
    async with ScriptedServer(url=f"https://{HOST}/mcp", tls=server_tls(authority, HOST)) as server:
        server.on["tools/call"] = lambda call: call.sse(60, call.response({"content": []}))
        async with trio_mcp.open_connector(
            server.url, network=server.network, verify=client_tls(authority)
        ) as c:
            for _ in range(3):
                assert (await c.call_tool("slow")).content == []
            with trio.move_on_after(1):
                await c.call_tool("slow")
            await c.call_tool("slow")
        assert server.methods() == ["server/discover"] + 5 * ["tools/call"]
        assert [call.sent for call in server.all("tools/call")] == [True, True, True, False, True]
        assert trio.current_time() == 4 * 60 + 1
        await trio.testing.wait_all_tasks_blocked()
        assert server.network.connections == []


async def test_a_connector_names_the_trouble_with_the_certificate(authority: trustme.CA) -> None:
    async with ScriptedServer(url=f"https://{HOST}/mcp", tls=server_tls(authority, HOST)) as server:
        with pytest.raises(ConnectError, match="https://server.test/mcp: could not connect: .*certificate"):
            async with trio_mcp.open_connector(server.url, network=server.network):
                pass
        assert server.seen == []
