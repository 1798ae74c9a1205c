"""What `auth=` can be, and what it means to the HTTP engine."""

from .credentials import AuthOption, BearerToken, fixed_authorization, resolve_auth

__all__ = ["AuthOption", "BearerToken", "fixed_authorization", "resolve_auth"]
