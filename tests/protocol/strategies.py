"""What the property tests of the protocol draw from."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st

from trio_mcp.protocol.wire import ErrorResponse, Message, Notification, Request, Response

# The same examples in every run, and no deadline: a slow machine is not a failure.
repeatable: Final = settings(derandomize=True, deadline=None, max_examples=150)

texts: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
json_objects: Final = st.dictionaries(texts, json_values, max_size=4)
request_ids: Final = st.integers() | texts
messages: Final[st.SearchStrategy[Message]] = st.one_of(
    st.builds(Request, request_ids, texts, st.none() | json_objects),
    st.builds(Notification, texts, st.none() | json_objects),
    st.builds(Response, request_ids, json_objects),
    st.builds(ErrorResponse, st.none() | request_ids, st.integers(), texts, json_values),
)


@st.composite
def chunked(draw: st.DrawFn, payload: bytes) -> list[bytes]:
    """`payload` cut anywhere into non-empty chunks."""
    cuts = draw(st.sets(st.integers(1, max(len(payload) - 1, 1)), max_size=12))
    edges = [0, *sorted(cuts), len(payload)]
    return [payload[start:end] for start, end in zip(edges, edges[1:], strict=False) if start < end]
