"""Results that the server lets us keep: until when, for whom, and what makes them stale."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import mcp_types as types
import pytest
import trio
import trio.testing

import trio_mcp
from tests.conftest import Serve
from trio_mcp import MemoryCache
from trio_mcp.connector import Connector
from trio_mcp.features.response_cache import CacheEntry, CacheKey, ResponseCache
from trio_mcp.testing import Call, Reply, ScriptedServer
from trio_mcp.testing.messages import Json, notification


def keeping(serve: Serve, ttl: Any = 60_000, **fields: Any) -> ScriptedServer:
    """A server whose every result may be kept for `ttl` milliseconds."""
    server = serve()
    empty: dict[str, Json] = {
        "tools/list": {"tools": []},
        "prompts/list": {"prompts": []},
        "resources/list": {"resources": []},
        "resources/templates/list": {"resourceTemplates": []},
        "resources/read": {"contents": []},
    }

    def answer(result: Json) -> Callable[[Call], Reply]:
        return lambda call: call.result({"resultType": "complete", "ttlMs": ttl, **result, **fields})

    for method, result in empty.items():
        server.on[method] = answer(result)
    return server


CALLS: dict[str, Callable[..., Awaitable[object]]] = {
    "tools/list": Connector.list_tools,
    "prompts/list": Connector.list_prompts,
    "resources/list": Connector.list_resources,
    "resources/templates/list": Connector.list_resource_templates,
    "resources/read": lambda c, **options: c.read_resource("x:1", **options),
}


@pytest.mark.parametrize("method", CALLS)
async def test_a_result_is_fresh_for_as_long_as_the_server_says(
    serve: Serve, autojump_clock: trio.testing.MockClock, method: str
) -> None:
    server = keeping(serve)
    async with server.connect() as c:
        first = await CALLS[method](c)
        await trio.sleep(59.9)
        assert await CALLS[method](c) == first
        assert len(server.all(method)) == 1
        await trio.sleep(0.1)
        await CALLS[method](c)
        assert len(server.all(method)) == 2


@pytest.mark.parametrize("ttl", [0, -5])
async def test_without_a_time_nothing_is_kept(serve: Serve, ttl: int) -> None:
    server = keeping(serve, ttl)
    async with server.connect() as c:
        await c.list_tools()
        await c.list_tools()
    assert len(server.all("tools/list")) == 2


async def test_no_result_is_kept_for_more_than_a_day(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = keeping(serve, 10**15)
    async with server.connect() as c:
        await c.list_tools()
        await trio.sleep(24 * 3600 - 1)
        await c.list_tools()
        assert len(server.all("tools/list")) == 1
        await trio.sleep(1)
        await c.list_tools()
        assert len(server.all("tools/list")) == 2


async def test_what_is_kept_belongs_to_its_params(serve: Serve) -> None:
    server = keeping(serve)
    async with server.connect() as c:
        for uri in ("x:1", "x:2", "x:1"):
            await c.read_resource(uri)
    assert [call.params["uri"] for call in server.all("resources/read")] == ["x:1", "x:2"]


async def test_each_page_has_a_time_of_its_own(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    server = serve()

    def page(call: Call) -> Reply:
        last = call.params.get("cursor") == ""
        return call.result(
            {"tools": [], "ttlMs": 10_000 if last else 60_000, **({} if last else {"nextCursor": ""})}
        )

    server.on["tools/list"] = page
    async with server.connect() as c:
        await c.list_tools()
        await trio.sleep(20)
        await c.list_tools()
    assert [call.params.get("cursor") for call in server.all("tools/list")] == [None, "", ""]


async def test_a_cursor_that_is_good_no_more_has_all_pages_asked_anew(serve: Serve) -> None:
    server = serve()
    cursors = iter(["old", "new"])
    valid = "old"

    def page(call: Call) -> Reply:
        cursor = call.params.get("cursor")
        if cursor is None:
            return call.result({"tools": [], "ttlMs": 60_000, "nextCursor": next(cursors)})
        return call.result({"tools": []}) if cursor == valid else call.error(-32602, "no such cursor")

    server.on["tools/list"] = page
    async with server.connect() as c:
        await c.list_tools()
        valid = "new"
        await c.list_tools()
    assert [call.params.get("cursor") for call in server.all("tools/list")] == [
        None,
        "old",
        "old",
        None,
        "new",
    ]


@pytest.mark.parametrize("options", [{"cache": "refresh"}, {"cache": "bypass"}])
async def test_a_cursor_is_not_tried_twice_where_nothing_kept_was_used(serve: Serve, options: Any) -> None:
    server = serve()
    server.on["tools/list"] = lambda call: (
        call.error(-32602, "no such cursor")
        if "cursor" in call.params
        else call.result({"tools": [], "nextCursor": "x"})
    )
    async with server.connect() as c:
        with pytest.raises(trio_mcp.MCPError, match="no such cursor"):
            await c.list_tools(**options)
    assert len(server.all("tools/list")) == 2


async def test_a_call_may_refresh_what_is_kept_or_pass_it_by(serve: Serve) -> None:
    server = keeping(serve)

    def count() -> int:
        return len(server.all("tools/list"))

    async with server.connect() as c:
        await c.list_tools(cache="bypass")
        await c.list_tools()
        assert count() == 2  # the first was not kept
        await c.list_tools(cache="refresh")
        await c.list_tools()
        assert count() == 3
        with pytest.raises(trio_mcp.UsageError, match="cache must be one of use, refresh, bypass"):
            await c.list_tools(cache="yes")  # type: ignore[arg-type]


async def test_it_can_be_switched_off(serve: Serve) -> None:
    server = keeping(serve)
    server.on["tools/call"] = lambda call: call.sse(
        notification("notifications/tools/list_changed"), call.response({"content": []})
    )
    async with server.connect(cache=False) as c:
        await c.list_tools()
        await c.call_tool("x")
        await c.list_tools(cache="refresh")
    assert len(server.all("tools/list")) == 2


async def test_who_changes_a_result_changes_it_for_nobody_else(serve: Serve) -> None:
    server = keeping(serve, tools=[{"name": "x", "inputSchema": {"type": "object"}}])
    async with server.connect() as c:
        (await c.list_tools())[0].name = "changed"
        (await c.list_tools())[0].name = "changed again"
        assert (await c.list_tools())[0].name == "x"


@pytest.mark.parametrize(
    ("method", "stale"),
    [
        ("notifications/tools/list_changed", {"tools/list"}),
        ("notifications/prompts/list_changed", {"prompts/list"}),
        ("notifications/resources/list_changed", {"resources/list", "resources/templates/list"}),
        ("notifications/resources/updated", {"resources/read"}),
    ],
)
async def test_a_notification_makes_stale_what_it_is_about(
    serve: Serve, method: str, stale: set[str]
) -> None:
    server = keeping(serve)
    server.on["tools/call"] = lambda call: call.sse(
        notification(method, {"uri": "x:1"}), call.response({"content": []})
    )
    async with server.connect() as c:
        for _ in range(2):
            for call in CALLS.values():
                await call(c)
        assert all(len(server.all(each)) == 1 for each in CALLS)
        await c.call_tool("x")
        for call in CALLS.values():
            await call(c)
    assert {each for each in CALLS if len(server.all(each)) == 2} == stale


async def test_a_result_that_became_stale_on_its_way_is_not_kept(serve: Serve) -> None:
    server = keeping(serve)
    server.on["tools/list"] = lambda call: call.sse(
        notification("notifications/tools/list_changed"), call.response({"tools": [], "ttlMs": 60_000})
    )
    async with server.connect() as c:
        await c.list_tools()
        await c.list_tools()
    assert len(server.all("tools/list")) == 2


# Several at a time


def slow(serve: Serve, ttl: int = 60_000) -> ScriptedServer:
    server = serve()
    server.on["tools/list"] = lambda call: call.sse(10, call.response({"tools": [], "ttlMs": ttl}))
    return server


async def test_of_those_who_miss_the_same_thing_one_asks(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = slow(serve)
    async with server.connect() as c:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(c.list_tools)
        assert trio.current_time() == pytest.approx(10)
    assert len(server.all("tools/list")) == 1


async def test_if_the_one_who_asks_is_cancelled_another_one_does(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = slow(serve)
    async with server.connect() as c, trio.open_nursery() as nursery:

        async def impatient() -> None:
            with trio.move_on_after(5):
                await c.list_tools()

        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            nursery.start_soon(c.list_tools)
    assert [call.time for call in server.all("tools/list")] == pytest.approx([0, 5])


async def test_an_error_is_that_of_who_asked_and_the_others_ask_again(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = slow(serve)
    answer = server.on["tools/list"]

    async def once(call: Call) -> Any:
        if len(server.all("tools/list")) > 1:
            return answer(call)
        await trio.sleep(5)
        return call.error(-32000, "not now")

    server.on["tools/list"] = once
    failed = 0
    async with server.connect() as c, trio.open_nursery() as nursery:

        async def call() -> None:
            nonlocal failed
            try:
                await c.list_tools()
            except trio_mcp.MCPError:
                failed += 1

        for _ in range(20):
            nursery.start_soon(call)
    assert (failed, len(server.all("tools/list"))) == (1, 2)


async def test_where_nothing_may_be_kept_all_who_waited_ask_for_themselves(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    server = slow(serve, ttl=0)
    async with server.connect() as c, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(c.list_tools)
    assert len(server.all("tools/list")) == 20
    assert trio.current_time() == pytest.approx(20)


# Stores


@pytest.mark.parametrize(
    ("scope", "headers", "requests"),
    [
        ("private", {"authorization": "Bearer other"}, 2),
        ("private", {"x-api-key": "other"}, 2),
        ("private", {}, 1),
        ("public", {"authorization": "Bearer other"}, 1),
    ],
)
async def test_what_is_private_is_not_shared_between_credentials(
    serve: Serve, scope: str, headers: dict[str, str], requests: int
) -> None:
    server = keeping(serve, cacheScope=scope)
    store = MemoryCache()
    async with server.connect(cache=store) as c:
        await c.list_tools()
    async with server.connect(cache=store, headers=headers) as c:
        await c.list_tools()
    assert len(server.all("tools/list")) == requests
    assert not any("Bearer" in part or "server.test" in part for key in store._entries for part in key)


async def test_whose_credentials_cannot_be_known_shares_nothing_private(serve: Serve) -> None:
    class Flow(httpx2.Auth):
        pass

    server = keeping(serve)
    store = MemoryCache()
    for _ in range(2):
        async with server.connect(cache=store, auth=Flow()) as c:
            await c.list_tools()
            await c.list_tools()
    assert len(server.all("tools/list")) == 2


async def test_servers_share_nothing(serve: Serve) -> None:
    store = MemoryCache()
    for host in ("one", "two"):
        server = serve(url=f"http://{host}.test/mcp")
        server.on["tools/list"] = lambda call: call.result(
            {"tools": [], "ttlMs": 1000, "cacheScope": "public"}
        )
        async with server.connect(cache=store) as c:
            await c.list_tools()
        assert len(server.all("tools/list")) == 1


async def test_what_is_used_least_is_dropped_first() -> None:
    store = MemoryCache(max_entries=2)
    keys = [CacheKey("s", "", "resources/read", str(n)) for n in range(3)]
    entry = CacheEntry({}, 1)
    store.put(keys[0], entry)
    store.put(keys[1], entry)
    assert store.get(keys[0]) is entry
    store.put(keys[2], entry)
    assert [store.get(key) is None for key in keys] == [False, True, False]
    store.forget("s", "tools/list")
    assert len(store) == 2
    store.forget("s", "resources/read")
    assert len(store) == 0


async def test_every_answer_from_the_cache_is_a_checkpoint() -> None:
    cache = ResponseCache(MemoryCache(), "s", "me")

    async def ask() -> types.ListToolsResult:
        return types.ListToolsResult(tools=[], ttl_ms=1000)

    await cache.fetch("tools/list", None, types.ListToolsResult, "use", ask)
    with trio.testing.assert_checkpoints():
        await cache.fetch("tools/list", None, types.ListToolsResult, "use", ask)


@pytest.mark.parametrize("wrong", [MemoryCache, "memory", {}, None])
def test_a_store_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(trio_mcp.ConfigurationError, match="cache must be a bool or a CacheStore"):
        trio_mcp.open_connector("http://server.test/mcp", cache=wrong)
