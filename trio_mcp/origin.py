"""Origins of URLs: whom a token, a message or a request may go to."""

from __future__ import annotations

import httpx2

__all__ = ["same_origin"]


def same_origin(one: httpx2.URL, other: httpx2.URL) -> bool:
    """Whether URLs have scheme, host and port in common."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
