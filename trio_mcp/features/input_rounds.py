"""Input rounds: a modern server's questions come as a result, and the answers go with the next request.

26/basic/patterns/mrtr (SEP-2322). The callbacks are those that answer a legacy server's requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from ..callbacks import Caller, RequestContext, in_callback
from ..errors import InputRefused, MCPError, ProtocolError
from ..protocol.wire import JSONObject
from ..server_requests import ServerRequests
from ..supervision import open_flat_nursery

__all__ = ["InputRounds", "answer_question", "questions_of"]

METHODS: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The requests that a server may answer with questions."""
_MAX_ROUNDS: Final = 10
# A result that brings a state and no question asks to come back: soon, then ever more slowly. How often is
# for the caller's deadline to say.
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 5.0


class InputRounds:
    """Takes one connection's requests through as many rounds as their server wants.

    Args:
        requests: answers the server's questions.
        caller: what a callback may call back into.
    """

    methods: frozenset[str] = METHODS

    def __init__(self, requests: ServerRequests, caller: Caller) -> None:
        self._requests = requests
        self._caller = caller

    async def resolve(
        self,
        result: JSONObject,
        again: Callable[[JSONObject], Awaitable[JSONObject]],
        method: str,
        params: JSONObject,
    ) -> JSONObject:
        """Ask again, with the answers, for as long as the result is `input_required`; see `Resolver`.

        What a round answered goes into the next request and into no other. The result in the end depends on
        answers that no other request gives, and is marked as not to be cached (26/server/utilities/caching).

        Raises:
            InputRefused: a question was refused, or the client never offered to answer it.
            ProtocolError: the questions are malformed, or do not end.
            Exception: what a callback raised.
        """
        delay = _FIRST_DELAY
        rounds = 0
        while result.get("resultType") == "input_required":
            answers: dict[str, Any] = {}
            if questions := questions_of(result):
                rounds += 1
                if rounds > _MAX_ROUNDS:
                    raise ProtocolError(
                        f"the server asked for input more than {_MAX_ROUNDS} times in one call"
                    )
                answers["inputResponses"] = await self._answer(questions)
            else:
                await trio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
            if result.get("requestState") is not None:
                answers["requestState"] = result["requestState"]
            result = await again({**params, **answers})
        return {**result, "ttlMs": 0} if "ttlMs" in result else result

    async def _answer(self, questions: dict[str, Any]) -> dict[str, JSONObject]:
        """The answers to all questions of one round, which are asked at the same time."""
        answers: dict[str, JSONObject] = {}

        async def answer(key: str, question: Any) -> None:
            in_callback.set(True)
            answers[key] = await answer_question(self._requests, self._caller, key, question)

        async with open_flat_nursery() as nursery:
            for key, question in questions.items():
                nursery.start_soon(answer, key, question)
        return answers


async def answer_question(
    requests: ServerRequests, caller: Caller, key: str, question: JSONObject, task_id: str | None = None
) -> JSONObject:
    """The answer to one question of a server, perhaps in the course of a task.

    Raises:
        InputRefused: there is none.
        Exception: what the callback raised.
    """
    method, params = question["method"], question.get("params")
    meta = params.get("_meta") if params else None
    context = RequestContext(session=caller, request_id=key, meta=meta, related_task=task_id)
    try:
        return await requests.answer(method, params, context)
    except MCPError as exc:
        # There is no error to send in this pattern: the call ends here.
        raise InputRefused(
            f"the server needs an answer to {method}, which was refused: {exc.message}"
        ) from exc


def questions_of(result: JSONObject) -> dict[str, Any]:
    """The questions of a result that is `input_required`, by their keys.

    Raises:
        ProtocolError: they are malformed, or there are none where there must be.
    """
    questions = result.get("inputRequests")
    if questions is None and isinstance(result.get("requestState"), str):
        return {}
    if not isinstance(questions, dict) or not all(
        isinstance(question, dict)
        and isinstance(question.get("method"), str)
        and isinstance(question.get("params"), dict | None)
        for question in questions.values()
    ):
        raise ProtocolError("the server asks for input, but not in the way of the protocol")
    return questions
