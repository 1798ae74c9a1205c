"""What the server may ask of the client, and the answers.

The same three requests come in two ways: as JSON-RPC requests of a legacy server, and as the input
requests of a modern one (26/basic/patterns/mrtr). Both are answered here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import mcp_types as types
from pydantic import BaseModel, ValidationError

from .callbacks import Callbacks, RequestContext
from .errors import MCPError, UsageError
from .protocol.envelope import dump
from .protocol.validation import first_error
from .protocol.wire import INVALID_PARAMS, METHOD_NOT_FOUND, JSONObject

__all__ = ["AroundServerRequest", "RequestHandler", "ServerRequests"]

P = TypeVar("P", bound=BaseModel)

Answer: TypeAlias = types.Result | types.ErrorData
AroundServerRequest: TypeAlias = Callable[
    [str, Any, RequestContext, Callable[[Any], Awaitable[Any]]], Awaitable[Any]
]
"""Has a request's params answered, and does what is to be done around that."""
RequestHandler: TypeAlias = Callable[
    [RequestContext, Mapping[str, Any]], Awaitable[Mapping[str, Any] | BaseModel]
]
"""Answers the requests of an extension: takes their params, gives the result."""

_SAMPLED: Final = (types.CreateMessageResult, types.CreateMessageResultWithTools)


class ServerRequests:
    """Answers the server's requests through the user's callbacks.

    Args:
        callbacks: the user's.
        handlers: for the requests of extensions, by method.
        around: what is to be done around each answer.

    Attributes:
        declared: what the server was told that it may ask for; it gets nothing beyond that.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        handlers: Mapping[str, RequestHandler] = MappingProxyType({}),
        around: AroundServerRequest | None = None,
    ) -> None:
        self.declared: types.ClientCapabilities = types.ClientCapabilities()
        self._callbacks = callbacks
        self._handlers = handlers
        self._around = around or _directly
        self._answers: Mapping[str, Callable[[RequestContext, JSONObject], Awaitable[JSONObject]]] = {
            "sampling/createMessage": self._sample,
            "elicitation/create": self._elicit,
            "roots/list": self._list_roots,
        }

    async def answer(self, method: str, params: JSONObject | None, context: RequestContext) -> JSONObject:
        """The result to send for `method`.

        Raises:
            MCPError: the error to send: the callback's, or one about the request.
            Exception: whatever else the callback raised.
        """
        answer = self._answers.get(method)
        if answer is None and method not in self._handlers:
            raise MCPError(METHOD_NOT_FOUND, f"this client has no method {method!r}")
        try:
            if answer is None:
                return await self._handle(method, context, params or {})
            return await answer(context, params or {})
        except Exception as exc:
            # The SDK's own exception, raised by a callback that was written for it, means ours.
            error = getattr(exc, "error", None)
            if isinstance(error, types.ErrorData):
                raise MCPError(error.code, error.message, error.data) from exc
            raise

    async def _sample(self, context: RequestContext, raw: JSONObject) -> JSONObject:
        callback, declared = self._callbacks.sampling, self.declared.sampling
        if callback is None or declared is None:
            raise MCPError(METHOD_NOT_FOUND, "this client does not offer sampling")
        params = _parse(types.CreateMessageRequestParams.model_validate, raw)
        if (params.tools or params.tool_choice) and declared.tools is None:
            raise MCPError(INVALID_PARAMS, "this client has not declared sampling.tools")
        _check_tool_messages(params.messages)
        answer = await self._around("sampling/createMessage", params, context, partial(callback, context))
        return _result(answer, _SAMPLED, "sampling_callback")

    async def _elicit(self, context: RequestContext, raw: JSONObject) -> JSONObject:
        callback, declared = self._callbacks.elicitation, self.declared.elicitation
        if callback is None or declared is None:
            raise MCPError(METHOD_NOT_FOUND, "this client does not offer elicitation")
        params: types.ElicitRequestFormParams | types.ElicitRequestURLParams
        match raw.get("mode", "form"):  # an absent mode is a form (2511/client/elicitation)
            case "form":
                params = _parse(types.ElicitRequestFormParams.model_validate, raw)
            case "url":
                params = _parse(types.ElicitRequestURLParams.model_validate, raw)
            case mode:
                raise MCPError(INVALID_PARAMS, f"invalid params: mode: {mode!r} is not a known one")
        # Nothing declared but the capability itself means forms only (2511/client/elicitation).
        modes = {"form": declared.form or declared.url is None, "url": declared.url}
        if not modes[params.mode]:
            raise MCPError(INVALID_PARAMS, f"this client has not declared elicitation by {params.mode}")
        answer = await self._around("elicitation/create", params, context, partial(callback, context))
        if isinstance(answer, types.ElicitResult):
            answer = _complete(answer, params)
        return _result(answer, (types.ElicitResult,), "elicitation_callback")

    async def _list_roots(self, context: RequestContext, raw: JSONObject) -> JSONObject:
        callback = self._callbacks.list_roots
        if callback is None or self.declared.roots is None:
            raise MCPError(METHOD_NOT_FOUND, "this client has no roots")
        answer = await self._around("roots/list", None, context, lambda _: callback(context))
        return _result(answer, (types.ListRootsResult,), "list_roots_callback")

    async def _handle(self, method: str, context: RequestContext, raw: JSONObject) -> JSONObject:
        answer = await self._around(method, raw, context, partial(self._handlers[method], context))
        if isinstance(answer, BaseModel):
            answer = dump(answer)
        if not isinstance(answer, Mapping):
            raise UsageError(
                f"the handler of {method} returned {type(answer).__name__}, not a mapping or a model"
            )
        return answer


async def _directly(
    method: str, params: Any, context: RequestContext, answer: Callable[[Any], Awaitable[Any]]
) -> Any:
    return await answer(params)


def _parse(parse: Callable[[Any], P], raw: JSONObject) -> P:
    try:
        return parse(raw)
    except ValidationError as exc:
        raise MCPError(INVALID_PARAMS, f"invalid params: {first_error(exc)}") from exc


def _result(
    answer: types.Result | types.ErrorData, kinds: tuple[type[types.Result], ...], callback: str
) -> JSONObject:
    if isinstance(answer, types.ErrorData):
        raise MCPError(answer.code, answer.message, answer.data)
    if not isinstance(answer, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise UsageError(
            f"{callback} returned {type(answer).__name__} where {names} or ErrorData is expected"
        )
    return dump(answer)


def _complete(
    answer: types.ElicitResult, params: types.ElicitRequestFormParams | types.ElicitRequestURLParams
) -> types.ElicitResult:
    """`answer` as it may be sent: content for accepted forms only, with the schema's defaults filled in."""
    if answer.action != "accept" or isinstance(params, types.ElicitRequestURLParams):
        return answer.model_copy(update={"content": None})
    properties = params.requested_schema.get("properties")
    defaults = {
        name: schema["default"]
        for name, schema in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(schema, dict) and "default" in schema
    }
    return answer.model_copy(update={"content": {**defaults, **(answer.content or {})}})


def _check_tool_messages(messages: list[types.SamplingMessage]) -> None:
    """Tool results stand alone in the message after the tool uses that they answer (2511/client/sampling)."""
    awaited: set[str] = set()
    for message in messages:
        blocks = message.content_as_list
        answered = {block.tool_use_id for block in blocks if isinstance(block, types.ToolResultContent)}
        if answered and len(answered) != len(blocks):
            raise MCPError(INVALID_PARAMS, "a message with tool results must hold nothing else")
        if answered != awaited:
            raise MCPError(INVALID_PARAMS, "tool uses and the tool results after them do not match")
        awaited = {block.id for block in blocks if isinstance(block, types.ToolUseContent)}
    if awaited:
        raise MCPError(INVALID_PARAMS, "a tool use has no tool result")
