"""Tasks: tool calls that outlive their request, in both of the forms that there are.

The extension `io.modelcontextprotocol/tasks` of the modern era (SEP-2663), and the experimental form of
2025-11-25 (2511/basic/utilities/tasks). They differ on the wire, and look the same from above:

TaskHandle ── TrackedTask   what is known of a task, and the looking at it
           └─ Dialect       how one era speaks of tasks: `extension.py`, `legacy.py`
"""

from .dialect import TASKS_EXTENSION
from .handle import TaskHandle, TaskUpdate, TaskUpdates
from .service import TASK_NOTIFICATIONS, TaskResults, Tasks

__all__ = [
    "TASKS_EXTENSION",
    "TASK_NOTIFICATIONS",
    "TaskHandle",
    "TaskResults",
    "TaskUpdate",
    "TaskUpdates",
    "Tasks",
]
