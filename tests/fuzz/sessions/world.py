"""Sessions with a model server: what is done in them, step by step, and what must hold at each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import mcp_types as types
import trio
import trio.testing

import trio_mcp
from tests.fuzz.sessions.pipes import SseModel, WebSocketModel
from tests.fuzz.sessions.servers import HTTP_ERRORS, LOST, RESULTS, TOOLS_CHANGED, HttpModel, Model, log
from trio_mcp.protocol.versions import is_modern
from trio_mcp.testing import MemoryNetwork, Simulation
from trio_mcp.testing.messages import notification

__all__ = ["DOINGS", "ENDINGS", "MODELS", "Step", "World", "run"]

MODELS: Final[dict[str, Callable[[trio.Nursery, MemoryNetwork], Model]]] = {
    "Streamable HTTP, modern": lambda nursery, network: HttpModel(nursery, network, "2026-07-28"),
    "Streamable HTTP, legacy": lambda nursery, network: HttpModel(nursery, network, "2025-11-25"),
    "HTTP+SSE": lambda nursery, network: SseModel(nursery),
    "WebSocket, modern": lambda nursery, network: WebSocketModel(nursery, network, "2026-07-28"),
    "WebSocket, legacy": lambda nursery, network: WebSocketModel(nursery, network, "2025-11-25"),
}
LIST: Final = "list tools"
DOINGS: Final = (*RESULTS, *LOST, *HTTP_ERRORS, "error", LIST)
"""What a call may be for."""
ENDINGS: Final = ("at once", "by an exception", "by cancelling")

SILENCE: Final = 10
GOODBYE: Final = 1
FAILURES: Final[dict[str, type[Exception]]] = {
    "error": trio_mcp.MCPError,
    "not json": trio_mcp.ProtocolError,
    "html": trio_mcp.ProtocolError,
    "wrong id": trio_mcp.ProtocolError,
    "503": trio_mcp.HTTPStatusError,
    "hang": trio_mcp.Stalled,
    "cut": trio_mcp.ConnectionLost,
    "reset": trio_mcp.ConnectionLost,
}
DOCUMENTED: Final = (
    trio_mcp.TransportError,
    trio_mcp.ProtocolError,
    trio_mcp.NotConnected,
)
"""What may come of a call when the server or the network is disturbed meanwhile, or the session closed."""

Step: TypeAlias = tuple[str, tuple[Any, ...]]


class Leave(Exception):
    """What a block is left by."""


@dataclass(eq=False)
class Running:
    """A call."""

    nonce: str
    do: str
    disturbed: int  # how often the world had been, when it began
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    outcomes: list[str | Exception] = field(default_factory=list)


@dataclass(eq=False)
class Session:
    """A connector in its block, which a task of its own holds open."""

    c: trio_mcp.Connector
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    leave: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)
    ending: str = ""
    calls: list[Running] = field(default_factory=list)
    listeners: list[trio.CancelScope] = field(default_factory=list)
    has_listened: bool = False
    logged: list[int] = field(default_factory=list)

    @property
    def running(self) -> list[Running]:
        return [call for call in self.calls if not call.outcomes]


class World:
    """A server, its network, and sessions with it. Each public method is a step."""

    def __init__(self, nursery: trio.Nursery, model: Model) -> None:
        self._nursery = nursery
        self._model = model
        self._sessions: list[Session] = []
        self._disturbed = 0
        self._outages = 0
        self._notified = 0
        self._count = 0

    # Steps; `which` chooses among what there is

    async def open(self) -> None:
        before = self._disturbed + self._outages
        try:
            self._sessions.append(await self._nursery.start(self._hold))
        except trio_mcp.TransportError:
            assert before or self._outages, "opening has failed by itself"

    async def call(self, which: int, do: str) -> None:
        if session := self._session(which):
            self._begin(session, do)

    async def burst(self, which: int, do: list[str]) -> None:
        if session := self._session(which):
            for each in do:
                self._begin(session, each)

    async def call_and_wait(self, which: int, do: str) -> None:
        if session := self._session(which):
            call = self._begin(session, do)
            with trio.move_on_after(2 * SILENCE):
                while not call.outcomes:
                    await trio.sleep(0.1)

    async def cancel(self, which: int) -> None:
        running = [call for session in self._sessions for call in session.running]
        if running:
            call = running[which % len(running)]
            call.scope.cancel(reason="a step")
            await trio.testing.wait_all_tasks_blocked()
            assert call.outcomes, "a cancelled call waits for something"

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def listen(self, which: int) -> None:
        if session := self._session(which):
            session.has_listened = True
            self._nursery.start_soon(self._listen, session)

    async def stop_listening(self, which: int) -> None:
        if (session := self._session(which)) and session.listeners:
            session.listeners.pop(which % len(session.listeners)).cancel(reason="a step")

    async def notify(self, times: int) -> None:
        for _ in range(times):
            self._notified += 1
            await self._model.notify(log(self._notified))
        await self._model.notify(notification(TOOLS_CHANGED))

    async def reset(self) -> None:
        self._disturbed += 1
        self._model.reset()
        await trio.testing.wait_all_tasks_blocked()

    async def expire(self) -> None:
        self._disturbed += 1
        self._model.expire()

    async def restart(self, downtime: float) -> None:
        self._nursery.start_soon(self._outage, self._model.restart, downtime)

    async def outage(self, seconds: float) -> None:
        self._nursery.start_soon(self._outage, self._model.outage, seconds)

    async def close(self, which: int, ending: str) -> None:
        if session := self._session(which):
            self._sessions.remove(session)
            await self._close(session, ending)

    # What must hold

    async def settle(self) -> None:
        """Every call ends by itself; and when the server is well, the next one succeeds."""
        if self._model.is_silent:
            for call in (call for session in self._sessions for call in session.running):
                if call.do == "hang":
                    call.scope.cancel(reason="nobody answers")
        with trio.move_on_after(5 * SILENCE):
            while any(session.running for session in self._sessions) or self._outages:
                await trio.sleep(1)
        await trio.sleep(2 * SILENCE)  # streams come back
        for session in self._sessions:
            assert not session.running, [call.do for call in session.running]
            call = self._begin(session, "answer")
            with trio.move_on_after(SILENCE):
                while not call.outcomes:
                    await trio.sleep(0.1)
            assert call.outcomes == ["result"], call
            self._check_statistics(session)

    async def end(self) -> None:
        """Nothing is left of what was closed."""
        await self.settle()
        for session in self._sessions:
            await self._close(session, "at once")
        await trio.sleep(GOODBYE)
        assert self._model.network.connections == []

    def check(self) -> None:
        for session in self._sessions:
            assert session.logged == sorted(set(session.logged)), "notifications come once, and in order"

    def _check_statistics(self, session: Session) -> None:
        counted = session.c.statistics()
        found = (counted.requests, counted.requests_failed, counted.requests_cancelled)
        # Those who list at the same time may share a request.
        least = _counts([call for call in session.calls if call.do != LIST])
        assert all(some <= each for some, each in zip(least, found, strict=True)), (found, least)
        if session.has_listened and is_modern(self._model.version):
            # A listener's stream is a request, and another one each time that it is taken up again.
            assert counted.requests_in_flight <= len(session.listeners)
        else:
            most = _counts(session.calls)
            assert all(each <= some for each, some in zip(found, most, strict=True)), (found, most)
            assert counted.requests_in_flight == 0
        assert counted.notifications_dropped == counted.unanswerable_requests == 0

    # How

    def _session(self, which: int) -> Session | None:
        return self._sessions[which % len(self._sessions)] if self._sessions else None

    async def _hold(self, task_status: trio.TaskStatus[Session]) -> None:
        async def heard(message: types.LoggingMessageNotificationParams) -> None:
            session.logged.append(message.data)

        connector = self._model.connect(
            silence=SILENCE,
            logging_callback=heard,
            sampling_callback=sample,
            goodbye_timeout=GOODBYE,
        )
        session = Session(connector)
        try:
            with session.scope:
                async with connector as session.c:
                    task_status.started(session)
                    await session.leave.wait()
                    if session.ending == "by an exception":
                        raise Leave
        except Leave:
            pass
        session.left.set()

    async def _close(self, session: Session, ending: str) -> None:
        session.ending = ending
        running = session.running
        for call in running:
            call.disturbed = -1
        begun = trio.current_time()
        if ending == "by cancelling":
            session.scope.cancel(reason="a step")
        session.leave.set()
        await session.left.wait()
        assert trio.current_time() - begun <= GOODBYE + 0.01
        await trio.testing.wait_all_tasks_blocked()
        assert not session.running, "calls end with their session"
        session.listeners.clear()
        try:
            await session.c.list_tools()
        except trio_mcp.NotConnected:
            pass
        else:
            raise AssertionError("the block is over")

    def _begin(self, session: Session, do: str) -> Running:
        self._count += 1
        disturbed = bool(self._outages)
        if self._model.shares:
            if do in LOST:
                self._disturbed += 1
            disturbed |= any(call.do in LOST for each in self._sessions for call in each.running)
        call = Running(f"nonce-{self._count}", do, -1 if disturbed else self._disturbed)
        session.calls.append(call)
        self._nursery.start_soon(self._run, session, call)
        return call

    async def _run(self, session: Session, call: Running) -> None:
        async def progress(*_: object) -> None:
            assert not call.outcomes, "progress behind the end"

        outcome: str | Exception = "cancelled"
        try:
            with call.scope:
                if call.do == LIST:
                    assert await session.c.list_tools() == []
                else:
                    arguments = {"nonce": call.nonce, "do": call.do}
                    result = await session.c.call_tool("work", arguments, progress_callback=progress)
                    [content] = result.content
                    assert isinstance(content, types.TextContent)
                    assert content.text == call.nonce, "the answer to another call"
                outcome = "result"
        except trio_mcp.ConnectorError as exc:
            outcome = exc
        call.outcomes.append(outcome)
        assert outcome != "cancelled" or call.scope.cancel_called
        undisturbed = call.disturbed == self._disturbed and not self._outages
        self._judge(call, outcome, undisturbed)

    def _judge(self, call: Running, outcome: str | Exception, undisturbed: bool) -> None:
        carried_out = self._model.carried_out[call.nonce]
        assert carried_out <= 1, "carried out twice"
        if outcome == "cancelled":
            return
        if outcome == "result":
            assert carried_out == (call.do != LIST)
            assert call.do not in FAILURES or self._model.shares
            return
        assert isinstance(outcome, Exception)
        expected = FAILURES.get(call.do)
        if (
            call.do in HTTP_ERRORS
            and self._model.shares
            and (call.do not in ("hang", "503") or self._model.is_silent)
        ):
            expected = None
        if self._model.shares and isinstance(outcome, trio_mcp.Stalled):
            return  # the one stream may have been silent for a while when the call began
        if undisturbed:
            assert expected is not None, outcome
            assert isinstance(outcome, expected), outcome
        else:
            assert self._is_documented(outcome) or isinstance(outcome, expected or ()), outcome

    def _is_documented(self, exc: Exception) -> bool:
        return isinstance(exc, DOCUMENTED)

    async def _outage(self, make: Callable[[float], Awaitable[None]], seconds: float) -> None:
        self._disturbed += 1
        self._outages += 1
        await make(seconds)
        await trio.testing.wait_all_tasks_blocked()  # all have noticed
        self._outages -= 1
        self._disturbed += 1

    async def _listen(self, session: Session) -> None:
        scope = trio.CancelScope()
        session.listeners.append(scope)
        try:
            with scope:
                async with session.c.listen(tools=True) as events:
                    async for event in events:
                        assert isinstance(event, trio_mcp.ToolsChanged | trio_mcp.Gap)
        except trio_mcp.ConnectorError as exc:
            assert self._is_documented(exc)
            assert session.ending or self._disturbed or self._outages
        finally:
            if scope in session.listeners:
                session.listeners.remove(scope)


def _counts(calls: list[Running]) -> tuple[int, int, int]:
    """How many there were, how many failed, and how many were cancelled."""
    outcomes = [call.outcomes[0] for call in calls]
    failed = sum(isinstance(outcome, Exception) for outcome in outcomes)
    return len(outcomes), failed, outcomes.count("cancelled")


async def sample(
    context: trio_mcp.RequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult:
    """Says what it was told, after a while."""
    await trio.sleep(0.2)
    content = types.TextContent(type="text", text=params.system_prompt or "")
    return types.CreateMessageResult(role="assistant", content=content, model="x")


def run(model: str, steps: list[Step], seed: int) -> None:
    """Take `steps` in a world of its own, in an order of its tasks that follows from `seed`."""

    async def main(simulation: Simulation) -> None:
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as inner:
                world = World(inner, MODELS[model](nursery, simulation.network))
                for name, arguments in steps:
                    simulation.trace.note(f"step: {name} {arguments}")
                    await getattr(world, name)(*arguments)
                    world.check()
                await world.end()
            nursery.cancel_scope.cancel(reason="the world has ended")

    Simulation(seed, trace=False, time_limit=36000).run(main)
