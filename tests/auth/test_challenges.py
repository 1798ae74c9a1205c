from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.cases.www_authenticate import HEADERS
from trio_mcp.auth.challenges import Challenge, Demand, parse_challenges, read_demand


@pytest.mark.parametrize(("header", "challenges"), HEADERS)
def test_challenges_are_read_by_the_grammar(
    header: str, challenges: list[tuple[str, dict[str, str]]]
) -> None:
    found = parse_challenges(header)
    assert found[: len(challenges)] == [Challenge(*each) for each in challenges]


@given(st.text(max_size=60))
def test_no_header_is_too_odd(header: str) -> None:
    parse_challenges(header)


@given(
    st.lists(
        st.sampled_from(["Bearer", "DPoP", " ", ",", "=", '"', "\\", "a", "scope", "a/b=="]), max_size=20
    )
)
def test_nor_is_one_of_the_right_pieces(pieces: list[str]) -> None:
    parse_challenges("".join(pieces))


def test_a_demand_is_what_bearer_and_dpop_say() -> None:
    header = (
        'Basic realm="x", DPoP algs="ES256", Bearer error="invalid_token", scope="b a", resource_metadata="m"'
    )
    assert read_demand(header) == Demand("m", frozenset({"a", "b"}), "invalid_token", True, True)
    assert read_demand('DPoP error="use_dpop_nonce"') == Demand(
        None, frozenset(), "use_dpop_nonce", False, True
    )
    assert read_demand('Basic scope="x"') == read_demand(None) == Demand()
