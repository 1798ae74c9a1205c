"""From the `auth=` option to an httpx2 auth flow.

`None` is none: no probing and no browser. A `str` is a bearer token, and a function gives one. A dict is an
`OAuth`. An `httpx2.Auth` is used as it is, and so is an `httpx.Auth`, which an adapter lends the request and
the response in its own library's types.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import httpx2

from .authorizer import AskedToken, TokenCallback, bearer
from .config import OAuth

if TYPE_CHECKING:
    import httpx  # noqa: ASYNC127 - for those who hold its objects

__all__ = ["AuthOption", "BearerToken", "fixed_authorization", "resolve_auth"]

AuthOption: TypeAlias = "str | Mapping[str, object] | OAuth | TokenCallback | httpx2.Auth | httpx.Auth | None"


class BearerToken(httpx2.Auth):
    """`Authorization: Bearer …` on every request; never in a URL, never in a repr."""

    def __init__(self, token: str) -> None:
        self._header = bearer(token)

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = self._header
        yield request

    def __repr__(self) -> str:
        return "BearerToken(…)"


class _ForeignAuth(httpx2.Auth):
    """An `httpx.Auth` at work in httpx2: the flow is its own, only the types are translated."""

    def __init__(self, auth: httpx.Auth) -> None:
        self._auth = auth
        self.requires_request_body = auth.requires_request_body
        self.requires_response_body = auth.requires_response_body

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        foreign = sys.modules["httpx"]
        content = await request.aread()
        theirs = foreign.Request(
            request.method, str(request.url), headers=request.headers.raw, content=content
        )
        flow = self._auth.async_auth_flow(theirs)
        try:
            asked = await anext(flow)
            while True:
                if asked is theirs:
                    request.method = asked.method
                    request.url = httpx2.URL(str(asked.url))
                    request.headers = httpx2.Headers(asked.headers.raw)
                    ours = request
                else:
                    ours = httpx2.Request(
                        asked.method, str(asked.url), headers=asked.headers.raw, content=await asked.aread()
                    )
                response = yield ours
                content = await response.aread() if self.requires_response_body else b""
                answered = foreign.Response(
                    response.status_code, headers=_end_to_end(response), content=content, request=asked
                )
                asked = await flow.asend(answered)
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()


def _end_to_end(response: httpx2.Response) -> list[tuple[bytes, bytes]]:
    # The body that the flow sees is decoded already.
    return [(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"]


def resolve_auth(auth: AuthOption) -> httpx2.Auth | OAuth | AskedToken | None:
    """What `auth` means: an auth flow, or something that an `Authorizer` is, or is made of.

    Raises:
        ConfigurationError: a token that a header cannot carry, or an OAuth configuration that cannot work.
        TypeError: anything that is none of the accepted types.
    """
    if auth is None or isinstance(auth, httpx2.Auth | OAuth):
        return auth
    if isinstance(auth, str):
        return BearerToken(auth)
    if isinstance(auth, Mapping):
        return OAuth.from_mapping(auth)
    # An httpx.Auth can only be there if httpx is imported; we need not import it to know.
    httpx = sys.modules.get("httpx")
    if httpx is not None and isinstance(auth, httpx.Auth):
        return _ForeignAuth(auth)
    if callable(auth) and not isinstance(auth, type):
        return AskedToken(auth)
    raise TypeError(
        "auth must be a token (str), a function that returns one, an OAuth or a dict of its options, an "
        f"httpx2.Auth, an httpx.Auth or None, not {type(auth).__name__}"
    )


def fixed_authorization(auth: httpx2.Auth | None) -> str | None:
    """The `Authorization` of every request, if that is all that `auth` comes to; None if it is a flow."""
    if type(auth) not in (BearerToken, httpx2.BasicAuth):
        return None
    assert auth is not None
    (request,) = auth.sync_auth_flow(httpx2.Request("POST", "https://server.invalid"))
    header: str = request.headers["authorization"]
    return header
