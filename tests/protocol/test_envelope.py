from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest

from trio_mcp.protocol.envelope import dump, envelope, envelope_version, with_meta

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


def test_a_model_goes_on_the_wire_without_what_is_not_set() -> None:
    assert dump(types.Implementation(name="n", version="1", website_url="https://x")) == {
        "name": "n",
        "version": "1",
        "websiteUrl": "https://x",
    }


def test_a_modern_request_names_its_version_its_client_and_its_capabilities() -> None:
    meta = envelope(
        "2026-07-28",
        types.Implementation(name="n", version="1"),
        types.ClientCapabilities(roots=types.RootsCapability()),
    )
    assert meta == {
        VERSION_KEY: "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "n", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
    }


@pytest.mark.parametrize(
    ("params", "version"),
    [
        (None, None),
        ({}, None),
        ({"_meta": {}}, None),
        ({"_meta": {VERSION_KEY: 5}}, None),
        ({"_meta": {VERSION_KEY: "2026-07-28"}}, "2026-07-28"),
    ],
)
def test_the_version_is_read_back_from_a_request(params: dict[str, Any] | None, version: str | None) -> None:
    assert envelope_version(params) == version


@pytest.mark.parametrize("params", [None, {}, {"a": 1, "_meta": {"x": 1}}])
def test_without_entries_to_add_params_stay_as_they_are(params: dict[str, Any] | None) -> None:
    assert with_meta(params) is params
    assert with_meta(params, None, {}) is params


def test_entries_are_added_to_those_that_are_there_and_the_last_one_wins() -> None:
    params = {"a": 1, "_meta": {"kept": 0, "x": 0}}
    assert with_meta(params, {"x": 1, "y": 1}, None, {"y": 2}) == {
        "a": 1,
        "_meta": {"kept": 0, "x": 1, "y": 2},
    }
    assert params == {"a": 1, "_meta": {"kept": 0, "x": 0}}


def test_entries_are_added_where_there_are_no_params() -> None:
    assert with_meta(None, {"x": 1}) == {"_meta": {"x": 1}}
