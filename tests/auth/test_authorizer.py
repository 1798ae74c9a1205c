"""The seam: functions that give tokens, and what the HTTP client makes of an authorizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_mcp
from tests.auth.world import challenge
from tests.conftest import Serve
from trio_mcp import AuthorizationError, ConfigurationError
from trio_mcp.auth import AskedToken
from trio_mcp.testing import Call, ScriptedServer


def protected(serve: Serve, *good: str) -> ScriptedServer:
    server = serve()
    for method in ("server/discover", "tools/call"):
        handler: Any = server.on.get(method, lambda call: call.text("done"))

        def guarded(call: Call, handler: Any = handler) -> Any:
            if call.headers.get("authorization") in good:
                return handler(call)
            return challenge(call, 401, "Bearer")

        server.on[method] = guarded
    return server


def shown(server: ScriptedServer) -> list[str | None]:
    return [call.headers.get("authorization") for call in server.seen]


async def test_a_function_gives_the_token_and_is_asked_again_when_it_is_refused(serve: Serve) -> None:
    server = protected(serve, "Bearer two")
    given = iter(["one", "two"])
    async with server.connect(auth=lambda: next(given)) as c:
        await c.call_tool("x")
    assert shown(server) == ["Bearer one", "Bearer two", "Bearer two"]


async def test_it_may_be_async_and_is_asked_by_one_at_a_time(serve: Serve, autojump_clock: MockClock) -> None:
    server = protected(serve, "Bearer 1", "Bearer 2")
    asked = 0

    async def ask() -> str:
        nonlocal asked
        await trio.sleep(1)
        asked += 1
        return str(asked)

    async with server.connect(auth=ask) as c:
        server.on["tools/call"] = lambda call: (
            call.text("done")
            if call.headers["authorization"] == "Bearer 2"
            else challenge(call, 401, "Bearer")
        )
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(c.call_tool, "x")
    assert asked == 2


async def test_the_same_token_again_is_not_sent_again(serve: Serve) -> None:
    server = protected(serve)
    with pytest.raises(trio_mcp.AccessDenied):
        async with server.connect(auth=lambda: "same"):
            pass
    assert shown(server) == ["Bearer same"]


async def test_it_is_asked_again_once_for_a_request(serve: Serve) -> None:
    server = protected(serve)
    given = iter("abcdef")
    with pytest.raises(trio_mcp.AccessDenied):
        async with server.connect(auth=lambda: next(given)):
            pass
    assert shown(server) == ["Bearer a", "Bearer b"]


async def test_a_403_is_not_asked_about(serve: Serve) -> None:
    server = serve()
    server.on["server/discover"] = lambda call: challenge(call, 403, "Bearer")
    given = iter("ab")
    with pytest.raises(trio_mcp.AccessDenied):
        async with server.connect(auth=lambda: next(given)):
            pass
    assert shown(server) == ["Bearer a"]


@pytest.mark.parametrize(
    ("given", "error"),
    [(5, AuthorizationError), (None, AuthorizationError), ("two words", ConfigurationError)],
)
async def test_what_is_no_token_is_told(serve: Serve, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        async with serve().connect(auth=lambda: given):
            pass


async def test_what_it_raises_comes_out_as_it_is(serve: Serve) -> None:
    def broken() -> str:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        async with serve().connect(auth=broken):
            pass


def test_a_repr_shows_no_token() -> None:
    assert repr(AskedToken(lambda: "s3cret")) == "AskedToken(…)"


async def test_a_request_is_sent_four_times_at_most(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(AskedToken):
        async def challenged(
            self,
            method: str,
            status: int,
            response_headers: Mapping[str, str],
            sent_headers: Mapping[str, str],
            tries: int,
            *,
            may_login: bool,
        ) -> bool:
            return True

    server = protected(serve)
    monkeypatch.setattr("trio_mcp.auth.credentials.AskedToken", Stubborn)
    monkeypatch.setattr("trio_mcp.http_connector.AskedToken", Stubborn)
    with pytest.raises(trio_mcp.AccessDenied):
        async with server.connect(auth=lambda: "t"):
            pass
    assert len(server.seen) == 4
    assert len({str(call.message) for call in server.seen}) == 1  # the body is sent each time


async def test_it_is_asked_anew_for_each_hop_of_a_redirect(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[str] = []

    class Noting(AskedToken):
        async def headers(self, method: str, url: str) -> Mapping[str, str]:
            urls.append(url)
            return await super().headers(method, url)

    server = serve()
    server.on["tools/call"] = lambda call: (
        call.text("done")
        if "again" in call.target
        else call.reply(status=307, headers={"location": "/mcp?again"})
    )
    monkeypatch.setattr("trio_mcp.auth.credentials.AskedToken", Noting)
    monkeypatch.setattr("trio_mcp.http_connector.AskedToken", Noting)
    async with server.connect(auth=lambda: "t") as c:
        await c.call_tool("x")
    assert urls[-2:] == [server.url, f"{server.url}?again"]


async def test_a_redirect_keeps_the_token_only_on_its_origin(serve: Serve) -> None:
    server = protected(serve, "Bearer t")
    server.on["tools/call"] = lambda call: call.reply(
        status=307, headers={"location": "http://evil.example.com/mcp"}
    )
    async with server.connect(auth=lambda: "t") as c:
        with pytest.raises(trio_mcp.HTTPStatusError, match="not followed"):
            await c.call_tool("x")
