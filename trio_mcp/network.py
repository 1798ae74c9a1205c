"""Where byte streams come from: one seam for everything that dials.

A `Network` opens plain streams; TLS is added here, so that it is the real one over every network. The
operating system's network is `TcpNetwork`; `trio_mcp.testing.MemoryNetwork` is another.
"""

from __future__ import annotations

import select
import ssl
from typing import Protocol, runtime_checkable

import trio

from .errors import ConfigurationError

__all__ = ["Network", "TcpNetwork", "close_at_once", "dial", "is_readable"]


@runtime_checkable
class Network(Protocol):
    """A way to other hosts.

    It may have an attribute `rng`, a `random.Random`: what connects over it draws its jitter from that,
    unless it is given a generator of its own.
    """

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        """A connected stream to `host`, a name or an IP address, and `port`.

        Raises:
            OSError: there is no such host, or it takes no connection.
        """
        ...


class TcpNetwork:
    """The operating system's network: every address of a host is tried, by happy eyeballs (RFC 8305)."""

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream(host, port)


async def dial(network: Network, host: str, port: int, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """A stream to `host` and `port`, with the TLS handshake made if `tls` is given.

    Cancelled at any point, it leaves no socket behind.

    Raises:
        OSError: no connection.
        trio.BrokenResourceError: no TLS; the cause says why.
        ConfigurationError: a host that no certificate can be for, or TLS that agrees on another protocol than
            HTTP/1.1.
    """
    stream = await network.open_stream(host, port)
    if tls is None:
        return stream
    try:
        secured = _secured(stream, host, tls)
        await secured.do_handshake()
        protocol = secured.selected_alpn_protocol()
        if protocol not in (None, "http/1.1"):
            raise ConfigurationError(
                f"the ssl.SSLContext of verify= offers {protocol!r} by ALPN, which the server took, but only "
                "HTTP/1.1 is spoken here: offer that alone, or pass an http_client that speaks the other"
            )
    except BaseException:
        await close_at_once(stream)  # noqa: ASYNC102 - shielded, and never waits
        raise
    return secured


def _secured(stream: trio.abc.Stream, host: str, tls: ssl.SSLContext) -> trio.SSLStream[trio.abc.Stream]:
    # The dot of a fully qualified name is not part of the name in a certificate (RFC 6066, 3).
    name = host.removesuffix(".")
    try:
        # Peers of HTTP seldom say that they close, and are not waited for.
        return trio.SSLStream(stream, tls, server_hostname=name, https_compatible=True)
    except ValueError as exc:
        raise ConfigurationError(f"not a usable URL: {exc}") from exc


async def close_at_once(stream: trio.abc.AsyncResource) -> None:
    """Close `stream` without waiting for its peer, whether or not the caller is cancelled."""
    with trio.CancelScope(shield=True) as scope:
        scope.cancel(reason="the stream is closed without a farewell")
        await stream.aclose()


def is_readable(stream: trio.abc.Stream) -> bool:
    """Whether something waits to be read from an idle stream, be it only its end.

    A stream that is neither TCP nor TLS can tell by a method of this name; one that cannot tell is taken for
    quiet.
    """
    while isinstance(stream, trio.SSLStream):
        # What has been received and not been asked for yet: decrypted, or still a record. Where records lie
        # is Trio's own affair; a stream in which they cannot be found might hold some.
        records = getattr(stream, "_incoming", None)
        if records is None or records.pending or stream.pending():
            return True
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream):
        descriptor = stream.socket.fileno()
        return descriptor < 0 or _has_input(descriptor)  # reading from a closed one does not wait either
    tell = getattr(stream, "is_readable", None)
    return tell is not None and bool(tell())


def _has_input(descriptor: int) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([descriptor], [], [], 0)[0])  # pragma: no cover - Windows
