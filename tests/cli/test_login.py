from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import trio

from trio_mcp import ClientKey, HttpConnector, OAuthError, Registration, StoredToken, TokenKey, UsageError
from trio_mcp.cli import login
from trio_mcp.cli.logins import open_storage

from ..real.children import Child, start_mcp_server
from .helpers import run

OAUTH_SERVER = Path(__file__).parent.parent / "real" / "oauth_server.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Child]:
    child = start_mcp_server(script=OAUTH_SERVER)
    yield child
    child.stop()


def visit(url: str) -> None:
    """What a browser does, in its own time."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    threading.Thread(target=lambda: opener.open(url).read()).start()


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []

    async def open_browser(url: str) -> None:
        opened.append(url)
        visit(url)

    monkeypatch.setattr(login, "open_browser", open_browser)
    return opened


@pytest.mark.real
def test_a_login_is_kept_used_and_forgotten(server: Child, browser: list[str]) -> None:
    refused = run("tools", server.url)
    assert refused.exit_code == 4
    assert f"`trio-mcp login {server.url}`" in refused.stderr
    assert "auth=" not in refused.stderr

    done = run("login", server.url, "--scope", "use", env={"TRIO_MCP_TOKEN": "of something else"})
    assert done.exit_code == 0
    assert f"The browser opens; if it does not, log in at:\n  {browser[0]}\n" in done.stderr
    assert f"logged in to: {server.url}\n" in done.stdout
    assert "as client:    (registered by trio-mcp)\n" in done.stdout
    assert "scopes:       use\n" in done.stdout
    assert "in 60 minutes; it is renewed by itself\n" in done.stdout
    (token,) = open_storage().directory.glob("token-*.json")
    secret = json.loads(token.read_text())["token"]["access_token"]
    assert secret not in done.stdout + done.stderr

    assert "counts" in run("tools", server.url).stdout
    again = run("login", server.url, "--json")
    assert json.loads(again.stdout)[0]["renewable"] is True
    assert len(browser) == 1

    assert "forgotten: the login to" in run("logout", server.url).stderr
    assert not list(open_storage().directory.glob("*.json"))
    assert run("logout", server.url).stderr == "no login is kept for it\n"
    assert run("tools", server.url).exit_code == 4


@pytest.mark.real
def test_without_a_browser_the_address_is_printed(
    server: Child, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(console: Any, text: str, style: str = "") -> None:
        if text.startswith("  http"):
            visit(text.strip())
        print(text, file=console.file)

    monkeypatch.setattr(login, "print_text", shown)
    done = run("login", server.url, "--no-browser")
    assert done.exit_code == 0
    assert done.stderr.startswith("Log in at:\n  http://127.0.0.1:")


async def test_a_browser_that_does_not_open_is_no_end(
    monkeypatch: pytest.MonkeyPatch, make_console: Callable[..., Any]
) -> None:
    async def open_browser(url: str) -> None:
        raise OAuthError("authorization", "there is none")

    monkeypatch.setattr(login, "open_browser", open_browser)
    console, file = make_console(terminal=False)
    assert await login._guide(console, browser=True, paste=False)("http://a.example") is None
    assert file.getvalue().endswith("  http://a.example\nNo browser could be opened.\n")


async def test_the_address_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, make_console: Callable[..., Any]
) -> None:
    console, file = make_console(terminal=False)
    guide = login._guide(console, browser=False, paste=True)
    monkeypatch.setattr(login, "is_at_terminal", lambda: True)
    monkeypatch.setattr(login, "read_line", lambda: " http://127.0.0.1:1/callback?code=x ")
    assert await guide("http://a.example") == "http://127.0.0.1:1/callback?code=x"
    assert "Then copy the address" in file.getvalue()

    def end() -> str:
        raise EOFError

    monkeypatch.setattr(login, "read_line", end)
    with pytest.raises(OAuthError, match="no address was given"):
        await guide("http://a.example")
    monkeypatch.setattr(login, "is_at_terminal", lambda: False)
    with pytest.raises(UsageError, match="needs a terminal"):
        await guide("http://a.example")


@pytest.mark.real
def test_a_server_that_asks_for_no_login(full_server: Child) -> None:
    done = run("login", full_server.url)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"{full_server.url} asks for no login; nothing was kept\n"


@pytest.mark.real
def test_a_server_without_tools(full_server: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpConnector, "server_capabilities", types.ServerCapabilities())
    assert run("login", full_server.url).exit_code == 0


@pytest.mark.parametrize("command", ["login", "logout"])
def test_a_login_is_for_a_url(command: str) -> None:
    result = run(command, "--", "server")
    assert (result.exit_code, result.stderr) == (2, "error: a login is for a URL, and not for a command\n")


def test_a_client_of_the_persons_own_goes_with_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def remember(url: str, **options: Any) -> None:
        seen.append(options["auth"])
        raise OAuthError("discovery", "enough")

    monkeypatch.setattr("trio_mcp.cli.connecting.open_connector", remember)
    monkeypatch.setenv("TRIO_MCP_CLIENT_SECRET", "hidden")
    arguments = ("--client-id", "me", "--callback-port", "4711")
    assert run("login", "http://a.example/mcp", *arguments).exit_code == 4
    assert run("login", "http://a.example/mcp").exit_code == 4
    assert (seen[0].client_id, seen[0].client_secret, seen[0].callback_port) == ("me", "hidden", 4711)
    assert (seen[1].client_id, seen[1].client_secret, seen[1].callback_port) == (None, None, None)


async def keep(resource: str, issuer: str, client: str = "") -> None:
    await open_storage().set_token(TokenKey(issuer, resource, client), StoredToken(access_token="x"))


def test_a_registration_is_forgotten_with_the_last_login_that_needs_it() -> None:
    key = ClientKey("https://login.example", "trio_mcp")

    async def prepare() -> None:
        await keep("https://a.example", key.issuer)
        await keep("https://b.example", key.issuer)
        await open_storage().set_registration(key, Registration(client_id="1"))

    trio.run(prepare)
    run("logout", "https://a.example/mcp")
    assert trio.run(open_storage().get_registration, key) is not None
    run("logout", "https://b.example/mcp")
    assert trio.run(open_storage().get_registration, key) is None


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (StoredToken(access_token="x"), "(the server does not say)"),
        (StoredToken(access_token="x", expires_at=0), "in 0 minutes; then log in again"),
        (StoredToken(access_token="x", expires_at=1e12), "a calendar has; then log in again"),
        (StoredToken(access_token="x", expires_at=1e300), "a calendar has; then log in again"),
    ],
)
def test_when_it_ends(token: StoredToken, text: str) -> None:
    assert login._expiry(token).endswith(text)


def test_all_that_is_known_of_a_login() -> None:
    key = TokenKey("https://i.example", "https://a.example", "me")
    token = StoredToken(access_token="x", scopes=frozenset({"b", "a"}), expires_at=86400)
    assert login._as_object(key, token) == {
        "resource": "https://a.example",
        "issuer": "https://i.example",
        "client": "me",
        "scopes": ["a", "b"],
        "expiresAt": "1970-01-02T00:00:00+00:00",
        "renewable": False,
    }
    assert login._as_object(key, StoredToken(access_token="x"))["expiresAt"] is None
    assert login._as_object(key, StoredToken(access_token="x", expires_at=1e12))["expiresAt"] is None
