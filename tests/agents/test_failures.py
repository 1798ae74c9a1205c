"""What a model hears of a call that failed."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_mcp
from trio_mcp import Stalled
from trio_mcp.agents import failure_result

from .helpers import result, said

SECRET = "hunter2 at https://internal.example/?key=hunter2"


@pytest.mark.parametrize(
    ("exc", "told"),
    [
        (trio.TooSlowError(), "The call took longer than it was given, and was cancelled. It may"),
        (Stalled(SECRET), "The connection to the server was lost before the answer came. It may"),
        (
            trio_mcp.ConnectionLost(SECRET),
            "The connection to the server was lost before the answer came. It may",
        ),
        (trio_mcp.ConnectTimeout(SECRET), "The server could not be reached."),
        (
            trio_mcp.HTTPStatusError(SECRET, 503, {"x": SECRET}),
            "The server answered with a failure. (HTTP status 503)",
        ),
        (
            trio_mcp.AccessDenied(SECRET, 403, {}),
            "The server does not allow it: access is missing or was refused.",
        ),
        (trio_mcp.OAuthError("token", SECRET, SECRET), "The server does not allow it"),
        (
            trio_mcp.ServerUnavailable(SECRET, "a", "down"),
            "The server is not available at the moment: nothing was called.",
        ),
        (trio_mcp.UnknownName(SECRET, SECRET), "Nothing was called: its server has no such tool any more"),
        (trio_mcp.TransportError(SECRET), "The way to the server failed. It may"),
        (trio_mcp.ProtocolError(SECRET), "The server's answer could not be understood. It may"),
        (trio_mcp.MessageTooLarge(SECRET), "The result was too large to be received. It may"),
        (
            trio_mcp.InvalidOutput(SECRET),
            "The call was carried out, but its result is not what the tool promises",
        ),
        (trio_mcp.InvalidArguments(SECRET), "Nothing was called: the arguments cannot be sent as JSON."),
        (
            trio_mcp.InputRefused(SECRET),
            "The server asked for something that the user or this program did not give",
        ),
        (trio_mcp.TaskCancelled(SECRET), "The call was cancelled, so that it has no result."),
        (trio_mcp.URLElicitationRequired(SECRET, []), "The user must go to a web page first"),
        (trio_mcp.ConnectorError(SECRET), "The call failed: ConnectorError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_told_without_what_is_in_it(exc: Any, told: str) -> None:
    if isinstance(exc, trio_mcp.ConnectorError):
        exc.locate(SECRET, SECRET)
    found = said(failure_result(exc))
    assert found.startswith(told)
    assert "hunter2" not in found


def test_what_the_server_answered_is_told() -> None:
    error = trio_mcp.MCPError(-32602, "unknown tool: ad", {"trace": SECRET}).locate(SECRET)
    assert said(failure_result(error)) == (
        "The server answered with an error: unknown tool: ad (error -32602)"
    )
    long = said(failure_result(trio_mcp.MCPError(1, "x" * 5000)))
    assert len(long) < 2100


def test_a_tools_own_failure_is_its_result() -> None:
    own = result("no such file", is_error=True)
    assert failure_result(trio_mcp.ToolFailed("the tool failed", own)) is own


@pytest.mark.parametrize(
    "exc",
    [
        KeyError("x"),
        KeyboardInterrupt(),
        trio_mcp.UsageError("x"),
        trio_mcp.NotConnected("x"),
        trio_mcp.ConfigurationError("x"),
        trio_mcp.InternalError("x"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_a_mistake_of_the_program_is_raised(exc: BaseException) -> None:
    with pytest.raises(type(exc)) as caught:
        failure_result(exc)
    assert caught.value is exc
