"""Which protocol version the two sides speak: `server/discover` first, `initialize` as the fallback.

26/basic/versioning and 26/basic/transports/streamable-http, "Backward Compatibility"; for the legacy
handshake 2511/basic/lifecycle. What is no answer about the version, such as 401, 5xx or a refused
connection, is never read as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import mcp_types as types
from mcp_types import SERVER_INFO_META_KEY, UNSUPPORTED_PROTOCOL_VERSION
from pydantic import ValidationError

from .callbacks import Callbacks
from .deadlines import patience
from .errors import (
    AccessDenied,
    ConfigurationError,
    HTTPStatusError,
    MCPError,
    ProtocolError,
    VersionMismatch,
)
from .protocol.envelope import dump, envelope, with_lawful_ttl, with_meta
from .protocol.validation import first_error
from .protocol.versions import (
    KNOWN_VERSIONS,
    LATEST_LEGACY_VERSION,
    LATEST_MODERN_VERSION,
    LEGACY_VERSIONS,
    MODERN_ERRORS,
    MODERN_VERSIONS,
    is_modern,
)
from .protocol.wire import JSONObject, Notification, Request, RequestId
from .transports.base import Transport

__all__ = ["Negotiated", "Negotiator", "VersionOption", "check_version"]

VersionOption = Literal["auto"] | str

# Statuses that tell of an outage, a limit or a missing right, and nothing of the protocol.
_NO_VERDICT: Final = frozenset({401, 403, 407, 408, 425, 429})

M = TypeVar("M", types.InitializeResult, types.DiscoverResult)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a handshake established."""

    version: str
    server_info: types.Implementation | None
    capabilities: types.ServerCapabilities
    instructions: str | None


def check_version(option: VersionOption) -> str | None:
    """The pinned version, or None for "auto".

    Raises:
        ConfigurationError: a version that trio_mcp does not speak.
    """
    if option == "auto":
        return None
    if option not in KNOWN_VERSIONS:
        raise ConfigurationError(
            f'protocol_version must be "auto" or one of {", ".join(KNOWN_VERSIONS)}, not {option!r}'
        )
    return option


class Negotiator:
    """Makes the handshake of one connection, and makes it again where a session has expired.

    Args:
        transport: what to ask over.
        next_id: gives the ids of the requests.
        client_info: who we say we are.
        callbacks: what the server may ask of us.
        pinned: the only version to accept; None for the best one.
        patience: seconds to wait for an answer to `server/discover` before `initialize` is tried. A legacy
            server may be silent on what it does not know.
    """

    def __init__(
        self,
        transport: Transport,
        next_id: Callable[[], RequestId],
        client_info: types.Implementation,
        callbacks: Callbacks,
        pinned: str | None,
        patience: float,
    ) -> None:
        self._transport = transport
        self._next_id = next_id
        self._client_info = client_info
        self._callbacks = callbacks
        self._pinned = pinned
        self._patience = patience

    async def negotiate(
        self, headers: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
    ) -> Negotiated:
        """Find the version that both sides speak, and adopt it.

        Args:
            headers: sent with each HTTP request of it.
            extra: further `_meta` entries.

        Raises:
            VersionMismatch: there is none.
            ConnectorError: the server could not be asked.
        """
        if self._pinned is not None:
            modern = is_modern(self._pinned)
            return await (
                self._discover(self._pinned, headers, extra) if modern else self.initialize(headers, extra)
            )
        if self._transport.legacy:
            return await self.initialize(headers, extra)
        try:
            return await self._discover_or_fall_back(headers, extra)
        except _Legacy as verdict:
            reason = verdict.__cause__
        try:
            return await self.initialize(headers, extra)
        except MCPError as exc:
            # Refusing `initialize` by this code is itself a sign of a modern server.
            version = _mutual(_supported(exc), MODERN_VERSIONS)
            if version is None:
                exc.__cause__ = exc.__cause__ or reason
                raise
        return await self._discover(version, headers, extra)

    async def _discover_or_fall_back(
        self, headers: Mapping[str, str] | None, extra: Mapping[str, Any] | None
    ) -> Negotiated:
        with patience(self._patience):
            try:
                return await self._discover(LATEST_MODERN_VERSION, headers, extra)
            except MCPError as exc:
                if exc.code not in MODERN_ERRORS:
                    raise _Legacy from exc
                supported = _supported(exc)
                version = _mutual(supported, MODERN_VERSIONS)
                if version is None:
                    if _mutual(supported, LEGACY_VERSIONS) is None:
                        raise
                    raise _Legacy from exc
            except HTTPStatusError as exc:
                if (
                    isinstance(exc, AccessDenied)
                    or exc.status_code in _NO_VERDICT
                    or not 400 <= exc.status_code < 500
                ):
                    raise
                raise _Legacy from exc
            return await self._discover(version, headers, extra)
        raise _Legacy

    async def _discover(
        self, version: str, headers: Mapping[str, str] | None, extra: Mapping[str, Any] | None
    ) -> Negotiated:
        """Ask by the modern way (26/server/discover), and adopt the best version that comes of it."""
        meta = envelope(version, self._client_info, self._callbacks.capabilities(version))
        request = Request(self._next_id(), "server/discover", with_meta(None, extra, meta), headers)
        response = await self._transport.request(request)
        try:
            discovered = _parse(types.DiscoverResult, with_lawful_ttl(response.result))
        except ProtocolError as exc:
            if self._pinned is not None:
                raise
            raise _Legacy from exc
        offered = discovered.supported_versions
        agreed = self._pinned if self._pinned in offered else None
        if self._pinned is None:
            agreed = _mutual(offered, MODERN_VERSIONS)
        if agreed is None:
            if self._pinned is None and _mutual(offered, LEGACY_VERSIONS) is not None:
                raise _Legacy
            raise VersionMismatch(_mismatch(self._pinned, ", ".join(offered) or "no version"))
        self._transport.adopt(agreed)
        return Negotiated(agreed, _server_info(discovered), discovered.capabilities, discovered.instructions)

    async def initialize(
        self, headers: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None = None
    ) -> Negotiated:
        """Make the legacy handshake, and adopt the version that the server answers with; see `negotiate`.

        Raises:
            VersionMismatch: that version is not one of ours, or not the pinned one.
        """
        offer = self._pinned or LATEST_LEGACY_VERSION
        params: JSONObject = {
            "protocolVersion": offer,
            "capabilities": dump(self._callbacks.capabilities(offer)),
            "clientInfo": dump(self._client_info),
        }
        request = Request(self._next_id(), "initialize", with_meta(params, extra), headers)
        response = await self._transport.request(request)
        result = _parse(types.InitializeResult, response.result)
        version = result.protocol_version
        if version not in LEGACY_VERSIONS or self._pinned not in (None, version):
            raise VersionMismatch(_mismatch(self._pinned, version))
        self._transport.adopt(version)
        await self._transport.notify(Notification("notifications/initialized", None, headers))
        await self._transport.start()
        return Negotiated(version, result.server_info, result.capabilities, result.instructions)


class _Legacy(Exception):
    """The server is of the legacy era; the cause, if any, is what told so."""


def _parse(kind: type[M], result: JSONObject) -> M:
    try:
        return kind.model_validate(result, by_name=False)
    except ValidationError as exc:
        # pydantic's own error quotes what the server sent, which may be anything.
        raise ProtocolError(f"the server's {kind.__name__} is not valid at {first_error(exc)}") from None


def _supported(exc: MCPError) -> Sequence[str]:
    """The versions that an UnsupportedProtocolVersion error names."""
    if exc.code != UNSUPPORTED_PROTOCOL_VERSION or not isinstance(exc.data, dict):
        return ()
    named = exc.data.get("supported")
    return [each for each in named if isinstance(each, str)] if isinstance(named, list) else ()


def _mutual(offered: Sequence[str], ours: Sequence[str]) -> str | None:
    """The newest of `ours`, which are sorted from old to new, that is offered."""
    return next((version for version in reversed(ours) if version in offered), None)


def _mismatch(pinned: str | None, offered: str) -> str:
    ours = pinned or ", ".join(KNOWN_VERSIONS)
    return f"no common protocol version: the server speaks {offered}, and this client {ours}"


def _server_info(result: types.DiscoverResult) -> types.Implementation | None:
    # Display only, so a malformed one is as good as none (26/basic/index).
    try:
        return types.Implementation.model_validate((result.meta or {}).get(SERVER_INFO_META_KEY))
    except ValidationError:
        return None
