"""`Server`: one server of a group, and how the group treats it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, TypeAlias

from typing_extensions import Unpack

from ..errors import ConfigurationError
from ..opening import HttpOptions
from ..options import check_seconds
from ..reconnecting import ReconnectPolicy, check_reconnect
from ..transports.stderr import StderrOption
from ..transports.stdio import StdioServer

if TYPE_CHECKING:
    from ..memory_connector import InProcessServer

__all__ = ["Server", "ServerOptions", "Target"]

Target: TypeAlias = "str | StdioServer | InProcessServer"
"""What `open_connector` takes: a URL, a program, or a server object."""


class ServerOptions(HttpOptions, total=False):
    """The options of `open_connector`, for targets of any kind."""

    ping_interval: float | None
    stderr: StderrOption
    raise_exceptions: bool


class Server:
    """One server of a group: what to open, and how the group treats it.

    Args:
        target: as for `open_connector`: a URL, a `StdioServer`, or a server object of the official SDK.
        required: whether the group cannot be without it. What makes a required server unavailable when the
            group is opened ends the group; of an optional one it is a state.
        restart: whether it is opened anew when its connection was lost for good, and, if it is optional, when
            it could not be opened; or how, by a `ReconnectPolicy`.
        deadline: seconds that opening it may take, and its part in a listing of the whole group.
        tools: names, as the server has them, of the tools that may be seen and called; None for all.
        excluded_tools: names of tools that may not.
        prefix: what the names of its tools and prompts begin with; None for its name in the group.
        **options: of `open_connector`, for this target. They go before those of the group.

    Raises:
        ConfigurationError: something of this cannot work. What is wrong with `options` is found when a group
            is made of it.
    """

    def __init__(
        self,
        target: Target,
        *,
        required: bool = True,
        restart: bool | ReconnectPolicy = True,
        deadline: float = 30,
        tools: Collection[str] | None = None,
        excluded_tools: Collection[str] = (),
        prefix: str | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if not isinstance(required, bool):
            raise ConfigurationError(f"required must be a bool, not {required!r:.50}")
        if not isinstance(prefix, str | None):
            raise ConfigurationError(f"prefix must be a str or None, not {prefix!r:.50}")
        self.target: Target = target
        self.required: bool = required
        self.restart: ReconnectPolicy | None = check_reconnect(restart, "restart")
        self.deadline: float = check_seconds("deadline", deadline)
        self.tools: frozenset[str] | None = None if tools is None else _names("tools", tools)
        self.excluded_tools: frozenset[str] = _names("excluded_tools", excluded_tools)
        self.prefix: str | None = prefix
        self.options: ServerOptions = options

    def allows(self, tool: str) -> bool:
        """Whether a tool, by its name at the server, may be seen and called."""
        return tool not in self.excluded_tools and (self.tools is None or tool in self.tools)

    def __repr__(self) -> str:
        kind = type(self.target).__name__
        settings = [f"{name}=…" for name in sorted(self.options)]
        if not self.required:
            settings.insert(0, "required=False")
        return f"Server({', '.join([f'<{kind}>', *settings])})"


def _names(option: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{option} must be a list of the names of tools")
    return frozenset(names)
