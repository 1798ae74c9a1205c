"""Proof Key for Code Exchange (RFC 7636), with S256: the code is of use only to whoever asked for it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field

__all__ = ["Pkce"]


@dataclass(frozen=True, slots=True)
class Pkce:
    """A verifier of 43 characters, and its challenge."""

    verifier: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def challenge(self) -> str:
        """What goes into the authorization request."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
