"""How a login is shown, and the server that a browser comes back to: on real sockets, with a real clock."""

from __future__ import annotations

import socket
import struct
import webbrowser
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_mcp import OAuth, OAuthError
from trio_mcp.auth.callback_page import LOGGED_IN
from trio_mcp.auth.callback_server import CallbackServer, open_browser, open_callback_server
from trio_mcp.auth.redirect import make_redirect, read_callback

URL = "https://auth.example.com/authorize?state=s"


async def visit(uri: str, query: str = "", *, method: str = "GET", path: str | None = None) -> str:
    """What a browser gets."""
    _, _, rest = uri.partition("//")
    host, _, own = rest.partition("/")
    address, _, port = host.partition(":")
    async with await trio.open_tcp_stream(address, int(port)) as stream:
        target = f"/{own}" if path is None else path
        await stream.send_all(f"{method} {target}{query} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        return b"".join([piece async for piece in stream]).decode()


async def test_the_browser_comes_back_to_this_machine() -> None:
    pages: list[str] = []

    async def browse(url: str) -> None:
        assert url == URL
        nursery.start_soon(wander)

    async def wander() -> None:
        uri = callback.redirect_uri
        pages.append(await visit(uri, path="/favicon.ico"))
        pages.append(await visit(uri, "?code=evil&state=s", method="POST"))
        pages.append(await visit(uri, "?code=evil&state=other"))
        pages.append(await visit(uri, "?code=evil"))
        pages.append(await visit(uri, "?code=evil&state=s&state=s"))
        pages.append(await visit(uri, "?code=c&state=s&iss=https%3A%2F%2Fa"))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with make_redirect(OAuth(on_redirect=browse)).open(()) as callback:
                assert callback.redirect_uri.startswith("http://127.0.0.1:")
                answer = await callback.ask(URL, "s")
    assert answer == {"code": "c", "state": "s", "iss": "https://a"}
    assert [page.split()[1] for page in pages] == ["404", "404", "400", "400", "400", "200"]
    assert "evil" not in "".join(pages)
    assert "no-store" in pages[-1]
    with pytest.raises(OSError, match="refused|all attempts"):
        await visit(callback.redirect_uri)


async def test_it_listens_to_nobody_before_it_is_asked() -> None:
    with trio.fail_after(10):
        async with open_callback_server((), must=False) as server:
            assert "400" in await visit(server.redirect_uri, "?code=c&state=s")


# What the browser shows


class Visits:
    """Visits to a `CallbackServer` over streams in memory, and what each was shown."""

    def __init__(self, server: CallbackServer, nursery: trio.Nursery) -> None:
        self.server = server
        self.shown: list[str] = []
        self.times: list[float] = []
        self._nursery = nursery

    async def begin(self, query: str) -> None:
        """Return when the server has the request, and nothing else happens."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.server.serve, theirs)
        await ours.send_all(f"GET /callback?{query} HTTP/1.1\r\n\r\n".encode())
        self._nursery.start_soon(self._read, ours)
        await trio.testing.wait_all_tasks_blocked()

    async def _read(self, stream: trio.abc.ReceiveStream) -> None:
        page = b"".join([piece async for piece in stream]).decode()
        self.shown.append(page[page.index("<h1>") :])
        self.times.append(trio.current_time())


@pytest.fixture
def visits(nursery: trio.Nursery) -> Visits:
    server = CallbackServer("http://127.0.0.1:1/callback")
    server.expect("s")
    return Visits(server, nursery)


async def test_the_page_waits_for_the_end_of_the_login_and_the_first_answer_counts(visits: Visits) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visits.server.wait)
        await visits.begin("code=c&state=s")
    await visits.begin("code=other&state=s")  # a reload
    assert await visits.server.wait() == "http://127.0.0.1:1/callback?code=c&state=s"
    assert visits.shown == []
    visits.server.end(LOGGED_IN)
    await trio.testing.wait_all_tasks_blocked()
    assert ["You are logged in" in page for page in visits.shown] == [True, True]


async def test_a_login_that_takes_long_is_not_waited_for(visits: Visits, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visits.server.wait)
        await trio.testing.wait_all_tasks_blocked()
        await visits.begin("code=c&state=s")
    await trio.sleep(60)
    assert "The program has the answer" in visits.shown[0]
    assert visits.times == [5]


async def test_an_on_redirect_that_goes_through_the_whole_login_is_not_kept_waiting(
    visits: Visits, autojump_clock: MockClock
) -> None:
    await visits.begin("code=c&state=s")
    assert "The program has the answer" in visits.shown[0]
    assert visits.times == [0]


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (
            OAuthError("authorization", "", "access_denied", "Evil"),
            "refused: access was denied (access_denied)",
        ),
        (OAuthError("token", "", "invalid_grant"), "refused: this login is too old"),
        (OAuthError("authorization", "", "<b>evil", "Evil"), "could not be finished"),
        (OAuthError("authorization", "the answer is from another authorization server"), "could not be"),
        (ValueError("evil"), "could not be finished"),
    ],
)
async def test_a_login_that_fails_is_shown_as_such(exc: Exception, said: str) -> None:
    pages: list[str] = []

    async def browse() -> None:
        pages.append(await visit(server.redirect_uri, "?error=evil&state=s"))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            with pytest.raises(type(exc)) as caught:
                async with open_callback_server((), must=False) as server:
                    server.expect("s")
                    nursery.start_soon(browse)
                    await server.wait()
                    raise exc
    assert caught.value is exc
    assert "You are not logged in" in pages[0]
    assert said in pages[0]
    assert "evil" not in pages[0].lower()


async def test_a_login_that_is_cancelled_is_shown_as_such() -> None:
    pages: list[str] = []

    async def browse() -> None:
        pages.append(await visit(server.redirect_uri, "?code=c&state=s"))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with open_callback_server((), must=False) as server:
                    server.expect("s")
                    nursery.start_soon(browse)
                    await server.wait()
                    scope.cancel(reason="the connection is closing")
                    await trio.sleep_forever()
    assert "You are not logged in" in pages[0]


# Visitors


async def test_visitors_who_say_nothing_or_too_much_or_leave_are_no_trouble() -> None:
    with trio.fail_after(10):
        async with open_callback_server((), must=False) as server:
            port = int(server.redirect_uri.split(":")[2].split("/")[0])
            quiet = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(16)]
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert await visit(server.redirect_uri) == ""  # there are too many
            for stream in quiet:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # by a reset
                await stream.aclose()
            await trio.testing.wait_all_tasks_blocked(0.05)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
                    while True:
                        await stream.send_all(b"x" * 60_000)
            assert "404" in await visit(server.redirect_uri, path="/")


async def test_what_on_redirect_returns_is_the_answer() -> None:
    uri = "https://me.example.com/back"
    for given in (uri, None):
        config = OAuth(redirect_uri=given, on_redirect=lambda url: f"{uri}?code=c&state=s")
        async with make_redirect(config).open(()) as callback:
            assert callback.redirect_uri == uri or given is None
            assert await callback.ask(URL, "s") == {"code": "c", "state": "s"}


async def test_a_redirect_to_elsewhere_must_be_returned() -> None:
    async def browse(url: str) -> None:
        pass

    config = OAuth(redirect_uri="https://me.example.com/back", on_redirect=browse)
    async with make_redirect(config).open(()) as callback:
        with pytest.raises(OAuthError, match="must return where"):
            await callback.ask(URL, "s")


@pytest.mark.parametrize("url", ["https://a/b", "https://a/?x=1&x=2", "https://a/?" + "x" * 20_000, ""])
def test_an_answer_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(OAuthError, match="no answer"):
        read_callback(url)


async def test_the_address_that_is_registered_is_taken_if_it_is_free() -> None:
    async with open_callback_server((), must=False) as server:
        taken = server.redirect_uri
    async with make_redirect(OAuth()).open(["https://elsewhere/", taken]) as callback:
        assert callback.redirect_uri == taken
        async with make_redirect(OAuth()).open([taken]) as other:
            assert other.redirect_uri != taken


async def test_an_address_that_must_be_had_and_is_not_free_is_told() -> None:
    async with open_callback_server((), must=False) as server:
        port = int(server.redirect_uri.split(":")[2].split("/")[0])
        for config in (OAuth(callback_port=port), OAuth(redirect_uri=f"http://localhost:{port}/x")):
            with pytest.raises(OAuthError, match="cannot listen at"):
                async with make_redirect(config).open(()):
                    pass


async def test_a_port_may_be_chosen() -> None:
    async with open_callback_server((), must=False) as server:
        port = int(server.redirect_uri.split(":")[2].split("/")[0])
    async with make_redirect(OAuth(callback_port=port)).open(()) as callback:
        assert callback.redirect_uri == f"http://127.0.0.1:{port}/callback"


async def test_a_browser_is_opened_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    tokens: list[Any] = []

    def open(url: str) -> bool:
        opened.append(url)
        trio.from_thread.run_sync(
            nursery.start_soon, partial(visit, callback.redirect_uri, "?code=c&state=s")
        )
        return True

    monkeypatch.setattr(webbrowser, "open", open)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, make_redirect(OAuth()).open(()) as callback:
            tokens.append(await callback.ask(URL, "s"))
    assert opened == [URL]
    assert tokens == [{"code": "c", "state": "s"}]


async def test_without_a_browser_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    with pytest.raises(OAuthError, match="on_redirect"):
        await open_browser(URL)


async def test_a_visitor_who_says_nothing_is_let_go(autojump_clock: MockClock) -> None:
    async with open_callback_server((), must=False) as server:
        port = int(server.redirect_uri.split(":")[2].split("/")[0])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await stream.receive_some() == b""
    assert trio.current_time() >= 10
