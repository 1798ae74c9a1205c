"""What the two forms of tasks have in common: what is asked of the server, and what that needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, Final, Protocol, TypeVar

from ...handling import PLAIN, Handling
from ...protocol.wire import JSONObject
from ...session import Session
from ...supervision import Supervisor
from .state import TaskState
from .tracked import TrackedTask

__all__ = ["TASKS_EXTENSION", "Dialect", "Peer", "task_params"]

T = TypeVar("T")

TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
"""The tasks extension: `open_connector(url, extensions={TASKS_EXTENSION: {}})` offers it to the server."""


class Peer(Protocol):
    """What tasks need of a connection."""

    @property
    def identifier(self) -> str: ...

    @property
    def session(self) -> Session: ...

    @property
    def supervisor(self) -> Supervisor: ...

    def request(
        self,
        method: str,
        params: JSONObject | None,
        result_type: type[T],
        *,
        meta: JSONObject | None = None,
        how: Handling = PLAIN,
    ) -> Awaitable[T]: ...

    def request_soon(self, method: str, params: JSONObject) -> None: ...


class Dialect(ABC):
    """How one era speaks of tasks."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    @abstractmethod
    async def look(self, task_id: str) -> TaskState:
        """Ask where the task stands."""

    @abstractmethod
    async def attend(self, task: TrackedTask) -> None:
        """Give the server what it asks for while the task is waited for; cancelled at the task's end."""

    @abstractmethod
    async def fetch(self, task_id: str) -> JSONObject:
        """The result of a task that has one, where `look` does not bring it."""

    @abstractmethod
    async def cancel(self, task_id: str) -> TaskState | None:
        """Ask the server to cancel the task; the state after that, if it says so."""

    def cancel_soon(self, task_id: str) -> None:
        """Ask the server to cancel the task, without waiting: an errand."""
        self._peer.request_soon("tasks/cancel", {"taskId": task_id})


def task_params(task_id: str, **more: Any) -> JSONObject:
    """The params of a request about a task."""
    return {"taskId": task_id, **more}
