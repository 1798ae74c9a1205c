from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import json_values, messages, repeatable
from trio_mcp.errors import InvalidArguments, ProtocolError
from trio_mcp.protocol.wire import ErrorResponse, Message, Notification, Request, Response, decode, encode

MESSAGES: list[tuple[Message, dict[str, Any]]] = [
    (Request(1, "ping"), {"id": 1, "method": "ping"}),
    (
        Request("a", "tools/call", {"name": "add"}),
        {"id": "a", "method": "tools/call", "params": {"name": "add"}},
    ),
    (Request(1, "ping", {}), {"id": 1, "method": "ping", "params": {}}),
    (Notification("notifications/initialized"), {"method": "notifications/initialized"}),
    (Notification("n", {"x": None}), {"method": "n", "params": {"x": None}}),
    (Response(7, {"ok": True}), {"id": 7, "result": {"ok": True}}),
    (ErrorResponse(7, -32601, "no"), {"id": 7, "error": {"code": -32601, "message": "no"}}),
    (
        ErrorResponse(None, -32700, "no", {"why": 1}),
        {"id": None, "error": {"code": -32700, "message": "no", "data": {"why": 1}}},
    ),
]


def received(**fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0"} | fields).encode()


@pytest.mark.parametrize(("message", "fields"), MESSAGES)
def test_each_kind_of_message_has_its_form_on_the_wire(message: Message, fields: dict[str, Any]) -> None:
    assert json.loads(encode(message)) == {"jsonrpc": "2.0"} | fields


@pytest.mark.parametrize(("message", "fields"), MESSAGES)
def test_each_kind_of_message_is_recognised(message: Message, fields: dict[str, Any]) -> None:
    assert decode(received(**fields)) == [message]


def test_text_goes_out_as_compact_utf_8() -> None:
    message = Notification("n", {"t": "世界\n"})
    assert encode(message) == '{"jsonrpc":"2.0","method":"n","params":{"t":"世界\\n"}}'.encode()


@repeatable
@given(messages)
def test_what_is_encoded_decodes_to_the_same_message(message: Message) -> None:
    payload = encode(message)
    assert decode(payload) == [message]
    assert b"\n" not in payload
    assert b"\r" not in payload


@repeatable
@given(st.lists(messages, min_size=1, max_size=3))
def test_a_batch_decodes_to_its_messages_in_order(batch: list[Message]) -> None:
    payload = b"[" + b",".join(map(encode, batch)) + b"]"
    assert decode(payload, batches=True) == batch


@repeatable
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_any_bytes_decode_to_messages_or_to_a_protocol_error(payload: bytes, batches: bool) -> None:
    try:
        found = decode(payload, batches=batches)
    except ProtocolError:
        return
    assert found


@repeatable
@given(
    st.fixed_dictionaries(
        {"jsonrpc": st.just("2.0")},
        optional={
            "id": json_values,
            "method": json_values,
            "params": json_values,
            "result": json_values,
            "error": json_values
            | st.fixed_dictionaries({"code": json_values}, optional={"message": json_values}),
        },
    ),
)
def test_any_envelope_decodes_to_a_well_typed_message_or_to_a_protocol_error(value: dict[str, Any]) -> None:
    try:
        [message] = decode(json.dumps(value).encode())
    except ProtocolError:
        return
    match message:
        case Request(id, method, params):
            assert isinstance(id, int | str)
            assert not isinstance(id, bool)
            assert isinstance(method, str)
            assert isinstance(params, dict | None)
        case Notification(method, params):
            assert isinstance(method, str)
            assert isinstance(params, dict | None)
        case Response(id, result):
            assert isinstance(id, int | str)
            assert isinstance(result, dict)
        case ErrorResponse(_, code, text):
            assert isinstance(code, int)
            assert isinstance(text, str)


def test_a_batch_is_refused_where_the_version_has_none() -> None:
    with pytest.raises(ProtocolError, match="not a JSON-RPC"):
        decode(b"[" + encode(Notification("n")) + b"]")


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not a JSON-RPC"):
        decode(b"[]", batches=True)


def test_a_batch_in_a_batch_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not a JSON-RPC"):
        decode(b"[[" + encode(Notification("n")) + b"]]", batches=True)


def test_a_single_message_is_taken_where_batches_are_allowed() -> None:
    assert decode(encode(Notification("n")), batches=True) == [Notification("n")]


def test_one_leading_byte_order_mark_is_ignored() -> None:
    payload = b"\xef\xbb\xbf" + encode(Notification("n"))
    assert decode(payload) == [Notification("n")]
    with pytest.raises(ProtocolError):
        decode(b"\xef\xbb\xbf" + payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"jsonrpc":"2.0","method":"n"} x', id="something after it"),
        pytest.param(b'{"jsonrpc":"2.0","method":"\xff"}', id="bad UTF-8"),
        pytest.param('{"jsonrpc":"2.0","method":"é"}'.encode("latin-1"), id="Latin-1"),
        pytest.param(b'{"jsonrpc":"2.0","method":"\\ud800"}', id="a lone surrogate"),
        pytest.param(b'{"jsonrpc":"2.0","method":"\xed\xa0\x80"}', id="a surrogate as UTF-8"),
        pytest.param(b'{"jsonrpc":"2.0","method":"n","params":{"x":NaN}}', id="NaN"),
        pytest.param(b'{"jsonrpc":"2.0","method":"n","params":{"x":-Infinity}}', id="an infinity"),
        pytest.param(b'{"jsonrpc":"2.0","method":"n","params":' + b"[" * 5000, id="too deep"),
        pytest.param(b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"result":{}}', id="too many digits"),
    ],
)
def test_what_is_not_json_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="not JSON") as caught:
        decode(payload)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "value", [None, True, 1, "x", {}, {"method": "n"}, {"jsonrpc": "1.0", "method": "n"}]
)
def test_json_that_is_not_json_rpc_2_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError, match="not a JSON-RPC"):
        decode(json.dumps(value).encode())


@pytest.mark.parametrize(
    "fields",
    [{"method": 1}, {"method": None, "id": 1}, {"method": "m", "params": []}, {"method": "m", "params": 0}],
)
def test_a_method_is_a_string_and_params_are_an_object(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="method or params"):
        decode(received(**fields))


def test_null_params_are_no_params() -> None:
    assert decode(received(method="m", params=None)) == [Notification("m")]


def test_an_id_written_as_a_float_is_the_same_number() -> None:
    [message] = decode(b'{"jsonrpc":"2.0","id":1.0,"result":{}}')
    assert message == Response(1, {})
    assert isinstance(message, Response)
    assert type(message.id) is int


@pytest.mark.parametrize("bad", [True, None, 1.5, 1e400, [], {}])
@pytest.mark.parametrize("rest", [{"method": "m"}, {"result": {}}])
def test_an_id_is_a_string_or_an_integer(bad: object, rest: dict[str, Any]) -> None:
    payload = received(id=bad, **rest).replace(b"Infinity", b"1e400")
    with pytest.raises(ProtocolError, match="neither a string nor an integer"):
        decode(payload)


def test_an_answer_without_an_id_is_refused_unless_it_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="neither a string nor an integer"):
        decode(received(result={}))
    assert decode(received(error={"code": 1, "message": "m"})) == [ErrorResponse(None, 1, "m")]


def test_the_id_of_an_error_is_checked_too() -> None:
    with pytest.raises(ProtocolError, match="neither a string nor an integer"):
        decode(received(id=False, error={"code": 1, "message": "m"}))


@pytest.mark.parametrize("fields", [{}, {"result": {}, "error": {"code": 1, "message": "m"}}])
def test_an_answer_has_either_a_result_or_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="either a result or an error"):
        decode(received(id=1, **fields))


@pytest.mark.parametrize("result", [None, [], "x", 1])
def test_a_result_is_an_object(result: object) -> None:
    with pytest.raises(ProtocolError, match="result that is not an object"):
        decode(received(id=1, result=result))


@pytest.mark.parametrize(
    "error", [None, "x", {}, {"message": "m"}, {"code": "1", "message": "m"}, {"code": 1, "message": None}]
)
def test_an_error_has_a_code_and_a_message(error: object) -> None:
    with pytest.raises(ProtocolError, match="without a code or a message"):
        decode(received(id=1, error=error))


def test_an_error_without_a_message_has_an_empty_one() -> None:
    assert decode(received(id=1, error={"code": 5})) == [ErrorResponse(1, 5, "")]


def test_a_boolean_is_not_an_error_code() -> None:
    with pytest.raises(ProtocolError):
        decode(received(id=1, error={"code": True, "message": "m"}))


def test_an_error_code_written_as_a_float_is_the_same_number() -> None:
    payload = b'{"jsonrpc":"2.0","id":1.0,"error":{"code":-32601.0,"message":"m"}}'
    assert decode(payload) == [ErrorResponse(1, -32601, "m")]


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def deep() -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        pytest.param({"x": float("nan")}, "not JSON", id="NaN"),
        pytest.param({"x": float("inf")}, "not JSON", id="an infinity"),
        pytest.param({"x": object()}, "not JSON", id="an object of some class"),
        pytest.param({"x": b"bytes"}, "not JSON", id="bytes"),
        pytest.param({("a", 1): 1}, "not JSON", id="a key that is a tuple"),
        pytest.param(cycle(), "not JSON", id="a cycle"),
        pytest.param(deep(), "not JSON", id="too deep"),
        pytest.param({"x": "\ud800"}, "lone surrogate", id="a lone surrogate"),
    ],
)
def test_what_has_no_json_form_is_found_before_it_is_sent(params: dict[Any, Any], reason: str) -> None:
    with pytest.raises(InvalidArguments, match=reason) as caught:
        encode(Request(1, "m", params))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("message", [Response(1, {"x": object()}), ErrorResponse(1, 1, "m", object())])
def test_answers_are_checked_as_requests_are(message: Message) -> None:
    with pytest.raises(InvalidArguments):
        encode(message)


@pytest.mark.parametrize("data", [0, False, "", [], {}])
def test_falsy_data_of_an_error_is_kept(data: object) -> None:
    error = ErrorResponse(1, 1, "m", data)
    assert decode(encode(error)) == [error]
