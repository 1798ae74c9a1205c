"""Tokens that are bound to a key (DPoP, RFC 9449): each request proves that its sender has it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Final

import httpx2

from .keys import sign, signing_key

__all__ = ["ALGORITHM", "DpopKey"]

ALGORITHM: Final = "ES256"
_MAX_NONCE: Final = 1024


class DpopKey:
    """A key of one client, and the nonces that servers want to see in its proofs.

    Args:
        pem: a key that there is already; None makes one.
    """

    def __init__(self, pem: str | None = None) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        if pem is None:
            made = ec.generate_private_key(ec.SECP256R1())
            pem = made.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode("ascii")
        self.pem: str = pem
        self._key, _ = signing_key(pem, ALGORITHM)
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        numbers = self._key.public_key().public_numbers()
        self._jwk = {"kty": "EC", "crv": "P-256", "x": _base64url(numbers.x), "y": _base64url(numbers.y)}
        self._nonces: dict[str, str] = {}

    def __repr__(self) -> str:
        return "DpopKey(…)"

    def proof(self, method: str, url: str, access_token: str | None = None) -> str:
        """A proof for one request (RFC 9449, 4.2). No two are alike.

        Args:
            method: the HTTP method.
            url: where the request goes to.
            access_token: what the request presents, if it does.
        """
        target = httpx2.URL(url)
        claims = {"htm": method, "htu": str(target.copy_with(query=None, fragment=None))}
        if access_token is not None:
            digest = hashlib.sha256(access_token.encode("ascii")).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
        if (nonce := self._nonces.get(_origin(target))) is not None:
            claims["nonce"] = nonce
        return sign(self._key, ALGORITHM, claims, {"typ": "dpop+jwt", "jwk": self._jwk})

    def learn(self, url: str, response_headers: Mapping[str, str]) -> None:
        """Remember the nonce that a server has sent for proofs to come (RFC 9449, 8 and 9)."""
        nonce = response_headers.get("dpop-nonce")
        if nonce and len(nonce) <= _MAX_NONCE:
            self._nonces[_origin(httpx2.URL(url))] = nonce

    def is_outdated(self, url: str, sent: str | None) -> bool:
        """Whether a proof that was sent to `url` has another nonce than the one to use now."""
        return sent is not None and _nonce(sent) != self._nonces.get(_origin(httpx2.URL(url)))


def _nonce(proof: str) -> str | None:
    payload = proof.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    nonce: str | None = claims.get("nonce")
    return nonce


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode("ascii")
