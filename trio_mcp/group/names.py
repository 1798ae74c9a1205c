"""Names that are unique over a group of servers, and what they stand for.

    github__create_issue                               prefix, separator, the server's own name
    github__what_a_long_name_wit_3f0a5b6c7d8e9f01      where that would not do: a digest says which

The APIs of language models take names of up to 64 letters, digits, `_` and `-`. A name follows from the
server's prefix and its own name alone, whatever else is listed, so it is the same in every run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from ..errors import ConfigurationError

__all__ = ["LONGEST_NAME", "Names"]

LONGEST_NAME: Final = 64

_LONGEST_PREFIX: Final = 32
_LONGEST_SEPARATOR: Final = 8
_ODD: Final = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST: Final = 16  # hexadecimal digits: 64 bits, so that a server cannot find a name for another one's tool
_SHORT_DIGEST: Final = 8  # for the prefixes of a group, which nobody chooses to deceive
_DIGESTED: Final = re.compile(rf"_[0-9a-f]{{{_DIGEST}}}\Z")


class Names:
    """The names of one group.

    Args:
        prefixes: what is to stand before the names of each server, by the server's name; "" for nothing.
        separator: what stands between the two.

    Raises:
        ConfigurationError: the separator cannot stand in a name, or two servers have the same prefix.
    """

    def __init__(self, prefixes: Mapping[str, str], separator: str) -> None:
        if not isinstance(separator, str) or not separator or _ODD.search(separator):
            raise ConfigurationError(f"separator must be of letters, digits, _ and -, not {separator!r:.50}")
        if len(separator) > _LONGEST_SEPARATOR:
            raise ConfigurationError(f"separator must have at most {_LONGEST_SEPARATOR} characters")
        self._servers: dict[str, str] = {}  # by all that stands before the own name
        for server, prefix in prefixes.items():
            before = _tidy(prefix) + separator if prefix else ""
            other = self._servers.setdefault(before, server)
            if other != server:
                raise ConfigurationError(
                    f"the servers {other!r} and {server!r} have the same prefix {prefix!r}"
                )
        self._before = {server: before for before, server in self._servers.items()}

    def unique(self, server: str, own: str) -> str:
        """The name in the group of what the server calls `own`."""
        plain = self._before[server] + own
        fits = plain and len(plain) <= LONGEST_NAME and not _ODD.search(plain) and not _DIGESTED.search(plain)
        if fits and self.split(plain) == (server, own):
            return plain
        digest = _digest(self._before[server], own)[:_DIGEST]
        return f"{_ODD.sub('_', plain)[: LONGEST_NAME - _DIGEST - 1]}_{digest}"

    def servers_of(self, name: str) -> list[str]:
        """The servers that something of this name may be of."""
        split = self.split(name)
        if split is not None:
            return [split[0]]
        return [server for before, server in self._servers.items() if name.startswith(before)]

    def split(self, name: str) -> tuple[str, str] | None:
        """The server and its own name that a name means; None if only a listing can tell."""
        if _DIGESTED.search(name):
            return None
        # Of servers `a` and `a__b`, the second one has `a__b__x`; a tool `b__x` of the first has a digest.
        before = max((each for each in self._servers if name.startswith(each)), key=len, default=None)
        return None if before is None else (self._servers[before], name[len(before) :])


def _tidy(prefix: str) -> str:
    """`prefix`, or what can stand for it in a name."""
    if len(prefix) <= _LONGEST_PREFIX and not _ODD.search(prefix):
        return prefix
    return f"{_ODD.sub('_', prefix)[: _LONGEST_PREFIX - _SHORT_DIGEST - 1]}_{_digest(prefix)[:_SHORT_DIGEST]}"


def _digest(*texts: str) -> str:
    told = "".join(f"{len(text)}:{text}" for text in texts)  # two lists of texts are never told alike
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
