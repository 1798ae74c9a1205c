"""What the servers of a group list: asked of all of them at once, and remembered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import mcp_types as types
import trio

from ..connector import Connector
from ..deadlines import Stalled, deadline
from ..errors import ConnectorError, UnknownName
from ..features.response_cache import CacheMode
from ..nearest import nearest_names
from ..supervision import open_flat_nursery
from .member import Member

__all__ = ["Catalog", "Listing"]

T = TypeVar("T")
L = TypeVar("L")
_SHOWN: Final = 200  # characters of a name that an error shows


class Listing(list[T]):
    """What the servers of a group have listed, in the order of the servers.

    Attributes:
        missing: why the things of a server are not among it, by the server's name in the group: it is not up,
            was too slow, or answered with an error. One server's failure does not fail the listing.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__(items)
        self.missing: dict[str, ConnectorError] = {}


class Catalog(Generic[L, T]):
    """What the servers list of one kind.

    Args:
        members: the servers, by name.
        what: such as "tool".
        offered: whether a server has any at all.
        ask: asks one server.
        wrap: makes of what a server lists what the group lists; None for what is not to be seen.
        key: what they are called in the group.
    """

    def __init__(
        self,
        members: dict[str, Member],
        what: str,
        *,
        offered: Callable[[types.ServerCapabilities], object],
        ask: Callable[[Connector, CacheMode], Awaitable[list[L]]],
        wrap: Callable[[Member, L], T | None],
        key: Callable[[T], str],
    ) -> None:
        self._members = members
        self._what = what
        self._offered = offered
        self._ask = ask
        self._wrap = wrap
        self._key = key
        self._known: dict[str, tuple[int, dict[str, T]]] = {}

    async def fetch(self, cache: CacheMode = "use", only: Iterable[str] | None = None) -> Listing[T]:
        """Ask all servers, or `only` those, each within its deadline."""
        asked = self._members if only is None else {name: self._members[name] for name in only}
        answers: dict[str, ConnectorError | dict[str, T]] = {}
        async with open_flat_nursery() as nursery:
            for member in asked.values():
                nursery.start_soon(self._ask_one, member, cache, answers)
        listing: Listing[T] = Listing()
        for name in asked:
            match answers[name]:
                case ConnectorError() as error:
                    listing.missing[name] = error
                case items:
                    listing += items.values()
        return listing

    async def _ask_one(
        self, member: Member, cache: CacheMode, answers: dict[str, ConnectorError | dict[str, T]]
    ) -> None:
        await trio.lowlevel.checkpoint()
        try:
            connector, opening = member.live(), member.openings
            listed: Sequence[L] = ()
            if self._offered(connector.server_capabilities):
                with deadline(member.deadline, lambda: self._too_slow(member)):
                    listed = await self._ask(connector, cache)
        except ConnectorError as exc:
            answers[member.name] = exc
            return
        items: dict[str, T] = {}
        for each in listed:
            if (item := self._wrap(member, each)) is not None:
                items.setdefault(self._key(item), item)  # of what a server lists twice, the first one counts
        self._known[member.name] = opening, items
        answers[member.name] = items

    def _too_slow(self, member: Member) -> Stalled:
        error = Stalled(f"no list of {self._what}s within {member.deadline:g} s (deadline=)")
        return error.locate(member.connector.public_identifier)

    def _of(self, name: str) -> dict[str, T]:
        """What is known of a server, since it was opened."""
        opening, items = self._known.get(name, (None, {}))
        return items if opening == self._members[name].openings else {}

    def find(self, key: str) -> dict[str, T]:
        """What is called `key`, as far as is known, by server."""
        return {name: items[key] for name in self._members if key in (items := self._of(name))}

    def unlisted(self) -> list[str]:
        """The servers of which nothing is known since they were opened."""
        return [
            name
            for name, member in self._members.items()
            if name not in self._known or self._known[name][0] != member.openings
        ]

    def unknown(self, key: str, listing: Listing[Any]) -> UnknownName:
        """The error that there is nothing called `key`, as `listing` has just shown."""
        near = nearest_names(key, (each for name in self._members for each in self._of(name)))
        text = f"there is no {self._what} {key[:_SHOWN]!r} in the group"
        if near:
            text += f"; the nearest: {', '.join(map(repr, near))}"
        if listing.missing:
            text += f"; not all could be asked: {', '.join(map(repr, listing.missing))}"
        return UnknownName(text, key, near)
