"""Files of variables (`envFile`): a `NAME=value` on each line."""

from __future__ import annotations

import re
from typing import Final

from .places import Place

__all__ = ["parse_env_file"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_QUOTED: Final = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*+)")\s*+(?:\#.*)?""")
_COMMENT: Final = re.compile(r"(?:^|\s)#")
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t"}


def parse_env_file(text: str, place: Place) -> dict[str, str]:
    r"""The variables of a file.

    Empty lines and those that begin with `#` are passed over, and so are `export ` and ` #` with what
    follows. A value may stand in single quotes, as it is, or in double ones, with `\n`, `\"` and the like.
    Nothing is expanded.

    Raises:
        ConfigurationError: a line is something else. It is named by its number: it may hold a secret.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name, value = name.removeprefix("export ").strip(), value.strip()
        quoted = _QUOTED.fullmatch(value)
        if not equals or not _NAME.fullmatch(name) or (value.startswith(("'", '"')) and not quoted):
            raise place.error(f"line {number} is not NAME=value")
        if quoted is None:
            found[name] = _COMMENT.split(value, maxsplit=1)[0].rstrip()
        elif quoted[1] is not None:
            found[name] = quoted[1]
        else:
            found[name] = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), quoted[2])
    return found
