"""The way to a host in memory: its latency, and the faults that a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from .memory_pipe import Conditions
from .memory_stream import Connection, Side, check_cut

__all__ = ["Link", "Links"]


@final
class Link(Conditions):
    """The way to some connections: to all, to those of one host, or to those of one port of a host.

    Its attributes are settings (see `Conditions`). One that was not set here is that of the wider link: the
    port's is the host's, and the host's is that of all hosts. Its methods are faults, and those of every link
    that matches are in force. Made by `MemoryNetwork.link` only.
    """

    __slots__ = ("_cut", "_links", "_wider", "dropped", "hanging", "host", "port", "refusing")

    def __init__(self, links: Links, host: str | None, port: int | None, wider: Conditions) -> None:
        # Without the settings: a slot that is empty is looked up by `__getattr__`.
        self._links = links
        self._wider = wider
        self.host: Final = host
        self.port: Final = port
        self.dropped: bool = False
        self.hanging: bool = False
        self.refusing: bool = False
        self._cut: Callable[[Connection], None] | None = None

    if not TYPE_CHECKING:  # pragma: no branch - it would take every name for an attribute

        def __getattr__(self, name: str) -> object:
            if name in Conditions.__slots__:
                return getattr(self._wider, name)
            raise AttributeError(f"a link has no setting {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "window":
            for connection in self.connections:
                connection.widen()

    def __repr__(self) -> str:
        where = "*" if self.host is None else self.host if self.port is None else f"{self.host}:{self.port}"
        flags = [name for name in ("dropped", "hanging", "refusing") if getattr(self, name)]
        return f"<Link to {where}: {', '.join(flags) or 'whole'}, {self.latency} s>"

    @property
    def connections(self) -> list[Connection]:
        """The live ones, oldest first."""
        return [c for c in self._links.live.values() if self.matches(c.host, c.port)]

    def matches(self, host: str, port: int) -> bool:
        """Whether this link is on the way to `port` of `host`."""
        return self.host in (None, host) and self.port in (None, port)

    def drop(self) -> None:
        """Let nothing through, in both directions and without a word, until `heal`: a partition.

        Connecting hangs. What is in flight, or sent meanwhile, arrives after healing, as TCP sends it again.
        """
        self.dropped = True
        self._refresh()

    def hang(self) -> None:
        """Let connecting hang until `heal`: a black hole. Live connections go on."""
        self.hanging = True

    def refuse(self) -> None:
        """Refuse connections until `heal`, after one round trip. Live connections go on."""
        self.refusing = True

    def heal(self) -> None:
        """Undo this link's `drop`, `hang`, `refuse`, `reset_after` and `close_after`."""
        self.dropped = self.hanging = self.refusing = False
        self._cut = None
        self._refresh()
        self._links.on_heal()

    def reset(self) -> None:
        """Break every live connection, at both sides at once. What has not been read is lost."""
        for connection in self.connections:
            connection.reset()

    def close(self) -> None:
        """Tell both sides of every live connection that the other one has closed: `Connection.close`."""
        for connection in self.connections:
            connection.close()

    def reset_after(self, size: int, *, to: Side) -> None:
        """Reset each connection that is made from now on when the side `to` has read `size` bytes.

        Raises:
            ValueError: that is no size, or no side.
        """
        check_cut(size, to)
        self._cut = lambda connection: connection.reset_after(size, to=to)

    def close_after(self, size: int, *, to: Side) -> None:
        """End each connection that is made from now on when the side `to` has read `size` bytes.

        Raises:
            ValueError: that is no size, or no side.
        """
        check_cut(size, to)
        self._cut = lambda connection: connection.close_after(size, to=to)

    def made(self, connection: Connection) -> None:
        """Do to a new connection what awaits it: it is for the network's own use."""
        if self._cut is not None:
            self._cut(connection)

    def _refresh(self) -> None:
        for connection in self.connections:
            connection.refresh()


@final
class Links:
    """All links of a network, and its live connections by number."""

    def __init__(self, on_heal: Callable[[], None]) -> None:
        self.on_heal: Final = on_heal
        self.live: dict[int, Connection] = {}
        self._all = Link(self, None, None, Conditions())
        self._links: dict[tuple[str | None, int | None], Link] = {(None, None): self._all}

    def get(self, host: str | None, port: int | None) -> Link:
        """The link for exactly these."""
        link = self._links.get((host, port))
        if link is None:
            wider = self._all if port is None else self.get(host, None)
            link = self._links[host, port] = Link(self, host, port, wider)
        return link

    def on_the_way(self, host: str, port: int) -> list[Link]:
        """The links that match, narrowest first."""
        keys = ((host, port), (host, None), (None, None))
        return [self._links[key] for key in keys if key in self._links]

    def conditions(self, host: str, port: int) -> Conditions:
        """The settings that are in force."""
        get = self._links.get
        return get((host, port)) or get((host, None)) or self._all

    def has_host(self, host: str) -> bool:
        """Whether a link to `host` was asked for."""
        return any(link.host == host for link in self._links.values())
