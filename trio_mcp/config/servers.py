"""From the options of one server to a `Server`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError
from ..group.server import Server
from ..http.urls import check_url
from ..opening import open_connector
from ..protocol.headers import check_headers
from ..transports.stdio import StdioServer
from .credentials import read_auth
from .env_files import parse_env_file
from .models import Entry
from .places import Place, shortened

__all__ = ["EXPANDED", "Context", "make_server"]

EXPANDED: Final = ("command", "args", "env", "env_file", "cwd", "url", "headers", "auth", "oauth")
"""The options in which variables are expanded."""

_MAX_SECONDS: Final = 3600.0

_TRANSPORTS: Final[Mapping[str, str]] = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "auto",
    "remote": "auto",
    "streamablehttp": "streamable-http",
    "sse": "sse",
    "ws": "websocket",
    "websocket": "websocket",
}
_FOR_URLS: Final = ("url", "headers", "auth", "oauth", "sse_read_timeout", "verify")
_FOR_PROGRAMS: Final = (
    "command",
    "args",
    "env_file",
    "cwd",
)  # Cursor's own examples have an `env` with a URL


@dataclass(frozen=True, slots=True)
class Context:
    """What the servers of a configuration have in common.

    Args:
        folder: where relative paths begin; None for where the program runs.
        read: gives what a file holds.
        milliseconds: whether that is what a `timeout` counts.
    """

    folder: Path | None
    read: Callable[[Path, Place], bytes]
    milliseconds: bool

    def resolve(self, path: str) -> Path:
        """A path of the configuration."""
        return (self.folder or Path()) / path


def make_server(entry: Entry, context: Context) -> Server:
    """The server, checked but not opened.

    Args:
        entry: what the configuration says of it, its variables expanded.
        context: what there is around.

    Raises:
        ConfigurationError: its options do not go together, or cannot work.
    """
    options = entry.options
    transport = _transport(entry)
    target: str | StdioServer
    settings: dict[str, Any] = {
        "timeout": _timeout(entry, context),
        "connect_timeout": options.connect_timeout,
        "protocol_version": options.protocol_version,
    }
    if transport == "stdio":
        target = _program(entry, context)
    else:
        target = _endpoint(entry, transport)
        settings |= {"headers": _headers(entry), "auth": read_auth(entry), "verify": options.verify}
        if transport != "websocket":
            settings["sse_read_timeout"] = options.sse_read_timeout
            settings["transport"] = None if transport == "auto" else transport
    settings = {name: value for name, value in settings.items() if value not in (None, {})}
    of_group: dict[str, Any] = {
        "required": _is_required(entry),
        "tools": options.tools,
        "excluded_tools": options.disabled_tools,
    }
    for name in ("restart", "deadline", "prefix"):
        if (value := getattr(options, name)) is not None:
            of_group[name] = value
    try:
        open_connector(target, **settings)  # which is not entered: it checks what is left to check
        return Server(target, **of_group, **settings)
    except ConfigurationError as exc:
        problem = str(exc)
    raise entry.place.error(problem)


def _transport(entry: Entry) -> str:
    """What to speak over: stdio, auto, streamable-http, sse or websocket."""
    options = entry.options
    if options.command is None and options.url is None:
        raise entry.place.error("a server has a `command` or a `url`")
    is_program = options.command is not None
    for name in _FOR_URLS if is_program else _FOR_PROGRAMS:
        if getattr(options, name) not in (None, False, [], {}):
            other = entry.written["command" if is_program else "url"]
            raise entry.at(name).error(f"it does not go with {other!r}, which is there, too")
    is_websocket = (options.url or "").lower().startswith(("ws:", "wss:"))
    found = "stdio" if is_program else "websocket" if is_websocket else "auto"
    if options.type is None:
        return found
    wanted = _TRANSPORTS.get(re.sub(r"[-_ ]", "", options.type.lower()))
    if wanted is None:
        raise entry.at("type").error(
            f"{shortened(options.type)} is none of stdio, http, streamable-http, sse and websocket"
        )
    if wanted == found or (found == "auto" and wanted not in ("stdio", "websocket")):
        return wanted
    needed = {"stdio": "a `command`", "websocket": "a URL of ws:// or wss://"}
    raise entry.at("type").error(
        f"{shortened(options.type)} needs {needed.get(wanted, 'a URL of http:// or https://')}"
    )


def _program(entry: Entry, context: Context) -> StdioServer:
    options = entry.options
    env = dict(options.env)
    if options.env_file is not None:
        env = {**_read_env_file(options.env_file, entry.at("env_file"), context), **env}
    for name in env:
        if not name or "=" in name:
            raise (entry.at("env") / name).error("a variable cannot have this name")
    assert options.command is not None
    return StdioServer(
        options.command,
        tuple(options.args),
        env={name: value for name, value in env.items() if value is not None} or None,
        cwd=None if options.cwd is None else context.resolve(options.cwd),
    )


def _read_env_file(path: str, place: Place, context: Context) -> dict[str, str]:
    content = context.read(context.resolve(path), place)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        raise place.error("the file is not a text in UTF-8")
    return parse_env_file(text, place)


def _endpoint(entry: Entry, transport: str) -> str:
    url = entry.options.url
    assert url is not None
    try:
        check_url(url, ("ws", "wss") if transport == "websocket" else ("http", "https"))
    except ConfigurationError:
        # What it says shows parts of the URL, which may have come from a variable, and be a secret.
        what = "" if "://" in url else "with its scheme, "
    else:
        return url
    raise entry.at("url").error(f"the URL of an endpoint is wanted, {what}such as https://example.com/mcp")


def _headers(entry: Entry) -> dict[str, str]:
    for name, value in entry.options.headers.items():
        try:
            check_headers({name: value})
        except ConfigurationError as exc:
            raise (entry.at("headers") / name).error(str(exc)) from None  # which does not show the value
    return entry.options.headers


def _timeout(entry: Entry, context: Context) -> float | None:
    timeout = entry.options.timeout
    if timeout is None or context.milliseconds:
        return None if timeout is None else timeout / 1000
    if timeout > _MAX_SECONDS:
        raise entry.at("timeout").error(
            f"{timeout:g} s is more than an hour. If it was written for a host that counts milliseconds, "
            "load it with milliseconds=True"
        )
    return timeout


def _is_required(entry: Entry) -> bool:
    required, optional = entry.options.required, entry.options.optional
    if required is not None and required == optional:
        raise entry.at("optional").error(f"it contradicts {entry.written['required']!r}")
    return required if required is not None else not optional
