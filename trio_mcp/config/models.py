"""What the options of a server must look like, as pydantic models; and its errors as ours, without values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ..auth import IdentityProvider
from .places import Place, kind_of, nearest

__all__ = ["Entry", "IdentityModel", "OAuthModel", "ServerModel", "validate"]

T = TypeVar("T", bound=BaseModel)

_SHOWN: Final = 5  # problems of one server in an error
_WANTED: Final[Mapping[str, str]] = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "a string",
}


def _as_text(value: object) -> object:
    """A number or a boolean of `env` as a program would write it; null takes a variable away."""
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite_number", "a number is too large")
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _as_scope(value: object) -> object:
    """Scopes in a list, as hosts have them, as OAuth writes them."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return " ".join(value)
    return value


def _without_star(value: object) -> object:
    if value == "*" or (isinstance(value, list) and "*" in value):
        return None
    if isinstance(value, list):
        for each in value:
            if isinstance(each, str) and not {"*", "?", "["}.isdisjoint(each):
                raise PydanticCustomError("tool_pattern", "the tools are named one by one, without patterns")
    return value


def _check_secret(value: object) -> object:
    if value is not None and not isinstance(value, str) and not callable(value):
        raise PydanticCustomError("string_type", "a string is wanted")
    return value


def _check_provider(value: object) -> object:
    if value is not None and not isinstance(value, dict | IdentityProvider):
        raise PydanticCustomError("dict_type", "an object is wanted")
    return value


Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Secret = Annotated[Any, BeforeValidator(_check_secret)]
ToolNames = Annotated[list[str] | None, BeforeValidator(_without_star)]


class _Model(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class ServerModel(_Model):
    """One server: see docs/configuration.md. The names are those of `dialects.canonical`."""

    command: Text | None = None
    args: list[str] = []
    env: dict[str, Annotated[str | None, BeforeValidator(_as_text)]] = Field(default={}, repr=False)
    env_file: Text | None = None
    cwd: Text | None = None
    url: Text | None = None
    headers: dict[str, str] = Field(default={}, repr=False)
    auth: Any = Field(default=None, repr=False)
    oauth: Any = Field(default=None, repr=False)
    type: str | None = None
    timeout: Seconds | None = None
    sse_read_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    deadline: Seconds | None = None
    disabled: bool = False
    enabled: bool = True
    tools: ToolNames = None
    disabled_tools: list[str] = []
    required: bool | None = None
    optional: bool | None = None
    restart: bool | None = None
    prefix: str | None = None
    verify: bool | None = None
    protocol_version: str | None = None


class OAuthModel(_Model):
    """The options of `OAuth`. What is `Any` may be an object where a program gives it."""

    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False)
    scope: Annotated[str | None, BeforeValidator(_as_scope)] = None
    callback_port: int | None = None
    client_metadata_url: str | None = None
    redirect_uri: str | None = None
    client_name: str | None = None
    token_endpoint_auth_method: str | None = None
    grant_type: str | None = None
    private_key: str | None = Field(default=None, repr=False)
    signing_algorithm: str | None = None
    issuer: str | None = None
    storage: Any = None
    on_redirect: Any = None
    assertion: Secret = Field(default=None, repr=False)
    identity_provider: Annotated[Any, BeforeValidator(_check_provider)] = Field(default=None, repr=False)
    dpop: bool | None = None
    login_timeout: Seconds | None = None


class IdentityModel(_Model):
    """The options of `IdentityProvider`."""

    subject_token: Secret = Field(default=None, repr=False)
    issuer: str | None = None
    token_endpoint: str | None = None
    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False)
    subject_token_type: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of a configuration.

    Args:
        options: what it says.
        written: how each option was written.
        place: where it stands.
    """

    options: ServerModel = field(repr=False)
    written: Mapping[str, str]
    place: Place

    def at(self, name: str) -> Place:
        """Where an option stands."""
        return self.place / self.written.get(name, name)


def validate(model: type[T], options: Mapping[str, object], written: Mapping[str, str], place: Place) -> T:
    """`options` as a `model`.

    Args:
        model: the model.
        options: by our names.
        written: how each name was written, for the errors.
        place: where they stand.

    Raises:
        ConfigurationError: what pydantic finds wrong, each with its path; without the values.
    """
    try:
        return model.model_validate(options)
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_context=True)
    # Not within the `except`: pydantic's error holds the values.
    texts = [f"{_locate(each, written, place).path}: {_explain(each, model)}" for each in problems]
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    raise Place(place.source).error("; ".join(texts[:_SHOWN]) + more)


def _locate(problem: ErrorDetails, written: Mapping[str, str], place: Place) -> Place:
    first, *rest = problem["loc"]
    place = place / written.get(str(first), first)
    for key in rest:
        place = place / key
    return place


def _explain(problem: ErrorDetails, model: type[BaseModel]) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        return f"there is no such option{nearest(str(problem['loc'][-1]), model.model_fields)}"
    if kind in _WANTED:
        is_kind = kind_of(problem["input"])
        return (
            f"{_WANTED[kind]} is wanted, and not {is_kind if is_kind != _WANTED[kind] else 'so large a one'}"
        )
    if kind == "string_too_short":
        return "it is empty"
    if kind in ("greater_than", "finite_number"):
        return "a number above 0 is wanted, and not one that is as small or as large"
    return problem["msg"]
