from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trio_mcp import OAuth, OAuthError, StoredToken, TokenKey
from trio_mcp.cli.logins import kept_auth, keys_for, open_storage

URL = "https://a.example/mcp"
ISSUER = "https://login.example"


async def keep(resource: str, client: str = "") -> TokenKey:
    key = TokenKey(ISSUER, resource, client)
    await open_storage().set_token(key, StoredToken(access_token="secret"))
    return key


async def auth(configured: Any = None, url: str = URL) -> Any:
    return await kept_auth(url, configured, "trio-mcp login URL")


async def test_without_a_login_there_is_none_and_nothing_is_written() -> None:
    assert await auth() is None
    assert not open_storage().directory.exists()


async def test_a_login_is_used_for_its_resource_only() -> None:
    await keep("https://a.example/mcp")
    oauth = await auth()
    assert (oauth.issuer, oauth.client_id, oauth.client_metadata_url) == (ISSUER, None, None)
    assert await oauth.storage.entries() == [TokenKey(ISSUER, URL, "")]
    assert await auth(url="https://a.example/mcp/deeper") is not None
    assert await auth(url="https://a.example/other") is None
    assert await auth(url="https://b.example/mcp") is None
    assert await auth(url="wss://a.example/mcp") is not None
    assert await auth(url="ws://a.example/mcp") is None


async def test_the_nearest_resource_comes_first() -> None:
    wide, near = await keep("https://a.example"), await keep("https://a.example/mcp")
    assert await keys_for(open_storage(), URL) == [near, wide]


async def test_nobody_is_asked_to_log_in() -> None:
    await keep(URL)
    oauth = await auth()
    with pytest.raises(OAuthError, match="a person has to log in: `trio-mcp login URL`"):
        oauth.on_redirect("https://login.example/authorize")


@pytest.mark.parametrize(
    ("client", "options"),
    [
        ("https://us.example/client.json", {"client_metadata_url": "https://us.example/client.json"}),
        ("id-1", {"client_id": "id-1", "client_secret": "hidden"}),
    ],
)
async def test_the_client_is_the_one_that_logged_in(
    monkeypatch: pytest.MonkeyPatch, client: str, options: dict[str, str]
) -> None:
    monkeypatch.setenv("TRIO_MCP_CLIENT_SECRET", "hidden")
    await keep(URL, client)
    oauth = await auth()
    assert {name: getattr(oauth, name) for name in options} == options


async def test_what_a_configuration_file_says_of_oauth_goes_with_what_is_kept() -> None:
    oauth = await auth({"scope": "see"})
    assert (oauth.scope, str(oauth.storage.directory)) == ("see", str(open_storage().directory))
    with pytest.raises(OAuthError):
        oauth.on_redirect("")


async def test_other_credentials_stay_as_they_are() -> None:
    await keep(URL)
    machine = OAuth(grant_type="client_credentials", client_id="a", client_secret="b")
    assert await auth(machine) is machine
    assert await auth("token") == "token"


def test_where_they_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIO_MCP_TOKENS", str(tmp_path / "there"))
    assert open_storage().directory == tmp_path / "there"
