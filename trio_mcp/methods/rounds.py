"""A modern server's questions by hand, instead of by the callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import mcp_types as types
from pydantic import BaseModel

from ..callbacks import ProgressCallback
from ..errors import InvalidArguments
from ..features.input_rounds import METHODS
from ..handling import Handling
from ..protocol.envelope import dump
from .base import Requester

__all__ = ["RoundMethods"]

T = TypeVar("T")


class RoundMethods(Requester):
    """The method about input rounds (26/basic/patterns/mrtr)."""

    async def request_round(
        self,
        method: str,
        params: Mapping[str, Any],
        result_type: type[T],
        *,
        answers: Mapping[str, BaseModel | Mapping[str, Any]] | None = None,
        state: str | None = None,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T | types.InputRequiredResult:
        """Send a request that the server may answer with questions, and give those, if it does.

        So a program can ask its user tomorrow, or in another process: what it has to keep are the params, the
        keys of the questions and the state, and all three are JSON.

            result = await c.request_round("tools/call", params, CallToolResult)
            if isinstance(result, InputRequiredResult):
                ...  # result.input_requests: questions by key
                result = await c.request_round(
                    "tools/call", params, CallToolResult, answers={"name": answer}, state=result.request_state
                )

        A legacy server asks by requests of its own, which the callbacks answer, and never in this way.

        Args:
            method: "tools/call", "prompts/get" or "resources/read".
            params: the request's, the same in every round.
            result_type: what the result is in the end; see `request`.
            answers: to the questions of the round before, by key: results such as `ElicitResult`.
            state: the `request_state` of the round before, as it came.
            progress_callback: see `request`.
            meta: further `_meta` entries.
            headers: further headers of the HTTP request.

        Raises:
            InvalidArguments: another method, or answers that are none.
            ConnectorError: see `request`.
        """
        if method not in METHODS:
            raise InvalidArguments(f"only {', '.join(sorted(METHODS))} have input rounds, not {method}")
        further: dict[str, Any] = {}
        if answers is not None:
            further["inputResponses"] = {key: _answer(key, answer) for key, answer in answers.items()}
        if state is not None:
            further["requestState"] = state
        kind: Any = result_type
        result: T | types.InputRequiredResult = await (await self._reached()).request(
            method,
            {**params, **further},
            kind,
            meta=meta,
            headers=headers,
            how=Handling(
                progress_callback=progress_callback,
                unresolved={"input_required": types.InputRequiredResult},
            ),
        )
        return result


def _answer(key: str, answer: object) -> Mapping[str, Any]:
    if isinstance(answer, BaseModel):
        return dump(answer)
    if not isinstance(answer, Mapping):
        raise InvalidArguments(
            f"the answer to {key!r} must be a result such as ElicitResult, not {answer!r:.50}"
        )
    return answer
