"""The whole flow, between a connector, an MCP server and an authorization server in memory."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import partial
from typing import Any

import httpx
import httpx2
import jwt
import pytest
import trio
from trio.testing import MockClock

import trio_mcp
from tests.auth.world import ISSUER, MCP, PRM, AuthorizationServer, Pages, World, challenge
from trio_mcp import ConfigurationError, LoginTimeout, MemoryStorage, OAuth, OAuthError
from trio_mcp.auth.attempts import Attempts
from trio_mcp.auth.config import JWT_BEARER
from trio_mcp.auth.oauth import OAuthAuthorizer
from trio_mcp.auth.storage import ClientKey, Registration, StoredToken, TokenKey
from trio_mcp.auth.tokens import in_use
from trio_mcp.http.pool import Pool
from trio_mcp.http.setup import ssl_context
from trio_mcp.http.transport import TrioTransport
from trio_mcp.testing import CUT, Call
from trio_mcp.testing.messages import event, response

KEY = TokenKey(ISSUER, MCP, "")


@pytest.fixture
def world(nursery: trio.Nursery, autojump_clock: MockClock) -> World:
    world = World(nursery)
    world.auth.protect(world.mcp)
    return world


async def fails(world: World, **options: Any) -> OAuthError:
    """The error that opening raises."""
    with pytest.raises(OAuthError) as caught:
        async with world.connect(**options):
            raise AssertionError("it should not open")
    return caught.value


async def test_a_refused_request_leads_to_a_token_and_is_sent_again(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.connect() as c:
        await c.call_tool("x")
    assert world.tokens() == [None, "Bearer token-1", "Bearer token-1"]
    assert world.mcp.methods() == ["server/discover", "server/discover", "tools/call"]
    (login,) = world.auth.logins
    assert login["response_type"] == "code"
    assert login["code_challenge_method"] == "S256"
    assert login["resource"] == MCP
    assert login["client_id"] == "client-1"
    assert login["redirect_uri"].startswith("http://127.0.0.1:")
    assert "scope" not in login
    (registration,) = world.auth.registrations
    assert registration["application_type"] == "native"
    assert registration["grant_types"] == ["authorization_code", "refresh_token"]
    assert registration["redirect_uris"] == [login["redirect_uri"]]
    assert world.auth.requests[0]["client_id"] == "client-1"


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_legacy_server_is_no_different(
    nursery: trio.Nursery, autojump_clock: MockClock, version: str
) -> None:
    world = World(nursery, version)
    world.auth.protect(world.mcp)
    async with world.connect() as c:
        await c.call_tool("x")
        assert c.protocol_version == version
    assert world.tokens()[0] is None
    assert set(world.tokens()[1:]) == {"Bearer token-1"}


async def test_a_server_that_wants_nothing_is_asked_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery)
    async with world.connect() as c:
        await c.call_tool("x")
    assert world.auth.paths == []
    assert world.tokens() == [None, None]


async def test_calls_run_side_by_side_behind_oauth(world: World, autojump_clock: MockClock) -> None:
    async def work(call: Call) -> Any:
        if refusal := world.auth.refusal(call):
            return refusal
        await trio.sleep(2)
        return call.text("done")

    world.mcp.on["tools/call"] = work
    async with world.connect() as c:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(c.call_tool, "x")
        assert trio.current_time() - began < 2.5


async def test_fifty_calls_that_meet_an_expired_token_make_one_refresh(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.delay = 0.5
    async with world.connect(max_connections=50) as c:
        world.auth.valid.clear()  # the server has revoked it, and nobody was told
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(c.call_tool, "x")
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]
    assert world.tokens()[-50:] == ["Bearer token-2"] * 50
    assert len(world.auth.logins) == 1


async def test_fifty_calls_after_the_end_of_a_token_make_one_refresh_and_meet_no_401(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.lifetime = 100
    async with world.connect() as c:
        await trio.sleep(95)
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(c.call_tool, "x")
    assert world.tokens()[2:] == ["Bearer token-2"] * 50
    refresh = world.auth.requests[1]
    assert refresh["resource"] == MCP
    assert refresh["client_id"] == "client-1"


async def test_a_refresh_token_that_comes_without_another_stays_good(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.lifetime = 100
    async with world.connect() as c:
        world.auth.gives_refresh = False
        for _ in range(2):
            world.auth.refresh["refresh-1"] = frozenset()
            await trio.sleep(100)
            await c.call_tool("x")
    assert [form.get("refresh_token") for form in world.auth.requests] == [None, "refresh-1", "refresh-1"]


async def test_a_call_that_is_cancelled_leaves_at_once_and_loses_no_refreshed_token(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.connect() as c:
        world.auth.valid.clear()
        world.auth.delay = 5
        began = trio.current_time()
        with trio.move_on_after(1) as scope:
            await c.call_tool("x")
        assert scope.cancelled_caught
        assert trio.current_time() - began == 1
        await c.call_tool("x")  # takes what the first one has begun
        assert trio.current_time() - began == 5
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]


async def test_a_connection_that_closes_within_a_refresh_keeps_what_it_got(
    world: World, autojump_clock: MockClock
) -> None:
    oauth = world.oauth()
    with trio.move_on_after(5):
        async with world.connect(auth=oauth) as c:
            world.auth.valid.clear()
            world.auth.delay = 5.5
            await c.call_tool("x")
    kept = await oauth.storage.get_token(KEY)
    assert kept is not None
    assert kept.refresh_token in world.auth.refresh


async def test_a_token_that_somebody_else_has_refreshed_is_taken(
    world: World, autojump_clock: MockClock
) -> None:
    oauth = world.oauth()
    async with world.connect(auth=oauth) as one, world.connect(auth=oauth) as other:
        world.auth.valid.clear()
        await one.call_tool("x")
        await other.call_tool("x")
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]
    assert len(world.auth.logins) == 1


async def test_two_connections_that_refresh_at_once_make_one_refresh(
    world: World, autojump_clock: MockClock
) -> None:
    oauth = world.oauth()
    async with world.connect(auth=oauth) as one, world.connect(auth=oauth) as other:
        world.auth.valid.clear()
        world.auth.delay = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call_tool, "x")
            nursery.start_soon(other.call_tool, "x")
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]


async def test_what_was_kept_is_used_without_a_login(world: World, autojump_clock: MockClock) -> None:
    oauth = world.oauth()
    for _ in range(2):
        async with world.connect(auth=oauth) as c:
            await c.call_tool("x")
    assert len(world.auth.logins) == 1
    assert len(world.auth.requests) == 1


async def test_what_was_kept_and_has_expired_is_refreshed(world: World, autojump_clock: MockClock) -> None:
    storage = MemoryStorage()
    world.auth.refresh["kept"] = frozenset()
    token = StoredToken(access_token="old", refresh_token="kept", expires_at=time.time() - 1)
    await storage.set_token(KEY, token)
    client = Registration(client_id="known", redirect_uris=("http://127.0.0.1:1/callback",))
    await storage.set_registration(ClientKey(ISSUER, "trio_mcp"), client)
    async with world.connect(auth=world.oauth(storage=storage)):
        pass
    assert world.auth.logins == []
    assert world.auth.requests[0]["client_id"] == "known"


@pytest.mark.parametrize("registered", [True, False])
async def test_a_refresh_that_cannot_be_leads_to_a_login(
    world: World, autojump_clock: MockClock, registered: bool
) -> None:
    storage = MemoryStorage()
    token = StoredToken(access_token="old", refresh_token="gone", expires_at=time.time() - 1)
    await storage.set_token(KEY, token)
    if registered:
        client = Registration(client_id="known", redirect_uris=("http://127.0.0.1:1/callback",))
        await storage.set_registration(ClientKey(ISSUER, "trio_mcp"), client)
    async with world.connect(auth=world.oauth(storage=storage)):
        pass
    assert len(world.auth.logins) == 1


async def test_a_kept_token_without_a_refresh_token_leads_to_a_login(
    world: World, autojump_clock: MockClock
) -> None:
    storage = MemoryStorage()
    token = StoredToken(access_token="old", scopes=frozenset({"kept"}))
    await storage.set_token(KEY, token)
    async with world.connect(auth=world.oauth(storage=storage)):
        pass
    assert world.tokens() == [None, "Bearer old", "Bearer token-1"]
    assert world.auth.logins[0]["scope"] == "kept"


async def test_a_refresh_that_fails_for_a_moment_leaves_the_token_in_use_until_its_end(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.lifetime = 100
    async with world.connect() as c:
        world.auth.refuse = lambda form: (503, {"error": "temporarily_unavailable"}, {})
        await trio.sleep(95)
        for _ in range(3):
            await c.call_tool("x")
        assert world.tokens()[-1] == "Bearer token-1"
        assert len(world.auth.requests) == 2  # it is not tried again with each call
        await trio.sleep(10)
        world.auth.valid.clear()
        with pytest.raises(OAuthError, match="temporarily_unavailable") as caught:
            await c.call_tool("x")
        assert caught.value.step == "token"
        world.auth.refuse = lambda form: None
        await c.call_tool("x")
    assert world.tokens()[-1] == "Bearer token-2"


@pytest.mark.parametrize("lifetime", [0, -5, "0", float("nan"), float("inf")])
async def test_a_lifetime_that_makes_no_sense_is_none(
    world: World, autojump_clock: MockClock, lifetime: Any
) -> None:
    world.auth.lifetime = lifetime
    async with world.connect() as c:
        await c.call_tool("x")
        assert len(world.auth.requests) == 1
        world.auth.valid.clear()
        await c.call_tool("x")
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize("lifetime", [1e300, "3600", 60.5])
async def test_a_lifetime_may_be_written_in_many_ways(
    world: World, autojump_clock: MockClock, lifetime: Any
) -> None:
    world.auth.lifetime = lifetime
    oauth = world.oauth()
    async with world.connect(auth=oauth) as c:
        await c.call_tool("x")
    kept = await oauth.storage.get_token(KEY)
    assert kept is not None
    assert kept.expires_at == pytest.approx(time.time() + float(lifetime), abs=5)


async def test_an_authorization_server_that_has_moved_is_found_at_the_end_of_a_token(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.lifetime = 100
    async with world.connect() as c:
        await trio.sleep(200)
        world.auth.valid.clear()
        world.auth.metadata["token_endpoint"] = f"{ISSUER}/v2/token"
        await c.call_tool("x")
    assert world.auth.paths.count("/v2/token") == 1
    assert len(world.auth.logins) == 1


async def test_a_refresh_token_that_is_refused_at_the_end_of_a_token_leads_to_a_login(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.lifetime = 100
    async with world.connect() as c:
        world.auth.refresh.clear()
        await trio.sleep(100)
        world.auth.valid.clear()
        await c.call_tool("x")
    assert len(world.auth.logins) == 2
    assert world.tokens()[-2:] == ["Bearer token-1", "Bearer token-2"]


async def test_a_token_without_an_end_and_without_a_refresh_token_is_used_until_it_is_refused(
    world: World,
    autojump_clock: MockClock,
) -> None:
    world.auth.lifetime, world.auth.gives_refresh = None, False
    async with world.connect() as c:
        await trio.sleep(1e6)
        await c.call_tool("x")
        assert len(world.auth.logins) == 1
        world.auth.valid.clear()
        await c.call_tool("x")
    assert len(world.auth.logins) == 2


async def test_a_new_token_that_is_refused_is_not_followed_by_another_login(
    world: World, autojump_clock: MockClock
) -> None:
    class Nothing(dict[str, frozenset[str]]):
        def __contains__(self, token: object) -> bool:
            return False

    world.auth.valid, world.auth.gives_refresh = Nothing(), False
    with pytest.raises(trio_mcp.AccessDenied):
        async with world.connect():
            pass
    assert len(world.auth.logins) == 1


async def test_a_refreshed_token_that_is_refused_leads_to_a_login(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.connect() as c:
        world.auth.valid = Fresh(world.auth)
        await c.call_tool("x")
    grants = [form["grant_type"] for form in world.auth.requests]
    assert grants == ["authorization_code", "refresh_token", "authorization_code"]


class Fresh(dict[str, frozenset[str]]):
    """Holds only tokens that come of a login."""

    def __init__(self, auth: AuthorizationServer) -> None:
        self._auth = auth

    def __setitem__(self, token: str, scopes: frozenset[str]) -> None:
        if self._auth.requests[-1]["grant_type"] == "authorization_code":
            super().__setitem__(token, scopes)


# Scopes


async def test_a_challenge_says_which_scopes_to_ask_for(world: World, autojump_clock: MockClock) -> None:
    world.auth.resource["scopes_supported"] = ["everything"]
    world.mcp.on["server/discover"] = _needing(world, "read", world.mcp.on["server/discover"])
    async with world.connect():
        pass
    assert world.auth.logins[0]["scope"] == "read"


async def test_without_one_the_resource_says_it(world: World, autojump_clock: MockClock) -> None:
    world.auth.resource["scopes_supported"] = ["b", "a"]
    async with world.connect():
        pass
    assert world.auth.logins[0]["scope"] == "a b"
    assert world.auth.registrations[0]["scope"] == "a b"


async def test_the_programs_scopes_come_beside_those_of_the_challenge(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.resource["scopes_supported"] = ["everything"]
    world.mcp.on["server/discover"] = _needing(world, "read", world.mcp.on["server/discover"])
    async with world.connect(auth=world.oauth(scope="mine")):
        pass
    assert world.auth.logins[0]["scope"] == "mine read"


@pytest.mark.parametrize("supported", [True, False])
async def test_offline_access_is_asked_for_where_there_is_such(
    world: World, autojump_clock: MockClock, supported: bool
) -> None:
    world.auth.resource["scopes_supported"] = ["a"]
    world.auth.metadata["scopes_supported"] = ["a", *(["offline_access"] if supported else [])]
    async with world.connect():
        pass
    login = world.auth.logins[0]
    assert login["scope"] == ("a offline_access" if supported else "a")
    assert login.get("prompt") == ("consent" if supported else None)


async def test_more_scopes_are_asked_for_beside_those_that_there_are(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.resource["scopes_supported"] = ["read"]
    world.mcp.on["tools/call"] = _needing(world, "write", world.mcp.on["tools/call"])
    async with world.connect() as c:
        await c.call_tool("x")
        await c.call_tool("x")
    assert [login["scope"] for login in world.auth.logins] == ["read", "read write"]


async def test_what_a_token_was_good_for_is_asked_for_again_when_it_has_ended(
    world: World, autojump_clock: MockClock
) -> None:
    handler = world.mcp.on["tools/call"]

    def by_name(call: Call) -> Any:
        return _needing(world, call.params["name"], handler)(call)

    world.mcp.on["tools/call"] = by_name
    world.auth.lifetime = 100
    async with world.connect() as c:
        await c.call_tool("a")
        world.auth.valid.clear()
        world.auth.refresh.clear()
        await trio.sleep(100)
        await c.call_tool("b")
    assert world.auth.logins[-1]["scope"] == "a b"


async def test_scopes_that_are_not_granted_are_not_asked_for_again(
    world: World, autojump_clock: MockClock
) -> None:
    def never(call: Call) -> Any:
        return challenge(
            call, 403, f'Bearer error="insufficient_scope", scope="w", resource_metadata="{PRM}"'
        )

    world.mcp.on["tools/call"] = never
    async with world.connect() as c:
        for _ in range(2):
            with pytest.raises(trio_mcp.AccessDenied):
                await c.call_tool("x")
    assert len(world.auth.logins) == len(world.auth.requests) == 2


async def test_a_server_that_never_has_enough_leads_to_three_more_logins_for_a_call(
    world: World, autojump_clock: MockClock
) -> None:
    def more(call: Call) -> Any:
        wanted = f'scope="s{len(world.mcp.seen)}", resource_metadata="{PRM}"'
        return challenge(call, 403, f'Bearer error="insufficient_scope", {wanted}')

    world.mcp.on["tools/call"] = more
    async with world.connect() as c:
        with pytest.raises(trio_mcp.AccessDenied):
            await c.call_tool("x")
    assert world.mcp.methods().count("tools/call") == 4
    assert [login.get("scope") for login in world.auth.logins] == [None, "s3", "s3 s4", "s3 s4 s5"]


async def test_another_403_is_no_question_of_scopes(world: World, autojump_clock: MockClock) -> None:
    world.mcp.on["tools/call"] = lambda call: challenge(call, 403, "Bearer")
    async with world.connect() as c:
        with pytest.raises(trio_mcp.AccessDenied):
            await c.call_tool("x")
    assert len(world.auth.logins) == 1


async def test_two_calls_that_need_different_scopes_get_both(world: World, autojump_clock: MockClock) -> None:
    handler = world.mcp.on["tools/call"]

    def by_name(call: Call) -> Any:
        return _needing(world, call.params["name"], handler)(call)

    world.mcp.on["tools/call"] = by_name
    async with world.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(c.call_tool, "a")
        nursery.start_soon(c.call_tool, "b")
    assert sorted(world.auth.logins[-1]["scope"].split()) == ["a", "b"]


def _needing(world: World, scopes: str, handler: Any) -> Any:
    return lambda call: world.auth.refusal(call, scopes) or handler(call)


# The person


async def test_a_login_may_take_longer_than_any_other_deadline(
    world: World, autojump_clock: MockClock
) -> None:
    async def slowly(url: str) -> str:
        await trio.sleep(200)
        return await world.auth.browse(url)

    async with world.connect(
        auth=world.oauth(on_redirect=slowly), timeout=1, connect_timeout=3, sse_read_timeout=2
    ) as c:
        assert c.protocol_version == "2026-07-28"


async def test_a_login_that_never_ends_is_given_up_and_the_client_registers_anew(
    world: World, autojump_clock: MockClock
) -> None:
    storage = MemoryStorage()
    error = await fails(
        world, auth=world.oauth(on_redirect=_never, login_timeout=60, storage=storage), connect_timeout=1
    )
    assert isinstance(error, LoginTimeout)
    assert isinstance(error, trio.TooSlowError)
    assert trio.current_time() == 60
    assert await storage.get_registration(ClientKey(ISSUER, "trio_mcp")) is None


async def test_a_callers_own_deadline_ends_a_login(world: World, autojump_clock: MockClock) -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(10):
        async with world.connect(auth=world.oauth(on_redirect=_never)):
            pass
    assert trio.current_time() < 11


async def _never(url: str) -> None:
    await trio.sleep_forever()


async def test_a_login_goes_on_for_the_next_call(world: World, autojump_clock: MockClock) -> None:
    async def slowly(url: str) -> str:
        await trio.sleep(20)
        return await world.auth.browse(url)

    world.mcp.on["server/discover"] = world.mcp._discover
    async with world.connect(auth=world.oauth(on_redirect=slowly)) as c:
        with trio.move_on_after(5):
            await c.call_tool("x")
        await c.call_tool("x")
    assert trio.current_time() < 21
    assert len(world.auth.logins) == 1


async def test_what_on_redirect_raises_comes_out_as_it_is(world: World, autojump_clock: MockClock) -> None:
    def broken(url: str) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        async with world.connect(auth=world.oauth(on_redirect=broken)):
            pass


async def test_each_caller_gets_an_error_of_its_own(world: World, autojump_clock: MockClock) -> None:
    world.mcp.on["server/discover"] = world.mcp._discover
    world.auth.refuse = lambda form: (400, {"error": "invalid_grant"}, {})
    errors: list[OAuthError] = []

    async def call() -> None:
        with pytest.raises(OAuthError) as caught:
            await c.call_tool("x")
        errors.append(caught.value)

    async with world.connect() as c, trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
    assert len(world.auth.logins) == 1
    assert errors[0] is not errors[1]
    assert errors[0].error == errors[1].error == "invalid_grant"


# What must be refused


async def test_an_answer_with_another_state_is_refused(world: World, autojump_clock: MockClock) -> None:
    world.auth.answer = lambda parameters: {**parameters, "state": "other"}
    error = await fails(world)
    assert (error.step, "state" in str(error)) == ("authorization", True)
    assert world.auth.requests == []


@pytest.mark.parametrize("advertised", [True, False])
@pytest.mark.parametrize("issuer", [ISSUER + "/", "https://evil.example.com", ""])
async def test_an_answer_from_somebody_else_is_refused_and_its_error_not_shown(
    world: World, autojump_clock: MockClock, issuer: str, advertised: bool
) -> None:
    world.auth.metadata["authorization_response_iss_parameter_supported"] = advertised
    world.auth.answer = lambda given: {"state": given["state"], "iss": issuer, "error": "phishing"}
    error = await fails(world)
    assert "phishing" not in str(error)
    assert error.error is None


async def test_an_answer_without_the_issuer_that_was_promised_is_refused(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.metadata["authorization_response_iss_parameter_supported"] = True
    assert "iss" in str(await fails(world))
    assert world.auth.requests == []


async def test_an_answer_with_the_right_issuer_is_taken(world: World, autojump_clock: MockClock) -> None:
    world.auth.metadata["authorization_response_iss_parameter_supported"] = True
    world.auth.answer = lambda parameters: {**parameters, "iss": ISSUER}
    async with world.connect():
        pass


async def test_a_person_who_says_no_is_told_of(world: World, autojump_clock: MockClock) -> None:
    world.auth.answer = lambda given: {
        "state": given["state"],
        "error": "access_denied",
        "error_description": "not\ntoday",
    }
    error = await fails(world)
    assert (error.step, error.error, error.error_description) == (
        "authorization",
        "access_denied",
        "not today",
    )
    assert "access_denied: not today" in str(error)


async def test_an_answer_without_a_code_is_refused(world: World, autojump_clock: MockClock) -> None:
    world.auth.answer = lambda given: {"state": given["state"]}
    assert "no code" in str(await fails(world))


@pytest.mark.parametrize("methods", [None, [], ["plain"]])
async def test_an_authorization_server_without_pkce_is_not_used(
    world: World, autojump_clock: MockClock, methods: list[str] | None
) -> None:
    world.auth.metadata["code_challenge_methods_supported"] = methods
    error = await fails(world)
    assert (error.step, "PKCE" in str(error)) == ("discovery", True)
    assert world.auth.logins == world.auth.registrations == []


async def test_an_authorization_server_without_an_endpoint_for_people_is_told_of(
    world: World, autojump_clock: MockClock
) -> None:
    del world.auth.metadata["authorization_endpoint"]
    assert "no authorization endpoint" in str(await fails(world))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "http://evil.example.com/a"])
async def test_only_a_safe_authorization_url_is_shown(
    world: World, autojump_clock: MockClock, url: str
) -> None:
    world.auth.metadata["authorization_endpoint"] = url
    error = await fails(world)
    assert error.step == "authorization"
    assert world.auth.logins == []


async def test_what_an_authorization_url_has_already_is_kept(world: World, autojump_clock: MockClock) -> None:
    world.auth.metadata["authorization_endpoint"] = f"{ISSUER}/authorize?tenant=1"
    async with world.connect():
        pass
    assert world.auth.logins[0]["tenant"] == "1"


async def test_another_authorization_server_gets_nothing_of_the_first_one(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    other = AuthorizationServer(world.network, "http://127.0.0.1:9001")
    nursery.start_soon(other.run)

    async def browse(url: str) -> str:
        return await (other if url.startswith(other.issuer) else world.auth).browse(url)

    world.auth.resource["scopes_supported"] = ["a"]
    async with world.connect(auth=world.oauth(on_redirect=browse)) as c:
        world.auth.valid.clear()
        world.auth.resource["scopes_supported"] = ["b"]
        world.auth.resource["authorization_servers"] = [other.issuer]
        other.valid = world.auth.valid
        await c.call_tool("x")
    assert len(other.registrations) == 1
    assert other.logins[0]["scope"] == "b"
    assert [form["grant_type"] for form in other.requests] == ["authorization_code"]
    assert len(world.auth.requests) == 1


@pytest.mark.parametrize("named", [True, False])
async def test_credentials_of_the_programs_stay_with_their_issuer(
    world: World, autojump_clock: MockClock, named: bool
) -> None:
    world.auth.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    oauth = world.oauth(client_id="me", client_secret="s3cret", issuer=ISSUER if named else None)
    async with world.connect(auth=oauth) as c:
        world.auth.valid.clear()
        world.auth.resource["authorization_servers"] = ["http://127.0.0.1:9001"]
        with pytest.raises(OAuthError, match="not given to another") as caught:
            await c.call_tool("x")
    assert "s3cret" not in str(caught.value)
    assert world.auth.requests[0]["client_secret"] == "s3cret"


async def test_so_does_what_a_workload_shows(world: World, autojump_clock: MockClock) -> None:
    async with world.connect(auth=OAuth(grant_type=JWT_BEARER, assertion="s3cret")) as c:
        world.auth.valid.clear()
        world.auth.resource["authorization_servers"] = ["http://127.0.0.1:9001"]
        with pytest.raises(OAuthError, match="not given to another"):
            await c.call_tool("x")


async def test_a_client_that_was_forgotten_is_registered_anew_next_time(
    world: World, autojump_clock: MockClock
) -> None:
    oauth = world.oauth()
    world.auth.refuse = lambda form: (401, {"error": "invalid_client"}, {})
    assert (await fails(world, auth=oauth)).error == "invalid_client"
    world.auth.refuse = lambda form: None
    async with world.connect(auth=oauth):
        pass
    assert len(world.auth.registrations) == 2


async def test_a_token_goes_to_its_servers_origin_only(world: World, autojump_clock: MockClock) -> None:
    fetcher = Pages({}).fetcher(MCP)
    oauth = OAuthAuthorizer(MCP, OAuth(), fetcher, services=lambda run: None, errands=lambda run: None)
    assert repr(oauth) == "<OAuthAuthorizer: no token>"
    stored = StoredToken(access_token="s3cret", expires_at=time.time() - 1, refresh_token="r")
    oauth._token = in_use(stored, "stored", None)
    assert await oauth.headers("POST", "http://127.0.0.1:8001/mcp") == {}
    # And goodbye is said with what there is.
    assert await oauth.headers("DELETE", MCP) == {"authorization": "Bearer s3cret"}
    assert "s3cret" not in repr(oauth) + repr(oauth._token) + repr(stored)


async def test_a_connection_that_takes_no_more_errands_finishes_by_itself() -> None:
    def closed(run: Any) -> None:
        raise RuntimeError("Nursery is closed to new arrivals")

    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 5

    assert await Attempts(lambda run: None, closed).finish(work) == 5


async def test_no_secret_is_in_an_error(world: World, autojump_clock: MockClock) -> None:
    def echo(form: dict[str, str]) -> Any:
        return 400, {"error": "invalid_request", "error_description": f"no: {form} " + "x" * 1000}, {}

    world.auth.refuse = echo
    error = await fails(world)
    form = world.auth.requests[0]
    assert form["code_verifier"] not in str(error)
    assert form["code"] not in str(error)
    assert len(str(error)) < 600


# Without a person


async def test_a_program_that_acts_for_itself_asks_nobody(world: World, autojump_clock: MockClock) -> None:
    world.auth.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    world.auth.resource["scopes_supported"] = ["a"]
    world.auth.lifetime = 100
    oauth = OAuth(grant_type="client_credentials", client_id="me", client_secret="s3cret")
    async with world.connect(auth=oauth) as c:
        await trio.sleep(95)
        await c.call_tool("x")  # another token, without a refresh token
    assert world.auth.logins == []
    form = {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_secret": "s3cret",
        "resource": MCP,
        "scope": "a",
    }
    assert world.auth.requests == [form, form]
    assert repr(oauth.storage) == "<MemoryStorage: 0 tokens, 0 registrations>"
    declared = world.mcp.seen[0].params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert declared["extensions"] == {"io.modelcontextprotocol/oauth-client-credentials": {}}


async def test_a_workload_shows_what_its_platform_gave_it(world: World, autojump_clock: MockClock) -> None:
    async with world.connect(auth={"grant_type": JWT_BEARER, "assertion": "jwt"}):
        pass
    assert world.auth.requests == [{"grant_type": JWT_BEARER, "assertion": "jwt", "resource": MCP}]


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_scope", "unauthorized_client"])
async def test_a_workload_that_is_refused_does_not_try_again(
    world: World, autojump_clock: MockClock, error: str
) -> None:
    world.auth.refuse = lambda form: (400, {"error": error}, {})
    assert (await fails(world, auth=OAuth(grant_type=JWT_BEARER, assertion="jwt"))).error == error
    assert len(world.auth.requests) == 1


# Tokens that are bound to a key


def bound(world: World, *, nonce: str | None = None) -> None:
    """Have both servers deal in bound tokens, and the MCP server want `nonce` in each proof."""
    world.auth.extra = {"token_type": "DPoP"}
    world.auth.metadata["dpop_signing_alg_values_supported"] = ["ES256"]
    discover: Any = world.mcp._discover

    def guarded(call: Call) -> Any:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if token not in world.auth.valid:
            return challenge(call, 401, f'DPoP resource_metadata="{PRM}"')
        assert scheme == "DPoP"
        proof = claims(call.headers["dpop"])
        assert (proof["htm"], proof["htu"]) == ("POST", MCP)
        if proof.get("nonce") != nonce:
            return challenge(call, 401, 'DPoP error="use_dpop_nonce"', dpop_nonce=str(nonce))
        return discover(call) if call.method == "server/discover" else call.text("done")

    world.mcp.on["server/discover"] = world.mcp.on["tools/call"] = guarded


def claims(proof: str) -> dict[str, Any]:
    return dict(jwt.decode(proof, options={"verify_signature": False}))


def key(proof: str) -> str:
    return str(jwt.get_unverified_header(proof)["jwk"])


async def test_a_server_that_wants_bound_tokens_gets_a_new_proof_with_each_request(
    world: World, autojump_clock: MockClock
) -> None:
    bound(world)
    async with world.connect() as c:
        await c.call_tool("x")
    proofs = [call.headers["dpop"] for call in world.mcp.seen[1:]]
    assert len(set(proofs)) == len(proofs) == 2
    assert key(world.auth.headers[0]["dpop"]) == key(proofs[0])


async def test_a_server_that_wants_a_nonce_is_asked_again_with_it(
    world: World, autojump_clock: MockClock
) -> None:
    bound(world, nonce="n")
    async with world.connect() as c, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(c.call_tool, "x")
    assert len(world.mcp.seen) == 3 + 5
    assert len(world.auth.logins) == 1


async def test_calls_that_meet_a_new_nonce_together_are_all_sent_again(
    world: World, autojump_clock: MockClock
) -> None:
    bound(world, nonce="n")
    async with world.connect() as c:
        bound(world, nonce="m")
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(c.call_tool, "x")
    assert len(world.mcp.seen) == 3 + 10
    assert len(world.auth.logins) == 1


async def test_a_nonce_that_comes_with_an_answer_is_used_from_then_on(
    world: World, autojump_clock: MockClock
) -> None:
    bound(world)
    guarded: Any = world.mcp.on["server/discover"]

    def discover(call: Call) -> Any:
        answer = guarded(call)
        return call.result(answer, headers={"dpop-nonce": "n"}) if "resultType" in repr(answer) else answer

    world.mcp.on["server/discover"] = discover
    world.mcp.on["tools/call"] = lambda call: call.text("done")
    async with world.connect() as c:
        await c.call_tool("x")
    assert claims(world.mcp.seen[-1].headers["dpop"])["nonce"] == "n"


async def test_a_bound_token_is_kept_with_its_key_and_refreshed_with_it(
    world: World, autojump_clock: MockClock
) -> None:
    bound(world)
    oauth = world.oauth()
    async with world.connect(auth=oauth):
        pass
    async with world.connect(auth=oauth) as c:
        world.auth.valid.clear()
        await c.call_tool("x")
    assert len(world.auth.logins) == 1
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]
    proofs = [call.headers["dpop"] for call in world.mcp.seen if "dpop" in call.headers]
    assert len({key(proof) for proof in [*proofs, *(each["dpop"] for each in world.auth.headers)]}) == 1


async def test_a_token_that_is_not_bound_where_it_must_be_is_refused(
    world: World, autojump_clock: MockClock
) -> None:
    bound(world)
    world.auth.extra = {}
    assert "not bound to our key" in str(await fails(world))
    world.mcp.on["server/discover"] = world.mcp._discover
    world.auth.protect(world.mcp)
    world.auth.resource["dpop_bound_access_tokens_required"] = True
    assert "not bound to our key" in str(await fails(world))


async def test_a_kept_token_that_is_not_bound_is_replaced_where_it_must_be(
    world: World, autojump_clock: MockClock
) -> None:
    storage = MemoryStorage()
    async with world.connect(auth=world.oauth(storage=storage)):
        pass
    world.auth.extra = {"token_type": "DPoP"}
    async with world.connect(auth=world.oauth(storage=storage, dpop=True)):
        pass
    assert world.tokens() == [None, "Bearer token-1", None, "DPoP token-2"]
    assert [form["grant_type"] for form in world.auth.requests] == ["authorization_code", "refresh_token"]


async def test_a_token_that_is_not_bound_will_do_where_both_are_taken(
    world: World, autojump_clock: MockClock
) -> None:
    def both(call: Call) -> Any:
        if call.headers.get("authorization", "").removeprefix("Bearer ") in world.auth.valid:
            return world.mcp._discover(call)
        return challenge(call, 401, f'Bearer resource_metadata="{PRM}", DPoP algs="ES256"')

    world.mcp.on["server/discover"] = both
    async with world.connect():
        pass
    assert world.tokens() == [None, "Bearer token-1"]


async def test_an_authorization_server_without_our_algorithm_is_told_of(
    world: World, autojump_clock: MockClock
) -> None:
    world.auth.metadata["dpop_signing_alg_values_supported"] = ["RS256"]
    assert "no DPoP with ES256" in str(await fails(world, auth=world.oauth(dpop=True)))


@pytest.mark.parametrize("kind", ["MAC", "DPoP"])
async def test_a_token_of_an_unknown_type_is_refused(
    world: World, autojump_clock: MockClock, kind: str
) -> None:
    world.auth.extra = {"token_type": kind}
    assert "not known" in str(await fails(world))


async def test_an_error_about_nonces_of_tokens_that_have_none_is_the_end(
    world: World, autojump_clock: MockClock
) -> None:
    world.mcp.on["tools/call"] = lambda call: challenge(call, 401, 'DPoP error="use_dpop_nonce"')
    async with world.connect() as c:
        with pytest.raises(trio_mcp.AccessDenied):
            await c.call_tool("x")


# Its requests


async def test_a_document_without_end_is_given_up(world: World, autojump_clock: MockClock) -> None:
    world.auth.resource["padding"] = "x" * 70_000
    error = await fails(world)
    assert (error.step, "more than 65536 bytes" in str(error)) == ("discovery", True)


async def test_a_server_that_never_answers_is_given_up(world: World, autojump_clock: MockClock) -> None:
    world.auth.delay = 1e6
    error = await fails(world)
    assert error.step == "token"
    assert trio.current_time() == 30


async def test_the_connectors_own_headers_stay_with_its_server(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.connect(headers={"x-secret": "s3cret", "cookie": "a=b"}):
        pass
    assert world.mcp.seen[0].headers["x-secret"] == "s3cret"
    assert not {"x-secret", "cookie", "authorization"} & set(world.auth.headers[0])


@pytest.mark.parametrize("library", ["httpx2", "httpx"])
async def test_a_client_of_the_users_sends_it_all_and_keeps_what_it_adds_for_the_mcp_server(
    world: World, autojump_clock: MockClock, library: str
) -> None:
    # Whoever a server names gets none of it, be it a header that holds for all that the client sends.
    transport = TrioTransport(Pool(world.network, partial(ssl_context, True)))
    own: dict[str, Any] = {"headers": {"x-key": "s3cret"}, "cookies": {"a": "b"}, "params": {"c": "d"}}
    client: Any
    if library == "httpx2":
        client = httpx2.AsyncClient(transport=transport, auth=NoAuth(), trust_env=False, **own)
    else:
        through = httpx.MockTransport(partial(_forward, transport))
        client = httpx.AsyncClient(transport=through, auth=ForeignNoAuth(), trust_env=False, **own)
    async with client:
        async with trio_mcp.open_connector(MCP, http_client=client, auth=world.oauth()):
            pass
    headers = world.mcp.seen[0].headers
    assert {"x-own", "x-key", "cookie"} <= set(headers)
    assert world.auth.requests[0]["grant_type"] == "authorization_code"
    for request in world.auth.received:
        assert not {"x-own", "x-key", "cookie", "authorization"} & set(request.headers)
        assert "?" not in request.target


async def _forward(transport: TrioTransport, request: httpx.Request) -> httpx.Response:
    content = await request.aread()
    theirs = httpx2.Request(request.method, str(request.url), headers=request.headers.raw, content=content)
    response = await transport.handle_async_request(theirs)
    return httpx.Response(response.status_code, headers=response.headers.raw, content=await response.aread())


async def test_a_client_with_an_authorization_of_its_own_is_refused(world: World) -> None:
    async with httpx2.AsyncClient(headers={"Authorization": "Bearer x"}) as client:
        with pytest.raises(ConfigurationError, match="http_client has an Authorization header"):
            trio_mcp.open_connector(MCP, http_client=client, auth=world.oauth())


class NoAuth(httpx2.Auth):
    """A flow that leaves a trace."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["x-own"] = "1"
        yield request


class ForeignNoAuth(httpx.Auth):
    """The same of the other library."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["x-own"] = "1"
        yield request


async def test_a_refusal_that_comes_late_is_answered_with_the_token_that_there_is(
    world: World, autojump_clock: MockClock
) -> None:
    async def slowly(call: Call) -> Any:
        refusal = world.auth.refusal(call)
        await trio.sleep(call.params["arguments"]["seconds"])
        return refusal or call.text("done")

    world.mcp.on["tools/call"] = slowly
    async with world.connect() as c, trio.open_nursery() as nursery:
        world.auth.valid.clear()
        nursery.start_soon(c.call_tool, "x", {"seconds": 5})
        nursery.start_soon(c.call_tool, "x", {"seconds": 1})
    assert len(world.auth.requests) == 2


async def test_a_refresh_that_hangs_does_not_hold_up_closing(world: World, autojump_clock: MockClock) -> None:
    with trio.move_on_after(5):
        async with world.connect() as c:
            world.auth.valid.clear()
            world.auth.delay = 1e6
            await c.call_tool("x")
    assert 5 < trio.current_time() < 6


async def test_a_storage_that_hangs_is_not_waited_for_for_ever(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(MemoryStorage):
        async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
            await trio.sleep_forever()

    async with world.connect(auth=world.oauth(storage=Hanging())) as c:
        await c.call_tool("x")
    assert trio.current_time() == 5
    assert "could not be kept" in caplog.text


async def test_a_storage_that_fails_loses_no_token(
    world: World, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(MemoryStorage):
        async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
            raise OSError("no space left")

    async with world.connect(auth=world.oauth(storage=Full())) as c:
        await c.call_tool("x")
    assert "no space left" in caplog.text
    assert "token-1" not in caplog.text


@pytest.mark.parametrize("full_from", [0, 1])
async def test_a_token_that_could_not_be_kept_is_refreshed_and_not_the_one_before_it(
    world: World, autojump_clock: MockClock, full_from: int
) -> None:
    class Full(MemoryStorage):
        left = full_from

        async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
            self.left -= 1
            if self.left < 0:
                raise OSError("no space left")
            await super().set_token(key, token)

    async with world.connect(auth=world.oauth(storage=Full())) as c:
        for _ in range(2):
            world.auth.valid.clear()
            await c.call_tool("x")
    assert [form.get("refresh_token") for form in world.auth.requests] == [None, "refresh-1", "refresh-2"]


async def test_a_token_that_could_not_be_kept_and_is_not_good_any_more_leads_to_a_login(
    world: World, autojump_clock: MockClock
) -> None:
    kept = StoredToken(access_token="of another process", refresh_token="r")

    class Full(MemoryStorage):
        async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
            raise OSError("no space left")

    storage = Full()
    async with world.connect(auth=world.oauth(storage=storage)) as c:
        storage._tokens[KEY] = kept
        for _ in range(2):
            world.auth.valid.clear()
            world.auth.refresh.clear()
            await c.call_tool("x")
    grants = [form["grant_type"] for form in world.auth.requests]
    assert grants == ["authorization_code", *["refresh_token", "authorization_code"] * 2]
    assert await storage.get_token(KEY) is kept


async def test_a_stream_in_the_background_refreshes_but_asks_nobody_to_log_in(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, "2025-11-25")
    world.mcp.listen()
    world.auth.protect(world.mcp)
    async with world.connect() as c:
        world.auth.valid.clear()
        world.mcp.link.reset()
        await trio.sleep(10)
        assert len(world.auth.requests) == 2  # it is there again
        await world.mcp.notify("notifications/tools/list_changed")
        world.auth.valid.clear()
        world.auth.refresh.clear()
        world.mcp.link.reset()
        await trio.sleep(100)
        assert len(world.auth.logins) == 1
        await c.call_tool("x")
        assert len(world.auth.logins) == 2


async def test_an_answer_that_is_resumed_is_worth_a_login(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, "2025-11-25")

    def cut_off(call: Call) -> Any:
        asked.append(call.message["id"])
        world.auth.valid.clear()
        world.auth.refresh.clear()
        return call.sse(event("", id="a"), CUT)

    def resume(call: Call) -> Any:
        if "last-event-id" not in call.headers:
            return call.reply(405)
        return call.sse(event(response(asked[0], {"content": []})))

    asked: list[Any] = []
    world.mcp.on |= {"tools/call": cut_off, "GET": resume}
    world.auth.protect(world.mcp)
    async with world.connect() as c:
        await c.call_tool("x")
    assert len(world.auth.logins) == 2


async def test_a_stream_that_was_refused_comes_back_after_a_login(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, "2025-11-25")
    world.mcp.listen()
    world.auth.protect(world.mcp)
    async with world.connect() as c:
        world.auth.valid.clear()
        world.auth.refresh.clear()
        world.mcp.link.reset()
        await trio.sleep(10)
        await c.call_tool("x")
        await trio.sleep(100)
        await world.mcp.notify("notifications/tools/list_changed")
    assert len(world.auth.logins) == 2


async def test_a_call_that_needs_a_login_does_not_make_do_with_less(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    world = World(nursery, "2025-11-25")
    world.mcp.listen()
    world.auth.protect(world.mcp)
    async with world.connect() as c:
        world.auth.valid.clear()
        world.auth.refresh.clear()
        world.auth.delay = 10
        world.mcp.link.reset()
        await trio.sleep(5)  # the stream is about to learn that it is refused a refresh
        await c.call_tool("x")
    assert len(world.auth.logins) == 2


async def test_a_goodbye_is_not_worth_a_login(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    world = World(nursery, "2025-11-25")
    world.auth.protect(world.mcp)
    async with world.connect():
        world.auth.valid.clear()
        world.auth.refresh.clear()
    assert world.mcp.methods()[-1] == "DELETE"
    assert len(world.auth.logins) == 1
