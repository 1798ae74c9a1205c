"""examples/agent_runner.py: tools side by side, what stops them, and what is left when they are stopped."""

from __future__ import annotations

import runpy
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing
from mcp.server import MCPServer

from examples.agent_runner import (
    JSON,
    Agent,
    Approval,
    Budget,
    Question,
    Transcript,
    clock_stopped,
    make_server,
    text,
    use,
)
from trio_mcp import open_connector
from trio_mcp.testing import ScriptedServer

Clock: TypeAlias = trio.testing.MockClock
VERSIONS = pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])


class Model:
    """Answers by a script, and keeps what it was asked with."""

    def __init__(self, *script: list[JSON]) -> None:
        self.script = script
        self.asked: list[list[JSON]] = []

    async def __call__(self, messages: Sequence[JSON], tools: Sequence[JSON]) -> JSON:
        self.asked.append(list(messages))
        return {"content": self.script[len(self.asked) - 1]}

    def heard(self) -> dict[str, tuple[bool, str]]:
        """What it was told last of its calls: whether it is an error, and the text."""
        [*_, message] = self.asked[-1]
        return {
            block["tool_use_id"]: (block["is_error"], block["content"][0]["text"])
            for block in message["content"]
        }


class Workshop:
    """A server whose tool takes as long as it is told, and what it saw of its calls."""

    def __init__(self) -> None:
        self.cancelled: list[tuple[str, float]] = []
        self.server = MCPServer("workshop", log_level="CRITICAL")
        self.server.add_tool(self.work)

    async def work(self, what: str, seconds: float) -> str:
        """Work."""
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled.append((what, trio.current_time()))
            raise
        return f"{what} done"


def work(what: str, seconds: float) -> JSON:
    return {**use("work", what=what), "input": {"what": what, "seconds": seconds}}


@pytest.fixture
def shop() -> Workshop:
    return Workshop()


@asynccontextmanager
async def agent(
    server: MCPServer[Any] | ScriptedServer,
    model: Any,
    person: bool = True,
    patience: float = 0,
    **options: Any,
) -> AsyncGenerator[Agent]:
    """An agent, beside whom there is a person who answers everything in the same way."""
    transcript = Transcript()
    ask, questions = trio.open_memory_channel[Question](0)
    budget = Budget(**{name: options.pop(name) for name in ("tool", "run") if name in options})

    connect = server.connect if isinstance(server, ScriptedServer) else partial(open_connector, server)

    async def answer_all() -> None:
        async for question in questions:
            await trio.sleep(patience)
            await question.reply.send(person)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_all)
        async with connect(elicitation_callback=Approval(ask, transcript), **options) as c:
            yield Agent(model, c, budget, transcript)
        nursery.cancel_scope.cancel(reason="the test is over")


def seen(agent: Agent, who: str) -> list[tuple[float, str]]:
    return sorted((time, what) for time, each, what in agent.transcript.entries if each == who)


async def test_the_tools_of_a_turn_run_at_the_same_time(shop: Workshop, autojump_clock: Clock) -> None:
    model = Model([work("a", 10), work("b", 25), work("c", 20)], [work("d", 5)], [text("ready")])
    async with agent(shop.server, model) as runner:
        assert await runner.run("go") == "ready"
        assert trio.current_time() == 30
    assert seen(runner, "result") == [
        (10, "work: a done"),
        (20, "work: c done"),
        (25, "work: b done"),
        (30, "work: d done"),
    ]
    # The results are in the order of the calls, whatever came first.
    [_, called, results] = model.asked[1]
    assert [each["tool_use_id"] for each in results["content"]] == [each["id"] for each in called["content"]]


@VERSIONS
async def test_a_tool_beyond_its_budget_is_cancelled_and_the_model_goes_on(
    shop: Workshop, version: str, autojump_clock: Clock
) -> None:
    model = Model([work("slow", 3600), work("quick", 1)], [text("ready")])
    async with agent(shop.server, model, tool=60, protocol_version=version) as runner:
        assert await runner.run("go") == "ready"
        await trio.testing.wait_all_tasks_blocked()
        assert shop.cancelled == [("slow", 60)]
    heard = model.heard()
    assert heard["toolu_work_quick"] == (False, "quick done")
    assert heard["toolu_work_slow"][0]
    assert "took longer than it was given" in heard["toolu_work_slow"][1]


@VERSIONS
async def test_a_run_beyond_its_budget_is_cancelled_with_all_its_tools(
    shop: Workshop, autojump_clock: Clock, version: str
) -> None:
    model = Model([work("first", 50)], [work("a", 3600), work("b", 3600)])
    async with agent(shop.server, model, tool=100, run=120, protocol_version=version) as runner:
        with pytest.raises(trio.TooSlowError):
            await runner.run("go")
        assert trio.current_time() == 120
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(shop.cancelled) == [("a", 120), ("b", 120)]
    assert seen(runner, "result") == [(50, "work: first done")]
    assert (120, "work cancelled") in seen(runner, "call")


async def test_ctrl_c_cancels_the_tools_at_the_server_and_leaves_the_transcript(
    shop: Workshop, autojump_clock: Clock
) -> None:
    async def press_ctrl_c() -> None:
        await trio.sleep(7)
        raise KeyboardInterrupt

    model = Model([text("working"), work("a", 3600), work("b", 3600)])
    async with agent(shop.server, model) as runner:
        with pytest.RaisesGroup(KeyboardInterrupt):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(press_ctrl_c)
                await runner.run("go")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(shop.cancelled) == [("a", 7), ("b", 7)]
    assert str(runner.transcript).splitlines()[:2] == [
        "   0.0 s      user  go",
        "   0.0 s     model  working",
    ]
    assert seen(runner, "call")[-2:] == [(7, "work cancelled")] * 2


async def test_a_bug_is_not_told_to_the_model(
    shop: Workshop, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call_tool(*arguments: object) -> None:
        raise KeyError("a bug")

    model = Model([work("a", 1)])
    async with agent(shop.server, model) as runner:
        monkeypatch.setattr(runner.connector, "call_tool", call_tool)
        with pytest.RaisesGroup(KeyError):
            await runner.run("go")
    assert len(model.asked) == 1


@VERSIONS
@pytest.mark.parametrize(
    ("person", "told", "left"),
    [(True, "todo deleted", ["trio"]), (False, "Nothing was deleted", ["trio", "todo"])],
)
async def test_what_is_to_be_approved_is_the_persons_to_say(
    version: str, person: bool, told: str, left: list[str], autojump_clock: Clock
) -> None:
    model = Model(
        [use("delete_note", name="todo")],
        [use("read_note", name=name) for name in ("trio", "todo")],
        [text("ready")],
    )
    async with agent(make_server(), model, person, protocol_version=version) as runner:
        await runner.run("go")
    assert seen(runner, "person") == [(0, f"Delete the note 'todo'? {'yes' if person else 'no'}")]
    assert told in str(runner.transcript)
    assert [name for name in ("trio", "todo") if not model.heard()[f"toolu_read_note_{name}"][0]] == left


async def test_a_persons_thinking_is_not_the_tools_work(autojump_clock: Clock) -> None:
    model = Model([use("delete_note", name="todo"), use("index_notes")], [text("ready")])
    async with agent(make_server(), model, patience=300, tool=10) as runner:
        await runner.run("go")
        assert trio.current_time() == 300
    assert [time for time, _ in seen(runner, "error")] == [10]  # nobody was asked on behalf of the other one
    assert model.heard()["toolu_delete_note_todo"] == (False, "todo deleted")


async def test_of_two_questions_of_one_call_the_first_stops_its_clock(
    autojump_clock: Clock, serve: Any
) -> None:
    form = {"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}
    question = {"method": "elicitation/create", "params": form}

    async def buy(call: Any) -> Any:
        if "inputResponses" not in call.params:
            return call.input_required({"one": question, "two": question})
        await trio.sleep(3600)
        return call.text("bought")

    server = serve()
    server.on["tools/list"] = lambda call: {"tools": [{"name": "buy", "inputSchema": {"type": "object"}}]}
    server.on["tools/call"] = buy
    model = Model([use("buy")], [text("ready")])
    async with agent(server, model, patience=300, tool=10) as runner:
        await runner.run("go")
    assert 610 > trio.current_time() > 300  # and the hour of work was too long
    assert model.heard()["toolu_buy"][0]


async def test_where_no_tool_has_a_clock_there_is_none_to_stop() -> None:
    with clock_stopped():
        pass


async def test_a_url_is_not_approved_by_a_yes(autojump_clock: Clock, serve: Any) -> None:
    page = {"mode": "url", "elicitationId": "1", "url": "https://example.com", "message": "Pay"}
    server = serve()
    server.on["tools/call"] = lambda call: (
        call.input_required({"pay": {"method": "elicitation/create", "params": page}})
        if "inputResponses" not in call.params
        else call.text(call.params["inputResponses"]["pay"]["action"])
    )
    ask, _ = trio.open_memory_channel[Question](0)
    async with server.connect(elicitation_callback=Approval(ask, Transcript())) as c:
        assert (await c.call_tool("buy")).content[0].text == "decline"


def test_the_program_shows_a_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    start, clock = trio.run, trio.testing.MockClock(autojump_threshold=0)
    monkeypatch.setattr(trio, "run", lambda main: start(main, clock=clock))
    path = Path(__file__).parent.parent / "examples" / "agent_runner.py"
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert "1.2 s     error  index_notes: The call took longer" in printed
    assert "no tool tidy_up" in printed
    assert "2.9 s    result  delete_note: todo deleted" in printed
    assert printed.endswith("Both notes are read, and one is deleted.\n")


def test_the_program_says_that_it_was_interrupted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(main: object) -> None:
        raise BaseExceptionGroup("from a nursery", [KeyboardInterrupt()])

    monkeypatch.setattr(trio, "run", run)
    path = Path(__file__).parent.parent / "examples" / "agent_runner.py"
    with pytest.raises(SystemExit, match="interrupted"):
        runpy.run_path(str(path), run_name="__main__")
