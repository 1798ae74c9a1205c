"""The options that every kind of connector takes, and the setup that comes of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypedDict

import mcp_types as types
from typing_extensions import Unpack

from ._version import __version__
from .callbacks import (
    Callbacks,
    ConnectionCallback,
    ElicitationCallback,
    ListRootsCallback,
    LoggingCallback,
    MessageHandler,
    SamplingCallback,
)
from .connection import Setup
from .errors import ConfigurationError
from .features.extensions import ExtensionsOption, check_extensions
from .features.response_cache import CacheOption, check_cache
from .features.tasks import TASKS_EXTENSION
from .middleware.chain import MiddlewareOption, check_middleware
from .nearest import nearest_names
from .negotiation import VersionOption, check_version

__all__ = ["CommonOptions", "check_positive", "check_roots", "check_seconds", "make_setup"]


class CommonOptions(TypedDict, total=False):
    """What they mean stands at `HttpConnector`."""

    sampling_callback: SamplingCallback | None
    elicitation_callback: ElicitationCallback | None
    message_handler: MessageHandler | None
    logging_callback: LoggingCallback | None
    connection_callback: ConnectionCallback | None
    middleware: MiddlewareOption | None
    list_roots_callback: ListRootsCallback | None
    protocol_version: VersionOption
    client_info: types.Implementation | None
    connect_timeout: float
    goodbye_timeout: float
    sampling_capabilities: types.SamplingCapability | None
    elicitation_capabilities: types.ElicitationCapability | None
    validate_output: bool
    extensions: ExtensionsOption | None
    cache: CacheOption
    rng: random.Random | None


def make_setup(identifier: str, audience: tuple[str, str], **options: Unpack[CommonOptions]) -> Setup:
    """The setup of a connector.

    Args:
        identifier: what errors and people call the server; without secrets.
        audience: which server, and whose credentials: what tells apart what is kept in a cache.
        **options: the user's.

    Raises:
        ConfigurationError: an option that cannot work.
        TypeError: an option that there is not, as of any function.
    """
    # Connectors that hand on what they do not know themselves get here with a name that was mistyped.
    for name in options:
        if name not in CommonOptions.__optional_keys__:
            near = nearest_names(name, CommonOptions.__optional_keys__, 1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{name!r} is no option of a connector to {identifier}{hint}")
    client_info = options.get("client_info")
    if not isinstance(client_info, types.Implementation | None):
        raise ConfigurationError(
            f"client_info must be an mcp_types.Implementation, not {type(client_info).__name__}"
        )
    extensions = check_extensions(options.get("extensions"))
    return Setup(
        identifier=identifier,
        callbacks=Callbacks(
            sampling=options.get("sampling_callback"),
            elicitation=options.get("elicitation_callback"),
            list_roots=options.get("list_roots_callback"),
            logging=options.get("logging_callback"),
            message=options.get("message_handler"),
            connection=options.get("connection_callback"),
            sampling_capabilities=options.get("sampling_capabilities"),
            elicitation_capabilities=options.get("elicitation_capabilities"),
            extensions={name: extension.settings for name, extension in extensions.items()},
        ),
        pinned=check_version(options.get("protocol_version", "auto")),
        client_info=client_info or types.Implementation(name="trio_mcp", version=__version__),
        connect_timeout=check_seconds("connect_timeout", options.get("connect_timeout", 30)),
        goodbye_timeout=check_seconds("goodbye_timeout", options.get("goodbye_timeout", 1)),
        validate_output=options.get("validate_output", True),
        middleware=check_middleware(options.get("middleware")),
        extensions=extensions,
        cache=check_cache(options.get("cache", True)),
        audience=audience,
        rng=options.get("rng") or random.Random(),
        tasks=isinstance((options.get("extensions") or {}).get(TASKS_EXTENSION), Mapping),
    )


def check_roots(roots: Sequence[types.Root]) -> list[types.Root]:
    """A copy of `roots`.

    Raises:
        ConfigurationError: it is not a sequence of `mcp_types.Root`.
    """
    for root in roots:
        if not isinstance(root, types.Root):
            raise ConfigurationError(
                f'roots must be objects like mcp_types.Root(uri="file:///x"), not {type(root).__name__}'
            )
    return list(roots)


def check_seconds(name: str, value: float) -> float:
    """`value`, if it is a time to wait.

    Raises:
        ConfigurationError: it is not a number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"{name} must be a number of seconds above 0, not {value!r}")
    return float(value)


def check_positive(name: str, value: int) -> int:
    """`value`, if it is a number of things.

    Raises:
        ConfigurationError: it is not an int above 0.
    """
    if type(value) is not int or value <= 0:
        raise ConfigurationError(f"{name} must be an int above 0, not {value!r}")
    return value
