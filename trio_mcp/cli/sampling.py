"""Sampling at the terminal: what a server would have a model say is shown to the person, who says it.

26/client/sampling: there should always be a human in the loop. Here there is nobody else.
"""

from __future__ import annotations

from typing import Final

import mcp_types as types

from ..callbacks import RequestContext
from .output import block_text
from .terminal import Terminal

__all__ = ["SamplingPrompt"]

_END: Final = "."
_REJECTED: Final = types.ErrorData(code=-1, message="User rejected sampling request")


class SamplingPrompt:
    """A `sampling_callback` that has the person write the answer, and declines where there is nobody."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    async def __call__(
        self, context: RequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.ErrorData:
        if self._terminal.closed is not None:
            self._terminal.decline("what a model would answer (sampling)")
            return _REJECTED
        try:
            async with self._terminal.turn():
                self._show(params)
                text = await self._write()
        except EOFError:
            return _REJECTED
        if not text:
            return _REJECTED
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(text=text),
            model="a person at a terminal",
            stop_reason="endTurn",
        )

    def _show(self, params: types.CreateMessageRequestParams) -> None:
        say = self._terminal.say
        say(f"{self._terminal.server} asks what a model would answer:", style="bold")
        if params.system_prompt:
            say(f"  system: {params.system_prompt}")
        for message in params.messages:
            for block in message.content_as_list:
                say(f"  {message.role}: {block_text(block)}")
        say(f"Your answer; a line with a dot ends it, an empty one declines ({params.max_tokens} tokens):")

    async def _write(self) -> str:
        """The lines of the answer; none if it begins with an empty one."""
        lines: list[str] = []
        while (line := await self._terminal.read()) != _END:
            if not line and not lines:
                break
            lines.append(line)
        return "\n".join(lines)
