"""Whom to ask for a token: from a refused request to the authorization server and its endpoints.

26/basic/authorization/authorization-server-discovery; RFC 9728; RFC 8414; OpenID Connect Discovery. A server
of 2025-03-26 has no protected resource metadata, and is its own authorization server
(2503/basic/authorization).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx2

from ..errors import OAuthError
from ..origin import same_origin
from .challenges import Demand
from .documents import ProtectedResource, ServerMetadata, read
from .fetcher import Fetcher

__all__ = ["Discovered", "canonical_resource", "covers", "discover", "server_metadata"]

_RESOURCE: Final = "/.well-known/oauth-protected-resource"
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """Where tokens for an MCP server come from.

    Attributes:
        resource: what tokens are asked for; exactly as the server writes it.
        server: the authorization server. Its `issuer` is what it was found by, character by character.
        scopes: what the resource says that it needs in general; None if it says nothing.
        dpop_required: whether it takes only tokens that are bound to a key.
        published: whether the server has published metadata; else the endpoints are those of 2025-03-26, and
            of what it can do nothing is known.
    """

    resource: str
    server: ServerMetadata
    scopes: frozenset[str] | None = None
    dpop_required: bool = False
    published: bool = True


async def discover(fetcher: Fetcher, url: str, demand: Demand, issuer: str | None) -> Discovered:
    """Find the authorization server of the MCP server at `url`.

    Args:
        fetcher: makes the requests.
        url: the MCP endpoint.
        demand: what the server wanted of the request that it refused.
        issuer: the only authorization server to accept; None for the first that is named.

    Raises:
        OAuthError: there is none, or what is published contradicts itself.
    """
    resource = await _protected_resource(fetcher, url, demand)
    if resource is None:
        if issuer is None or issuer.rstrip("/") == _at(url, "").rstrip("/"):
            return await _without_resource_metadata(fetcher, url)
        return Discovered(resource=canonical_resource(url), server=await server_metadata(fetcher, issuer))
    named = resource.authorization_servers or []
    if not named:
        raise OAuthError("discovery", "the MCP server's resource metadata name no authorization server")
    if issuer is not None and issuer not in named:
        raise OAuthError(
            "discovery",
            f"the MCP server belongs to {named[0][:200]!r}, and not to the issuer that the credentials of "
            "auth= are for: they are not given to another. If it is right, register there, and change issuer",
        )
    scopes = resource.scopes_supported
    return Discovered(
        resource=resource.resource,
        server=await server_metadata(fetcher, issuer or named[0]),
        scopes=None if scopes is None else frozenset(scopes),
        dpop_required=bool(resource.dpop_bound_access_tokens_required),
    )


async def _protected_resource(fetcher: Fetcher, url: str, demand: Demand) -> ProtectedResource | None:
    """What the resource says of itself; None if it says nothing anywhere."""
    if demand.resource_metadata is not None:
        places = [fetcher.join(httpx2.URL(url), demand.resource_metadata, "discovery")]
    else:
        path = httpx2.URL(url).raw_path.decode("ascii").partition("?")[0].rstrip("/")
        places = [_at(url, _RESOURCE + each) for each in dict.fromkeys([path, ""])]
    for place in places:
        answer = await fetcher.get(place, "discovery")
        document = _document(answer.status, answer.json(), place, named=demand.resource_metadata is not None)
        if document is None:
            continue
        try:
            resource = read(ProtectedResource, document)
        except ValueError as exc:
            raise OAuthError("discovery", f"{place} is no resource metadata: {exc}") from None
        if not covers(resource.resource, url):
            raise OAuthError(
                "discovery",
                f"{place} describes another resource than this MCP server: {resource.resource[:200]!r}",
            )
        return resource
    return None


def _document(
    status: int, document: dict[str, object] | None, place: str, *, named: bool
) -> dict[str, object] | None:
    """The document; None if there is none, and the next place may be tried."""
    if status == 200 and document is not None:
        return document
    if status >= 500 or status == 429 or named:
        # An outage must not send us down the path for servers that have no metadata.
        raise OAuthError("discovery", f"HTTP {status} without metadata from {place.partition('?')[0]}")
    return None


async def server_metadata(fetcher: Fetcher, issuer: str) -> ServerMetadata:
    """What the authorization server `issuer` says of itself.

    Raises:
        OAuthError: it says nothing, or claims to be somebody else.
    """
    found = await _find_metadata(fetcher, _metadata_places(issuer), (issuer,))
    if found is None:
        raise OAuthError("discovery", f"the authorization server {issuer[:200]} publishes no metadata")
    return found


async def _find_metadata(
    fetcher: Fetcher, places: Sequence[str], issuers: Sequence[str]
) -> ServerMetadata | None:
    for place in places:
        answer = await fetcher.get(place, "discovery")
        document = _document(answer.status, answer.json(), place, named=False)
        if document is None:
            continue
        try:
            metadata = read(ServerMetadata, document)
        except ValueError as exc:
            raise OAuthError("discovery", f"{place} is no authorization server metadata: {exc}") from None
        if metadata.issuer not in issuers:
            # RFC 8414, 3.3: identical, and else not to be used.
            raise OAuthError(
                "discovery",
                f"{place} is metadata of another issuer, {metadata.issuer[:200]!r}: it is not used",
            )
        return metadata
    return None


def _metadata_places(issuer: str) -> list[str]:
    try:
        path = httpx2.URL(issuer).raw_path.decode("ascii").partition("?")[0].rstrip("/")
    except (httpx2.InvalidURL, UnicodeError) as exc:
        raise OAuthError("discovery", "the authorization server's issuer is not a URL") from exc
    if not path:
        return [_at(issuer, _OAUTH), _at(issuer, _OPENID)]
    return [_at(issuer, _OAUTH + path), _at(issuer, _OPENID + path), _at(issuer, path + _OPENID)]


async def _without_resource_metadata(fetcher: Fetcher, url: str) -> Discovered:
    """As 2025-03-26 has it: metadata at the MCP server's own root, or endpoints at fixed places."""
    origin = _at(url, "").rstrip("/")
    # The issuer's name is our own guess here, and both ways to write it are right.
    metadata = await _find_metadata(fetcher, [_at(url, _OAUTH)], (origin, f"{origin}/"))
    resource = canonical_resource(url)
    if metadata is not None:
        return Discovered(resource=resource, server=metadata)
    metadata = ServerMetadata(
        issuer=origin,
        authorization_endpoint=f"{origin}/authorize",
        token_endpoint=f"{origin}/token",
        registration_endpoint=f"{origin}/register",
        token_endpoint_auth_methods_supported=["none", "client_secret_basic", "client_secret_post"],
    )
    return Discovered(resource=resource, server=metadata, published=False)


def canonical_resource(url: str) -> str:
    """The resource identifier of a server that publishes none (RFC 8707, 2): no fragment, no last slash."""
    parsed = httpx2.URL(url)
    return str(parsed.copy_with(fragment=None, query=None, path=parsed.path.rstrip("/") or "/")).rstrip("/")


def covers(resource: str, url: str) -> bool:
    """Whether `url` is the resource or lies under it, in whole segments of its path."""
    try:
        ours, theirs = httpx2.URL(url), httpx2.URL(resource)
    except (httpx2.InvalidURL, UnicodeError):
        return False
    if not same_origin(ours, theirs) or theirs.fragment:
        return False
    return f"{ours.path.rstrip('/')}/".startswith(f"{theirs.path.rstrip('/')}/")


def _at(url: str, path: str) -> str:
    parsed = httpx2.URL(url)
    return str(parsed.copy_with(raw_path=(path or "/").encode("ascii"), fragment=None))
