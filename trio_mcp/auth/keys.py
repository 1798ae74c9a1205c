"""Private keys, and the JWTs that are signed with them. What does it is imported when first needed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

__all__ = ["ASSERTION_SECONDS", "client_assertion", "sign", "signing_key"]

ASSERTION_SECONDS: Final = 300
"""How long an assertion of ours is valid: it is made for one request."""


def signing_key(pem: str, algorithm: str | None) -> tuple[PrivateKeyTypes, str]:
    """A private key, and the algorithm that it signs with.

    Raises:
        ConfigurationError: it cannot be read, or the algorithm does not go with it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The reason may quote the key.
        raise ConfigurationError(
            "auth: private_key must be a private key as PEM text, without a password"
        ) from None
    match key:
        case ec.EllipticCurvePrivateKey():
            curves = {"secp256r1": ["ES256"], "secp384r1": ["ES384"], "secp521r1": ["ES512"]}
            fitting = curves.get(key.curve.name, [])
        case rsa.RSAPrivateKey():
            fitting = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        case ed25519.Ed25519PrivateKey():
            fitting = ["EdDSA"]
        case _:
            fitting = []
    if not fitting or algorithm not in (None, *fitting):
        raise ConfigurationError(
            f"auth: signing_algorithm {algorithm} does not go with the private_key; "
            f"{', '.join(fitting) or 'no algorithm'} would"
        )
    return key, algorithm or fitting[0]


def sign(
    key: PrivateKeyTypes, algorithm: str, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None
) -> str:
    """A JWT with these claims, and a `jti` and an `iat` of its own.

    `iat` is the wall clock's: it is the server's clock that it is compared with.
    """
    import jwt

    claims = {"jti": secrets.token_urlsafe(16), "iat": int(time.time()), **claims}
    return jwt.encode(claims, key, algorithm=algorithm, headers=dict(headers or {}))  # type: ignore[arg-type]


def client_assertion(pem: str, algorithm: str | None, client_id: str, audience: str) -> str:
    """A JWT by which a client says who it is (RFC 7523, 3)."""
    key, algorithm = signing_key(pem, algorithm)
    expires = int(time.time()) + ASSERTION_SECONDS
    return sign(key, algorithm, {"iss": client_id, "sub": client_id, "aud": audience, "exp": expires})
