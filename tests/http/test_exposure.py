"""What the log is told of a connection that others could listen to."""

from __future__ import annotations

import logging
from typing import Any, Final

import pytest
import trio

import trio_mcp
from trio_mcp.testing import MemoryNetwork

UNCHECKED: Final = (
    "the certificate of {} is not checked (verify=False): anybody on the way can pass for that server"
)
IN_THE_CLEAR: Final = "credentials go to {} without TLS: anybody on the way can read them, and use them"
OAUTH: Final = {"client_id": "me"}


async def told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, options: dict[str, Any]
) -> list[str]:
    async def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    with pytest.raises(trio_mcp.ConnectError):
        async with trio_mcp.open_connector(url, **options):
            pass
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("url", "options", "warning"),
    [
        ("https://server.test/mcp?key=s3cret", {"verify": False}, UNCHECKED),
        ("wss://server.test/mcp", {"verify": False}, UNCHECKED),
        ("http://server.test/mcp", {"auth": "token"}, IN_THE_CLEAR),
        ("http://server.test/mcp", {"auth": OAUTH}, IN_THE_CLEAR),
        ("http://server.test/mcp", {"headers": {"X-Api-Key": "k"}}, IN_THE_CLEAR),
        ("http://me:s3cret@server.test/mcp", {}, IN_THE_CLEAR),
        ("ws://server.test/mcp", {"auth": lambda: "token"}, IN_THE_CLEAR),
    ],
)
async def test_what_others_could_listen_to_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    url: str,
    options: dict[str, Any],
    warning: str,
) -> None:
    shown = url.partition("?")[0].replace("me:s3cret@", "")
    assert await told(monkeypatch, caplog, url, options) == [warning.format(shown)]


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://server.test/mcp", {"auth": "token"}),
        ("http://server.test/mcp", {"headers": {"x-team": "a"}, "verify": False}),
        ("https://127.0.0.1/mcp", {"verify": False}),
        ("http://localhost/mcp", {"auth": "token"}),
        ("https://server.test/mcp", {"network": MemoryNetwork(), "verify": False}),
        ("ws://127.0.0.1/mcp", {"auth": "token"}),
    ],
)
async def test_what_they_could_not_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, options: dict[str, Any]
) -> None:
    assert await told(monkeypatch, caplog, url, options) == []
