"""Extensions: what a client offers beyond the protocol, by identifiers (26/basic/versioning, "Extensions").

open_connector(url, extensions={"com.example/queue": Extension(notifications={"notifications/queue": heard})})
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from ..callbacks import Caller
from ..dispatcher import NotificationHandler
from ..errors import ConfigurationError, UsageError
from ..protocol.envelope import dump
from ..protocol.wire import JSONObject
from ..server_requests import RequestHandler

__all__ = [
    "Extension",
    "ExtensionResults",
    "ExtensionsOption",
    "ResultContext",
    "ResultHandler",
    "check_extensions",
]

# A prefix of labels, and a name (26/basic/index, "_meta").
_IDENTIFIER: Final = re.compile(
    r"([A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?/[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultContext:
    """What the handler of a result is told of.

    Attributes:
        connector: the connection.
        method: of the request that had the result.
        params: of that request.
    """

    connector: Caller
    method: str
    params: Mapping[str, Any]


ResultHandler: TypeAlias = Callable[
    [ResultContext, Mapping[str, Any]], Awaitable[Mapping[str, Any] | BaseModel]
]
"""Makes of a result of the extension's own type what the request was to bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One extension, as this client offers it.

    Attributes:
        settings: told to the server.
        results: for results whose `resultType` is the extension's, by that type; any request may have them.
        notifications: for the server's notifications, by method; one after the other, beside the calls.
        requests: for the server's requests, by method; legacy servers have such, and input rounds.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, ResultHandler] = field(default_factory=dict)
    notifications: Mapping[str, NotificationHandler] = field(default_factory=dict)
    requests: Mapping[str, RequestHandler] = field(default_factory=dict)


ExtensionsOption: TypeAlias = Mapping[str, Extension | Mapping[str, Any]]
"""Extensions by identifier; plain settings are an extension without handlers."""


def check_extensions(option: ExtensionsOption | None) -> dict[str, Extension]:
    """The extensions that `option` means.

    Raises:
        ConfigurationError: an identifier without a prefix, or something that is neither settings nor an
            `Extension`.
    """
    if not isinstance(option, Mapping | None):
        raise ConfigurationError(f"extensions must be a mapping, not {type(option).__name__}")
    checked: dict[str, Extension] = {}
    for identifier, given in (option or {}).items():
        if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
            raise ConfigurationError(
                f'an extension is called something like "com.example/name", and not {identifier!r}'
            )
        if isinstance(given, Mapping):
            given = Extension(settings=given)
        if not isinstance(given, Extension):
            raise ConfigurationError(
                f"the extension {identifier} must be an Extension or its settings, not {type(given).__name__}"
            )
        checked[identifier] = given
    return checked


class ExtensionResults:
    """Resolves results of one extension's type; see `Resolver`."""

    methods: frozenset[str] | None = None

    def __init__(self, handler: ResultHandler, connector: Caller) -> None:
        self._handler = handler
        self._connector = connector

    async def resolve(
        self,
        result: JSONObject,
        again: Callable[[JSONObject], Awaitable[JSONObject]],
        method: str,
        params: JSONObject,
    ) -> JSONObject:
        """Have the handler make the result that the request is to have."""
        context = ResultContext(connector=self._connector, method=method, params=params)
        done = await self._handler(context, result)
        if isinstance(done, BaseModel):
            done = dump(done)
        if not isinstance(done, Mapping):
            raise UsageError(
                f"the handler of a result returned {type(done).__name__}, not a mapping or a model"
            )
        return {**done, "resultType": done.get("resultType", "complete")}
