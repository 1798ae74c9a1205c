"""URI templates, by the examples of RFC 6570."""

from __future__ import annotations

import enum
from typing import Any
from urllib.parse import urlsplit

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Serve
from tests.protocol.strategies import repeatable
from trio_mcp import InvalidArguments, expand_uri_template
from trio_mcp.features.uri_templates import matches_uri_template

# RFC 6570, 3.2
VARIABLES: dict[str, Any] = {
    "count": ["one", "two", "three"],
    "dom": ["example", "com"],
    "dub": "me/too",
    "hello": "Hello World!",
    "half": "50%",
    "var": "value",
    "who": "fred",
    "base": "http://example.com/home/",
    "path": "/foo/bar",
    "list": ["red", "green", "blue"],
    "keys": {"semi": ";", "dot": ".", "comma": ","},
    "v": "6",
    "x": "1024",
    "y": "768",
    "empty": "",
    "empty_keys": {},
}


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("{count}", "one,two,three"),
        ("{/count}", "/one,two,three"),
        ("{/count*}", "/one/two/three"),
        ("{;count}", ";count=one,two,three"),
        ("{;count*}", ";count=one;count=two;count=three"),
        ("{?count*}", "?count=one&count=two&count=three"),
        ("{hello}", "Hello%20World%21"),
        ("{half}", "50%25"),
        ("O{empty}X", "OX"),
        ("{x,y}", "1024,768"),
        ("{x,hello,y}", "1024,Hello%20World%21,768"),
        ("?{x,empty}", "?1024,"),
        ("{var:3}", "val"),
        ("{var:30}", "value"),
        ("{list*}", "red,green,blue"),
        ("{keys}", "semi,%3B,dot,.,comma,%2C"),
        ("{keys*}", "semi=%3B,dot=.,comma=%2C"),
        ("{+half}", "50%25"),
        ("{base}index", "http%3A%2F%2Fexample.com%2Fhome%2Findex"),
        ("{+base}index", "http://example.com/home/index"),
        ("{+path:6}here", "/foo/bhere"),
        ("{+keys}", "semi,;,dot,.,comma,,"),
        ("{#path,x}here", "#/foo/bar,1024here"),
        ("X{.list*}", "X.red.green.blue"),
        ("X{.empty_keys}", "X"),
        ("{/var:1,var}", "/v/value"),
        ("{;v,empty,who}", ";v=6;empty;who=fred"),
        ("{?x,y,empty}", "?x=1024&y=768&empty="),
        ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
        ("{?var:3}", "?var=val"),
        ("{?keys*}", "?semi=%3B&dot=.&comma=%2C"),
        ("{x,empty_keys,y}", "1024,768"),
        ("no variable", "no%20variable"),
        ("memo://münchen/100%/%20", "memo://m%C3%BCnchen/100%25/%20"),
    ],
)
def test_the_examples_of_the_rfc(template: str, uri: str) -> None:
    assert expand_uri_template(template, VARIABLES) == uri


class Colour(str, enum.Enum):  # noqa: UP042 - its str() is not its value
    RED = "red"


@pytest.mark.parametrize(
    ("template", "value", "uri"),
    [
        ("{?a}", 0, "?a=0"),
        ("{a:1}", 42, "4"),
        ("{a}", 1.5, "1.5"),
        ("{a}", Colour.RED, "red"),
        ("{/a*}", ("x", 1), "/x/1"),
        ("{?a*}", {"z": 1, "b": "&"}, "?z=1&b=%26"),
        ("{user-id}", "x", "x"),
        ("{+a}", "a b%20c 5%", "a%20b%20c%205%25"),
        ("{a}", "../x?y#z", "..%2Fx%3Fy%23z"),
    ],
)
def test_numbers_lists_and_mappings_are_values(template: str, value: Any, uri: str) -> None:
    assert expand_uri_template(template, {"a": value, "user-id": value}) == uri


@given(st.text(st.characters(exclude_categories=["Cs"])))
@repeatable
def test_no_value_leaves_its_place_in_the_uri(text: str) -> None:
    parts = urlsplit(expand_uri_template("x://host/{a}?q={a}", {"a": text}))
    assert (parts.scheme, parts.netloc, parts.path.count("/"), parts.fragment) == ("x", "host", 1, "")
    assert parts.query == "q=" + parts.path[1:]
    assert parts.query.isascii()


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InvalidArguments, match="'b' is missing"):
        expand_uri_template("x://{a}/{b}", {"a": "x"})


def test_a_missing_variable_vanishes_if_that_is_asked_for() -> None:
    assert expand_uri_template("x://{a}{?b,c}", {"a": "x", "c": 1}, omit_missing=True) == "x://x?c=1"


@pytest.mark.parametrize("value", [None, True, b"x", {"x"}, ["x", None], {"x": []}, object()])
@pytest.mark.parametrize("omit_missing", [True, False])
def test_what_is_no_value_is_named(value: Any, omit_missing: bool) -> None:
    with pytest.raises(InvalidArguments, match="'a' must be a string, a number, or a list"):
        expand_uri_template("{a}", {"a": value}, omit_missing=omit_missing)


def test_no_prefix_of_a_list() -> None:
    with pytest.raises(InvalidArguments, match="'a' is cut to a prefix"):
        expand_uri_template("{a:3}", {"a": ["x"]})


@pytest.mark.parametrize(
    "template", ["{a", "a}", "{}", "{?}", "{=a}", "{a:0}", "{a:x}", "{a b}", "{{a}}", "{a,}", "{a=1}"]
)
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(InvalidArguments, match="not a URI template"):
        expand_uri_template(template, {"a": "x"})


def test_what_is_no_text_at_all_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="is a str, not int"):
        expand_uri_template(5, {})  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="lone surrogate"):
        expand_uri_template("{a}", {"a": "\ud800"})


async def test_a_listed_template_leads_to_a_resource(serve: Serve) -> None:
    server = serve()
    template = {"name": "memo", "uriTemplate": "memo://{name}"}
    server.on["resources/templates/list"] = lambda call: {
        "resourceTemplates": [template],
        "ttlMs": 0,
        "cacheScope": "private",
    }
    server.on["resources/read"] = lambda call: {
        "contents": [{"uri": call.params["uri"], "text": "hello"}],
        "ttlMs": 0,
        "cacheScope": "private",
    }
    async with server.connect() as c:
        (memo,) = await c.list_resource_templates()
        assert isinstance(memo, types.ResourceTemplate)
        result = await c.read_resource(expand_uri_template(memo, {"name": "a b"}))
    assert result.contents[0].uri == "memo://a%20b"


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("file:///a", "file:///a", True),
        ("file:///a", "file:///ab", False),
        ("file:///{name}", "file:///x", True),
        ("file:///{name}", "file:///", False),
        ("file:///{name}", "file:///x/y", False),
        ("file:///{+path}", "file:///x/y", True),
        ("file:///{+path}", "file:///", True),
        ("db://{table}/{row}", "db://t/1", True),
        ("db://{table}/{row}", "db://t", False),
        ("{a}-{b}.txt", "x-y-z.txt", True),
        ("{a}-{b}.txt", "x.txt", False),
        ("x://h/s{?q,page}", "x://h/s?q=1&page=2", True),
        ("x://h/s{?q,page}", "x://h/s", True),
        ("x://h/s{?q,page}", "x://h/t", False),
        ("{+a}" * 50 + "!", "a" * 2000, False),
    ],
)
def test_a_uri_may_have_come_of_a_template(template: str, uri: str, fits: bool) -> None:
    assert matches_uri_template(template, uri) is fits
    assert matches_uri_template(types.ResourceTemplate(name="t", uri_template=template), uri) is fits
