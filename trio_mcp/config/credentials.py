"""What `auth` and `oauth` of a server mean: a bearer token, OAuth, or nothing."""

from __future__ import annotations

from typing import Any, Final

from ..auth import AuthOption, OAuth, resolve_auth
from ..errors import ConfigurationError
from .dialects import snake_case
from .models import Entry, IdentityModel, OAuthModel, validate
from .places import Place, kind_of

__all__ = ["read_auth"]

_OTHER_NAMES: Final = {"scopes": "scope", "oauth_scopes": "scope"}
_IGNORED: Final = frozenset({"enabled", "token_param_name"})
_ENDPOINTS: Final = frozenset(
    {"authorization_url", "token_url", "registration_url", "auth_server_metadata_url", "oauth_provider"}
)


def read_auth(entry: Entry) -> AuthOption:
    """How the requests to a server are authorized. Nothing said is nothing done: no probing, no browser.

    `auth` is a bearer token, "oauth", or an object with the options of `OAuth`; `oauth`, as Claude Code and
    Gemini CLI have it, is an object of that kind, or true. Their names may be in camel case or in capitals.

    Raises:
        ConfigurationError: something else, or options that cannot work. It holds no values.
    """
    auth, oauth = entry.options.auth, entry.options.oauth
    if auth is None:
        if isinstance(oauth, dict):
            return None if oauth.get("enabled") is False else _read_oauth(oauth, entry.at("oauth"))
        if oauth not in (None, True, False):
            raise entry.at("oauth").error(f"an object is wanted, and not {kind_of(oauth)}")
        return OAuth() if oauth else None
    if oauth not in (None, False):
        raise entry.at("oauth").error(f"{entry.written['auth']!r} says how to authorize, too")
    place = entry.at("auth")
    if auth == "oauth":
        return OAuth()
    if isinstance(auth, dict):
        return _read_oauth(auth, place)
    if isinstance(auth, bool | int | float | list):
        raise place.error(f"a string or an object is wanted, and not {kind_of(auth)}")
    try:
        resolve_auth(auth)
    except (ConfigurationError, TypeError) as exc:
        problem = str(exc).removeprefix("auth: ")
    else:
        checked: AuthOption = auth
        return checked
    raise place.error(problem)


def _read_oauth(given: dict[str, object], place: Place) -> OAuth:
    # One object, and not its options: a server that is opened anew keeps the tokens that it has got.
    options, written = _canonical(given, place)
    provider = options.get("identity_provider")
    if isinstance(provider, dict):
        where = place / written["identity_provider"]
        options["identity_provider"] = _said(validate(IdentityModel, *_canonical(provider, where), where))
    checked = _said(validate(OAuthModel, options, written, place))
    try:
        return OAuth.from_mapping(checked)
    except (ConfigurationError, TypeError) as exc:
        problem = str(exc).removeprefix("auth: ")
    for value in checked.values():
        problem = problem.replace(repr(value), "what is there")  # which may be a secret in the wrong place
    raise place.error(problem)


def _said(options: OAuthModel | IdentityModel) -> dict[str, Any]:
    # Not by `model_dump`, which would take the objects of a program apart.
    return {name: value for name, value in options if value is not None}


def _canonical(given: dict[str, object], place: Place) -> tuple[dict[str, object], dict[str, str]]:
    """The options by our names for them, and how each was written."""
    options: dict[str, object] = {}
    written: dict[str, str] = {}
    for key, value in given.items():
        name = snake_case(key)
        name = _OTHER_NAMES.get(name, name)
        if name in _ENDPOINTS:
            raise (place / key).error("endpoints are found by the `issuer`: name that one")
        if name in options:
            raise (place / key).error(f"{written[name]!r} says it, too")
        if name not in _IGNORED:
            options[name], written[name] = value, key
    return options, written
