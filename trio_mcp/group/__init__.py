"""Many servers as one supervised group.

opening.py    open_connectors: from a mapping of servers to their group
server.py     Server: one of them, and how it is treated
group.py      ConnectorGroup: the block, and what is called by names of the group
member.py     one server at work: opened, watched, opened anew
catalog.py    what all servers list; items.py: as what
names.py      names that are unique over the group
events.py     what happens; states.py: how a server is
"""

from .catalog import Listing
from .events import Down, GroupEvent, GroupEvents, Up
from .group import ConnectorGroup
from .items import GroupPrompt, GroupResource, GroupResourceTemplate, GroupTool
from .opening import open_connectors
from .server import Server
from .states import ServerState

__all__ = [
    "ConnectorGroup",
    "Down",
    "GroupEvent",
    "GroupEvents",
    "GroupPrompt",
    "GroupResource",
    "GroupResourceTemplate",
    "GroupTool",
    "Listing",
    "Server",
    "ServerState",
    "Up",
    "open_connectors",
]
