from __future__ import annotations

import pytest

from trio_mcp.protocol import versions as v

ALL = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]


def test_every_version_is_of_one_era() -> None:
    assert [*v.LEGACY_VERSIONS, *v.MODERN_VERSIONS] == list(v.KNOWN_VERSIONS) == ALL
    assert [version for version in ALL if v.is_modern(version)] == ["2026-07-28"]
    assert (v.LATEST_LEGACY_VERSION, v.LATEST_MODERN_VERSION) == ("2025-11-25", "2026-07-28")


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"]
)
def test_a_legacy_method_is_of_all_versions_but_the_modern(method: str) -> None:
    assert [version for version in ALL if v.has_method(method, version)] == ALL[:-1]


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen"])
def test_a_modern_method_is_of_the_modern_version_alone(method: str) -> None:
    assert [version for version in ALL if v.has_method(method, version)] == ["2026-07-28"]


@pytest.mark.parametrize("method", ["tools/call", "com.example/own"])
def test_any_other_method_is_of_every_version(method: str) -> None:
    assert all(v.has_method(method, version) for version in ALL)


def test_one_version_has_batches() -> None:
    assert [version for version in [None, *ALL] if v.has_batches(version)] == ["2025-03-26"]


def test_elicitation_came_in_2025_06_18() -> None:
    assert [version for version in ALL if v.has_elicitation(version)] == ALL[2:]


def test_the_version_header_came_in_2025_06_18() -> None:
    assert [version for version in [None, *ALL] if v.sends_version_header(version)] == ALL[2:]


def test_a_version_that_nobody_knows_has_nothing_new() -> None:
    assert not v.is_modern("2999-01-01")
    assert not v.has_elicitation("zzz")
    assert not v.sends_version_header("zzz")
