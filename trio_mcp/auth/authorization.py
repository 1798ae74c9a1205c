"""The authorization request, which a person takes to the authorization server, and what comes back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from ..errors import OAuthError
from .discovery import Discovered
from .fetcher import quoted
from .guard import Guard
from .pkce import Pkce

__all__ = ["authorization_url", "check_pkce", "read_code"]


def check_pkce(found: Discovered) -> None:
    """Make sure that a code cannot be stolen (26/basic/authorization/security-considerations).

    Raises:
        OAuthError: the authorization server does not say that it has PKCE.
    """
    if found.published and "S256" not in (found.server.code_challenge_methods_supported or ()):
        raise OAuthError(
            "discovery",
            "the authorization server does not say it has PKCE (code_challenge_methods_supported: S256): "
            "a code could be stolen, so nothing is asked of it",
        )


def read_code(found: Discovered, answer: Mapping[str, str], state: str) -> str:
    """The code in an authorization response, which is ours, and comes from whom we asked (RFC 9207, 2.4).

    Raises:
        OAuthError: it is not, or there is none. What somebody else says of errors is not shown.
    """
    if not secrets.compare_digest(answer.get("state", "").encode(), state.encode()):
        raise OAuthError(
            "authorization", "the answer has another state than was asked with: it is not for us"
        )
    issuer = answer.get("iss")
    if issuer is None:
        if found.server.authorization_response_iss_parameter_supported:
            raise OAuthError(
                "authorization", "the answer does not say whom it is from (iss), which it should"
            )
    elif issuer != found.server.issuer:
        raise OAuthError(
            "authorization", "the answer is from another authorization server than was asked (iss)"
        )
    if "error" in answer:
        raise OAuthError(
            "authorization",
            "the authorization server said no",
            quoted(answer["error"]),
            quoted(answer.get("error_description")),
        )
    if not answer.get("code"):
        raise OAuthError("authorization", "the answer holds no code")
    return answer["code"]


def authorization_url(
    guard: Guard,
    found: Discovered,
    client_id: str,
    redirect_uri: str,
    pkce: Pkce,
    state: str,
    scopes: frozenset[str],
) -> str:
    """Where a person is to log in.

    Raises:
        OAuthError: the authorization server names no place that a person may be sent to.
    """
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
        "state": state,
        "resource": found.resource,
    }
    if scopes:
        parameters["scope"] = " ".join(sorted(scopes))
    if "offline_access" in scopes:
        parameters["prompt"] = "consent"  # OpenID Connect Core, 11: else it is ignored
    endpoint = guard.check(found.server.authorization_endpoint or "", "authorization")
    return str(endpoint.copy_merge_params(parameters).copy_with(fragment=None))
