import io
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias, cast

import mcp_types as types
import pytest
import trio
from rich.console import Console

from trio_mcp import RequestContext
from trio_mcp.cli.sampling import SamplingPrompt
from trio_mcp.cli.terminal import NO_TERMINAL, Terminal

MakeConsole: TypeAlias = Callable[..., tuple[Console, io.StringIO]]

CONTEXT = cast(RequestContext, None)
PARAMS = types.CreateMessageRequestParams(
    messages=[
        types.SamplingMessage(role="user", content=types.TextContent(text="Say\x1b it")),
        types.SamplingMessage(
            role="assistant", content=[types.ImageContent(data="AAAA", mime_type="image/png")]
        ),
    ],
    max_tokens=50,
    system_prompt="Be brief",
)


async def asked(
    make_console: MakeConsole, *typed: str, closed: str | None = None, params: Any = PARAMS
) -> tuple[types.CreateMessageResult | types.ErrorData, str]:
    lines = list(typed)

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        if not lines:
            raise EOFError
        return lines.pop(0)

    console, file = make_console(terminal=True)
    prompt = SamplingPrompt(Terminal(console, nullcontext, closed=closed, read=read))
    answer = await prompt(CONTEXT, params)
    assert not lines
    return answer, file.getvalue()


async def test_the_person_sees_everything_and_writes_the_answer(make_console: MakeConsole) -> None:
    answer, shown = await asked(make_console, "It,", "", "said.", ".")
    assert isinstance(answer, types.CreateMessageResult)
    assert answer.content == types.TextContent(text="It,\n\nsaid.")
    assert (answer.role, answer.model, answer.stop_reason) == (
        "assistant",
        "a person at a terminal",
        "endTurn",
    )
    assert shown.splitlines() == [
        "the server asks what a model would answer:",
        "  system: Be brief",
        "  user: Say\\x1b it",
        "  assistant: [image, image/png, 4 characters of base64]",
        "Your answer; a line with a dot ends it, an empty one declines (50 tokens):",
    ]


async def test_without_a_system_prompt(make_console: MakeConsole) -> None:
    params = PARAMS.model_copy(update={"system_prompt": None})
    _, shown = await asked(make_console, "It", ".", params=params)
    assert "system" not in shown


@pytest.mark.parametrize("typed", [("",), (".",), (), ("begun",)])
async def test_it_can_be_declined(make_console: MakeConsole, typed: tuple[str, ...]) -> None:
    answer, _ = await asked(make_console, *typed)
    assert answer == types.ErrorData(code=-1, message="User rejected sampling request")


async def test_without_a_terminal_it_is_declined(make_console: MakeConsole) -> None:
    answer, shown = await asked(make_console, closed=NO_TERMINAL)
    assert isinstance(answer, types.ErrorData)
    assert shown == (
        "the server asks: what a model would answer (sampling)\n"
        "declined, as there is no terminal to answer at\n"
    )
