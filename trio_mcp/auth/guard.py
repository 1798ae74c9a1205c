"""Which URLs may be fetched, when it is a server that names them.

An MCP server on the public network must not make us ask for things on the private one (server-side request
forgery): https only, but for this machine; and no address that is not public, whatever name it hides behind.
A server that is itself on this machine or on a private network may name its neighbours.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Final, TypeAlias

import httpx2
import trio

from ..errors import OAuthError, OAuthStep
from ..network import Network, TcpNetwork, close_at_once
from ..origin import has_lawful_port
from .config import is_loopback

__all__ = ["Guard", "is_public_address"]

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Guard:
    """Judges URLs for one MCP server.

    Args:
        server: the MCP server's URL.
        trusted: URLs that the program itself has named: their hosts may be anywhere.
    """

    def __init__(self, server: str, trusted: Collection[str] = ()) -> None:
        host = httpx2.URL(server).host
        self._server_host = _plain(host)
        self._trusted = {_plain(httpx2.URL(url).host) for url in trusted}
        # Of a name it is known once it was dialled; until then, and where that is not seen, it counts as
        # public.
        literal = _literal(host)
        self._public = not is_loopback(host) and (literal is None or is_public_address(literal))
        self._seen = literal is not None

    def check(self, url: str, step: OAuthStep) -> httpx2.URL:
        """`url`, if it may be fetched, or shown to a person to open.

        Raises:
            OAuthError: it may not; it names no secret part of the URL.
        """
        try:
            target = httpx2.URL(url)
        except (httpx2.InvalidURL, ValueError) as exc:
            raise OAuthError(step, "the server names something that is not a URL") from exc
        host = target.host
        if target.scheme not in ("http", "https") or not host or target.userinfo:
            raise OAuthError(
                step, f"{_shown(target)} is not a URL to go to: it must be http(s), without a user"
            )
        if not has_lawful_port(target):
            raise OAuthError(step, f"{_shown(target)} has a port that does not exist")
        if target.scheme != "https" and not is_loopback(host):
            raise OAuthError(step, f"{_shown(target)} must be https: only this machine may do without")
        if self._public and _plain(host) not in self._trusted:
            literal = _literal(host)
            if is_loopback(host) or (literal is not None and not is_public_address(literal)):
                raise OAuthError(
                    step,
                    f"{_shown(target)} is not on the public network, and the MCP server that leads to it is",
                )
        return target

    def watched(self, network: Network) -> Network:
        """`network` for the MCP server's own requests: where that server is, is noted."""
        return _Watched(network, self) if isinstance(network, TcpNetwork) else network

    def guarded(self, network: Network) -> Network:
        """`network` for what `check` has let through: names, too, must lead to where they may."""
        return _Guarded(network, self) if isinstance(network, TcpNetwork) else network

    def saw(self, host: str, address: str) -> None:
        """Note where `host` was reached."""
        if _plain(host) == self._server_host:
            public = is_public_address(ipaddress.ip_address(address))
            # Once public, it stays so: a name that changes its mind must not open the private network.
            self._public = public or (self._public and self._seen)
            self._seen = True

    def allows(self, host: str, address: str) -> bool:
        """Whether `host` may be at `address`."""
        if not self._public or _plain(host) in self._trusted:
            return True
        return is_public_address(ipaddress.ip_address(address))


class _Watched:
    def __init__(self, network: Network, guard: Guard) -> None:
        self._network = network
        self._guard = guard

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        stream = await self._network.open_stream(host, port)
        self._guard.saw(host, _peer(stream))
        return stream


class _Guarded:
    def __init__(self, network: Network, guard: Guard) -> None:
        self._network = network
        self._guard = guard

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        for *_, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            self._check(host, str(address[0]))
        stream = await self._network.open_stream(host, port)
        try:
            # The name may have led elsewhere by now.
            self._check(host, _peer(stream))
        except BaseException:
            await close_at_once(stream)  # noqa: ASYNC102 - shielded, and never waits
            raise
        return stream

    def _check(self, host: str, address: str) -> None:
        if not self._guard.allows(host, address):
            raise OSError(f"{host} has an address that is not public, which a public server must not name")


def _peer(stream: trio.abc.Stream) -> str:
    assert isinstance(stream, trio.SocketStream)  # TcpNetwork's
    address: str = stream.socket.getpeername()[0]
    return address.partition("%")[0]


def is_public_address(address: _Address) -> bool:
    """Whether an address is on the public network, also where it is wrapped into another."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public_address(inner)
        if address.is_site_local or address.is_reserved:  # there `is_global` goes by what is assigned now
            return False
    return address.is_global and not address.is_multicast


def _literal(host: str) -> _Address | None:
    """The address that `host` is written as, also in ways that only old software knows; None for a name."""
    host = _plain(host)
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433
    except (OSError, UnicodeError):
        return None


def _plain(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _shown(url: httpx2.URL) -> str:
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))[:200]
