"""A login in a real browser, Chromium: what the person sees, and what the program gets."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from trio_mcp import OAuth, OAuthError
from trio_mcp.auth.callback_page import ARRIVED, FAILED, LOGGED_IN, NOTHING, STRAY, Page, failure

from .children import Child, connected, start_mcp_server
from .chromium import Tab, find_chromium, open_tab, run_chromium

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with run_chromium(program, tmp_path_factory.mktemp("chromium")) as url:
        yield url


@dataclass
class Person:
    """Opens the authorization URL in a tab, as `on_redirect`; first looks at other addresses of that origin.

    Attributes:
        before: what is looked at first, made from the redirect URI.
        seen: the text of each page.
    """

    tab: Tab
    nursery: trio.Nursery
    before: Callable[[str], list[str]] = lambda uri: []
    seen: list[str] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)
    redirect_uri: str = ""

    def __call__(self, url: str) -> None:
        self.nursery.start_soon(self._log_in, url)

    async def _log_in(self, url: str) -> None:
        self.redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        for each in [*self.before(self.redirect_uri), url]:
            await self.tab.goto(each)
            self.seen.append(await self.tab.js("document.body.innerText"))
        self.done.set()


def text(page: Page) -> str:
    return f"{page.title}\n\n{page.text}"


def start_server(*answer: str) -> Child:
    """The authorization server, and what it answers instead of the code."""
    flags = [word for each in answer for word in ("--answer", each)]
    return start_mcp_server(*flags, script=Path(__file__).with_name("oauth_server.py"))


async def test_a_person_logs_in_past_pages_that_are_no_answer(devtools: str, nursery: trio.Nursery) -> None:
    def wander(uri: str) -> list[str]:
        origin = uri.removesuffix("/callback")
        return [f"{origin}/favicon.ico", uri, f"{uri}?code=evil&state=evil", f"{uri}?error=evil&state=evil"]

    server = start_server()
    try:
        with trio.fail_after(60):
            async with open_tab(devtools) as tab:
                person = Person(tab, nursery, wander)
                async with connected(server.url, auth=OAuth(on_redirect=person)) as c:
                    counts = (await c.call_tool("counts")).structured_content
                    await person.done.wait()
                    assert person.seen == [text(NOTHING), *[text(STRAY)] * 3, text(LOGGED_IN)]
                    # The server has done its one thing: coming back finds nobody, and harms nobody.
                    with pytest.raises(OSError, match="ERR_CONNECTION_REFUSED"):
                        await tab.goto(await tab.js("location.href"))
                    assert (await c.call_tool("counts")).structured_content == counts
                    assert counts == {"logins": 1, "refreshes": 0}
    finally:
        server.stop()


REFUSED = ["error=access_denied", "error_description=<script>alert('evil')</script>"]


@pytest.mark.parametrize(
    ("answer", "shown", "error"),
    [
        (REFUSED, failure(OAuthError("authorization", "", "access_denied")), "access_denied"),
        (["error=<b>evil</b>"], FAILED, "<b>evil</b>"),
        ([*REFUSED, "iss=https://evil.example.com"], FAILED, None),  # RFC 9207, 2.4: nothing of it is shown
        (["code=evil"], failure(OAuthError("token", "", "invalid_grant")), "invalid_grant"),
    ],
    ids=["the person says no", "an unknown error", "another issuer", "no token"],
)
async def test_a_person_is_told_that_a_login_has_failed(
    devtools: str, nursery: trio.Nursery, answer: list[str], shown: Page, error: str | None
) -> None:
    server = start_server(*answer)
    try:
        with trio.fail_after(60):
            async with open_tab(devtools) as tab:
                person = Person(tab, nursery)
                with pytest.raises(OAuthError) as caught:
                    async with connected(server.url, auth=OAuth(on_redirect=person)):
                        pass
                await person.done.wait()
                assert await tab.js("document.documentElement.outerHTML.includes('evil')") is False
    finally:
        server.stop()
    assert caught.value.error == error
    assert person.seen == [text(shown)]


# The pages themselves


async def serve_page(page: Page, stream: trio.SocketStream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(page.response())


LOOK = """
[document.title, document.documentElement.lang, document.compatMode,
 [...document.querySelectorAll("main > h1")].map(each => each.innerText),
 document.documentElement.scrollWidth <= 320 && innerWidth == 320,
 getComputedStyle(document.querySelector("main")).borderLeftWidth]
"""
RUN = """
new Promise(resolve => {
  const refused = [], script = document.createElement("script");
  document.addEventListener("securitypolicyviolation", event => {
    refused.push(event.effectiveDirective);
    if (refused.length == 3) resolve([refused.sort(), window.ran === undefined]);
  });
  script.textContent = "window.ran = true";
  document.head.append(script);
  document.body.append(Object.assign(new Image(), {src: "/image"}));
  fetch("/elsewhere").catch(() => {});
})
"""
COLOURS = """
["color", "backgroundColor"].map(name => getComputedStyle(document.body)[name].match(/[0-9]+/g).map(Number))
"""


def luminance(colour: list[float]) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [each / 255 for each in colour]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    "page",
    [LOGGED_IN, ARRIVED, FAILED, failure(OAuthError("token", "", "temporarily_unavailable")), STRAY, NOTHING],
)
async def test_every_page_can_be_read_and_runs_nothing(
    devtools: str, nursery: trio.Nursery, page: Page
) -> None:
    listeners: list[trio.SocketListener] = await nursery.start(
        partial(trio.serve_tcp, partial(serve_page, page), 0, host="127.0.0.1")
    )
    with trio.fail_after(60):
        async with open_tab(devtools) as tab:
            await tab.call(
                "Emulation.setDeviceMetricsOverride", width=320, height=480, deviceScaleFactor=1, mobile=True
            )
            await tab.goto(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/")
            assert await tab.js("document.body.innerText") == text(page)
            assert await tab.js(LOOK) == [page.title, "en", "CSS1Compat", [page.title], True, "4px"]
            assert await tab.js("document.querySelectorAll('script, [src], link').length") == 0
            assert await tab.js(RUN) == [["connect-src", "img-src", "script-src-elem"], True]
            backgrounds: list[Any] = []
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                await tab.call("Emulation.setEmulatedMedia", features=features)
                ink, paper = await tab.js(COLOURS)
                darker, lighter = sorted((luminance(ink), luminance(paper)))
                assert (lighter + 0.05) / (darker + 0.05) >= 7  # WCAG 2.2, 1.4.6
                backgrounds.append(luminance(paper))
            assert backgrounds[0] > 0.5 > backgrounds[1]
    nursery.cancel_scope.cancel()
