"""Text of a server, made fit to be shown: as data, which steers no terminal."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["one_line", "printable"]

# All control characters but line feed and tab, and those that reverse the direction of a text.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with its control characters as escapes: it cannot steer a terminal."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """`text` for a line of its own."""
    return printable(" ".join(text.split()))
