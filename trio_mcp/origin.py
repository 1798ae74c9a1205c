"""Origins of URLs: whom a token, a message or a request may go to."""

from __future__ import annotations

import httpx2

__all__ = ["has_lawful_port", "same_origin"]


def has_lawful_port(url: httpx2.URL) -> bool:
    """Whether the port exists: the operating system would take another one, modulo 65536."""
    return url.port is None or 0 < url.port < 1 << 16


def same_origin(one: httpx2.URL, other: httpx2.URL) -> bool:
    """Whether URLs have scheme, host and port in common."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
