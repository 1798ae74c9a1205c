"""`WWW-Authenticate`, read as RFC 9110 (11.6.1) writes it: what a server wants of a request it refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Challenge", "Demand", "parse_challenges", "read_demand"]

_SEPARATORS: Final = re.compile(r"[\s,]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_EQUALS: Final = re.compile(r"[ \t]*=[ \t]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE: Final = re.compile(r"[^\s,\"]+")  # more than a token: some servers leave a URL unquoted
_TOKEN68: Final = re.compile(r"[ \t]+[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge.

    Attributes:
        scheme: such as "bearer", in lower case.
        parameters: by name, in lower case; of a repeated one, the first.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """What OAuth needs to know of a refusal (26/basic/authorization/index, RFC 6750, RFC 9449).

    Attributes:
        resource_metadata: where the resource describes itself.
        scopes: what the request needs.
        error: such as "insufficient_scope".
        bearer: whether bearer tokens are accepted, as far as one can tell.
        dpop: whether tokens that are bound to a key are asked for.
    """

    resource_metadata: str | None = None
    scopes: frozenset[str] = frozenset()
    error: str | None = None
    bearer: bool = True
    dpop: bool = False


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of a header, whose repetitions are joined by commas. What makes no sense is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while True:
        position = _SEPARATORS.match(header, position).end()  # type: ignore[union-attr]  # matches always
        if position == len(header):
            return [Challenge(scheme, parameters) for scheme, parameters in found]
        name = _TOKEN.match(header, position)
        if name is None:
            position = _after_comma(header, position)
            continue
        position = name.end()
        equals = _EQUALS.match(header, position)
        if equals is None:
            found.append((name[0].lower(), {}))
            if blob := _TOKEN68.match(header, position):
                position = blob.end()
            continue
        position = equals.end()
        if quoted := _QUOTED.match(header, position):
            value, position = _ESCAPE.sub(r"\1", quoted[1]), quoted.end()
        elif bare := _BARE.match(header, position):
            value, position = bare[0], bare.end()
        else:
            position = _after_comma(header, position)
            continue
        if found:
            found[-1][1].setdefault(name[0].lower(), value)


def _after_comma(header: str, position: int) -> int:
    comma = header.find(",", position)
    return len(header) if comma < 0 else comma + 1


def read_demand(header: str | None) -> Demand:
    """What the `Bearer` and `DPoP` challenges of a header come to; those of other schemes are not for us."""
    ours = [each for each in parse_challenges(header or "") if each.scheme in ("bearer", "dpop")]
    schemes = {each.scheme for each in ours}

    def first(name: str) -> str | None:
        return next((each.parameters[name] for each in ours if each.parameters.get(name)), None)

    return Demand(
        resource_metadata=first("resource_metadata"),
        scopes=frozenset((first("scope") or "").split()),
        error=first("error"),
        bearer="dpop" not in schemes or "bearer" in schemes,
        dpop="dpop" in schemes,
    )
