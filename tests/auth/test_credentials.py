from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import pytest

from trio_mcp.auth import AuthOption, BearerToken, OAuth, resolve_auth
from trio_mcp.errors import ConfigurationError

URL = "https://example.com/mcp"


@dataclass(frozen=True)
class Seen:
    """A request as the server saw it."""

    method: str
    url: str
    headers: httpx2.Headers
    content: bytes


async def exchange(auth: AuthOption, *answers: httpx2.Response) -> list[Seen]:
    """POST with `auth` to a server that gives `answers`, then 200; the requests that it saw."""
    seen: list[Seen] = []
    left = iter(answers)

    def serve(request: httpx2.Request) -> httpx2.Response:
        headers = httpx2.Headers(request.headers.raw)
        seen.append(Seen(request.method, str(request.url), headers, request.content))
        return next(left, httpx2.Response(200, text="ok"))

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(serve), auth=flow(auth)) as client:
        response = await client.post(URL, content=b"body", headers={"X-Own": "1"})
        assert response.status_code == 200
    return seen


def flow(auth: AuthOption) -> httpx2.Auth | None:
    """What `auth` means, which is not one of ours."""
    resolved = resolve_auth(auth)
    assert resolved is None or isinstance(resolved, httpx2.Auth)
    return resolved


def authorization(requests: list[Seen]) -> list[str | None]:
    return [request.headers.get("authorization") for request in requests]


async def test_none_is_no_authorization() -> None:
    assert resolve_auth(None) is None
    assert authorization(await exchange(None)) == [None]


async def test_a_string_is_a_bearer_token() -> None:
    [request] = await exchange("s3cret")
    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.url == URL


def test_a_token_is_never_shown() -> None:
    auth = BearerToken("s3cret")
    assert "s3cret" not in repr(auth) + str(auth) + f"{[auth]}"


@pytest.mark.parametrize(
    "token", ["", "s3cret x", "s3cret\n", "s3crét", "s3cret\0", "s3cret\x7f", "\ts3cret"]
)
def test_a_token_that_a_header_cannot_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError, match="bearer token") as caught:
        resolve_auth(token)
    assert "s3cr" not in str(caught.value)


def test_an_httpx2_auth_is_used_as_it_is() -> None:
    auth = httpx2.BasicAuth("u", "p")
    assert resolve_auth(auth) is auth


async def test_an_httpx_auth_adds_its_header() -> None:
    [request] = await exchange(httpx.BasicAuth("u", "p"))
    assert request.headers["authorization"] == "Basic dTpw"
    assert request.headers["x-own"] == "1"
    assert request.content == b"body"


def test_a_dict_is_an_oauth_configuration() -> None:
    assert isinstance(resolve_auth({}), OAuth)


@pytest.mark.parametrize("auth", [5, b"s3cret", ("user", "s3cret"), ["s3cret"], object(), httpx.BasicAuth])
def test_anything_else_is_a_type_error_that_shows_no_value(auth: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(auth).__name__}$") as caught:
        resolve_auth(auth)
    assert "s3cret" not in str(caught.value)


def test_httpx_need_not_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "httpx")
    with pytest.raises(TypeError):
        resolve_auth(object())  # type: ignore[arg-type]
    assert "httpx" not in sys.modules


class Refreshing(httpx.Auth):
    """Fetches a token when it is refused, as an OAuth flow does, and tries again."""

    requires_response_body = True

    def __init__(self) -> None:
        self.closed = False
        self.bodies: list[bytes] = []

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            request.headers["Authorization"] = "Bearer old"
            response = yield request
            self.bodies.append(response.content)
            if response.status_code == 401:
                assert response.request is request
                assert response.headers["www-authenticate"] == "Bearer"
                response = yield httpx.Request(
                    "POST",
                    "https://auth.example.com/token",
                    data={"grant": "refresh"},
                    headers={"X-Step": "2"},
                )
                self.bodies.append(response.content)
                request.headers["Authorization"] = f"Bearer {response.json()['token']}"
                yield request
        finally:
            self.closed = True


async def test_a_flow_of_several_steps_runs_in_httpx2() -> None:
    auth = Refreshing()
    refused = httpx2.Response(401, headers={"WWW-Authenticate": "Bearer"}, text="no")
    first, token, again = await exchange(auth, refused, httpx2.Response(200, json={"token": "new"}))
    assert authorization([first, token, again]) == ["Bearer old", None, "Bearer new"]
    assert (token.method, token.url) == ("POST", "https://auth.example.com/token")
    assert token.content == b"grant=refresh"
    assert token.headers["x-step"] == "2"
    assert token.headers["content-type"] == "application/x-www-form-urlencoded"
    assert token.headers["host"] == "auth.example.com"
    assert again.content == b"body"
    assert [body.replace(b" ", b"") for body in auth.bodies] == [b"no", b'{"token":"new"}']
    assert auth.closed


async def test_a_flow_sees_a_compressed_body_decoded() -> None:
    auth = Refreshing()
    packed = httpx2.Response(
        401,
        headers={"WWW-Authenticate": "Bearer", "Content-Encoding": "deflate"},
        content=zlib.compress(b"refused"),
    )
    await exchange(auth, packed, httpx2.Response(200, json={"token": "new"}))
    assert auth.bodies[0] == b"refused"


async def test_a_flow_that_wants_no_body_is_given_none() -> None:
    class Headers(Refreshing):
        requires_response_body = False

    auth = Headers()
    await exchange(auth)
    assert auth.bodies == [b""]


async def test_digest_authentication_of_httpx_works() -> None:
    challenge = httpx2.Response(
        401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", algorithm=MD5'}
    )
    first, second = await exchange(httpx.DigestAuth("u", "p"), challenge)
    assert "authorization" not in first.headers
    assert second.headers["authorization"].startswith('Digest username="u", realm="r", nonce="n", uri="/mcp"')


@pytest.mark.parametrize("needs", [True, False])
def test_what_a_flow_requires_is_passed_on(needs: bool) -> None:
    class Needing(httpx.Auth):
        requires_request_body = needs
        requires_response_body = needs

    auth = flow(Needing())
    assert auth is not None
    assert (auth.requires_request_body, auth.requires_response_body) == (needs, needs)


async def test_a_flow_may_read_the_request() -> None:
    class Signing(httpx.Auth):
        requires_request_body = True

        async def async_auth_flow(
            self, request: httpx.Request
        ) -> AsyncGenerator[httpx.Request, httpx.Response]:
            request.headers["X-Signature"] = f"{request.method} {request.url.path} {len(request.content)}"
            yield request

    [request] = await exchange(Signing())
    assert request.headers["x-signature"] == "POST /mcp 4"


async def test_a_flow_may_yield_nothing() -> None:
    class Silent(httpx.Auth):
        async def async_auth_flow(
            self, request: httpx.Request
        ) -> AsyncGenerator[httpx.Request, httpx.Response]:
            return
            yield request

    auth = flow(Silent())
    assert auth is not None
    steps = auth.async_auth_flow(httpx2.Request("GET", URL))
    assert [request async for request in steps] == []


async def test_what_a_flow_raises_comes_out_and_it_is_closed() -> None:
    class Failing(Refreshing):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            try:
                yield request
                raise KeyError("flow")
            finally:
                self.closed = True

    auth = Failing()
    with pytest.raises(KeyError, match="flow"):
        await exchange(auth)
    assert auth.closed


async def test_a_flow_may_change_the_url() -> None:
    class Query(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            request.url = request.url.copy_set_param("sig", "1")
            yield request

    [request] = await exchange(Query())
    assert request.url == f"{URL}?sig=1"
