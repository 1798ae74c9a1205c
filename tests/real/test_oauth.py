"""OAuth against the official SDK's authorization server and resource server, and our loopback server."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from trio_mcp import Connector, OAuth

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
    assert "close this window" in browser.pages[0]


async def test_options_may_be_a_dict(server: Child, nursery: trio.Nursery) -> None:
    async with connected(server.url, auth={"on_redirect": Browser(nursery), "scope": "use"}) as c:
        assert await counts(c) == {"logins": 1, "refreshes": 0}
