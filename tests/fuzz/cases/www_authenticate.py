"""Values of `WWW-Authenticate`, and what RFC 9110 (11.6.1) finds in them."""

from __future__ import annotations

from typing import Final

__all__ = ["HEADERS"]

HEADERS: Final[list[tuple[str, list[tuple[str, dict[str, str]]]]]] = [
    ("", []),
    ("Bearer", [("bearer", {})]),
    ('Bearer scope="a b", error=x', [("bearer", {"scope": "a b", "error": "x"})]),
    ('BEARER Scope = "a"', [("bearer", {"scope": "a"})]),
    ('Basic realm="a, Bearer scope=x", Bearer scope="y"', [("basic", {"realm": "a, Bearer scope=x"})]),
    ("Negotiate a87421000492aa874209af8bc028==, Bearer", [("negotiate", {}), ("bearer", {})]),
    (r'Bearer error_description="say \"no\""', [("bearer", {"error_description": 'say "no"'})]),
    ("Bearer resource_metadata=https://a/b?c=d", [("bearer", {"resource_metadata": "https://a/b?c=d"})]),
    ("Bearer a=1, a=2,, ,b=3", [("bearer", {"a": "1", "b": "3"})]),
    ("DPoP algs=ES256,Bearer a=1", [("dpop", {"algs": "ES256"}), ("bearer", {"a": "1"})]),
    ('scope="stray", Bearer a="1"', [("bearer", {"a": "1"})]),
    ("Bearer a=,b=2", [("bearer", {"b": "2"})]),
    ('Bearer a="open, b=2', [("bearer", {"b": "2"})]),
    ("Bearer (x), b=2", [("bearer", {"b": "2"})]),
    ("Bearer a=1, (x)", [("bearer", {"a": "1"})]),
    ("Bearer,", [("bearer", {})]),
    (", ,\t, Bearer", [("bearer", {})]),
    ('Bearer realm=""', [("bearer", {"realm": ""})]),
    ("Bearer scope='a'", [("bearer", {"scope": "'a'"})]),
    ("Bearer a\t=\t1", [("bearer", {"a": "1"})]),
    ('Bearer a="1"b="2"', [("bearer", {"a": "1", "b": "2"})]),
    ('Bearer a="\\\\"', [("bearer", {"a": "\\"})]),
    ('Bearer a="\xe4\0\n"', [("bearer", {"a": "\xe4\0\n"})]),
    ("NTLM", [("ntlm", {})]),
    ("Negotiate, NTLM", [("negotiate", {}), ("ntlm", {})]),
    ("Basic realm=x, Basic realm=y", [("basic", {"realm": "x"}), ("basic", {"realm": "y"})]),
    ("Bearer Bearer", [("bearer", {})]),
]
"""Each with the challenges that come first; behind what makes no sense, anything may be found."""
