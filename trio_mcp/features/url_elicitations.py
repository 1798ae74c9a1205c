"""Requests that the server does not carry out before the user has been to a URL: error -32042.

2511/client/elicitation, "URL Elicitation Required Error"; no other version has it. Where the elicitation
callback takes URLs, it is asked for each of them. If it accepts all, the server's notifications that they
are done are waited for, and the request is sent again, once. A server need not send notifications: when none
has come for `_PATIENCE`, the request is sent again all the same, and the server says whether all is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import mcp_types as types
import trio
from pydantic import BaseModel, Field, ValidationError

from ..callbacks import Caller, RequestContext, in_callback
from ..dispatcher import Dispatcher
from ..errors import MCPError, URLElicitationRequired
from ..protocol.envelope import dump
from ..protocol.versions import has_url_elicitation_error
from ..protocol.wire import JSONObject
from ..server_requests import ServerRequests
from ..supervision import open_flat_nursery

__all__ = ["URLElicitations"]

_COMPLETE: Final = "notifications/elicitation/complete"
_MAX_ELICITATIONS: Final = 100
_PATIENCE: Final = 300.0
"""Seconds that the next notification is waited for."""


class _Data(BaseModel):
    elicitations: list[types.ElicitRequestURLParams] = Field(min_length=1, max_length=_MAX_ELICITATIONS)


class URLElicitations:
    """Takes one connection's requests through the elicitations that their server wants first.

    Args:
        requests: asks the callback.
        dispatcher: hears the server's notifications.
        caller: what the callback may call back into.
    """

    def __init__(self, requests: ServerRequests, dispatcher: Dispatcher, caller: Caller) -> None:
        self._requests = requests
        self._dispatcher = dispatcher
        self._caller = caller

    async def remedy(self, error: MCPError, again: Callable[[], Awaitable[JSONObject]]) -> JSONObject:
        """What the request brings after the elicitations; see `Remedy`.

        Raises:
            URLElicitationRequired: no callback takes URLs, one was declined, or the server still wants some
                when it is asked again.
            MCPError: the error, if its data is not what the protocol has for it.
            Exception: what the callback raised.
        """
        required = self._typed(error)
        if not isinstance(required, URLElicitationRequired):
            raise required
        # Before the callback is asked: a user may be done before the callback returns.
        done = _Completion({str(each.elicitation_id) for each in required.elicitations})
        with self._dispatcher.watch((_COMPLETE,), done.heed):
            if not await self._accepted(required.elicitations):
                raise required
            await done.wait()
        try:
            return await again()
        except MCPError as exc:
            raise self._typed(exc)  # noqa: B904 - the cause is kept

    def _typed(self, error: MCPError) -> MCPError:
        """`error` by its own class, if it is one about elicitations."""
        if error.code != types.URL_ELICITATION_REQUIRED or not has_url_elicitation_error(
            self._dispatcher.version
        ):
            return error
        try:
            elicitations = _Data.model_validate(error.data, by_name=False).elicitations
        except ValidationError:
            return error
        if any(each.elicitation_id is None for each in elicitations):
            return error
        typed = URLElicitationRequired(error.message, elicitations, error.data)
        typed.http_status, typed.__cause__ = error.http_status, error.__cause__
        return typed

    async def _accepted(self, elicitations: Sequence[types.ElicitRequestURLParams]) -> bool:
        """Ask the callback for all of them, at the same time; whether it accepts all."""
        refused = False

        async def ask(params: types.ElicitRequestURLParams) -> None:
            nonlocal refused
            in_callback.set(True)
            context = RequestContext(session=self._caller, request_id=str(params.elicitation_id))
            try:
                answer = await self._requests.answer("elicitation/create", dump(params), context)
            except MCPError:
                answer = {}  # there is no such callback, or it answers with an error
            if answer.get("action") != "accept":
                refused = True
                nursery.cancel_scope.cancel(reason="an elicitation was declined")

        async with open_flat_nursery() as nursery:
            for each in elicitations:
                nursery.start_soon(ask, each)
        return not refused


class _Completion:
    """Elicitations that are not yet done."""

    def __init__(self, ids: set[str]) -> None:
        self._ids = ids
        self._news = trio.Event()

    def heed(self, method: str, params: JSONObject) -> None:
        """Take note of a notification; ids that are unknown or done mean nothing."""
        done = params.get("elicitationId")
        if isinstance(done, str) and done in self._ids:
            self._ids.remove(done)
            self._news.set()

    async def wait(self) -> None:
        """Wait until all are done, or none was for `_PATIENCE`."""
        while self._ids:
            self._news = trio.Event()
            with trio.move_on_after(_PATIENCE) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                break
