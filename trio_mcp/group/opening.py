"""`open_connectors`: from a mapping of servers to the group of them."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from typing_extensions import Unpack

from ..auth import OAuth
from ..connector import Connector
from ..errors import ConfigurationError
from ..middleware.chain import check_middleware
from ..nearest import nearest_names
from ..opening import open_connector, options_of
from ..options import check_positive, check_seconds
from ..reconnecting import ReconnectPolicy, check_reconnect
from .group import ConnectorGroup
from .limit import CallLimit
from .member import Member
from .names import Names
from .server import Server, ServerOptions, Target

__all__ = ["open_connectors"]

_KNOWN: Final = frozenset(ServerOptions.__optional_keys__)


def open_connectors(
    servers: Mapping[str, Target | Server],
    *,
    required: Collection[str] | None = None,
    optional: Collection[str] | None = None,
    restart: bool | ReconnectPolicy | None = None,
    max_calls: int | None = None,
    separator: str = "__",
    **options: Unpack[ServerOptions],
) -> ConnectorGroup:
    """Many servers as one group, to be entered:

        async with open_connectors({"github": "https://…", "files": StdioServer(…)}) as group:
            tools = await group.list_tools()

    All are opened at the same time. The block begins when the required ones are up, and each optional one is
    up, has failed, or has used its deadline up; an optional one that comes later is a state, and an event.
    A required one that cannot be opened ends the block with its error. One that was up and is lost for good
    is opened anew, as its policy says; when that gives up, a required one ends the block with its error, and
    an optional one has failed. What the body raises comes out as it is, and what a callback raises ends the
    block. In the end all are closed at the same time.

    Args:
        servers: what to open, by the names that the group has for them: targets as for `open_connector`, or
            `Server`s, which say more.
        required: names of those that the group cannot be without; the others are optional.
        optional: names of those that it can be without; the others are required. None for both is what each
            `Server` says; what is no `Server` is required.
        restart: for all of them, whether and how they are opened anew; None for what each `Server` says, and
            True for what is none. Jitter is drawn from `rng`.
        max_calls: requests under way at a time, over all servers; further ones queue, first come, first
            served. What must not wait does not count: handshakes, listings, and what callbacks call.
        separator: what stands between the prefix of a server and its own name of a tool or a prompt.
        **options: of `open_connector`, for all servers whose kind of target takes them. A `Server`'s own go
            before them, but for `middleware`, where those of the group are the outer ones. `headers`, and
            credentials in `auth` that are not an `OAuth`, are for one server only.

    Raises:
        ConfigurationError: something of this cannot work; says at which server.
    """
    checked = {_checked_name(name): _as_server(each) for name, each in _checked(servers).items()}
    needed = _required(checked, required, optional)
    policy = None if restart is None else check_reconnect(restart, "restart")
    shared = _shared(checked, options)
    limit = () if max_calls is None else (CallLimit(check_positive("max_calls", max_calls)),)
    members = {
        name: Member(
            name,
            _connector(name, server, shared, limit),
            required=name in needed,
            policy=server.restart if restart is None else policy,
            deadline=server.deadline,
            allows=server.allows,
            rng=server.options.get("rng") or options.get("rng") or random.Random(),
        )
        for name, server in checked.items()
    }
    prefixes = {name: name if each.prefix is None else each.prefix for name, each in checked.items()}
    return ConnectorGroup(members, Names(prefixes, separator))


def _checked(servers: object) -> Mapping[object, Any]:
    if not isinstance(servers, Mapping):
        raise ConfigurationError(
            f"servers must be a mapping of names to targets, not {type(servers).__name__}"
        )
    return servers


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"the name of a server must be a str that is not empty, not {name!r:.50}")
    return name


def _as_server(target: Target | Server) -> Server:
    return target if isinstance(target, Server) else Server(target)


def _required(
    servers: Mapping[str, Server], required: Collection[str] | None, optional: Collection[str] | None
) -> Collection[str]:
    """The names of those that the group cannot be without."""
    if required is not None and optional is not None:
        raise ConfigurationError("required and optional exclude each other: the others follow from the one")
    for option, names in (("required", required), ("optional", optional)):
        if isinstance(names, str):
            raise ConfigurationError(f"{option} must be a list of names, not a str")
        for name in names or ():
            if name not in servers:
                raise ConfigurationError(f"{option}: there is no server {name!r}{_nearest(name, servers)}")
    if required is not None:
        return required
    if optional is not None:
        return servers.keys() - set(optional)
    return [name for name, server in servers.items() if server.required]


def _shared(servers: Mapping[str, Server], options: ServerOptions) -> ServerOptions:
    """The options of the group, if each is for more than one server, and for one at least."""
    if "headers" in options:
        raise ConfigurationError("headers are for one server: give them to its Server(…, headers=…)")
    if not isinstance(options.get("auth"), OAuth | dict | None):
        raise ConfigurationError(
            "auth for all servers must be an OAuth, which gives each one a token of its own; a token is for "
            "one server: give it to its Server(…, auth=…)"
        )
    taken = {name for server in servers.values() for name in _options_of(server)} or _KNOWN
    if wrong := sorted(options.keys() - taken):
        raise ConfigurationError(f"{wrong[0]} is no option of any of the servers{_nearest(wrong[0], taken)}")
    return options


def _options_of(server: Server) -> frozenset[str]:
    try:
        return options_of(server.target)
    except ConfigurationError:
        return _KNOWN  # what is wrong is told where the connector is made


def _connector(name: str, server: Server, shared: ServerOptions, limit: tuple[CallLimit, ...]) -> Connector:
    try:
        accepted = options_of(server.target)
        if wrong := sorted(server.options.keys() - accepted):
            kind = "a URL" if isinstance(server.target, str) else f"a {type(server.target).__name__}"
            raise ConfigurationError(f"{wrong[0]} is no option of {kind}{_nearest(wrong[0], accepted)}")
        options = cast("dict[str, Any]", {key: value for key, value in shared.items() if key in accepted})
        options |= server.options
        options["middleware"] = (
            *check_middleware(shared.get("middleware")),
            *check_middleware(server.options.get("middleware")),
            *limit,
        )
        patience = check_seconds("connect_timeout", options.get("connect_timeout", server.deadline))
        options["connect_timeout"] = min(patience, server.deadline)
        return open_connector(cast("Any", server.target), **options)
    except ConfigurationError as exc:
        exc.message = f"server {name!r}: {exc.message}"
        raise
    except TypeError as exc:
        exc.add_note(f"at server {name!r} of the group")
        raise


def _nearest(name: str, names: Collection[str]) -> str:
    near = nearest_names(str(name), names, 1)
    return f"; the nearest is {near[0]!r}" if near else ""
