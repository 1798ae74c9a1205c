"""Where in a configuration something stands, for the errors that say so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigurationError
from ..nearest import nearest_names

__all__ = ["Place", "kind_of", "nearest", "shortened"]

_PLAIN: Final = re.compile(r"[\w$-]{1,60}")
_KINDS: Final = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a configuration.

    Args:
        source: the file's name, or what else the configuration is.
        keys: the way to the value from the top: keys of objects and numbers in lists.
    """

    source: str
    keys: tuple[str | int, ...] = ()

    def __truediv__(self, key: str | int) -> Place:
        return Place(self.source, (*self.keys, key))

    @property
    def path(self) -> str:
        """Such as `mcpServers.github.args[1]`."""
        path = ""
        for key in self.keys:
            if isinstance(key, str) and _PLAIN.fullmatch(key):
                path += f".{key}"
            else:
                path += f"[{key if isinstance(key, int) else shortened(key)}]"
        return path.removeprefix(".")

    def error(self, text: str) -> ConfigurationError:
        """The error that `text` is wrong with this value."""
        return ConfigurationError(": ".join(filter(None, (self.source, self.path, text))))


def shortened(text: str) -> str:
    """`text` as it may stand in a line of an error."""
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def kind_of(value: object) -> str:
    """What JSON calls the type of `value`: never the value itself, which may be secret."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    return _KINDS.get(type(value), f"of type {type(value).__name__}")


def nearest(word: str, words: Iterable[str]) -> str:
    """A hint at the one of `words` that may be meant, or nothing."""
    # Whoever writes a key in another way than we do, has it right but for capitals and dashes.
    known = {each.lower().replace("_", ""): each for each in words}
    near = nearest_names(word.lower().replace("_", "").replace("-", ""), known, 1)
    return f": did you mean {known[near[0]]!r}?" if near else ""
