"""Names of tools as names of functions, which have fewer characters and are shorter.

A tool may be called `files.read` (26/server/tools, "Tool Names"), or anything at all by a server that keeps
to no rule. The APIs take letters, digits, `_` and `-`, up to 64 of them, and refuse the whole request for one
name that is not so.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import mcp_types as types

from ..errors import ConfigurationError

__all__ = ["MAX_NAME", "declared", "function_names"]

MAX_NAME: Final = 64
"""Characters that every API takes; some models and clouds behind the newer ones still take no more."""
_DIGEST: Final = 8


def function_names(tools: Iterable[types.Tool], *, letter_first: bool = False) -> dict[str, types.Tool]:
    """The tools by names that a model may call them by, in the same order.

    A name that fits is kept. In another one, what does not fit becomes `_`; if that is too long or taken, it
    ends with a digest of the tool's own name. So a name depends on the tools, and not on their order.

    Args:
        tools: as they were listed; one that is there twice counts once.
        letter_first: whether a name must begin with a letter or `_`.

    Raises:
        ConfigurationError: two different tools have the same name.
    """
    by_name: dict[str, types.Tool] = {}
    for tool in tools:
        if by_name.setdefault(tool.name, tool) != tool:
            raise ConfigurationError(
                f"there are two tools {tool.name!r}: a group of servers (open_connectors) makes names unique"
            )
    wanted = {name: _fitting(name, letter_first) for name in by_name}
    counts = Counter(wanted.values())
    digested = {name: _digested(short, name) for name, short in wanted.items()}
    taken = set(digested.values())  # a tool that is called as another one's digest is must not hide it
    kept = {
        name
        for name, short in wanted.items()
        if len(short) <= MAX_NAME and (short == name or counts[short] == 1) and short not in taken
    }
    return {wanted[name] if name in kept else digested[name]: tool for name, tool in by_name.items()}


def declared(name: str, tool: types.Tool, addition: str = "") -> dict[str, Any]:
    """What every API has of a tool: its name and, if there is one, a description, with an addition to it."""
    about = "\n\n".join(filter(None, [tool.description or tool.title, addition]))
    return {"name": name, "description": about} if about else {"name": name}


def _fitting(name: str, letter_first: bool) -> str:
    fitting = re.sub(r"[^a-zA-Z0-9_-]", "_", name) or "_"
    return f"_{fitting}" if letter_first and not re.match(r"[a-zA-Z_]", fitting) else fitting


def _digested(short: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{short[: MAX_NAME - _DIGEST - 1]}_{digest}"
