"""`load_servers`: a configuration file as servers to open."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ..group.server import Server
from .dialects import canonical, find_servers, project_folder
from .jsonc import MAX_BYTES, MAX_DEPTH, parse_json
from .models import Entry, ServerModel, validate
from .places import Place, kind_of, nearest, shortened
from .servers import EXPANDED, Context, make_server
from .variables import Variables

__all__ = ["load_servers"]

_HALF: Final = re.compile(r"[\ud800-\udfff]")
_FOREVER: Final = "it is no regular file: reading it could take forever"


def load_servers(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    inputs: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
    include_disabled: bool = False,
    milliseconds: bool = False,
) -> dict[str, Server]:
    """The servers of a configuration by name, to be given to `open_connectors`:

        async with open_connectors(load_servers(".mcp.json")) as group:
            tools = await group.list_tools()

    It is a plain function, for before anything runs: it reads a file of 1 MiB at most, and an `envFile` where
    a server has one. Nothing is connected, started or asked. docs/configuration.md has the format.

    Args:
        source: the file, `~` being the home directory; or what one would hold, as a mapping.
        env: the variables that `${NAME}` stands for; None for those of the process.
        inputs: what `${input:id}` stands for (VS Code), by id.
        only: the names of the servers that are wanted; None for all. What others need is not missed.
        include_disabled: whether servers that are disabled are given, too.
        milliseconds: whether `timeout` is in milliseconds, as Claude Code and Gemini CLI have it, and not in
            seconds.

    Raises:
        ConfigurationError: what is wrong, with the file, the line or the path of the key, such as
            `mcpServers.github.url`, and the nearest right key. It holds none of the values, the path of an
            `envFile` apart that cannot be read.
    """
    data: object = source
    if isinstance(source, Mapping):
        file, place = None, Place("")
    elif isinstance(source, str | os.PathLike):
        file = Path(os.path.expanduser(source))
        place = Place(str(file))
        data = parse_json(_read(file, place), place)
    else:
        raise TypeError(f"source must be a path or a mapping, not {type(source).__name__}")
    servers, place, questions = find_servers(_plain(data, place), place)
    folder = None if file is None else project_folder(file)
    variables = Variables(
        os.environ if env is None else env, {**_defaults(questions), **(inputs or {})}, folder or Path.cwd()
    )
    context = Context(folder, _read, milliseconds)
    wanted = _wanted(servers, only, place)
    found: dict[str, Server] = {}
    for name, given in servers.items():
        where = place / name
        if not name:
            raise where.error("a server has a name")
        if not isinstance(given, dict):
            raise where.error(f"a server is an object, and not {kind_of(given)}")
        options, written = canonical(given, where)
        # All are looked at, but only the variables of those that are wanted must be set.
        checked = validate(ServerModel, options, written, where)
        is_disabled = checked.disabled or not checked.enabled
        if name not in wanted or (is_disabled and not include_disabled):
            continue
        for key in EXPANDED:
            if key in options:
                options[key] = variables.expand(options[key], where / written[key])
        checked = validate(ServerModel, options, written, where)
        found[name] = make_server(Entry(checked, written, where), context)
    return found


def _read(file: Path, place: Place) -> bytes:
    """A small file. A pipe or a device may have no end."""
    where = "" if place.source == str(file) else f"{file}: "
    content, cause = b"", None
    try:
        mode = file.stat().st_mode
        if stat.S_ISREG(mode):
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
            problem = "larger than 1 MiB, which no configuration is" if len(content) > MAX_BYTES else None
        else:
            problem = "it is a directory" if stat.S_ISDIR(mode) else _FOREVER
    except OSError as exc:
        problem, cause = exc.strerror or str(exc), exc
        if exc.errno == errno.ENOENT:
            problem = "there is no such file"
    except ValueError:
        problem = "it is not the name of a file"  # a NUL in it
    if problem is not None:
        raise place.error(where + problem) from cause
    return content


def _plain(value: object, place: Place, depth: int = 0) -> object:
    """`value` as dicts and lists, of text that can be written; what is not JSON stays for others to judge."""
    if depth > MAX_DEPTH:
        raise place.error(f"more than {MAX_DEPTH} levels deep, which no configuration is")
    if isinstance(value, str):
        _check_text(value, place)
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        plain: dict[str, object] = {}
        for key, each in value.items():
            if not isinstance(key, str):
                raise place.error(f"a key is a string, and not {kind_of(key)}")
            _check_text(key, place)
            plain[key] = _plain(each, place / key, depth + 1)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(each, place / number, depth + 1) for number, each in enumerate(value)]
    return value


def _check_text(text: str, place: Place) -> None:
    if "\0" in text or _HALF.search(text):
        raise place.error("there is a character in it that no text can have (NUL, or half of a pair)")


def _defaults(questions: object) -> dict[str, str]:
    """The answers that VS Code would have offered."""
    defaults: dict[str, str] = {}
    for question in questions if isinstance(questions, list) else []:
        if isinstance(question, dict):
            key, default = question.get("id"), question.get("default")
            if isinstance(key, str) and isinstance(default, str):
                defaults[key] = default
    return defaults


def _wanted(servers: Mapping[str, object], only: Iterable[str] | None, place: Place) -> set[str]:
    if only is None:
        return set(servers)
    if isinstance(only, str):
        raise TypeError("only must be a collection of names, not one str")
    wanted = set(only)
    for name in sorted(wanted - set(servers)):
        hint = nearest(name, servers) or f"; there are {', '.join(map(shortened, list(servers)[:20]))}"
        raise place.error(f"there is no server {shortened(name)}{hint if servers else ''}")
    return wanted
