"""The hooks of all middleware of one connector, put together."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import mcp_types as types
import trio
from pydantic import BaseModel, ValidationError

from ..callbacks import Caller
from ..errors import ConfigurationError, InvalidArguments, UsageError
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
Send: TypeAlias = Callable[[JSONObject | None, Mapping[str, str], JSONObject], Awaitable[R]]
"""Sends params, with HTTP headers and further `_meta` entries."""

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
_NAMES: Final = frozenset({"on_request", *_HOOKS.values(), "on_notification", "on_server_request"})
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
# Whatever JSON the caller likes: to be sent as it is, null included, or to be refused as it is.
_FREE: Final = {"arguments": "arguments", "meta": "_meta"}


def check_middleware(option: MiddlewareOption | None) -> tuple[Middleware | Hook, ...]:
    """The middleware that `option` names.

    Raises:
        ConfigurationError: something in it is neither a middleware nor a function.
    """
    if option is None:
        return ()
    if _has_hooks(option) or not isinstance(option, Sequence):
        raise ConfigurationError(f"middleware must be a list, not {_name(option)}")
    for each in option:
        if isinstance(each, type):
            raise ConfigurationError(f"a middleware is an object, not a class: {each.__name__}()")
        if not (_has_hooks(each) or callable(each)):
            raise ConfigurationError(
                "a middleware must be an object with hooks such as on_request, or an async function; "
                f"{_name(each)} is not"
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
        self._hooks: Mapping[str, Sequence[Hook]] = {
            **{name: self._of(name) for name in ("on_request", "on_notification", "on_server_request")},
            **{method: self._of("on_request", name) for method, name in _HOOKS.items()},
        }

    def has(self, key: str) -> bool:
        """Whether any middleware has a hook for `key`, which is what `around` takes."""
        return bool(self._hooks[key])

    async def request(
        self,
        method: str,
        params: JSONObject | None,
        headers: Mapping[str, str] | None,
        meta: JSONObject | None,
        send: Send[R],
    ) -> R:
        """`send(params, headers, meta)` within the hooks for `method`.

        Raises:
            InvalidArguments: `params` do not fit the method.
            Exception: what a hook or `send` raises.
        """
        hooks = self._hooks.get(method) or self._hooks["on_request"]
        if not hooks:
            return await send(params, headers or {}, meta or {})
        kind = _PARAMS.get(method)

        async def last(context: MiddlewareContext[Any]) -> R:
            return await send(_untyped(context.params, kind, params or {}), context.headers, context.meta)

        context = self._context(method, params if kind is None else _typed(kind, params), meta)
        context.headers.update(headers or {})
        return await _run(hooks, context, last)

    async def around(
        self,
        key: str,
        method: str,
        params: P,
        meta: JSONObject | None,
        call: Callable[[MiddlewareContext[P]], Awaitable[R]],
    ) -> R:
        """`call(context)` within some hooks.

        Args:
            key: which hooks: "initialize", "on_notification" or "on_server_request".
            method: what it is about.
            params: of that.
            meta: its `_meta`.
            call: what is within.
        """
        return await _run(self._hooks[key], self._context(method, params, meta), call)

    def _context(self, method: str, params: P, meta: JSONObject | None) -> MiddlewareContext[P]:
        return MiddlewareContext(
            id=str(next(self._ids)),
            method=method,
            params=params,
            connector=self._connector,
            timestamp=trio.current_time(),
            meta=dict(meta or {}),
        )

    def _of(self, *names: str) -> Sequence[Hook]:
        """The hooks of these names, from the outermost on."""
        return [hook for each in self._middleware for name in names if (hook := _hook(each, name))]


async def _run(
    hooks: Sequence[Hook],
    context: MiddlewareContext[P],
    call: Callable[[MiddlewareContext[P]], Awaitable[R]],
) -> R:
    for hook in reversed(hooks):
        call = _bound(hook, call)
    return await call(context)


def _bound(
    hook: Hook, call_next: Callable[[MiddlewareContext[P]], Awaitable[R]]
) -> Callable[[MiddlewareContext[P]], Awaitable[R]]:
    return lambda context: hook(context, call_next)


def _hook(middleware: Middleware | Hook, name: str) -> Hook | None:
    """The hook, if it does anything."""
    if not _has_hooks(middleware):
        return middleware if name == "on_request" else None  # type: ignore[return-value]
    hook: Hook | None = getattr(middleware, name, None)
    return None if getattr(hook, "__func__", None) is getattr(Middleware, name) else hook


def _has_hooks(middleware: object) -> bool:
    return any(hasattr(middleware, name) for name in _NAMES)


def _name(thing: object) -> str:
    return thing.__name__ if isinstance(thing, type) else type(thing).__name__


def _typed(kind: type[BaseModel], params: JSONObject | None) -> BaseModel:
    try:
        return kind.model_validate(params or {}, by_name=False)
    except ValidationError as exc:
        raise InvalidArguments(f"params: {first_error(exc)}") from exc


def _untyped(params: object, kind: type[BaseModel] | None, given: JSONObject) -> JSONObject | None:
    """`params` as they are sent; what their type, which is `kind`, does not know of is as it was `given`."""
    if params is None or isinstance(params, Mapping):
        return params
    if not isinstance(params, BaseModel):
        raise UsageError(f"a hook has made the params {_name(params)}, and not a model, a mapping or None")
    if type(params) is not kind:
        return dump(params)
    aliases = {name: field.alias or name for name, field in kind.model_fields.items()}
    sent = {name: value for name, value in given.items() if name not in aliases.values()}
    sent |= dump(params.model_copy(update=dict.fromkeys(_FREE.keys() & aliases.keys())))
    sent |= {
        alias: value for name, alias in _FREE.items() if (value := getattr(params, name, None)) is not None
    }
    # A part of its own type that nobody has changed, too, may have held more than that type knows of.
    parts = [name for name, alias in aliases.items() if isinstance(given.get(alias), Mapping)]
    if parts := [name for name in parts if name not in _FREE]:
        before = kind.model_validate(given, by_name=False)
        same = [name for name in parts if getattr(params, name) == getattr(before, name)]
        sent |= {aliases[name]: given[aliases[name]] for name in same}
    return sent or None
