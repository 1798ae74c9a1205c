"""Cancelled while something is being mended: a session, a stream, a token."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.auth.world import World as AuthWorld
from trio_mcp import MemoryStorage
from trio_mcp.testing import Call, Simulation, cancel_everywhere
from trio_mcp.testing.messages import event

from .scenarios import call
from .trial import SETTLING, Trial, cancelled_everywhere, text_of
from .worlds import Http

DONE = {"content": [{"type": "text", "text": "done"}]}


def test_a_session_that_has_expired_is_opened_anew_whoever_leaves_meanwhile() -> None:
    async def scenario(trial: Trial) -> None:
        assert isinstance(trial.world, Http)
        # A call of the old session may be told of as cancelled there, to a server that knows nothing of it.
        async with trial.connection(undelivered=2) as c:
            await trial.world.server.restart()
            with trial.cancellable():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call, c)
                    nursery.start_soon(call, c)
            await trial.settle()
            await call(c)
            assert c.statistics().reinitializations == 1

    cancelled_everywhere(scenario, "http-legacy")


def test_the_stream_of_an_answer_breaks_and_is_resumed() -> None:
    async def scenario(trial: Trial) -> None:
        assert isinstance(trial.world, Http)
        server = trial.world.server
        answer: Any = server.on["tools/call"]
        get = server.on["GET"]

        async def breaks(seen: Call) -> Any:
            await answer(seen)  # it counts as carried out
            return seen.sse(event("", id="a", retry=500)) if seen.params["name"] == "breaks" else DONE

        def resume(seen: Call) -> Any:
            if "last-event-id" not in seen.headers:
                return get(seen)
            call = server.all("tools/call")[0]
            return seen.sse(event({"jsonrpc": "2.0", "id": call.id, "result": DONE}, id="b"))

        server.on["tools/call"], server.on["GET"] = breaks, resume
        async with trial.connection() as c:
            with trial.cancellable():
                assert text_of(await c.call_tool("breaks")) == "done"

    cancelled_everywhere(scenario, "http-legacy")


# Tokens


async def settle() -> None:
    await trio.sleep(SETTLING)
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_a_refresh_is_made_once_and_not_lost_though_its_caller_leaves(version: str) -> None:
    """Refresh tokens rotate: one that was used and whose successor is lost costs the user a login."""

    async def main(simulation: Simulation) -> None:
        async with trio.open_nursery() as servers:
            world = AuthWorld(servers, version)
            world.auth.protect(world.mcp)
            world.auth.lifetime, world.auth.delay = 100, 0.2
            async with world.connect() as c:
                await c.call_tool("x")
                await trio.sleep(200)
                with simulation.cancellable():
                    await c.call_tool("x")
                if simulation.cancelled_at is not None:
                    assert trio.current_time() <= simulation.cancelled_at + 0.2
                await settle()
                with trio.fail_after(1):
                    await c.call_tool("x")
            grants = [form["grant_type"] for form in world.auth.requests]
            assert grants == ["authorization_code", "refresh_token"]
            assert len(world.auth.logins) == 1
            await settle()
            assert world.network.connections == []
            servers.cancel_scope.cancel()

    assert cancel_everywhere(main, time_limit=1000) > 10


def test_a_login_that_is_cancelled_leaves_the_next_one_everything_it_needs() -> None:
    async def main(simulation: Simulation) -> None:
        async with trio.open_nursery() as servers:
            world = AuthWorld(servers)
            world.auth.protect(world.mcp)
            world.auth.delay = 0.2
            storage = MemoryStorage()
            with simulation.cancellable():
                async with world.connect(auth=world.oauth(storage=storage)) as c:
                    await c.call_tool("x")
            if simulation.cancelled_at is not None:
                assert trio.current_time() <= simulation.cancelled_at + 1
            await settle()
            assert world.network.connections == []
            with trio.fail_after(3):
                async with world.connect(auth=world.oauth(storage=storage)) as c:
                    await c.call_tool("x")
            assert len(world.auth.logins) <= 2
            servers.cancel_scope.cancel()

    assert cancel_everywhere(main, time_limit=1000) > 10
