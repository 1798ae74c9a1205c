"""Tokens and registrations as texts that are kept under a name: pure.

Names are digests of what a record is for, so that no two collide, and none of them is a path.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from .storage import ClientKey, Registration, StoredToken, TokenKey

__all__ = ["ClientRecord", "TokenRecord", "read_record", "record_name", "write_record"]


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, and what it is for."""

    key: TokenKey
    token: StoredToken = field(repr=False)
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A registration, and whose it is."""

    key: ClientKey
    registration: Registration = field(repr=False)
    version: Literal[1] = 1


Record = TypeVar("Record", TokenRecord, ClientRecord)

_TYPES: Final[dict[type, TypeAdapter[object]]] = {}


def record_name(key: TokenKey | ClientKey) -> str:
    """What the record of `key` is called: "token-" or "client-", and a digest."""
    kind = "token" if isinstance(key, TokenKey) else "client"
    text = json.dumps([kind, asdict(key)], sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}"


def write_record(record: TokenRecord | ClientRecord) -> str:
    """`record` as JSON."""
    return _adapter(type(record)).dump_json(record).decode()


def read_record(kind: type[Record], text: str) -> Record:
    """The record that `text` is.

    Raises:
        ValueError: it is none; the message quotes nothing of it.
    """
    try:
        record = _adapter(kind).validate_json(text)
    except ValidationError as exc:
        wrong = {".".join(map(str, each["loc"])) or "JSON" for each in exc.errors(include_input=False)}
        raise ValueError(f"it is no record of this version: {', '.join(sorted(wrong))}") from None
    assert isinstance(record, kind)
    return record


def _adapter(kind: type) -> TypeAdapter[object]:
    if kind not in _TYPES:
        _TYPES[kind] = TypeAdapter(kind)
    return _TYPES[kind]
