"""What entitles to a token, as the form that a token endpoint takes; and the request itself.

RFC 6749, RFC 8707 (`resource`), RFC 7523 (assertions), RFC 8693 (token exchange), RFC 9449 (DPoP).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus

from ..errors import OAuthError
from .client import authenticate
from .config import CLIENT_CREDENTIALS, JWT_BEARER, OAuth, Secret
from .discovery import Discovered, server_metadata
from .documents import TokenAnswer, read
from .dpop import DpopKey
from .fetcher import Answer, Fetcher, quoted
from .keys import ASSERTION_SECONDS, sign, signing_key
from .storage import Registration

__all__ = ["machine_grant", "request_token"]

_TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"
# What an error may repeat of a form, and often has to, to be of use.
_NO_SECRETS: Final = frozenset(
    {
        "grant_type",
        "client_id",
        "resource",
        "audience",
        "scope",
        "redirect_uri",
        "requested_token_type",
        "subject_token_type",
        "client_assertion_type",
    }
)


async def machine_grant(
    fetcher: Fetcher, config: OAuth, found: Discovered, scope: str | None
) -> dict[str, str]:
    """The form of a grant that needs no person.

    Raises:
        OAuthError: the identity provider does not vouch for us.
    """
    if config.grant_type == CLIENT_CREDENTIALS:
        return {"grant_type": CLIENT_CREDENTIALS}
    if config.identity_provider is not None:
        assertion = await _exchanged(fetcher, config, found, scope)
    elif config.assertion is not None:
        assertion = await _current(config.assertion)
    else:
        assert config.private_key is not None
        key, algorithm = signing_key(config.private_key, config.signing_algorithm)
        claims = {"iss": config.client_id, "sub": config.client_id, "aud": found.server.issuer}
        assertion = sign(key, algorithm, {**claims, "exp": int(time.time()) + ASSERTION_SECONDS})
    return {"grant_type": JWT_BEARER, "assertion": assertion}


async def _exchanged(fetcher: Fetcher, config: OAuth, found: Discovered, scope: str | None) -> str:
    """The assertion that the identity provider gives for a person's token (ext-auth, "Token Exchange")."""
    provider = config.identity_provider
    assert provider is not None
    endpoint = provider.token_endpoint
    if endpoint is None:
        assert provider.issuer is not None
        endpoint = (await server_metadata(fetcher, provider.issuer)).token_endpoint
    if endpoint is None:
        raise OAuthError("discovery", "the identity provider has no token endpoint")
    form = {
        "grant_type": _TOKEN_EXCHANGE,
        "requested_token_type": _ID_JAG,
        "audience": found.server.issuer,
        "resource": found.resource,
        "subject_token": await _current(provider.subject_token),
        "subject_token_type": provider.subject_token_type,
    }
    if scope is not None:
        form["scope"] = scope
    if provider.client_id is not None:
        form["client_id"] = provider.client_id
    if provider.client_secret is not None:
        form["client_secret"] = provider.client_secret
    answer = await fetcher.post_form(endpoint, "token", {}, form)
    token = _token(answer, _secrets({}, form))
    if token.issued_token_type not in (None, _ID_JAG):
        raise OAuthError("token", "the identity provider gave another kind of token than an ID-JAG")
    return token.access_token


async def _current(secret: Secret) -> str:
    if isinstance(secret, str):
        return secret
    given = secret()
    return await given if inspect.isawaitable(given) else given


async def request_token(
    fetcher: Fetcher,
    config: OAuth,
    found: Discovered,
    client: Registration,
    grant: Mapping[str, str],
    dpop: DpopKey | None,
) -> TokenAnswer:
    """Ask the token endpoint for a token, for the resource.

    Raises:
        OAuthError: there is none; `error` is the server's word for why.
    """
    endpoint = found.server.token_endpoint
    if endpoint is None:
        raise OAuthError("discovery", "the authorization server has no token endpoint")
    headers, form = authenticate(client, config, found.server.issuer, {**grant, "resource": found.resource})
    if dpop is None:
        answer = await fetcher.post_form(endpoint, "token", headers, form)
    else:
        answer = await _with_proof(fetcher, endpoint, headers, form, dpop)
        if answer.status in (400, 401) and _error(answer) == "use_dpop_nonce":
            # It wants a nonce of its own in the proof (RFC 9449, 8): once.
            answer = await _with_proof(fetcher, endpoint, headers, form, dpop)
    return _token(answer, (*_secrets(headers, form), client.client_secret or ""))


async def _with_proof(
    fetcher: Fetcher, endpoint: str, headers: Mapping[str, str], form: Mapping[str, str], dpop: DpopKey
) -> Answer:
    proof = dpop.proof("POST", endpoint)
    answer = await fetcher.post_form(endpoint, "token", {**headers, "dpop": proof}, form)
    dpop.learn(endpoint, answer.headers)
    return answer


def _secrets(headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[str, ...]:
    """What a server was sent that is secret, as it was meant and as it was written."""
    values = [value for name, value in form.items() if name not in _NO_SECRETS]
    credentials = [value.rpartition(" ")[2] for value in headers.values()]
    return (*values, *map(quote_plus, values), *credentials)


def _error(answer: Answer) -> str | None:
    error = (answer.json() or {}).get("error")
    return error if isinstance(error, str) else None


def _token(answer: Answer, secrets: tuple[str, ...]) -> TokenAnswer:
    document = answer.json()
    if answer.status != 200 or document is None or "access_token" not in document:
        document = document or {}
        error = quoted(document.get("error"), secrets)
        raise OAuthError(
            "token",
            f"the authorization server gave no token (HTTP {answer.status})",
            error,
            quoted(document.get("error_description"), secrets),
        )
    try:
        token = read(TokenAnswer, document)
    except ValueError as exc:
        raise OAuthError("token", f"the answer is no token: {exc}") from None
    value = token.access_token
    if not value.isascii() or not value.isprintable() or " " in value:
        raise OAuthError("token", "the authorization server gave a token that a header cannot carry")
    return token
