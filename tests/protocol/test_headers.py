"""26/basic/transports/streamable-http, "Request Metadata" and "Value Encoding"."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.strategies import repeatable, texts
from trio_mcp.errors import ConfigurationError
from trio_mcp.protocol.headers import check_headers, encode_value, is_plain, is_session_id, mirror_headers
from trio_mcp.protocol.wire import Notification, Request

VERSION = "2026-07-28"


def decode_value(value: str) -> str:
    """What the specification has servers do."""
    if value.startswith("=?base64?") and value.endswith("?="):
        return base64.b64decode(value[9:-2], validate=True).decode("utf-8")
    return value


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        # the specification's own table
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        # its corners
        ("two words\tand a tab", "two words\tand a tab"),
        ("~", "~"),
        ("", ""),
        (" ", "=?base64?IA==?="),
        ("\tx", "=?base64?CXg=?="),
        ("x\r", "=?base64?eA0=?="),
        ("\0", "=?base64?AA==?="),
        ("\x7f", "=?base64?fw==?="),
        ("é", "=?base64?w6k=?="),
        ("=?base64??=", "=?base64?PT9iYXNlNjQ/Pz0=?="),
        ("=?BASE64?literal?=", "=?BASE64?literal?="),
        ("=?base64?open", "=?base64?open"),
        ("x=?base64?a?=", "x=?base64?a?="),
    ],
)
def test_a_value_is_encoded_as_in_the_table_of_the_specification(value: str, encoded: str) -> None:
    assert encode_value(value) == encoded
    assert decode_value(encoded) == value


@repeatable
@given(texts | st.text("=?base64 \r\n\tx").map(lambda text: f"=?base64?{text}?="))
def test_an_encoded_value_injects_nothing_and_decodes_back(value: str) -> None:
    encoded = encode_value(value)
    assert not set(encoded) & {"\r", "\n", "\0"}
    assert encoded.isascii()
    assert encoded == encoded.strip()
    assert decode_value(encoded) == value


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "add", "uri": "no"}, "add"),
        ("prompts/get", {"name": "hi"}, "hi"),
        ("resources/read", {"uri": "file:///a", "name": "no"}, "file:///a"),
        ("tasks/get", {"taskId": "t1"}, "t1"),
        ("tasks/update", {"taskId": "t1"}, "t1"),
        ("tasks/cancel", {"taskId": "t1"}, "t1"),
        ("tools/call", {"name": "世界"}, "=?base64?5LiW55WM?="),
        ("tools/call", {"name": "a\r\nX-Evil: 1"}, "=?base64?YQ0KWC1FdmlsOiAx?="),
    ],
)
def test_a_request_about_a_name_carries_it(method: str, params: dict[str, Any], name: str) -> None:
    assert mirror_headers(Request(1, method, params), VERSION) == {
        "mcp-protocol-version": VERSION,
        "mcp-method": method,
        "mcp-name": name,
    }


@pytest.mark.parametrize(
    "message",
    [
        Request(1, "tools/list", {"name": "add"}),
        Request(1, "tools/call"),
        Request(1, "tools/call", {}),
        Request(1, "tools/call", {"name": 5}),
        Notification("notifications/x", {"name": "add"}),
    ],
)
def test_any_other_message_carries_version_and_method_alone(message: Request | Notification) -> None:
    assert mirror_headers(message, VERSION) == {"mcp-protocol-version": VERSION, "mcp-method": message.method}


def test_the_callers_headers_are_copied_with_lower_case_names() -> None:
    given_headers = {"X-Trace": "a b", "Authorization": "Bearer x", "empty": ""}
    checked = check_headers(given_headers)
    assert checked == {"x-trace": "a b", "authorization": "Bearer x", "empty": ""}
    assert given_headers == {"X-Trace": "a b", "Authorization": "Bearer x", "empty": ""}


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "é", "a\0", b"a", 1, None])
def test_what_is_not_the_name_of_a_header_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="not the name of an HTTP header"):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    "value",
    ["secret\r\nX: 1", "secret\n", " secret", "secret ", "secrét", "secret\0", "\t", b"secret", 5, None],
)
def test_a_value_that_would_forge_a_request_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(
        ConfigurationError, match="the value of header 'X-Key' (is not visible ASCII|must be a str, not)"
    ) as caught:
        check_headers({"X-Key": value})
    assert "secr" not in str(caught.value)


@repeatable
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
def test_headers_that_pass_the_check_forge_nothing(headers: dict[str, str]) -> None:
    try:
        checked = check_headers(headers)
    except ConfigurationError:
        return
    assert not any(set(name + value) & {"\r", "\n", "\0"} for name, value in checked.items())


@pytest.mark.parametrize(
    ("value", "good"), [("a", True), ("a b", True), ("", False), (" a", False), ("a ", False), ("é", False)]
)
def test_a_plain_value_is_visible_ascii_with_no_space_at_its_ends(value: str, good: bool) -> None:
    assert is_plain(value) is good


@pytest.mark.parametrize(
    ("value", "good"),
    [("1868a90c-!~", True), ("", False), (None, False), ("a b", False), ("a\n", False), ("é", False)],
)
def test_a_session_id_is_visible_ascii(value: str | None, good: bool) -> None:
    assert is_session_id(value) is good


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "TE", "upgrade"])
def test_what_frames_a_message_is_not_for_the_caller_to_set(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is set by the HTTP client itself"):
        check_headers({name: "1"})


@pytest.mark.parametrize("headers", [[("X", "y")], "X: y", 5])
def test_headers_are_a_mapping(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="headers must be a mapping"):
        check_headers(headers)
