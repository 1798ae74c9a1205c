"""What fuzzing finds is made smaller, and becomes a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import corpus, run
from tests.fuzz.targets import challenges


def test_what_is_found_becomes_a_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpus, "_FOUND", tmp_path)
    data = b"a\n#\0\xff'\""
    assert corpus.add("sse", data, "AssertionError: two\nlines") == tmp_path / "sse.txt"
    corpus.add("sse", data, "once more")
    corpus.add("sse", b"", "another one")
    assert corpus.found("sse") == [data, b""]
    assert corpus.cases("sse")[-2:] == [data, b""]
    assert corpus.found("wire") == []


def test_it_is_made_smaller_while_it_fails_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def target(data: bytes) -> None:
        if b"x" in data and data.count(b"y") > 1:
            raise KeyError
        if b"z" in data:
            raise ValueError

    monkeypatch.setattr(challenges, "target", target)
    assert run._smaller("challenges", b"aaaaaxbbbbybbbbzybbbb" * 20) in (b"xyy", b"yxy", b"yyx")
    assert run._smaller("challenges", b"fine") == b"fine"
