"""What `auth=` can be, and what it means to the HTTP client. OAuth itself is in `oauth.py`, imported late."""

from .authorizer import AskedToken, Authorizer
from .config import IdentityProvider, OAuth
from .credentials import AuthOption, BearerToken, fixed_authorization, resolve_auth
from .storage import ClientKey, MemoryStorage, Registration, StoredToken, TokenKey, TokenStorage

__all__ = [
    "AskedToken",
    "AuthOption",
    "Authorizer",
    "BearerToken",
    "ClientKey",
    "IdentityProvider",
    "MemoryStorage",
    "OAuth",
    "Registration",
    "StoredToken",
    "TokenKey",
    "TokenStorage",
    "fixed_authorization",
    "resolve_auth",
]
