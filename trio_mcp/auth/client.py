"""Who we are to an authorization server: a registered client, and how it proves that.

26/basic/authorization/client-registration; RFC 7591 (registration); RFC 6749, 2.3, and RFC 7523
(authentication).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import httpx2

from ..errors import OAuthError
from .config import AUTHORIZATION_CODE, JWT_BEARER, OAuth, is_loopback
from .documents import ClientInformation, ServerMetadata, read
from .fetcher import Fetcher, quoted
from .keys import client_assertion
from .storage import ClientKey, Registration

__all__ = ["authenticate", "client_key", "given_client", "register", "stored_client"]

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# A method that is not announced is the one that RFC 8414 (2) takes for granted.
_DEFAULT_METHODS: Final = ["client_secret_basic"]


def given_client(config: OAuth, server: ServerMetadata) -> Registration | None:
    """The client that needs no registration: one that the program names, or one with a metadata document."""
    if config.client_id is not None:
        client_id, secret = config.client_id, config.client_secret
    elif config.client_metadata_url is not None and server.client_id_metadata_document_supported:
        client_id, secret = config.client_metadata_url, None
    else:
        return None
    method = config.token_endpoint_auth_method or _best_method(config, server, secret)
    return Registration(client_id=client_id, client_secret=secret, auth_method=method)


def _best_method(config: OAuth, server: ServerMetadata, secret: str | None) -> str:
    signs_assertions = config.grant_type == JWT_BEARER and config.identity_provider is None
    if config.private_key is not None and not signs_assertions:
        return "private_key_jwt"
    if secret is None:
        return "none"
    offered = server.token_endpoint_auth_methods_supported or _DEFAULT_METHODS
    if "client_secret_basic" not in offered and "client_secret_post" in offered:
        return "client_secret_post"
    return "client_secret_basic"


def stored_client(stored: Registration | None, redirect_uri: str) -> Registration | None:
    """A registration that was kept, if it is still good: its secret valid, and `redirect_uri` known."""
    if stored is None or redirect_uri not in stored.redirect_uris:
        return None
    if stored.secret_expires_at and stored.secret_expires_at <= time.time():
        return None
    return stored


def client_key(config: OAuth, issuer: str) -> ClientKey:
    """Where the registration is kept."""
    return ClientKey(issuer, config.client_name)


async def register(
    fetcher: Fetcher, server: ServerMetadata, config: OAuth, redirect_uri: str, scope: str | None
) -> Registration:
    """Register at an authorization server (RFC 7591), which is all that is left where no client is given.

    Raises:
        OAuthError: it takes no registrations, or not this one.
    """
    if server.registration_endpoint is None:
        hint = (
            "it does not take client id metadata documents either (client_metadata_url)"
            if config.client_metadata_url
            else "or host a client id metadata document (client_metadata_url), if it takes those"
        )
        raise OAuthError(
            "registration",
            f"{server.issuer[:200]} lets nobody register: register there by hand, and pass client_id; {hint}",
        )
    method = config.token_endpoint_auth_method or _registered_method(server)
    host = httpx2.URL(redirect_uri).host
    wanted: dict[str, Any] = {
        "client_name": config.client_name,
        "redirect_uris": [redirect_uri],
        "grant_types": [AUTHORIZATION_CODE, "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        # OpenID Connect takes "web" for granted, which has no redirects to this machine.
        "application_type": "native" if is_loopback(host) else "web",
    }
    if scope is not None:
        wanted["scope"] = scope
    answer = await fetcher.post(
        server.registration_endpoint,
        "registration",
        {"content-type": "application/json"},
        json.dumps(wanted).encode(),
    )
    document = answer.json()
    if answer.status not in (200, 201) or document is None:
        document = document or {}
        raise OAuthError(
            "registration",
            f"{server.issuer[:200]} refused to register us, with {redirect_uri} (HTTP {answer.status})",
            quoted(document.get("error")),
            quoted(document.get("error_description")),
        )
    try:
        client = read(ClientInformation, document)
    except ValueError as exc:
        raise OAuthError("registration", f"the answer is no registration: {exc}") from None
    return Registration(
        client_id=client.client_id,
        client_secret=client.client_secret,
        secret_expires_at=client.client_secret_expires_at or None,
        auth_method=client.token_endpoint_auth_method or method,
        # What the server has made of them, if it says so, need not be written as we write it.
        redirect_uris=(redirect_uri,),
    )


def _registered_method(server: ServerMetadata) -> str:
    """What to register as: a public client if there may be such, as no secret of ours is safe with others."""
    offered = server.token_endpoint_auth_methods_supported or _DEFAULT_METHODS
    known = ("none", "client_secret_basic", "client_secret_post")
    return next((each for each in known if each in offered), "none")


def authenticate(
    client: Registration, config: OAuth, issuer: str, form: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The headers and the form of a request to a token endpoint, with what says who we are."""
    filled = dict(form)
    method = client.auth_method
    if method == "private_key_jwt" and config.private_key is not None:
        filled["client_assertion_type"] = _ASSERTION_TYPE
        filled["client_assertion"] = client_assertion(
            config.private_key, config.signing_algorithm, client.client_id, issuer
        )
        return {}, filled
    if client.client_id:
        # Also beside a header that says it: there are servers that look for it here first, mcp's is one.
        filled["client_id"] = client.client_id
    if method == "client_secret_basic" and client.client_secret is not None:
        # Both are encoded before they are joined (RFC 6749, 2.3.1).
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}, filled
    if method == "client_secret_post" and client.client_secret is not None:
        filled["client_secret"] = client.client_secret
    elif method != "none":
        raise OAuthError(
            "token", f"the authorization server wants {quoted(method)}, for which there are no credentials"
        )
    return {}, filled
