"""An agent: a model asks for tools, and the tools of one turn run side by side in a nursery.

    python examples/agent_runner.py

The model and the person are scripted and the server is in this process, so that nothing else is needed. Put a
real model in the place of `scripted_model`, and a target of `open_connector` in the place of `make_server()`.

- Time: each tool has a budget, and so has the run. A tool that takes longer is cancelled at its server; the
  model hears of it and goes on. While the person is asked, the tool's clock stands still.
- The person: what a server wants to have approved (elicitation) is a `Question` in a memory channel.
- Ctrl-C, or cancelling the scope around `run`, cancels every call at its server. The transcript is kept.
"""

import json
import math
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeAlias

import mcp_types as types
import trio
from mcp.server import MCPServer
from mcp.server.mcpserver import Elicit, ElicitationResult, Resolve
from pydantic import BaseModel

from trio_mcp import Connector, ConnectorError, RequestContext, open_connector
from trio_mcp.agents import ToolCall, anthropic_messages, failure_result

JSON: TypeAlias = dict[str, Any]
Model: TypeAlias = Callable[[Sequence[JSON], Sequence[JSON]], Awaitable[JSON]]
"""Takes the messages and the tools, and gives an answer in the shape of Anthropic's Messages API."""


@dataclass(frozen=True)
class Budget:
    """Seconds that each tool may work, and that the run may take in all."""

    tool: float = 30
    run: float = 600


@dataclass
class Transcript:
    """What happened and when, in seconds since it was made. It is there however the run ends."""

    entries: list[tuple[float, str, str]] = field(default_factory=list)
    began: float = field(default_factory=trio.current_time)

    def add(self, who: str, what: str) -> None:
        self.entries.append((trio.current_time() - self.began, who, what))

    def __str__(self) -> str:
        return "\n".join(f"{time:6.1f} s  {who:>8}  {what}" for time, who, what in self.entries)


@dataclass
class Agent:
    """Runs a model with the tools of a connector, or of a group: both list and call tools in the same way."""

    model: Model
    connector: Connector
    budget: Budget
    transcript: Transcript

    async def run(self, prompt: str) -> str:
        """The model's last words; `trio.TooSlowError` if the run takes longer than its budget."""
        self.transcript.add("user", prompt)
        messages: list[JSON] = [{"role": "user", "content": prompt}]
        with trio.fail_after(self.budget.run):
            tools = await self.connector.list_tools()
            declared = anthropic_messages.declarations(tools)
            while True:
                answer = await self.model(messages, declared)
                messages.append({"role": "assistant", "content": answer["content"]})
                said = "".join(block["text"] for block in answer["content"] if block["type"] == "text")
                self.transcript.add("model", said)
                calls = anthropic_messages.tool_calls(answer, tools)
                if not calls:
                    return said
                messages += anthropic_messages.result_messages(await self._call_all(calls))

    async def _call_all(self, calls: Sequence[ToolCall]) -> list[tuple[ToolCall, types.CallToolResult]]:
        """The results of the calls, in the order of the calls."""
        results: dict[int, types.CallToolResult] = {}

        async def call_into(index: int, call: ToolCall) -> None:
            results[index] = await self._call(call)

        async with trio.open_nursery() as nursery:
            for index, call in enumerate(calls):
                nursery.start_soon(call_into, index, call)
        return [(call, results[index]) for index, call in enumerate(calls)]

    async def _call(self, call: ToolCall) -> types.CallToolResult:
        self.transcript.add("call", f"{call.name} {json.dumps(call.arguments)}")
        try:
            result = call.problem or await self._carry_out(call)
        except trio.Cancelled:
            self.transcript.add("call", f"{call.name} cancelled")
            raise
        said = " ".join(block.text for block in result.content if isinstance(block, types.TextContent))
        self.transcript.add("error" if result.is_error else "result", f"{call.name}: {said}")
        return result

    async def _carry_out(self, call: ToolCall) -> types.CallToolResult:
        """The tool's result, or what the model is to hear of its failure; a bug in the program is raised."""
        try:
            with trio.fail_after(self.budget.tool) as clock:
                _clock.set(clock)
                return await self.connector.call_tool(call.name, call.arguments)
        except (ConnectorError, trio.TooSlowError) as exc:
            return failure_result(exc)


_clock: Final[ContextVar[trio.CancelScope | None]] = ContextVar("clock of the tool", default=None)


@contextmanager
def clock_stopped() -> Iterator[None]:
    """Stop the clock of the call that asks.

    A modern server's question is answered in the course of its call. A legacy server asks beside its calls,
    and does not say for which: then no clock is stopped.
    """
    clock = _clock.get()
    if clock is None or clock.deadline == math.inf:  # another question of this call has stopped it
        yield
        return
    left, clock.deadline = clock.deadline - trio.current_time(), math.inf
    try:
        yield
    finally:
        clock.deadline = trio.current_time() + left


# The person


@dataclass
class Question:
    """Something that a server wants to have approved. The answer goes into `reply`."""

    message: str
    reply: trio.MemorySendChannel[bool]


@dataclass
class Approval:
    """The elicitation callback: it puts each question to the person, and waits for the answer."""

    questions: trio.MemorySendChannel[Question]
    transcript: Transcript

    async def __call__(
        self, context: RequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        if not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")  # a URL is another matter than an approval
        reply, answer = trio.open_memory_channel[bool](1)
        with clock_stopped():
            await self.questions.send(Question(params.message, reply))
            approved = await answer.receive()
        self.transcript.add("person", f"{params.message} {'yes' if approved else 'no'}")
        return types.ElicitResult(action="accept" if approved else "decline")


# What is put in the place of the world: a server, a model, a person


class NoForm(BaseModel):
    """Nothing to fill in: the question is a yes or a no."""


async def may_delete(name: str) -> Elicit[NoForm]:
    return Elicit(f"Delete the note {name!r}?", NoForm)


def make_server() -> MCPServer:
    server = MCPServer("notes", log_level="CRITICAL")
    notes = {"trio": "Nurseries end before their block does.", "todo": "Water the plants."}

    @server.tool()
    async def read_note(name: str) -> str:
        """Read a note."""
        await trio.sleep(0.5)
        return notes[name]

    @server.tool()
    async def index_notes() -> str:
        """Index all notes, which takes an hour."""
        await trio.sleep(3600)
        return "indexed"

    @server.tool()
    async def delete_note(
        name: str, approval: Annotated[ElicitationResult[NoForm], Resolve(may_delete)]
    ) -> str:
        """Delete a note, if the user allows it."""
        if approval.action != "accept":
            return "The user does not want that. Nothing was deleted."
        del notes[name]
        return f"{name} deleted"

    return server


def text(said: str) -> JSON:
    return {"type": "text", "text": said}


def use(tool: str, **arguments: str) -> JSON:
    call_id = "_".join(["toolu", tool, *arguments.values()])
    return {"type": "tool_use", "id": call_id, "name": tool, "input": arguments}


SCRIPT: Final = [
    [text("I read."), use("read_note", name="trio"), use("read_note", name="todo"), use("index_notes")],
    [text("Indexing is too slow. I clear up."), use("delete_note", name="todo"), use("tidy_up")],
    [text("Both notes are read, and one is deleted.")],
]


async def scripted_model(messages: Sequence[JSON], tools: Sequence[JSON]) -> JSON:
    """Answers by a script, as a model would that is asked with all messages each time."""
    await trio.sleep(0.2)
    turn = sum(message["role"] == "assistant" for message in messages)
    return {"role": "assistant", "content": SCRIPT[turn]}


async def willing_person(questions: trio.MemoryReceiveChannel[Question]) -> None:
    async for question in questions:
        await trio.sleep(1.5)  # more than a tool has, which does not matter
        await question.reply.send(True)


async def main() -> None:
    transcript = Transcript()
    ask, questions = trio.open_memory_channel[Question](0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(willing_person, questions)
            async with open_connector(make_server(), elicitation_callback=Approval(ask, transcript)) as c:
                await Agent(scripted_model, c, Budget(tool=1, run=20), transcript).run(
                    "Look through my notes."
                )
            nursery.cancel_scope.cancel(reason="the run is over")
    finally:
        print(transcript)


if __name__ == "__main__":
    interrupted = False
    try:
        trio.run(main)
    except* KeyboardInterrupt:  # it may come out of nurseries, in their groups
        interrupted = True
    if interrupted:
        sys.exit("interrupted")
