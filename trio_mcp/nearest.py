"""The names that may have been meant, for errors: bounded, as names come from servers."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Final

__all__ = ["nearest_names"]

# Comparing costs half a millisecond for names of 64 characters, and grows with the square of that.
_MAX_NAMES: Final = 500
_MAX_LENGTH: Final = 100


def nearest_names(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Which of `names` are most like `name`, best first; it may be none.

    Names of more than 100 characters are passed over, and so is what comes after the first 500.
    """
    compared = [each for each in islice(names, _MAX_NAMES) if len(each) <= _MAX_LENGTH]
    return get_close_matches(name[:_MAX_LENGTH], compared, n=most)
