"""URI templates of resources, filled in (RFC 6570; 26/server/resources, "Resource Templates")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote

import mcp_types as types

from ..errors import InvalidArguments

__all__ = ["TemplateValue", "expand_uri_template", "matches_uri_template"]

_Scalar: TypeAlias = str | int | float
TemplateValue: TypeAlias = _Scalar | Sequence[_Scalar] | Mapping[str, _Scalar]
"""What a variable may be: a string, a number, or a list or mapping of those."""

# RFC 6570, 2: operators that have a meaning, names (and "-", which servers use), prefixes and "*".
_VARIABLE: Final = r"(?:[A-Za-z0-9_.\-]|%[0-9A-Fa-f]{2})+(?::[1-9][0-9]{0,3}|\*)?"
_EXPRESSION: Final = re.compile(rf"\{{[+#./;?&]?({_VARIABLE}(?:,{_VARIABLE})*)\}}")
# RFC 6570, 1.5 and 3.1: what may stand in a URI as it is.
_URI: Final = "-._~:/?#[]@!$&'()*+,;=%"
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def expand_uri_template(
    template: types.ResourceTemplate | str,
    variables: Mapping[str, TemplateValue],
    *,
    omit_missing: bool = False,
) -> str:
    """The URI that a template means with these variables: for `read_resource`.

    Args:
        template: a template that `list_resource_templates` gave, or its text.
        variables: by name; further ones are ignored. A list or mapping without members is as good as missing
            in the URI, but counts as given.
        omit_missing: whether a variable without a value vanishes, as RFC 6570 has it for undefined ones:
            with `{?page,size}`, what is optional may be left out.

    Raises:
        InvalidArguments: a variable is missing, or is neither string, number, list nor mapping; or the text
            is no template.
    """
    import uritemplate  # 1 ms that programs without templates need not pay

    text = template.uri_template if isinstance(template, types.ResourceTemplate) else template
    if not isinstance(text, str):
        raise InvalidArguments(f"a URI template is a str, not {type(text).__name__}")
    if set(_EXPRESSION.sub("", text)) & {"{", "}"}:
        raise InvalidArguments(f"not a URI template of RFC 6570: {text!r:.200}")
    known: dict[str, str | list[str] | list[tuple[str, str]]] = {}
    for expression in _EXPRESSION.findall(text):
        for variable in expression.split(","):
            name, has_prefix, _ = variable.removesuffix("*").partition(":")
            if name in variables:
                value = _value(name, variables[name])
                if has_prefix and not isinstance(value, str):
                    raise InvalidArguments(
                        f"{name!r} is cut to a prefix in {text!r:.200}: it must be a string"
                    )
                if value != []:
                    known[name] = value
            elif not omit_missing:
                raise InvalidArguments(f"{name!r} is missing for {text!r:.200}")
    try:
        uri = uritemplate.expand(text, known)  # type: ignore[arg-type]
        # What uritemplate leaves: literals of the template, and values of {+x} that are encoded in part.
        return quote(_STRAY_PERCENT.sub("%25", uri), safe=_URI)
    except UnicodeEncodeError as exc:
        raise InvalidArguments("a string holds a lone surrogate, which UTF-8 cannot encode") from exc


def matches_uri_template(template: types.ResourceTemplate | str, uri: str) -> bool:
    """Whether `uri` may have come of the template.

    What `{x}` stands for has no "/", "?" and "#" in it, and is not empty; other expressions may stand for
    anything. The time that it takes grows with the product of both lengths, whatever the template is.
    """
    text = template.uri_template if isinstance(template, types.ResourceTemplate) else template
    ends, begin = {0}, 0  # where what has been matched may end
    for found in _EXPRESSION.finditer(text):
        ends = _after_literal(text[begin : found.start()], uri, ends)
        simple = found[0][1] not in "+#./;?&"
        ends = _after_value(uri, ends, "/?#" if simple else "", may_be_empty=not simple)
        begin = found.end()
    return len(uri) in _after_literal(text[begin:], uri, ends)


def _after_literal(literal: str, uri: str, ends: set[int]) -> set[int]:
    return {end + len(literal) for end in ends if uri.startswith(literal, end)}


def _after_value(uri: str, ends: set[int], excluded: str, *, may_be_empty: bool) -> set[int]:
    after = set(ends) if may_be_empty else set()
    inside = False
    for index, character in enumerate(uri):
        inside = (inside or index in ends) and character not in excluded
        if inside:
            after.add(index + 1)
    return after


def _value(name: str, value: object) -> str | list[str] | list[tuple[str, str]]:
    """`value` as uritemplate expands it in the way of RFC 6570: all text, and pairs in the order given."""
    if isinstance(value, Mapping):
        return [(_scalar(name, key), _scalar(name, each)) for key, each in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [_scalar(name, each) for each in value]
    return _scalar(name, value)


def _scalar(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidArguments(
            f"{name!r} must be a string, a number, or a list or mapping of those, not {type(value).__name__}"
        )
    return str.__str__(value) if isinstance(value, str) else str(value)
