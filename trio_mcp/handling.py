"""How a request is dealt with beyond being sent, and what its result is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from .callbacks import ProgressCallback
from .errors import MCPError, ProtocolError
from .negotiation import Negotiated
from .protocol.envelope import with_lawful_ttl
from .protocol.validation import adapter_of, first_error
from .protocol.wire import JSONObject, Request, RequestId, Response

__all__ = ["AroundHandshake", "Augmentation", "Handling", "Handshake", "PLAIN", "Remedy", "Resolver", "typed"]

T = TypeVar("T")

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

Handshake: TypeAlias = Callable[[Mapping[str, str] | None, JSONObject | None], Awaitable[Negotiated]]
"""Makes a handshake, with further HTTP headers and `_meta` entries."""
AroundHandshake: TypeAlias = Callable[[Handshake], Awaitable[Negotiated]]
"""Has a handshake made, and does what is to be done around it."""


Remedy: TypeAlias = Callable[[MCPError, Callable[[], Awaitable[JSONObject]]], Awaitable[JSONObject]]
"""Does what the server's error asks for, and gives what the request brings then; or raises an error."""


class Resolver(Protocol):
    """Brings a request to its end whose result says, by its `resultType`, that there is more to do.

    Attributes:
        methods: the requests that may have such a result; None for any.
    """

    @property
    def methods(self) -> frozenset[str] | None: ...

    async def resolve(
        self,
        result: JSONObject,
        again: Callable[[JSONObject], Awaitable[JSONObject]],
        method: str,
        params: JSONObject,
    ) -> JSONObject:
        """The result that comes in the end, or one of another type.

        Args:
            result: what the request has brought so far.
            again: sends it again, with other params.
            method: the request's.
            params: the request's.
        """
        ...


class Augmentation(Protocol):
    """Takes part in a request that asks for a task (2511/basic/utilities/tasks)."""

    async def send(self, exchange: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """Have the exchange made."""
        ...

    async def resolve(self, result: JSONObject) -> JSONObject:
        """The result that is to be typed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """How a request is dealt with.

    Attributes:
        progress_callback: takes the progress of the call.
        request_id: its id, which `Session.next_id` gave; None for a new one.
        unresolved: types of results that are not resolved, and as what they are given to the caller.
        augmentation: takes part in it.
        errand: whether it goes on while the connection is being closed.
    """

    progress_callback: ProgressCallback | None = None
    request_id: RequestId | None = None
    unresolved: Mapping[str, type[Any]] = field(default_factory=dict)
    augmentation: Augmentation | None = None
    errand: bool = False


PLAIN: Final = Handling()
"""In no way out of the ordinary."""


def typed(result: JSONObject, kind: type[T], unresolved: Mapping[str, type[Any]] = _NONE) -> T:
    """`result`, validated once, straight into the type that the caller gets.

    Raises:
        ProtocolError: it is not one, or its `resultType` is none of `unresolved`.
    """
    result_type = result.get("resultType", "complete")
    if result_type != "complete":
        if result_type not in unresolved:
            raise ProtocolError(
                f"the server answered with a result of type {result_type!r}, which was not asked for"
            )
        kind = unresolved[result_type]
    result = with_lawful_ttl(result)
    try:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_validate(result, by_name=False)
        value: T = adapter_of(kind).validate_python(result)
        return value
    except ValidationError as exc:
        # pydantic's own error quotes what the server sent, which may be anything.
        raise ProtocolError(f"the server's result is not valid at {first_error(exc)}") from None
