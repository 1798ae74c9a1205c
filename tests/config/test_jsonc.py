from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp import ConfigurationError
from trio_mcp.config.jsonc import MAX_BYTES, parse_json
from trio_mcp.config.places import Place

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def parse(text: str | bytes) -> object:
    return parse_json(text.encode() if isinstance(text, str) else text, Place("f"))


@given(JSON, st.sampled_from([None, 2]))
def test_what_is_json_is_read_as_json(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('\ufeff{"a": 1}', {"a": 1}),
        (
            '// first\n{"a": /* here */ 1, // there\r\n "b": [1, 2, ], /* and\nthere */ }',
            {"a": 1, "b": [1, 2]},
        ),
        ('{"a": "// no comment, /* nor here */ ,]"}', {"a": "// no comment, /* nor here */ ,]"}),
        (r'{"a\"//": "\\", "b": [[], {},],}', {'a"//': "\\", "b": [[], {}]}),
        ('["a" /* : */, ]// at the end', ["a"]),
        ('{"a": {"a": 1}, "b": ["a", "a"]}', {"a": {"a": 1}, "b": ["a", "a"]}),
        ('{"a": "NaN"}', {"a": "NaN"}),
        ('"a"', "a"),
    ],
)
def test_comments_and_trailing_commas_are_passed_over(text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1, column 1: it is not JSON: expecting value"),
        ("{,}", "line 1, column 2"),
        ("[1,,]", "line 1, column 4"),
        ("[,]", "line 1, column 2"),
        (",]", "line 1, column 1"),
        ("{\n // c\n\n 'a': 1}", "line 4, column 2"),
        ('{"a": 1}\n}', "line 2, column 1"),
        ('"a": 1', "line 1, column 4"),
        ('{"a\\x": 1}', "line 1, column 4"),
        ('{"a":\n "no end\n}', "line 2: it is not JSON: a string has no end"),
        ('{"a":\n 1 /* no end }', "line 2: it is not JSON: a comment has no end"),
        ('{"a": 1,\n\n"a": 2}', "line 3: the key 'a' is there twice"),
        ('{"a": 1, "\\u0061": 2}', "line 1: the key 'a' is there twice"),
        ('{"a": {},\n"b": {"a": 1, "a" /* c */ :2}}', "line 2: the key 'a' is there twice"),
        ("[1,\nNaN]", "line 2: it is not JSON: there are no numbers NaN"),
        ('{"a":-Infinity}', "line 1: it is not JSON: there are no numbers NaN"),
        ("[" + "9" * 5000 + "]", "a number in it has too many digits"),
        ("[" * 50 + "\n" + "[", "line 2: more than 50 levels deep"),
    ],
)
def test_what_is_not_json_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match="^f: ") as caught:
        parse(text)
    assert problem in str(caught.value)
    assert caught.value.__context__ is None  # which would hold the text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a":\n"\xff"}', "line 2: it is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        parse(content)
    assert caught.value.__context__ is None


@given(st.text(st.sampled_from('{}[]",:/*\\\n 1aN')) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigurationError, UnicodeEncodeError):
        parse(text)


@pytest.mark.parametrize("part", ['\\"', '"', '"\\', "/*", "/", "[", ",", '"a":', " ", "//", "{", "1"])
def test_a_hostile_text_costs_little(part: str) -> None:
    text = part * (MAX_BYTES // 8 // len(part))
    for each in (text, '"' + text):
        before = time.process_time()
        with pytest.raises(ConfigurationError):
            parse(each)
        assert time.process_time() - before < 10
