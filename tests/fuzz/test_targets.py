"""The cases of each target, and what Hypothesis makes of them; `run.py` has more of that."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.cases.json_values import VALUES, Verdict
from tests.protocol.strategies import repeatable
from trio_mcp.errors import ProtocolError
from trio_mcp.protocol.wire import Response, decode

every_target = pytest.mark.parametrize("name", corpus.TARGETS)


def parts(name: str) -> st.SearchStrategy[bytes]:
    """Bytes that look somewhat like the target's format."""
    cases, tokens = corpus.cases(name), corpus.load(name).TOKENS
    short = [case for case in cases if len(case) < 300]
    cut = st.builds(
        lambda case, start, size: case[start % (len(case) + 1) :][:size],
        st.sampled_from(short),
        st.integers(0, 300),
        st.integers(1, 300),
    )
    return st.lists(st.sampled_from(tokens) | cut | st.binary(max_size=5), max_size=12).map(b"".join)


@every_target
def test_every_case_keeps_the_promises(name: str) -> None:
    module = corpus.load(name)
    for case in corpus.cases(name):
        module.target(case)


@every_target
def test_so_do_bytes_that_are_made_of_them(name: str) -> None:
    module = corpus.load(name)

    @settings(repeatable, max_examples=300)
    @given(parts(name))
    def each(data: bytes) -> None:
        module.target(data)

    each()


@pytest.mark.parametrize(
    ("verdict", "value"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES]
)
def test_json_is_taken_or_refused_as_its_standard_says(verdict: Verdict, value: bytes) -> None:
    try:
        [message] = decode(b'{"jsonrpc":"2.0","id":1,"result":{"value":%b}}' % value)
    except ProtocolError:
        assert verdict != "taken"
    else:
        assert verdict != "refused"
        assert isinstance(message, Response)
        assert message.result.keys() == {"value"}
