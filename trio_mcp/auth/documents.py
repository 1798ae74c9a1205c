"""What servers publish and answer in an OAuth flow, as far as it is used here.

Models of our own and not `mcp.shared.auth`'s: those read URLs into objects that write them differently (a
slash at the end, a port that goes without saying), and issuers and resources are compared character by
character.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..protocol.validation import first_error

__all__ = ["ClientInformation", "ProtectedResource", "ServerMetadata", "TokenAnswer", "read"]

M = TypeVar("M", bound=BaseModel)


_CONFIG: Final = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class ProtectedResource(BaseModel):
    """Protected resource metadata (RFC 9728, 2)."""

    model_config = _CONFIG

    resource: str
    authorization_servers: list[str] | None = None
    scopes_supported: list[str] | None = None
    dpop_signing_alg_values_supported: list[str] | None = None
    dpop_bound_access_tokens_required: bool | None = None


class ServerMetadata(BaseModel):
    """Authorization server metadata (RFC 8414, 2), and that of OpenID Connect Discovery."""

    model_config = _CONFIG

    issuer: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    registration_endpoint: str | None = None
    scopes_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    token_endpoint_auth_signing_alg_values_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None
    client_id_metadata_document_supported: bool | None = None
    authorization_response_iss_parameter_supported: bool | None = None
    dpop_signing_alg_values_supported: list[str] | None = None


class ClientInformation(BaseModel):
    """The answer to a registration (RFC 7591, 3.2.1)."""

    model_config = _CONFIG

    client_id: str
    client_secret: str | None = Field(default=None, repr=False)
    client_secret_expires_at: float | None = None
    token_endpoint_auth_method: str | None = None
    redirect_uris: list[str] | None = None


class TokenAnswer(BaseModel):
    """The answer of a token endpoint (RFC 6749, 5.1)."""

    model_config = _CONFIG

    access_token: str = Field(repr=False)
    token_type: str = "Bearer"
    expires_in: float | None = None
    refresh_token: str | None = Field(default=None, repr=False)
    scope: str | None = None
    issued_token_type: str | None = None


def read(kind: type[M], document: Mapping[str, Any]) -> M:
    """A document as a model; a member that is null or "" is as good as left out, which servers do.

    Raises:
        ValueError: it is no such document; the message says where, and no values.
    """
    try:
        return kind.model_validate(
            {name: value for name, value in document.items() if value is not None and value != ""}
        )
    except ValidationError as exc:
        raise ValueError(first_error(exc)) from None
