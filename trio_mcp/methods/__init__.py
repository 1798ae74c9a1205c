"""Every method of the protocol as a typed coroutine, over `request` and `notify`.

What a server answers with an error raises `MCPError`; what else can go wrong stands in `errors.py`. A call's
deadline is the caller's: `with trio.fail_after(10): ...`.
"""

from __future__ import annotations

from .base import MAX_PAGES
from .listening import ListeningMethods
from .prompts import PromptMethods
from .resources import ResourceMethods
from .rounds import RoundMethods
from .tasks import TaskMethods
from .tools import ToolMethods
from .utilities import UtilityMethods

__all__ = ["MAX_PAGES", "Methods"]


class Methods(
    TaskMethods, ToolMethods, ResourceMethods, PromptMethods, ListeningMethods, RoundMethods, UtilityMethods
):
    """The client's methods of MCP."""
