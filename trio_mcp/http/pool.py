"""The connections to some servers: idle ones are used again, and what has gone stale is replaced.

A connection carries one exchange at a time. Whoever is cancelled in one closes its connection, so nothing is
ever half-used, and nobody waits for anybody: how many requests there may be at a time is settled further up.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

import trio

from ..deadlines import ConnectTimeout, Stalled, deadline
from ..errors import ConfigurationError, ConnectError, ConnectionLost, TransportError
from ..network import Network, dial, is_readable
from .connection import Connection, Origin
from .engine import nothing
from .exchange import Exchange
from .failures import root_cause

__all__ = ["Pool", "connect"]

# Servers close idle connections, most after 5 s at the earliest. A request that crosses with that is lost,
# and a tool call is not sent twice.
_IDLE_SECONDS: Final = 4.0
_MAX_IDLE: Final = 100


class Pool:
    """Makes exchanges, over idle connections where there are some.

    Args:
        network: what to dial with.
        tls: gives the context for `https://` when it is first needed: reading certificates takes long.
        idle_seconds: how long a connection that is not in use may be used again.
        max_idle: connections that are kept for later.
    """

    def __init__(
        self,
        network: Network,
        tls: Callable[[], ssl.SSLContext],
        *,
        idle_seconds: float = _IDLE_SECONDS,
        max_idle: int = _MAX_IDLE,
    ) -> None:
        self._network = network
        self._tls = tls
        self._idle_seconds = idle_seconds
        self._max_idle = max_idle
        self._idle: dict[Origin, list[Connection]] = {}
        self._closed = False

    async def exchange(
        self,
        origin: Origin,
        method: bytes,
        request: bytes,
        *,
        connect_timeout: float,
        send_timeout: float,
        silence: float,
        repeatable: bool,
        on_sent: Callable[[], object] = nothing,
    ) -> Exchange:
        """Send a request, and wait for the headers of its response.

        An idle connection may turn out to be closed before a byte of the response has come. It is replaced
        once, if the request cannot have been carried out, or may be carried out twice.

        Args:
            origin: where to.
            method: the request's.
            request: all of it, as bytes.
            connect_timeout: seconds for a connection and its TLS.
            send_timeout: seconds in which the server takes nothing of the request.
            silence: seconds in which nothing comes.
            repeatable: whether the request does the same twice as it does once.
            on_sent: called when it has been sent whole.

        Raises:
            ConnectError: no connection.
            ConnectionLost: it broke, or somebody was silent for too long (`Stalled`).
            ProtocolError: what came is not HTTP.
        """
        connection = await self._take_idle(origin)
        while True:
            reused = connection is not None
            if connection is None:
                connection = Connection(origin, await self._dial(origin, connect_timeout))
            exchange = Exchange(connection, method, self._give_back, on_sent)
            try:
                await exchange.open(request, send_timeout, silence)
            except ConnectionLost as exc:
                stale = reused and exchange.unanswered and not isinstance(exc, Stalled)
                await exchange.close()  # noqa: ASYNC120 - shielded, and never waits
                if not (stale and (repeatable or not exchange.sent)):
                    raise
                connection = None
            except BaseException:
                await exchange.close()  # noqa: ASYNC102 - shielded, and never waits
                raise
            else:
                return exchange

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._closed = True
        for connections in list(self._idle.values()):
            while connections:  # others may take from it at each await
                await connections.pop().close()
        self._idle.clear()

    def __repr__(self) -> str:
        idle = ", ".join(f"{len(each)} idle to {origin.host}" for origin, each in self._idle.items() if each)
        return f"<Pool {'closed' if self._closed else idle or 'empty'}>"

    async def _take_idle(self, origin: Origin) -> Connection | None:
        """The connection that was in use last, if it is fit for use."""
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            age = trio.current_time() - connection.idle_since
            if age <= self._idle_seconds and not is_readable(connection.stream):
                return connection
            # Something to read, when nothing was asked for, is nearly always the end.
            await connection.close()
        return None

    async def _give_back(self, connection: Connection) -> None:
        if self._closed:
            await connection.close()
            return
        now = connection.idle_since = trio.current_time()
        connections = self._idle.setdefault(connection.origin, [])
        connections.append(connection)
        # The oldest come first. They are looked at here too, or they would lie there after a rush. And others
        # may take from the list at each await, all that is in it.
        while connections and (
            now - connections[0].idle_since > self._idle_seconds or len(connections) > self._max_idle
        ):
            await connections.pop(0).close()

    async def _dial(self, origin: Origin, seconds: float) -> trio.abc.Stream:
        with deadline(seconds, lambda: ConnectTimeout(f"no connection within {seconds:g} s (timeout=)")):
            return await connect(self._network, origin, self._tls)


async def connect(network: Network, origin: Origin, tls: Callable[[], ssl.SSLContext]) -> trio.abc.Stream:
    """A stream to `origin`, secured where that says so.

    Args:
        network: what to dial with.
        origin: where to.
        tls: gives the context for `https://`.

    Raises:
        ConnectError: no connection.
        ConfigurationError: there can be no such host, or no such TLS.
        TransportError: the network, which is the user's, failed in another way.
    """
    try:
        return await dial(network, origin.host, origin.port, tls() if origin.tls else None)
    except (OSError, trio.BrokenResourceError) as exc:
        raise ConnectError(f"could not connect: {root_cause(exc)}") from exc
    except UnicodeError as exc:
        raise ConfigurationError(f"not a usable URL: {exc}") from exc
    except ConfigurationError:
        raise
    except Exception as exc:  # a network of the user's may raise anything
        raise TransportError(f"the network failed: {type(exc).__name__}") from exc
