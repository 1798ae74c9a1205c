"""What a group lists: the protocol's types, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import mcp_types as types
from pydantic import BaseModel, Field

__all__ = ["GroupPrompt", "GroupResource", "GroupResourceTemplate", "GroupTool", "made_of"]

M = TypeVar("M", bound=BaseModel)


class GroupTool(types.Tool):
    """A tool of one server of a group.

    Its `name` is the one that is unique in the group. Dumped, it is a `mcp_types.Tool`, without the rest.

    Attributes:
        server: whose it is: the server's name in the group.
        own_name: what the server calls it.
    """

    server: str = Field(exclude=True)
    own_name: str = Field(exclude=True)


class GroupPrompt(types.Prompt):
    """A prompt of one server of a group; see `GroupTool`.

    Attributes:
        server: whose it is: the server's name in the group.
        own_name: what the server calls it.
    """

    server: str = Field(exclude=True)
    own_name: str = Field(exclude=True)


class GroupResource(types.Resource):
    """A resource of one server of a group.

    Attributes:
        server: whose it is: the server's name in the group.
    """

    server: str = Field(exclude=True)


class GroupResourceTemplate(types.ResourceTemplate):
    """A resource template of one server of a group.

    Attributes:
        server: whose it is: the server's name in the group.
    """

    server: str = Field(exclude=True)


def made_of(kind: type[M], listed: BaseModel, more: Mapping[str, str]) -> M:
    """A `kind` of what a server has listed, which was validated when it came, and of what there is `more`."""
    fields = {**{name: getattr(listed, name) for name in type(listed).model_fields}, **more}
    return kind.model_construct(listed.model_fields_set | more.keys(), **fields)
