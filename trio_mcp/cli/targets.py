"""What a target means: a URL, a command after `--`, or the name of a server in a configuration file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2

from ..errors import ConfigurationError, UsageError
from ..http.urls import public_url
from ..transports.stdio import StdioServer

if TYPE_CHECKING:
    from ..group.server import Server

__all__ = ["CONFIG_VARIABLE", "Target", "as_word", "find_configuration", "known_names", "read_target"]

CONFIG_VARIABLE: Final = "TRIO_MCP_CONFIG"

_FILES: Final = (".mcp.json", "mcp.json")
_NUL: Final = "\0"
_ADDRESS: Final = re.compile(r"(?P<host>[\w.-]+)(:\d+)?(/.*)?")


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what a configuration file says of it.

    Attributes:
        where: a URL, or a program to be started.
        options: of `open_connector`.
        name: in the configuration file; None if it is from none.
    """

    where: Any = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    name: str | None = None

    @property
    def url(self) -> str | None:
        """The URL, if it is one."""
        return self.where if isinstance(self.where, str) else None

    @property
    def shown(self) -> str:
        """What to write in the place of the target in another command line, but for what may be secret."""
        if self.name is not None:
            return self.name
        if self.url is None:
            return f"-- {self.where.command} …"
        try:
            return public_url(httpx2.URL(self.url))
        except (httpx2.InvalidURL, UnicodeError):
            return "URL"


def as_word(command: Sequence[str]) -> str:
    """A command as the word that stands for it in the place of the target.

    NUL is what no word of a command line can have in it, so it cannot be taken for anything else.
    """
    return "".join(f"{_NUL}{each}" for each in command)


def read_target(word: str, config: Path | None, *, milliseconds: bool = False) -> Target:
    """What `word` means.

    Args:
        word: as it was typed; or see `as_word`.
        config: the configuration file; None for those that `find_configuration` finds.
        milliseconds: whether that is what its `timeout` counts, and not seconds.

    Raises:
        UsageError: nothing.
        ConfigurationError: the configuration file cannot be used.
    """
    if word.startswith(_NUL):
        command, *arguments = word[1:].split(_NUL)
        return Target(StdioServer(command, arguments))
    if "://" in word:
        return Target(word)
    path = config or find_configuration()
    if path is None:
        raise UsageError(
            f"{word!r} is no URL, and there is no configuration file that could name it so: give a URL, "
            f"a command after --, or --config FILE (or {CONFIG_VARIABLE}){_as_url(word)}"
        )
    try:
        server = _load(path, only=[word], milliseconds=milliseconds)[word]
    except ConfigurationError as exc:
        if not (meant := _as_url(word)):
            raise
        raise ConfigurationError(f"{exc.message}{meant}") from exc
    return Target(server.target, server.options, word)


def _as_url(word: str) -> str:
    """What to say of a word that lacks nothing but the scheme of a URL."""
    found = _ADDRESS.fullmatch(word)
    if found is None or not (found[2] or (found[3] and "." in found["host"])):
        return ""
    return f"; or was http{'' if found[2] else 's'}://{word} meant?"


def find_configuration() -> Path | None:
    """The configuration file: of the environment, of this directory, or of the user."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return next((path for path in _candidates() if path.is_file()), None)


def _candidates() -> Iterator[Path]:
    yield from map(Path, _FILES)
    from platformdirs import user_config_path

    yield user_config_path("trio_mcp", appauthor=False) / "mcp.json"


def known_names() -> list[str]:
    """The names in the configuration file, for the shell to complete; none if it cannot be read."""
    try:
        path = find_configuration()
        return [] if path is None else list(_load(path))
    except Exception:  # the shell wants words, and no reasons
        return []


def _load(
    path: Path, only: Sequence[str] | None = None, *, milliseconds: bool = False
) -> Mapping[str, Server]:
    from ..config import load_servers  # with pydantic's models, which a URL need not wait for

    # Who names a server that is disabled wants it all the same.
    return load_servers(path, only=only, include_disabled=True, milliseconds=milliseconds)
