"""From a refused request to the authorization server, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth.world import Pages
from trio_mcp import ConnectionLost, OAuthError
from trio_mcp.auth.challenges import Demand
from trio_mcp.auth.discovery import Discovered, canonical_resource, discover
from trio_mcp.auth.fetcher import Answer

URL = "https://mcp.example.com/public/mcp"
ROOT = "https://mcp.example.com/.well-known"
AUTH = "https://auth.example.com"


def resource(*servers: str, resource: str = URL, **more: Any) -> dict[str, Any]:
    return {"resource": resource, "authorization_servers": list(servers or [AUTH]), **more}


def metadata(issuer: str = AUTH, **more: Any) -> dict[str, Any]:
    return {"issuer": issuer, "token_endpoint": f"{issuer}/token", **more}


async def find(pages: Pages, demand: Demand | None = None, issuer: str | None = None) -> Discovered:
    return await discover(pages.fetcher(URL), URL, demand or Demand(), issuer)


async def fails(pages: Pages, demand: Demand | None = None, issuer: str | None = None) -> str:
    with pytest.raises(OAuthError) as caught:
        await find(pages, demand, issuer)
    assert caught.value.step == "discovery"
    return str(caught.value)


async def test_the_challenge_says_where_the_resource_describes_itself() -> None:
    pages = Pages(
        {
            "https://elsewhere.example.com/x": resource(),
            f"{AUTH}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    found = await find(pages, Demand(resource_metadata="https://elsewhere.example.com/x"))
    assert found.resource == URL
    assert found.server.issuer == AUTH
    assert pages.asked[0] == "https://elsewhere.example.com/x"
    assert len(pages.asked) == 2


async def test_without_it_the_path_is_tried_and_then_the_root() -> None:
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource": resource(resource="https://mcp.example.com"),
            f"{AUTH}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    assert (await find(pages)).resource == "https://mcp.example.com"
    assert pages.asked[:2] == [
        f"{ROOT}/oauth-protected-resource/public/mcp",
        f"{ROOT}/oauth-protected-resource",
    ]


@pytest.mark.parametrize(
    ("issuer", "places"),
    [
        (AUTH, ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (f"{AUTH}/", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (
            f"{AUTH}/tenant1",
            [
                "/.well-known/oauth-authorization-server/tenant1",
                "/.well-known/openid-configuration/tenant1",
                "/tenant1/.well-known/openid-configuration",
            ],
        ),
    ],
)
async def test_the_authorization_servers_metadata_are_looked_for_in_order(
    issuer: str, places: list[str]
) -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": resource(issuer)})
    assert "no metadata" in await fails(pages)
    assert pages.asked[1:] == [AUTH + place for place in places]
    pages.pages[AUTH + places[-1]] = metadata(issuer)
    assert (await find(pages)).server.issuer == issuer


@pytest.mark.parametrize("issuer", [f"{AUTH}/", "https://AUTH.example.com", f"{AUTH}:443", "https://evil"])
async def test_metadata_of_another_issuer_are_not_used(issuer: str) -> None:
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource/public/mcp": resource(),
            f"{AUTH}/.well-known/oauth-authorization-server": metadata(issuer),
            f"{AUTH}/.well-known/openid-configuration": metadata(),
        }
    )
    assert "another issuer" in await fails(pages)


@pytest.mark.parametrize(
    "other",
    [
        "https://evil.example.com/public/mcp",
        "http://mcp.example.com/public/mcp",
        "https://mcp.example.com:8443/public/mcp",
        "https://mcp.example.com/public/mc",
        "https://mcp.example.com/other",
        "https://mcp.example.com/public/mcp/more",
        "https://mcp.example.com/public/mcp#x",
        "https://a:x",
    ],
)
async def test_metadata_of_another_resource_end_it(other: str) -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": resource(resource=other)})
    assert "another resource" in await fails(pages)


@pytest.mark.parametrize(
    "same",
    [
        "HTTPS://MCP.example.com/public/mcp",
        "https://mcp.example.com:443/public/mcp/",
        "https://mcp.example.com/public",
        "https://mcp.example.com/",
    ],
)
async def test_a_resource_may_be_written_otherwise_or_be_a_part_of_the_path(same: str) -> None:
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource/public/mcp": resource(resource=same),
            f"{AUTH}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    assert (await find(pages)).resource == same  # and is asked for as it writes itself


async def test_the_first_authorization_server_is_taken_or_the_one_that_the_program_trusts() -> None:
    other = "https://other.example.com"
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource/public/mcp": resource(AUTH, other, scopes_supported=["a"]),
            f"{AUTH}/.well-known/oauth-authorization-server": metadata(),
            f"{other}/.well-known/oauth-authorization-server": metadata(other),
        }
    )
    assert (await find(pages)).server.issuer == AUTH
    found = await find(pages, issuer=other)
    assert found.server.issuer == other
    assert found.scopes == frozenset({"a"})
    assert "not given to another" in await fails(pages, issuer="https://third.example.com")


async def test_a_resource_that_names_nobody_ends_it() -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": {"resource": URL}})
    assert "name no authorization server" in await fails(pages)


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_outage_is_not_taken_for_a_server_of_another_age(status: int) -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": status})
    assert f"HTTP {status}" in await fails(pages)


async def test_a_place_that_the_challenge_names_must_have_the_metadata() -> None:
    assert "HTTP 404" in await fails(Pages({}), Demand(resource_metadata="/meta"))
    assert "not a URL" in await fails(Pages({}), Demand(resource_metadata="https://a:x"))


async def test_nor_is_a_lost_connection() -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": ConnectionLost("broke")})
    assert "no usable answer from https://mcp.example.com" in await fails(pages)


@pytest.mark.parametrize("where", ["resource", "server"])
async def test_a_document_that_makes_no_sense_ends_it(where: str) -> None:
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource/public/mcp": {"resource": 5}
            if where == "resource"
            else resource(),
            f"{AUTH}/.well-known/oauth-authorization-server": {"issuer": ["x"]},
        }
    )
    assert "Input should be a valid string" in await fails(pages)


async def test_a_page_that_is_no_json_is_as_good_as_none() -> None:
    html = Answer(200, {}, b"<html>")
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource/public/mcp": html,
            f"{ROOT}/oauth-protected-resource": resource(),
            f"{AUTH}/.well-known/oauth-authorization-server": Answer(200, {}, b"[]"),
            f"{AUTH}/.well-known/openid-configuration": metadata(
                scopes_supported=None, registration_endpoint=""
            ),
        }
    )
    server = (await find(pages)).server
    assert server.issuer == AUTH
    assert server.registration_endpoint is None


async def test_an_issuer_that_is_no_url_ends_it() -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": resource("https://a:x")})
    assert "issuer is not a URL" in await fails(pages)


# A server of 2025-03-26


@pytest.mark.parametrize("issuer", ["https://mcp.example.com", "https://mcp.example.com/"])
async def test_a_server_without_resource_metadata_is_its_own_authorization_server(issuer: str) -> None:
    pages = Pages({f"{ROOT}/oauth-authorization-server": metadata(issuer)})
    found = await find(pages)
    assert found.resource == URL
    assert found.server.issuer == issuer
    assert found.published


async def test_without_any_metadata_its_endpoints_are_at_fixed_places() -> None:
    found = await find(Pages({}))
    assert not found.published
    assert found.server.authorization_endpoint == "https://mcp.example.com/authorize"
    assert found.server.token_endpoint == "https://mcp.example.com/token"
    assert found.server.registration_endpoint == "https://mcp.example.com/register"
    assert (await find(Pages({}), issuer="https://mcp.example.com")).server == found.server


async def test_the_issuer_that_the_program_trusts_needs_no_resource_metadata() -> None:
    pages = Pages({f"{AUTH}/.well-known/oauth-authorization-server": metadata()})
    assert (await find(pages, issuer=AUTH)).server.issuer == AUTH


async def test_another_issuer_at_the_servers_root_is_refused() -> None:
    assert "another issuer" in await fails(Pages({f"{ROOT}/oauth-authorization-server": metadata()}))


# Redirects


async def test_redirects_are_followed_where_they_may_lead() -> None:
    pages = Pages(
        {
            f"{ROOT}/oauth-protected-resource/public/mcp": "/a",
            "https://mcp.example.com/a": "https://other.example.com/b",
            "https://other.example.com/b": resource(),
            f"{AUTH}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    assert (await find(pages)).resource == URL


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://169.254.169.254/", "must be https"),
        ("https://10.0.0.1/", "not on the public network"),
        ("https://a:x", "not a URL"),
        (f"{ROOT}/oauth-protected-resource/public/mcp", "more than 3 redirects"),
    ],
)
async def test_other_redirects_are_not(target: str, words: str) -> None:
    pages = Pages({f"{ROOT}/oauth-protected-resource/public/mcp": target})
    assert words in await fails(pages)
    assert target not in pages.asked or "more than" in words


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("https://MCP.example.com/mcp/", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com", "https://mcp.example.com"),
        ("https://mcp.example.com:8443/?x=1#y", "https://mcp.example.com:8443"),
        ("https://mcp.example.com:443/server/mcp", "https://mcp.example.com/server/mcp"),
    ],
)
def test_the_canonical_resource_has_no_last_slash_and_no_fragment(url: str, resource: str) -> None:
    assert canonical_resource(url) == resource
