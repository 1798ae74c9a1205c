"""Messages that a server should not send as the answer to a request, on whatever transport."""

# ruff: noqa: E501 - its tables have a fault on each line

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trio_mcp.errors import MCPError, ProtocolError
from trio_mcp.testing.messages import Json, error, notification, request, response

from .outcomes import OK, Fails, Outcome

__all__ = ["MESSAGES", "BadMessage"]


@dataclass(frozen=True)
class BadMessage:
    """One message.

    Args:
        name: what is wrong with it.
        make: the message, for the id of the request, the right result and what the request kept secret: bytes
            as they are, anything else as JSON.
        outcome: what comes of the request over HTTP, where an answer belongs to its request.
        in_pipe: whether the request is answered by it where all messages come by one way. If not, it is
            nobody's: it is dropped, and the call waits on.
        is_answer: whether it may be taken for an answer at all: on a stream, what is none is dropped.
    """

    name: str
    make: Callable[[Any, Json, str], object]
    outcome: Outcome
    in_pipe: bool = False
    is_answer: bool = True

    def encoded(self, id: Any, result: Json, echo: str) -> bytes:
        made = self.make(id, result, echo)
        return made if isinstance(made, bytes) else json.dumps(made).encode()


def _breaks(says: str, cause: type[BaseException] | None = None) -> Fails:
    return Fails(ProtocolError, says, cause)


MESSAGES: Final = [
    # Not JSON, or not JSON-RPC
    BadMessage("not JSON", lambda id, result, echo: f'{{"{echo}'.encode(), _breaks("not JSON", ValueError)),
    BadMessage("not UTF-8", lambda id, result, echo: b'{"id": "\xff"}', _breaks("not JSON", ValueError)),
    BadMessage("NaN", lambda id, result, echo: b'{"jsonrpc": "2.0", "id": 1, "result": {"a": NaN}}', _breaks("not JSON", ValueError)),
    BadMessage("100,000 brackets", lambda id, result, echo: b"[" * 60_000, _breaks("not JSON", ValueError)),
    BadMessage("a string", lambda id, result, echo: echo, _breaks("not a JSON-RPC 2.0 message")),
    BadMessage("a batch", lambda id, result, echo: [response(id, result)], _breaks("not a JSON-RPC 2.0 message")),
    BadMessage("an empty batch", lambda id, result, echo: [], _breaks("not a JSON-RPC 2.0 message")),
    BadMessage("JSON-RPC 1.0", lambda id, result, echo: {**response(id, result), "jsonrpc": "1.0"}, _breaks("not a JSON-RPC 2.0")),
    BadMessage("no jsonrpc", lambda id, result, echo: {"id": id, "result": result}, _breaks("not a JSON-RPC 2.0 message")),
    # Ids
    BadMessage("another's id", lambda id, result, echo: response(id + 1000, result), _breaks("the server answered .* where request")),
    BadMessage("a secret as id", lambda id, result, echo: response(echo, result), _breaks("the server answered .* where request")),
    BadMessage("a null id", lambda id, result, echo: response(None, result), _breaks("neither a string nor an integer")),
    BadMessage("no id", lambda id, result, echo: {"jsonrpc": "2.0", "result": result}, _breaks("neither a string nor an integer")),
    BadMessage("the id as a string", lambda id, result, echo: response(str(id), result), _breaks("the server answered .* where request")),
    BadMessage("the id as a float", lambda id, result, echo: {**response(0, result), "id": float(id)}, OK, in_pipe=True),
    BadMessage("a broken id", lambda id, result, echo: {**response(0, result), "id": id + 0.5}, _breaks("neither a string nor")),
    BadMessage("true as id", lambda id, result, echo: response(True, result), _breaks("neither a string nor an integer")),
    BadMessage("a list as id", lambda id, result, echo: {**response(0, result), "id": [id]}, _breaks("neither a string nor")),
    BadMessage("an error with a null id", lambda id, result, echo: error(None, -32700, echo), Fails(MCPError, "-32700")),
    BadMessage("an error with another's id", lambda id, result, echo: error(id + 1000, -32603), _breaks("the server answered .* where request")),
    # Answers
    BadMessage("an error", lambda id, result, echo: error(id, -32000, echo, {"sent": echo, echo: 1}), Fails(MCPError, "-32000"), in_pipe=True),
    BadMessage("result and error", lambda id, result, echo: {**response(id, result), **error(id, -1)}, _breaks("either a result or an error")),
    BadMessage("neither", lambda id, result, echo: {"jsonrpc": "2.0", "id": id}, _breaks("either a result or an error")),
    BadMessage("a list as result", lambda id, result, echo: {**response(id, {}), "result": []}, _breaks("result that is not an object")),
    BadMessage("null as result", lambda id, result, echo: {**response(id, {}), "result": None}, _breaks("result that is not an object")),
    BadMessage("an error without a code", lambda id, result, echo: {"jsonrpc": "2.0", "id": id, "error": {"message": echo}}, _breaks("without a code")),
    BadMessage("a string as error", lambda id, result, echo: {"jsonrpc": "2.0", "id": id, "error": echo}, _breaks("without a code")),
    BadMessage("a result of another type", lambda id, result, echo: response(id, {**result, "content": echo, "capabilities": echo}), _breaks("not valid at"), in_pipe=True),
    BadMessage("a secret as type of content", lambda id, result, echo: response(id, {**result, "content": [{"type": echo}], "capabilities": echo}), _breaks("not valid at"), in_pipe=True),
    # None of them
    BadMessage("its own request", lambda id, result, echo: request(id, "tools/call", {"name": "x"}), _breaks("no answer|ended"), is_answer=False),
    BadMessage("a notification", lambda id, result, echo: notification("notifications/tools/list_changed"), _breaks("no answer"), is_answer=False),
    BadMessage("an unknown notification", lambda id, result, echo: notification(f"x/{echo}", {"a": echo}), _breaks("no answer"), is_answer=False),
    BadMessage("params of a wrong type", lambda id, result, echo: {**notification("x"), "params": 3}, _breaks("wrong type")),
    BadMessage("progress of nothing", lambda id, result, echo: notification("notifications/progress", {"progressToken": [echo]}), _breaks("no answer"), is_answer=False),
]  # fmt: skip
