"""What hosts call the parts of a configuration, and which of them mean something here.

Seen in: Claude Desktop, Claude Code, VS Code, Cursor, Windsurf, Cline, Roo Code, Kiro, Gemini CLI, Copilot,
Zed, fastmcp and mcp-use (docs/configuration.md has what comes from whom).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .models import ServerModel
from .places import Place, kind_of, nearest

__all__ = ["canonical", "find_servers", "project_folder", "snake_case"]

_SECTIONS: Final = ("mcpServers", "servers", "context_servers")
_TARGETS: Final = frozenset({"command", "url", "serverUrl", "httpUrl", "ws_url"})

_KEYS: Final = frozenset(ServerModel.model_fields)
"""The keys of a server, in our spelling. Every one may be written in camel case, too."""

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "server_url": "url",  # Windsurf
    "http_url": "url",  # Gemini CLI
    "ws_url": "url",  # mcp-use
    "transport": "type",  # fastmcp, and others
    "transport_type": "type",  # Cline, formerly
    "allowed_tools": "tools",
    "enabled_tools": "tools",
    "include_tools": "tools",  # Gemini CLI
    "exclude_tools": "disabled_tools",  # Gemini CLI
}

_IGNORED: Final = frozenset(
    {
        "always_allow",  # Roo Code: without asking; which tools there are, it does not say
        "always_load",  # Claude Code
        "auto_approve",  # Cline, Kiro
        "description",
        "dev",  # VS Code
        "extension_name",  # Gemini CLI
        "gallery",  # VS Code
        "icon",
        "init_timeout",  # a tool's deadline is its caller's, and `deadline` is there for opening
        "keep_alive",  # fastmcp
        "name",
        "oauth_scopes",  # Kiro
        "sandbox",  # VS Code, where `sandboxEnabled` says that it counts
        "settings",  # Zed
        "source",  # Zed
        "startup_timeout",
        "title",
        "tool_timeout",
        "trust",  # Gemini CLI
        "version",  # VS Code
        "watch_paths",  # Roo Code
    }
)
"""Keys of hosts that say nothing to a client: about their windows, and their questions to people."""

_INSTEAD: Final[Mapping[str, str]] = {
    "auth_provider_type": "give `auth`",  # Gemini CLI
    "authentication": "give `auth`",  # fastmcp
    "environment": "it is called `env`",  # opencode
    "exclude_tags": "tools are chosen by their names: give `tools`",  # fastmcp
    "headers_helper": "no program is run for headers: give `headers`, or `auth`",  # Claude Code
    "include_tags": "tools are chosen by their names: give `tools`",  # fastmcp
    "sandbox_enabled": "there is no sandbox here",  # VS Code
}
"""Keys of hosts that mean something which is not done: to ignore them would be to do something else."""

_HOST_FOLDERS: Final = frozenset(
    {
        ".amazonq",
        ".claude",
        ".continue",
        ".cursor",
        ".gemini",
        ".kiro",
        ".roo",
        ".vscode",
        ".windsurf",
        ".zed",
    }
)


def snake_case(key: str) -> str:
    """`key` in our spelling: `clientId`, `CLIENT_ID` and `client-id` are `client_id`."""
    if not key.isupper():
        key = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return key.lower().replace("-", "_")


def find_servers(data: object, place: Place) -> tuple[dict[str, object], Place, object]:
    """The servers of a configuration, where they stand, and the `inputs` beside them.

    They are under `mcpServers`, `servers` (VS Code; in its settings below `mcp`) or `context_servers` (Zed);
    or they are all that there is.

    Raises:
        ConfigurationError: they are not there, or in two places.
    """
    if not isinstance(data, dict):
        raise place.error(f"a configuration is an object with `mcpServers`, and not {kind_of(data)}")
    sections = [key for key in _SECTIONS if key in data]
    inner = data.get("mcp")
    if not sections and isinstance(inner, dict) and "servers" in inner:
        return find_servers(inner, place / "mcp")
    for key in data if sections else ():
        for section in _SECTIONS:
            if key != section and key.lower().replace("_", "") == section.lower().replace("_", ""):
                raise (place / key).error(f"did you mean {section!r}?")
    if len(sections) > 1:
        raise (place / sections[1]).error(f"there are servers under {sections[0]!r}, too: which ones count?")
    if sections:
        servers, where = data[sections[0]], place / sections[0]
        if not isinstance(servers, dict):
            raise where.error(f"an object is wanted, with a server for each name, and not {kind_of(servers)}")
        return servers, where, data.get("inputs")
    if data and all(isinstance(each, dict) and not _TARGETS.isdisjoint(each) for each in data.values()):
        return data, place, None
    for key in data:
        if hint := nearest(key, _SECTIONS):
            raise (place / key).error(f"it has no `mcpServers`{hint}")
    raise place.error("it has no `mcpServers`")


def canonical(options: dict[str, object], place: Place) -> tuple[dict[str, object], dict[str, str]]:
    """The options of a server under our names for them, and how each was written.

    A null is as good as left out.

    Raises:
        ConfigurationError: a key that nobody knows, or two for the same thing.
    """
    found: dict[str, object] = {}
    written: dict[str, str] = {}
    for key, value in options.items():
        name = snake_case(key)
        name = _OTHER_NAMES.get(name, name)
        if value is None or name in _IGNORED or key.startswith(("_", "$", "/", "#", "x-")):
            continue
        if name in _INSTEAD:
            if value in (False, [], {}):
                continue
            raise (place / key).error(_INSTEAD[name])
        if name not in _KEYS:
            hint = nearest(key, [*_KEYS, *_OTHER_NAMES])
            raise (place / key).error(f"there is no such option of a server{hint}")
        if name in found and found[name] != value:
            raise (place / key).error(f"it says something else than {written[name]!r} does")
        found[name], written[name] = value, key
    return found, written


def project_folder(file: Path) -> Path:
    """The folder that a file is about: that of `.mcp.json`, and the one that holds `.vscode/mcp.json`."""
    folder = file.absolute().parent
    for each in (folder, folder.parent):
        if each.name in _HOST_FOLDERS:
            return each.parent
    return folder
