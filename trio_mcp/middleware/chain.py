"""The hooks of all middleware of one connector, put together."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import mcp_types as types
import trio
from pydantic import BaseModel, ValidationError

from ..callbacks import Caller
from ..errors import ConfigurationError, InvalidArguments
from ..protocol.envelope import dump
from ..protocol.validation import first_error
from ..protocol.wire import JSONObject
from .base import Middleware, MiddlewareContext

__all__ = ["Chain", "MiddlewareOption", "check_middleware"]

P = TypeVar("P")
R = TypeVar("R")
Hook: TypeAlias = Callable[
    [MiddlewareContext[Any], Callable[[MiddlewareContext[Any]], Awaitable[Any]]], Awaitable[Any]
]

MiddlewareOption: TypeAlias = Sequence[Middleware | Hook]
"""Middleware objects; a bare `async def hook(context, call_next)` is an `on_request`."""

_HOOKS: Final[Mapping[str, str]] = {
    "initialize": "on_initialize",
    "tools/call": "on_call_tool",
    "tools/list": "on_list_tools",
    "resources/list": "on_list_resources",
    "resources/templates/list": "on_list_resource_templates",
    "resources/read": "on_read_resource",
    "prompts/list": "on_list_prompts",
    "prompts/get": "on_get_prompt",
    "completion/complete": "on_complete",
}
_PARAMS: Final[Mapping[str, type[BaseModel]]] = {
    "tools/call": types.CallToolRequestParams,
    "tools/list": types.PaginatedRequestParams,
    "resources/list": types.PaginatedRequestParams,
    "resources/templates/list": types.PaginatedRequestParams,
    "resources/read": types.ReadResourceRequestParams,
    "prompts/list": types.PaginatedRequestParams,
    "prompts/get": types.GetPromptRequestParams,
    "completion/complete": types.CompleteRequestParams,
}


def check_middleware(option: MiddlewareOption | None) -> tuple[Middleware | Hook, ...]:
    """The middleware that `option` names.

    Raises:
        ConfigurationError: something in it is neither a middleware nor a function.
    """
    if option is None:
        return ()
    if isinstance(option, Middleware) or not isinstance(option, Sequence):
        raise ConfigurationError(f"middleware must be a list, not {type(option).__name__}")
    for each in option:
        if isinstance(each, type) or not (_has_hooks(each) or callable(each)):
            shown = each.__name__ if isinstance(each, type) else type(each).__name__
            raise ConfigurationError(
                f"a middleware must be an object with hooks such as on_request, or a function; {shown} is not"
            )
    return tuple(option)


class Chain:
    """Runs everything of one connection through its middleware, the first one outermost.

    Args:
        middleware: checked by `check_middleware`.
        connector: what the hooks are told of.
    """

    def __init__(self, middleware: Sequence[Middleware | Hook], connector: Caller) -> None:
        self._middleware = middleware
        self._connector = connector
        self._ids = itertools.count(1)
        self._hooks: dict[str, Sequence[Hook]] = {}

    def has(self, name: str) -> bool:
        """Whether any middleware has the hook `name`."""
        return any(_hook(each, name) for each in self._middleware)

    async def request(
        self,
        method: str,
        params: JSONObject | None,
        headers: Mapping[str, str] | None,
        send: Callable[[JSONObject | None, Mapping[str, str]], Awaitable[R]],
    ) -> R:
        """`send(params, headers)` within the hooks for `method`."""
        kind = _PARAMS.get(method)
        typed = params if kind is None else _typed(kind, params)

        async def last(context: MiddlewareContext[Any]) -> R:
            raw = context.params
            return await send(raw if kind is None else _untyped(raw, params), context.headers)

        context = self._context(method, typed)
        context.headers.update(headers or {})
        return await self._run(method, context, last)

    async def around(
        self,
        method: str,
        params: P,
        call: Callable[[MiddlewareContext[P]], Awaitable[R]],
        hook: str | None = None,
    ) -> R:
        """`call(context)` within the hooks for `method`, or within all of the name `hook`."""
        return await self._run(hook or method, self._context(method, params), call)

    def _context(self, method: str, params: P) -> MiddlewareContext[P]:
        return MiddlewareContext(
            id=str(next(self._ids)),
            method=method,
            params=params,
            connector=self._connector,
            timestamp=trio.current_time(),
        )

    async def _run(
        self,
        key: str,
        context: MiddlewareContext[P],
        call: Callable[[MiddlewareContext[P]], Awaitable[R]],
    ) -> R:
        if key not in self._hooks:
            self._hooks[key] = list(self._find(key))
        for hook in reversed(self._hooks[key]):
            call = partial(hook, call_next=call)  # type: ignore[call-arg]
        return await call(context)

    def _find(self, key: str) -> Sequence[Hook]:
        """The hooks for a method, or those of a name, from the outermost on."""
        names = [key] if key.startswith("on_") else ["on_request", _HOOKS.get(key, "")]
        return [hook for each in self._middleware for name in names if (hook := _hook(each, name))]


def _hook(middleware: Middleware | Hook, name: str) -> Hook | None:
    """The hook, if it does anything."""
    if not _has_hooks(middleware):
        return middleware if name == "on_request" else None  # type: ignore[return-value]
    if getattr(type(middleware), name, None) is getattr(Middleware, name, None):
        return None
    hook: Hook | None = getattr(middleware, name, None)
    return hook


def _has_hooks(middleware: object) -> bool:
    return any(hasattr(middleware, name) for name in ("on_request", *_HOOKS.values()))


def _typed(kind: type[BaseModel], params: JSONObject | None) -> BaseModel:
    try:
        return kind.model_validate(params or {}, by_name=False)
    except ValidationError as exc:
        raise InvalidArguments(f"params: {first_error(exc)}") from exc


def _untyped(params: BaseModel, given: JSONObject | None) -> JSONObject | None:
    """What is sent of `params`; fields that their type does not know are as they were given."""
    known = {field.alias or name for name, field in type(params).model_fields.items()}
    rest = {name: value for name, value in (given or {}).items() if name not in known}
    return {**rest, **dump(params)} or None
