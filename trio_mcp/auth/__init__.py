"""What `auth=` can be, and what it means to the HTTP engine."""

from .credentials import AuthOption, BearerToken, resolve_auth

__all__ = ["AuthOption", "BearerToken", "resolve_auth"]
