import pytest

import trio_mcp
from trio_mcp.cli.doctor.explanations import explain
from trio_mcp.cli.doctor.http import Answered


@pytest.mark.parametrize(
    ("error", "text", "advice"),
    [
        (trio_mcp.VersionMismatch("no version in common"), "no version in common", "update the older"),
        (trio_mcp.MCPError(-1, "go away"), "refuses the handshake: go away (error -1)", None),
        (trio_mcp.HTTPStatusError("moved", 301, {}), "sends on to another address", "use that address"),
        (trio_mcp.HTTPStatusError("busy", 429, {}), "asked too much", "wait, and try again"),
        (trio_mcp.ConnectError("could not connect"), "could not connect", None),
    ],
)
def test_errors_in_plain_words(error: trio_mcp.ConnectorError, text: str, advice: str | None) -> None:
    found, todo = explain(error, None)
    assert text in found
    assert (todo is None) if advice is None else (todo or "").startswith(advice)


def test_a_server_of_files_has_pages_and_no_post() -> None:
    page = Answered(200, "text/html", {}, "Hello")
    found, todo = explain(trio_mcp.HTTPStatusError("HTTP 501", 501, {}), page)
    assert found == "there is a web page, 'Hello', at this address, and no MCP endpoint"
    assert todo is not None
    assert "it often ends in /mcp or /sse" in todo
