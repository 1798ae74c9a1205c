"""Results that the server lets us keep for a while (26/server/utilities/caching).

A result is fresh for its `ttlMs` after it came, on Trio's clock, unless a notification says earlier that it
has changed. Of several tasks that miss the same thing at the same time, one asks the server.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import trio
from mcp_types import CacheableResult

from ..errors import ConfigurationError, UsageError
from ..protocol.envelope import dump
from ..protocol.wire import JSONObject

__all__ = [
    "CacheEntry",
    "CacheKey",
    "CacheMode",
    "CacheOption",
    "CacheStore",
    "MemoryCache",
    "ResponseCache",
    "check_cache",
]

R = TypeVar("R", bound=CacheableResult)
logger: Final = logging.getLogger("trio_mcp")

CacheMode: TypeAlias = Literal["use", "refresh", "bypass"]
"""What a call does with the cache: be answered from it; ask, and have the result kept; or neither."""

_LONGEST_TTL: Final = 24 * 3600.0
_MAX_ENTRIES: Final = 1000
_MODES: Final = ("use", "refresh", "bypass")

INVALIDATING: Final[Mapping[str, tuple[str, ...]]] = {
    "notifications/tools/list_changed": ("tools/list",),
    "notifications/prompts/list_changed": ("prompts/list",),
    "notifications/resources/list_changed": ("resources/list", "resources/templates/list"),
    # The URI that it names may be that of a part of what was read (26/basic/patterns/subscriptions).
    "notifications/resources/updated": ("resources/read",),
}
"""What each notification makes stale."""


class CacheKey(NamedTuple):
    """What a result belongs to.

    Attributes:
        server: which server, without telling its URL.
        owner: whose credentials it came for; "" if it is for everybody.
        method: such as "tools/list".
        params: what of the params affects the result, a cursor or a URI, as JSON.
    """

    server: str
    owner: str
    method: str
    params: str


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A result that is kept.

    Attributes:
        value: the result, as JSON.
        expires: until when it is fresh, on Trio's clock.
    """

    value: dict[str, Any]
    expires: float


@runtime_checkable
class CacheStore(Protocol):
    """Keeps results, for one connector or for several of one `trio.run`: its clock ends with it.

    What is private to one set of credentials has another key than for the next one. The methods are called in
    Trio's thread, and must not block.
    """

    def get(self, key: CacheKey) -> CacheEntry | None:
        """The entry, if there is one; whether it is fresh is looked at by the caller."""
        ...

    def put(self, key: CacheKey, entry: CacheEntry) -> None:
        """Keep an entry, in the place of an older one."""
        ...

    def forget(self, server: str, method: str) -> None:
        """Drop all entries of a method, whosever they are."""
        ...


CacheOption: TypeAlias = bool | CacheStore
"""Whether to cache; or where."""


class MemoryCache:
    """Entries in memory; beyond `max_entries`, what was not used for the longest time is dropped."""

    def __init__(self, max_entries: int = _MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[CacheKey, CacheEntry] = OrderedDict()

    def get(self, key: CacheKey) -> CacheEntry | None:
        """See `CacheStore`."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: CacheKey, entry: CacheEntry) -> None:
        """See `CacheStore`."""
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def forget(self, server: str, method: str) -> None:
        """See `CacheStore`."""
        for key in [key for key in self._entries if (key.server, key.method) == (server, method)]:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


def check_cache(option: CacheOption) -> CacheStore | None:
    """The store that `option` means: one of its own for True, None for no caching.

    Raises:
        ConfigurationError: it is neither a bool nor a store.
    """
    if isinstance(option, bool):
        return MemoryCache() if option else None
    if isinstance(option, type) or not isinstance(option, CacheStore):
        raise ConfigurationError(f"cache must be a bool or a CacheStore, not {option!r:.50}")
    return option


class ResponseCache:
    """One connector's view of a store.

    Args:
        store: where results are kept.
        server: which server, for the keys.
        owner: whose credentials, for the keys of what is private.
    """

    def __init__(self, store: CacheStore, server: str, owner: str) -> None:
        self._store = store
        self._server = server
        self._owner = owner
        self._changes: Counter[str] = Counter()
        self._asking: dict[tuple[str, str], _Asking] = {}

    async def fetch(
        self,
        method: str,
        params: JSONObject | None,
        kind: type[R],
        mode: CacheMode,
        ask: Callable[[], Awaitable[R]],
    ) -> R:
        """The result of a request: one that is kept and fresh, or what `ask` brings.

        Raises:
            UsageError: there is no such mode.
            Exception: what `ask` raises.
        """
        if mode not in _MODES:
            raise UsageError(f"cache must be one of {', '.join(_MODES)}, not {mode!r}")
        if mode == "bypass":
            return await ask()
        what = method, json.dumps(params or {}, sort_keys=True)
        while mode == "use":
            kept = self._fresh(*what, kind)
            if kept is not None:
                await trio.lowlevel.checkpoint()
                return kept
            asking = self._asking.get(what)
            if asking is None:
                break
            await asking.ended.wait()
            if asking.in_vain:
                break
        return await self._ask(what, ask)

    async def _ask(self, what: tuple[str, str], ask: Callable[[], Awaitable[R]]) -> R:
        asking = _Asking()
        changes = self._changes[what[0]]
        self._asking.setdefault(what, asking)
        try:
            result = await ask()
            asking.in_vain = not result.ttl_ms
            if changes == self._changes[what[0]]:
                self._keep(*what, result)
        finally:
            if self._asking.get(what) is asking:
                del self._asking[what]
            asking.ended.set()
        return result

    def _fresh(self, method: str, params: str, kind: type[R]) -> R | None:
        for owner in (self._owner, ""):
            entry = self._store.get(CacheKey(self._server, owner, method, params))
            if entry is not None and trio.current_time() < entry.expires:
                return kind.model_validate(entry.value, by_name=False)
        return None

    def _keep(self, method: str, params: str, result: CacheableResult) -> None:
        ttl = min((result.ttl_ms or 0) / 1000, _LONGEST_TTL)
        if ttl > 0:
            owner = "" if result.cache_scope == "public" else self._owner
            key = CacheKey(self._server, owner, method, params)
            self._store.put(key, CacheEntry(dump(result), trio.current_time() + ttl))

    def forget(self, method: str) -> None:
        """Whatever is kept of `method`, or is on its way, is stale."""
        self._changes[method] += 1
        self._store.forget(self._server, method)

    def notified(self, notification: str) -> None:
        """Heed a notification of the server, by its method."""
        for method in INVALIDATING.get(notification, ()):
            self.forget(method)


class _Asking:
    """A request that others wait for, who would else send the same one.

    Attributes:
        ended: set when it is over, be it by an error or a cancellation: then another one asks.
        in_vain: whether the result was not for keeping; then all who waited ask, each for itself.
    """

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.in_vain = False
