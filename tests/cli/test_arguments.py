import io
import sys
from pathlib import Path
from typing import Any

import pytest

from trio_mcp import UsageError
from trio_mcp.cli.arguments import (
    Argument,
    as_list,
    as_mapping,
    convert,
    kinds,
    parse_arguments,
    parse_headers,
    typed_arguments,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "sure": {"type": "boolean"},
        "list": {"type": "array"},
        "map": {"type": "object"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["integer", "string"]},
        "level": {"$ref": "#/$defs/Level"},
        "loop": {"$ref": "#/$defs/Loop"},
        "odd": {"type": "decimal"},
        "anything": True,
    },
    "$defs": {
        "Level": {"oneOf": [{"type": "integer"}, {"type": "boolean"}]},
        "Loop": {"$ref": "#/$defs/Loop"},
    },
}


def typed(*words: str) -> dict[str, Any]:
    return typed_arguments(parse_arguments(words), SCHEMA)


def test_words_are_taken_apart_at_the_first_equals_sign() -> None:
    assert parse_arguments(["a=b=c", "d:=[1]", "e=", "f=:=g", "h:i=j"]) == [
        Argument("a", "b=c", False),
        Argument("d", "[1]", True),
        Argument("e", "", False),
        Argument("f", ":=g", False),
        Argument("h:i", "j", False),
    ]


@pytest.mark.parametrize("word", ["a", "", "=b", ":=1"])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="key=value, key:=json, @file or -"):
        parse_arguments([word])


def test_a_key_comes_once() -> None:
    with pytest.raises(UsageError, match="'a' is given twice"):
        parse_arguments(["a=1", "a:=2"])


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("text=1", "1"),
        ("unknown=1", "1"),
        ("anything=1", "1"),
        ("odd=1", "1"),
        ("loop=1", "1"),
        ("either=1", "1"),
        ("count=-12", -12),
        ("share=1.5", 1.5),
        ("share=2", 2),
        ("sure=true", True),
        ("sure=No", False),
        ('list=["a", 1]', ["a", 1]),
        ('map={"a": null}', {"a": None}),
        ("maybe=7", 7),
        ("maybe=null", None),
        ("level=3", 3),
        ("level=y", True),
        ("text:=null", None),
        ('count:="as it is"', "as it is"),
    ],
)
def test_the_schema_says_what_a_value_is(word: str, value: object) -> None:
    (found,) = typed(word).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "word",
    [
        "count=1.5",
        "count=true",
        "count=x",
        "share=NaN",
        "share=true",
        "sure=1",
        "list={}",
        "map=[]",
        "maybe=",
    ],
)
def test_a_value_that_does_not_fit_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is not of type"):
        typed(word)


@pytest.mark.parametrize("text", ["", "{", "NaN", "Infinity", "[" * 100_000], ids=lambda text: text[:8])
def test_raw_json_must_be_json(text: str) -> None:
    with pytest.raises(UsageError, match=r"'text': .* is not JSON"):
        typed(f"text:={text}")


def test_a_union_is_named_in_the_message() -> None:
    with pytest.raises(ValueError, match="'x' is not of type integer or null"):
        convert("x", frozenset({"null", "integer"}))


def test_schemas_that_are_none() -> None:
    assert kinds(None, {}) == frozenset()
    assert kinds({"type": 5}, {}) == {"5"}
    assert kinds({"$ref": "#/$defs/Gone"}, {"$defs": []}) == frozenset()
    assert kinds({"anyOf": 5}, {}) == frozenset()
    assert as_mapping([1]) == {}
    assert as_list({}) == []
    assert typed_arguments([Argument("a", "1", False)], {"properties": []}) == {"a": "1"}


def test_references_in_circles_are_each_followed_once() -> None:
    names = [str(number) for number in range(12)]  # by every way through them, it would be days
    circle = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
    root = {"$defs": {**dict.fromkeys(names[1:], circle), "0": {"allOf": [{"type": "integer"}]}}}
    root["$defs"] = {name: {**each} for name, each in root["$defs"].items()}
    assert kinds(circle, root) == {"integer"}


def test_headers() -> None:
    assert parse_headers(["A: b:c", "D:", " E :f "]) == {"A": "b:c", "D": "", "E": "f"}


@pytest.mark.parametrize("word", ["secret", ":secret", "  : secret"])
def test_a_bad_header_is_refused_and_not_shown(word: str) -> None:
    with pytest.raises(UsageError, match="number 2 is not") as caught:
        parse_headers(["A: b", word])
    assert "secret" not in str(caught.value)


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    text, json = tmp_path / "text", tmp_path / "json"
    text.write_bytes(b"\xef\xbb\xbf5\n")
    json.write_text("[1]")
    values = typed(f"text=@{text}", f"count=@{text}", f"list:=@{json}", 'unknown:="@x"')
    assert values == {"text": "5\n", "count": 5, "list": [1], "unknown": "@x"}


def test_all_arguments_may_be_in_a_file_and_those_beside_it_come_before(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"count": 1, "text": "x", "map": {"a": null}}')
    (tmp_path / "b").write_text('{"text": "y"}')
    assert typed("count=2", f"@{tmp_path}/a", f"@{tmp_path}/b") == {
        "count": 2,
        "text": "y",
        "map": {"a": None},
    }


@pytest.mark.parametrize("word", ["-", "@-"])
def test_all_arguments_may_be_on_stdin(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "\xc3\xa4"}')))
    assert typed(word) == {"text": "ä"}


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("@none", "cannot read 'none': No such file or directory"),
        (
            "a=@none",
            "cannot read 'none': No such file or directory; a text that begins with @ is given as a:='",
        ),
        ("@list", "'list' must hold a JSON object of arguments"),
        ("@broken", "'broken' must hold a JSON object of arguments"),
        ("@latin", "cannot read 'latin': it is not UTF-8"),
        ("@nu\0l", "cannot read 'nu\\x00l': it is no name of a file"),
    ],
)
def test_files_that_cannot_be_used(word: str, complaint: str) -> None:
    Path("list").write_text("[1]")
    Path("broken").write_text("{")
    Path("latin").write_bytes(b"\xe4")
    with pytest.raises(UsageError) as caught:
        parse_arguments([word])
    assert str(caught.value).startswith(complaint)
