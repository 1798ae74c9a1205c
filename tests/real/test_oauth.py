"""OAuth against the official SDK's authorization server and resource server, and our loopback server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import trio
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from trio_mcp import Connector, FileStorage, OAuth

from .children import Child, connected, start_mcp_server

pytestmark = pytest.mark.real


@pytest.fixture
def server() -> Generator[Child]:
    with ExitStack() as stack:
        child = start_mcp_server(script=Path(__file__).with_name("oauth_server.py"))
        stack.callback(child.stop)
        yield child


class Browser:
    """Follows redirects to the loopback server, in a task of its own, as a browser does."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.pages: list[str] = []
        self._nursery = nursery

    def __call__(self, url: str) -> None:
        self._nursery.start_soon(self._go, url)

    async def _go(self, url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as client:
            self.pages.append((await client.get(url)).text)


async def counts(c: Connector) -> Any:
    return (await c.call_tool("counts")).structured_content


@pytest.mark.parametrize("version", ["auto", "2025-11-25", "2025-06-18", "2025-03-26"])
async def test_a_person_logs_in_once_and_tokens_are_refreshed(
    server: Child, nursery: trio.Nursery, version: Any
) -> None:
    browser = Browser(nursery)
    oauth = OAuth(on_redirect=browser)
    async with connected(server.url, auth=oauth, protocol_version=version) as c:
        assert await counts(c) == {"logins": 1, "refreshes": 0}
        await c.call_tool("revoke")
        async with trio.open_nursery() as calls:
            for _ in range(10):
                calls.start_soon(counts, c)
        assert await counts(c) == {"logins": 1, "refreshes": 1}
    async with connected(server.url, auth=oauth, protocol_version=version) as c:
        assert await counts(c) == {"logins": 1, "refreshes": 1}
    assert "You are logged in" in browser.pages[0]


async def test_options_may_be_a_dict(server: Child, nursery: trio.Nursery) -> None:
    async with connected(server.url, auth={"on_redirect": Browser(nursery), "scope": "use"}) as c:
        assert await counts(c) == {"logins": 1, "refreshes": 0}


# Tokens in files, and several processes


async def run_client(server: Child, directory: Path, *options: str) -> Any:
    """What a client of its own process is told by `counts`; None if it was killed."""
    script = str(Path(__file__).with_name("oauth_client.py"))
    command = [sys.executable, script, server.url, str(directory), *options]
    with trio.fail_after(30):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


async def test_processes_that_share_their_tokens_make_one_login_and_one_refresh(
    server: Child, tmp_path: Path
) -> None:
    assert await run_client(server, tmp_path) == {"logins": 1, "refreshes": 0}
    oauth = OAuth(storage=FileStorage(tmp_path))
    async with connected(server.url, auth=oauth) as c:
        await c.call_tool("revoke")
    seen: list[Any] = []

    async def run() -> None:
        seen.append(await run_client(server, tmp_path))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(run)
    assert seen == [{"logins": 1, "refreshes": 1}] * 4


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_is_killed_between_refreshing_and_storing_loses_no_valid_token(
    server: Child, tmp_path: Path, when: str
) -> None:
    await run_client(server, tmp_path)
    # To a clock that is an hour late the token is at its end, while the server still takes it.
    assert await run_client(server, tmp_path, "--late", "3600", "--kill", when) is None
    assert await run_client(server, tmp_path) == {"logins": 1, "refreshes": 1}


# The official SDK's own provider, as an `httpx2.Auth`


class TheirStorage:
    """A token storage of the official SDK's."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def test_the_official_sdks_provider_works_as_it_is(server: Child) -> None:
    came_to: list[str] = []

    async def show(url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            came_to.append((await client.get(url)).headers["location"])

    async def wait() -> AuthorizationCodeResult:
        answer = parse_qs(urlsplit(came_to[-1]).query)
        return AuthorizationCodeResult(code=answer["code"][0], state=answer["state"][0])

    storage = TheirStorage()
    provider = OAuthClientProvider(
        server.url,
        OAuthClientMetadata(client_name="theirs", redirect_uris=[AnyUrl("http://127.0.0.1:1/callback")]),
        storage,
        show,
        wait,
    )
    async with connected(server.url, auth=provider) as c:
        await c.call_tool("revoke")
        assert await counts(c) == {"logins": len(came_to), "refreshes": 0}
    assert came_to
