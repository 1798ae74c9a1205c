"""Tools for models: MCP's tools and results in the function-calling shapes of model APIs, and back.

A module for each API, with the same three functions: `declarations`, `tool_calls` and `result_messages`. They
take and give plain dicts and need no SDK, but take an SDK's objects as well. `failure_result` makes a result
of a call that failed. docs/agents.md shows them together.

Nothing here sends anything: who asks the model, and when, is the program's part.
"""

from . import anthropic_messages, gemini, openai_chat, openai_responses
from .calls import ModelAPI, ToolCall
from .failures import failure_result

__all__ = [
    "ModelAPI",
    "ToolCall",
    "anthropic_messages",
    "failure_result",
    "gemini",
    "openai_chat",
    "openai_responses",
]
