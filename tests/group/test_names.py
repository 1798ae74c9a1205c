"""Names that are unique over a group."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.errors import ConfigurationError
from trio_mcp.group.names import Names

LAWFUL = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
TRICKY = st.text(alphabet="ab_-é ", max_size=40) | st.text(max_size=80)


def named(*servers: str, separator: str = "__") -> Names:
    return Names({server: server for server in servers}, separator)


def test_a_name_is_prefix_separator_and_own_name() -> None:
    names = named("github", "files")
    assert names.unique("github", "create_issue") == "github__create_issue"
    assert names.split("github__create_issue") == ("github", "create_issue")
    assert names.split("nobody__create_issue") is None


def test_prefix_and_separator_can_be_chosen() -> None:
    names = Names({"github": "gh", "files": ""}, "-")
    assert names.unique("github", "create_issue") == "gh-create_issue"
    assert names.unique("files", "read") == "read"
    assert names.split("read") == ("files", "read")
    assert names.split("gh-create_issue") == ("github", "create_issue")


def test_what_would_be_read_as_another_servers_has_a_digest() -> None:
    names = named("a", "a__b")
    assert names.unique("a__b", "x") == "a__b__x"
    deceptive = names.unique("a", "b__x")
    assert re.fullmatch(r"a__b__x_[0-9a-f]{16}", deceptive)
    assert names.split(deceptive) is None
    assert Names({"a": "", "b": "b"}, "__").unique("a", "b__x") != "b__x"


def test_long_and_odd_names_are_cut_and_have_a_digest() -> None:
    names = named("github")
    long = names.unique("github", "x" * 60)
    assert len(long) == 64
    assert long.startswith("github__xxxx")
    assert len({names.unique("github", "x" * 60 + tail) for tail in "abc"}) == 3
    assert re.fullmatch(r"github__a_b__c_[0-9a-f]{16}", names.unique("github", "a.b/ c"))
    assert names.unique("github", "a.b") != names.unique("github", "a/b")
    assert names.unique("github", "\ud800") != names.unique("github", "\ud801")
    assert LAWFUL.match(Names({"a": ""}, "__").unique("a", ""))


def test_a_name_that_looks_as_if_it_had_a_digest_gets_one() -> None:
    names = named("a")
    digested = names.unique("a", "x.y")
    assert names.unique("a", digested.removeprefix("a__")) != digested


def test_it_is_known_whose_a_name_can_be() -> None:
    names = named("a", "a__b", "c")
    assert names.servers_of("a__b__x") == ["a__b"]
    assert names.servers_of("x") == []
    assert names.servers_of(names.unique("a__b", "x.y")) == ["a", "a__b"]


def test_long_and_odd_prefixes_are_made_lawful() -> None:
    names = named("my server!", "p" * 100, "p" * 101)
    first = names.unique("my server!", "x")
    assert re.fullmatch(r"my_server__[0-9a-f]{8}__x", first)
    assert names.split(first) == ("my server!", "x")
    assert names.split(names.unique("p" * 101, "x")) == ("p" * 101, "x")


def test_names_are_the_same_in_every_run() -> None:
    assert named("a").unique("a", "b.c") == "a__b_c_b580c4f737c78623"


@given(
    st.lists(TRICKY.filter(bool), min_size=1, max_size=4, unique=True),
    st.lists(TRICKY, max_size=6, unique=True),
)
def test_names_are_lawful_unique_and_can_be_read_back(servers: list[str], own: list[str]) -> None:
    names = named(*servers)
    given = [(server, each) for server in servers for each in own]
    made = {names.unique(*each): each for each in given}
    assert len(made) == len(given)
    assert all(LAWFUL.match(name) for name in made)
    assert all(names.split(name) in (each, None) for name, each in made.items())
    assert all(each[0] in names.servers_of(name) for name, each in made.items())


@pytest.mark.parametrize("separator", ["", ".", " ", "_" * 9, None])
def test_a_separator_that_cannot_stand_in_a_name_is_refused(separator: str) -> None:
    with pytest.raises(ConfigurationError, match="separator must"):
        Names({}, separator)


def test_two_servers_cannot_have_the_same_prefix() -> None:
    with pytest.raises(ConfigurationError, match="'a' and 'b' have the same prefix 'x'"):
        Names({"a": "x", "b": "x"}, "__")
