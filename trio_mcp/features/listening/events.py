"""What a listener hears: typed events, made of the server's notifications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from ...protocol.wire import JSONObject

__all__ = [
    "EVENTS",
    "Event",
    "Gap",
    "PromptsChanged",
    "ResourceUpdated",
    "ResourcesChanged",
    "TaskChanged",
    "ToolsChanged",
    "event_of",
]


@dataclass(frozen=True, slots=True)
class ToolsChanged:
    """The list of tools has changed."""


@dataclass(frozen=True, slots=True)
class PromptsChanged:
    """The list of prompts has changed."""


@dataclass(frozen=True, slots=True)
class ResourcesChanged:
    """The list of resources has changed."""


@dataclass(frozen=True, slots=True)
class ResourceUpdated:
    """A resource has changed.

    Attributes:
        uri: which one: one that was asked for, or a part of it.
    """

    uri: str


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """A task has another status.

    Attributes:
        task_id: which one.
        status: such as "completed".
    """

    task_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events may have been missed: what was read or listed before may be out of date.

    Attributes:
        reason: in words.
    """

    reason: str


Event: TypeAlias = ToolsChanged | PromptsChanged | ResourcesChanged | ResourceUpdated | TaskChanged | Gap

_EVENTS: Final[Mapping[str, Callable[[JSONObject], Event]]] = {
    "notifications/tools/list_changed": lambda params: ToolsChanged(),
    "notifications/prompts/list_changed": lambda params: PromptsChanged(),
    "notifications/resources/list_changed": lambda params: ResourcesChanged(),
    "notifications/resources/updated": lambda params: ResourceUpdated(_text(params["uri"])),
    "notifications/tasks": lambda params: TaskChanged(_text(params["taskId"]), _text(params["status"])),
}

EVENTS: Final = tuple(_EVENTS)
"""The notifications that are events."""


def event_of(method: str, params: JSONObject) -> Event:
    """The event that a notification of `EVENTS` means.

    Raises:
        KeyError, TypeError: it lacks something.
    """
    return _EVENTS[method](params)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
