"""The JSON-RPC parser, against `json` of the standard library and the rules written out once more."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from tests.fuzz.cases.json_values import VALUES
from trio_mcp.errors import InvalidArguments, ProtocolError
from trio_mcp.protocol.wire import ErrorResponse, Message, Notification, Request, Response, decode, encode

CASES: Final = [
    *(value for _, _, value in VALUES),
    *(b'{"jsonrpc":"2.0","id":1,"result":{"value":%b}}' % value for _, _, value in VALUES),
    *(b'{"jsonrpc":"2.0","id":%b,"result":{}}' % value for _, _, value in VALUES),
    *(b'{"jsonrpc":"2.0","id":1,"error":{"code":%b,"message":""}}' % value for _, _, value in VALUES),
    b'[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b","id":"c","params":{"d":[]}}]',
]
TOKENS: Final = [
    *(b'{"jsonrpc":"2.0",', b'"id":', b'"method":', b'"params":', b'"result":', b'"error":', b'"code":'),
    *(b'"message":', b'"data":', b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d\\ude00"),
    *(b"null", b"true", b"false", b"0", b"1.0", b"-1", b"1e9", b"1e400", b"NaN", b"\xef\xbb\xbf", b"\xff"),
]

MAX_DEPTH: Final = 150  # below it, nothing is refused for being deep


def target(data: bytes) -> None:
    expected = reference(data)
    for batches in (False, True):
        try:
            messages = decode(data, batches=batches)
        except ProtocolError:
            is_batch = isinstance(expected, list)
            lawful = expected and all(map(is_message, expected)) if is_batch else is_message(expected)
            assert not lawful or (is_batch and not batches) or out_of_reach(expected), "refused"
            continue
        values = expected if isinstance(expected, list) else [expected]
        assert not isinstance(expected, list) or batches
        assert len(messages) == len(values)
        for message, value in zip(messages, values, strict=True):
            assert is_message(value)
            check(message, value)


def reference(data: bytes) -> Any:
    """The value, or None if it is not JSON."""
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
        return json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError, RecursionError):
        return None


def is_message(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        return False
    if "method" in value:
        has_id = "id" not in value or is_id(value["id"])
        return has_id and isinstance(value["method"], str) and isinstance(value.get("params"), dict | None)
    if ("result" in value) is ("error" in value):
        return False
    if "result" in value:
        return is_id(value.get("id")) and isinstance(value["result"], dict)
    error = value["error"]
    return (
        (value.get("id") is None or is_id(value["id"]))
        and isinstance(error, dict)
        and is_integer(error.get("code"))
        and isinstance(error.get("message", ""), str)
    )


def is_id(value: Any) -> bool:
    return isinstance(value, str) or is_integer(value)


def is_integer(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value) and value == int(value))


def out_of_reach(value: Any, depth: int = 0) -> bool:
    """Whether lawful JSON may be refused: it is very deep, or not a text that UTF-8 can hold."""
    if isinstance(value, str):
        return any("\ud800" <= each <= "\udfff" for each in value)
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return depth > MAX_DEPTH or any(out_of_reach(each, depth + 1) for each in inner)


def check(message: Message, value: Any) -> None:
    """`message` says what `value` does, and can be sent on as it is."""
    match message:
        case Request(id, method, params, None):
            assert (id, method, params) == (value["id"], value["method"], value.get("params"))
        case Notification(method, params, None):
            assert "id" not in value
            assert (method, params) == (value["method"], value.get("params"))
        case Response(id, result):
            assert (id, result) == (value["id"], value["result"])
        case ErrorResponse(answered, code, text, more):
            error = value["error"]
            assert answered == value.get("id")
            assert (code, text, more) == (error["code"], error.get("message", ""), error.get("data"))
            assert type(code) is int
        case _:
            raise AssertionError(message)
    if not isinstance(message, Notification):
        assert type(message.id) in (int, str, type(None))
    try:
        again = encode(message)
    except InvalidArguments:
        # JSON has no bounds for numbers, and Python reads those beyond its own as infinity.
        assert not json.dumps(value).isascii() or "Infinity" in json.dumps(value)
        return
    assert not {b"\n", b"\r"} & {again[i : i + 1] for i in range(len(again))}
    assert decode(again) == [message]
