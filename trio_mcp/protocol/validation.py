"""What pydantic says of an invalid value, in one line."""

from __future__ import annotations

from pydantic import ValidationError

__all__ = ["first_error"]


def first_error(exc: ValidationError) -> str:
    """Where the first error is, and what it is: "content.0.text: Field required"."""
    first = exc.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'its root'}: {first['msg']}"
