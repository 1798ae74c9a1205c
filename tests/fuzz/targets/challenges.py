"""`WWW-Authenticate`: whatever it says is read, and what was read, written out again, is read as the same."""

from __future__ import annotations

import re
from typing import Final

from tests.fuzz.cases.www_authenticate import HEADERS
from trio_mcp.auth.challenges import Challenge, parse_challenges, read_demand

CASES: Final = [header.encode("latin-1") for header, _ in HEADERS]
TOKENS: Final = [
    *(
        b"Bearer",
        b"DPoP",
        b"Basic",
        b"Negotiate",
        b"bearer ",
        b"realm",
        b"scope",
        b"error",
        b"resource_metadata",
    ),
    *(b"=", b'"', b'="', b'", ', b",", b" ", b"\t", b"\\", b'\\"', b"==", b"a/b==", b"\xe4", b"\0", b", ,"),
    *(b"insufficient_scope", b"https://a.test/x", b'scope="a b"', b'algs="ES256"'),
]

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")


def target(data: bytes) -> None:
    header = data.decode("latin-1")  # as headers come
    challenges = parse_challenges(header)
    for challenge in challenges:
        for name in (challenge.scheme, *challenge.parameters):
            assert TOKEN.fullmatch(name)
    again = ", ".join(map(written, challenges))
    assert parse_challenges(again) == challenges, again
    # All in front of what comes next, and a comma, is read as it was.
    assert parse_challenges(f"{again}, Basic")[: len(challenges)] == challenges
    demand = read_demand(header)
    assert demand == read_demand(again)
    schemes = {challenge.scheme for challenge in challenges}
    assert demand.dpop is ("dpop" in schemes)
    assert demand.bearer or "bearer" not in schemes
    assert all(scope and not set(" \t\r\n") & set(scope) for scope in demand.scopes)
    assert demand.resource_metadata != ""
    assert demand.error != ""


def written(challenge: Challenge) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{challenge.scheme} {', '.join(f'{k}={quoted(v)}' for k, v in challenge.parameters.items())}"
