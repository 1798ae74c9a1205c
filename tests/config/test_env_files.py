from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp import ConfigurationError
from trio_mcp.config.env_files import parse_env_file
from trio_mcp.config.places import Place


def test_a_file_of_variables_is_read() -> None:
    text = r"""
# a comment
A=1
export B = two words   # and a comment
C='as $it is\n # not a comment' # a comment
D="a\tb \"c\" \\ \$"
E=
F=#nothing
G=a#b=c
  H  =  "x"
"""
    assert parse_env_file(text, Place("f")) == {
        "A": "1",
        "B": "two words",
        "C": r"as $it is\n # not a comment",
        "D": 'a\tb "c" \\ $',
        "E": "",
        "F": "",
        "G": "a#b=c",
        "H": "x",
    }


@pytest.mark.parametrize(
    "line", ["secret", "=secret", "1A=secret", "A='secret", 'A="secret" x', "a b=secret"]
)
def test_any_other_line_is_an_error_that_does_not_show_it(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_env_file(f"A=1\n{line}\n", Place("f"))
    assert str(caught.value) == "f: line 2 is not NAME=value"


@given(st.text() | st.text(st.sampled_from("A='\"\\ #\n")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigurationError):
        parse_env_file(text, Place("f"))
