"""JSON-RPC 2.0 messages, to bytes and back (26/basic/index, "Messages").

Decoding checks the envelope and nothing below it: `params` and `result` stay plain JSON until the one
place that knows their type validates them, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic_core import from_json

from ..errors import InvalidArguments, ProtocolError

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "METHOD_NOT_FOUND",
    "ErrorResponse",
    "Incoming",
    "JSONObject",
    "Message",
    "Notification",
    "Request",
    "RequestId",
    "Response",
    "decode",
    "encode",
]

RequestId: TypeAlias = int | str
JSONObject: TypeAlias = Mapping[str, Any]

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Request:
    """A request: it has an id, and wants exactly one answer.

    `headers` goes beside it, where a transport has such a thing.
    """

    id: RequestId
    method: str
    params: JSONObject | None = None
    headers: Mapping[str, str] | None = None


@dataclass(slots=True)
class Notification:
    """A message that wants no answer; for `headers` see `Request`."""

    method: str
    params: JSONObject | None = None
    headers: Mapping[str, str] | None = None


@dataclass(slots=True)
class Response:
    """The successful answer to the request `id`."""

    id: RequestId
    result: JSONObject


@dataclass(slots=True)
class ErrorResponse:
    """The answer that a request failed; `id` is None where the peer could not read it."""

    id: RequestId | None
    code: int
    message: str
    data: object = None


Message: TypeAlias = Request | Notification | Response | ErrorResponse
Incoming: TypeAlias = Request | Notification
"""What the server sends of its own accord."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(message: Message) -> bytes:
    """One message as UTF-8 JSON, without line breaks.

    Raises:
        InvalidArguments: something in it has no JSON form. It is found here, in the caller's own task,
            before anything is sent.
    """
    envelope: dict[str, object] = {"jsonrpc": "2.0"}
    match message:
        case Request(id, method, params, _):
            envelope |= {"id": id, "method": method}
        case Notification(method, params, _):
            envelope["method"] = method
        case Response(id, result):
            params = None
            envelope |= {"id": id, "result": result}
        case _:
            params = None
            error: dict[str, object] = {"code": message.code, "message": message.message}
            if message.data is not None:
                error["data"] = message.data
            envelope |= {"id": message.id, "error": error}
    if params is not None:
        envelope["params"] = params
    try:
        return _encode(envelope).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidArguments("a string holds a lone surrogate, which UTF-8 cannot encode") from exc
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidArguments(f"not JSON: {exc}") from exc


def decode(payload: bytes, *, batches: bool = False) -> list[Message]:
    """The messages that `payload` holds: one, or several if it is a batch and `batches` allows it.

    Accepts UTF-8 with or without a byte order mark.

    Raises:
        ProtocolError: not JSON, not UTF-8, or not a JSON-RPC 2.0 message.
    """
    try:
        value = from_json(payload.removeprefix(_BOM), allow_inf_nan=False)
    except ValueError as exc:
        raise ProtocolError(f"the server sent something that is not JSON: {exc}") from exc
    if isinstance(value, list) and batches and value:
        return [_message(each) for each in value]
    return [_message(value)]


def _message(value: object) -> Message:
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise ProtocolError("the server sent JSON that is not a JSON-RPC 2.0 message")
    if "method" in value:
        method, params = value["method"], value.get("params")
        if not isinstance(method, str) or not isinstance(params, dict | None):
            raise ProtocolError(
                "the server sent a JSON-RPC request whose method or params have the wrong type"
            )
        if "id" in value:
            return Request(_request_id(value["id"]), method, params)
        return Notification(method, params)
    if ("result" in value) == ("error" in value):
        raise ProtocolError("the server sent a JSON-RPC answer that needs either a result or an error")
    if "error" in value:
        return _error(value.get("id"), value["error"])
    result = value["result"]
    if not isinstance(result, dict):
        raise ProtocolError("the server sent a JSON-RPC result that is not an object")
    return Response(_request_id(value.get("id")), result)


def _error(raw_id: object, error: object) -> ErrorResponse:
    if not isinstance(error, dict):
        error = {}
    code, text = _integer(error.get("code")), error.get("message", "")
    if code is None or not isinstance(text, str):
        raise ProtocolError("the server sent a JSON-RPC error without a code or a message")
    return ErrorResponse(None if raw_id is None else _request_id(raw_id), code, text, error.get("data"))


def _integer(value: object) -> int | None:
    """An integer, also one in the form 1.0: servers whose only number is a float write it so."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _request_id(value: object) -> RequestId:
    request_id = value if isinstance(value, str) else _integer(value)
    if request_id is not None:
        return request_id
    raise ProtocolError("the server sent a JSON-RPC id that is neither a string nor an integer")
