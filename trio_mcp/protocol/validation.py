"""Validating: what does it, and what pydantic says of an invalid value, in one line."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

__all__ = ["adapter_of", "first_error"]


def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """What validates as `kind`; kept, as making it is dear."""
    try:
        return _adapter(kind)
    except TypeError:
        return TypeAdapter(kind)  # some annotations cannot be hashed


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def first_error(exc: ValidationError) -> str:
    """Where the first error is, and what it is: "content.0.text: Field required"."""
    first = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'its root'}: {first['msg']}"
