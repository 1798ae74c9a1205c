from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp import ConfigurationError
from trio_mcp.config.places import Place
from trio_mcp.config.variables import MAX_EXPANDED, Variables

HERE = Place("f") / "mcpServers" / "x" / "args"
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name not in ("userHome", "workspaceFolder", "workspaceFolderBasename", "pathSeparator")
)


def expand(value: object, **environment: str) -> object:
    return Variables(environment, {"key": "answer"}, Path("/code/project")).expand(value, HERE)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("x${A}y${A}${B}", "x1y12"),
        ("${env:A}", "1"),
        ("${EMPTY}", ""),
        ("${NO:-default}", "default"),
        ("${NO:-}", ""),
        ("${EMPTY:-default}", "default"),
        ("${A:-default}", "1"),
        ("${env:NO:-a:-b}", "a:-b"),
        ("${env:ProgramFiles(x86)}", "C:"),
        ("${input:key}", "answer"),
        ("${userHome}/x", "/home/me/x"),
        ("${workspaceFolder}${/}x${pathSeparator}", f"/code/project{os.sep}x{os.sep}"),
        ("${workspaceFolderBasename}", "project"),
        ("${REFERENCE}", "${A}"),  # what a variable holds is not looked at
        ("$A $$ {A} $(A) }", "$A $$ {A} $(A) }"),
        ("$${A} $$${A}", "${A} $${A}"),
    ],
)
def test_references_are_expanded(text: str, expanded: str) -> None:
    environment = {"A": "1", "B": "2", "EMPTY": "", "REFERENCE": "${A}", "ProgramFiles(x86)": "C:"}
    assert expand(text, HOME="/home/me", **environment) == expanded


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${TOKEN}", "the variable TOKEN is not set; ${TOKEN:-…} would give it a default"),
        ("${env:TOKEN}", "the variable TOKEN is not set"),
        (
            "${input:other}",
            "whom nobody asks here: answer it by inputs={'other': …}, or by a `default` of the question",
        ),
        ("${}", "there is no variable '${}'"),
        ("${env:}", "there is no variable '${env:}'"),
        ("${input}", "the variable input is not set"),
        ("${config:x}", "there is no variable '${config:x}'"),
        ("${items[@]}", "write `$${` for a `${` that is meant"),
        ("${no end", "a `${` has no end, or another one in it"),
        ("${A:-${B}}", "a `${` has no end, or another one in it"),
    ],
)
def test_a_reference_that_gives_nothing_is_an_error_with_its_path(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expand(["x", {"k": text}], A="1")
    assert str(caught.value).startswith("f: mcpServers.x.args[1].k: ")
    assert problem in str(caught.value)


def test_strings_are_expanded_wherever_they_stand_and_keys_are_not() -> None:
    assert expand({"${A}": ["${A}", 1, None]}, A="1") == {"${A}": ["1", 1, None]}


def test_the_home_directory_is_found_without_a_variable() -> None:
    assert expand("${userHome}") == str(Path.home())
    assert expand("${userHome}", USERPROFILE="/me") == "/me"


@given(
    st.lists(NAMES, min_size=1),
    st.dictionaries(NAMES, st.text()),
    st.text(st.characters(exclude_characters="${}")),
)
def test_values_stand_where_their_references_stood(
    names: list[str], environment: dict[str, str], between: str
) -> None:
    environment = {**dict.fromkeys(names, "v"), **environment}
    text = between.join(f"${{{name}}}" for name in names)
    assert expand(text, **environment) == between.join(environment[name] for name in names)


@given(st.text() | st.text(st.sampled_from("${}:-Ax")))
def test_no_reference_is_left_as_it_stands(text: str) -> None:
    try:
        expanded = expand(text, A="1", x="2")
    except ConfigurationError:
        return
    assert isinstance(expanded, str)
    assert expanded.count("${") == text.count("$${")


def test_variables_do_not_fill_the_memory() -> None:
    with pytest.raises(ConfigurationError, match="all variables together give more than"):
        expand(["${A}"] * 5, A="x" * (MAX_EXPANDED // 4))
