from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest
import trio

from trio_mcp import deadlines, errors
from trio_mcp.deadlines import ConnectTimeout, Stalled, deadline
from trio_mcp.errors import (
    AccessDenied,
    AuthorizationError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectorError,
    HTTPStatusError,
    InvalidArguments,
    MCPError,
    SessionExpired,
    UsageError,
)


def drawn_tree() -> dict[str, str | None]:
    """Each class of the docstring's tree, with the class that it hangs from."""
    assert errors.__doc__ is not None
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"  ((?:[│ ] {3})*)(├── |└── )?([A-Z]\w+)( {2,}|$)", line)
        if found:
            depth = len(found[1]) // 4 + bool(found[2])
            del above[depth:]
            parents[found[3]] = above[-1] if above else None
            above.append(found[3])
    return parents


def defined() -> dict[str, type[ConnectorError]]:
    return {
        name: value
        for module in (errors, deadlines)
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, ConnectorError)
    }


def test_the_docstring_draws_every_class_where_it_is() -> None:
    assert drawn_tree() == {
        name: None if kind is ConnectorError else kind.__bases__[0].__name__
        for name, kind in defined().items()
    }


def test_every_class_is_exported_where_it_is_defined() -> None:
    for name, kind in defined().items():
        module = deadlines if kind.__module__ == deadlines.__name__ else errors
        assert name in module.__all__


def test_the_drawn_second_parents_are_there() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(InvalidArguments, ValueError)
    assert issubclass(AccessDenied, AuthorizationError)
    assert issubclass(ConnectTimeout, trio.TooSlowError)
    assert issubclass(Stalled, trio.TooSlowError)


def test_a_caller_can_catch_by_branch() -> None:
    assert not issubclass(MCPError, errors.TransportError | errors.ProtocolError | UsageError)
    assert not issubclass(errors.ProtocolError, errors.TransportError)
    assert not issubclass(ConnectError, ConnectionLost)


def test_an_error_reads_as_its_message() -> None:
    assert str(ConnectError("refused")) == "refused"


def test_an_error_says_which_server_it_was() -> None:
    assert str(ConnectError("refused").locate("https://a/mcp")) == "https://a/mcp: refused"


def test_an_error_says_which_request_it_was() -> None:
    error = ConnectError("refused").locate("https://a/mcp", "tools/call 'add'")
    assert str(error) == "tools/call 'add' on https://a/mcp: refused"
    assert error.message == "refused"


def test_the_nearest_place_is_kept() -> None:
    error = ConnectError("refused")
    assert error.locate("near", "this") is error
    error.locate("far", "that")
    assert (error.server, error.request) == ("near", "this")


def test_a_farther_place_adds_what_is_missing() -> None:
    error = ConnectError("refused").locate("near").locate("far", "that")
    assert (error.server, error.request) == ("near", "that")


def test_an_answer_that_is_an_error_shows_its_code() -> None:
    error = MCPError(-32602, "bad", {"why": 1})
    assert str(error) == "bad (error -32602)"
    assert (error.code, error.message, error.data, error.http_status) == (-32602, "bad", {"why": 1}, None)
    assert str(error.locate("s", "r")) == "r on s: bad (error -32602)"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("9" * 9, 999_999_999.0),
        ("9" * 400, None),
        ("\u0665", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_whole_seconds_or_nothing(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"retry-after": value}
    assert HTTPStatusError("m", status_code=503, headers=headers).retry_after == seconds


@pytest.mark.parametrize("kind", [HTTPStatusError, SessionExpired, AccessDenied])
def test_an_http_error_holds_what_the_server_said(kind: type[HTTPStatusError]) -> None:
    headers = {"www-authenticate": "Bearer"}
    error = kind("no", status_code=401, headers=headers)
    headers.clear()
    assert (error.status_code, error.headers) == (401, {"www-authenticate": "Bearer"})
    assert error.www_authenticate == "Bearer"
    assert str(error) == "no"


def test_there_need_not_be_a_challenge() -> None:
    assert HTTPStatusError("m", status_code=503, headers={}).www_authenticate is None


async def test_a_deadline_that_passes_raises_its_error(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    with pytest.raises(Stalled, match="silence"), deadline(5, lambda: Stalled("silence")):
        await trio.sleep_forever()
    assert trio.current_time() - start == 5


async def test_a_deadline_can_be_moved(autojump_clock: trio.testing.MockClock) -> None:
    with deadline(5, lambda: Stalled("silence")) as scope:
        await trio.sleep(4)
        scope.deadline += 5
        await trio.sleep(4)


async def test_a_block_that_ends_in_time_raises_nothing(autojump_clock: trio.testing.MockClock) -> None:
    with deadline(5, lambda: Stalled("silence")):
        await trio.sleep(4)


async def test_a_callers_own_deadline_stays_a_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as scope, deadline(5, lambda: Stalled("silence")):
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    error = KeyError("own")
    with pytest.raises(KeyError) as caught, deadline(5, lambda: Stalled("silence")):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        MCPError(-32602, "no such tool", {"a": 1}),
        SessionExpired("HTTP 404", 404, {"x": "y"}),
        Stalled("silent"),
    ],
)
def test_an_error_can_be_copied_and_pickled(error: ConnectorError) -> None:
    error.locate("https://example.com/mcp", "tools/call 'x'")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
