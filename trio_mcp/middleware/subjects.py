"""What a request is about, in a word: the tool, the prompt or the resource."""

from __future__ import annotations

import mcp_types as types

__all__ = ["subject"]


def subject(params: object) -> str | None:
    """The name or the URI that a request is about; None if it is about nothing of the kind."""
    match params:
        case types.CallToolRequestParams(name=name) | types.GetPromptRequestParams(name=name):
            return name
        case types.ReadResourceRequestParams(uri=uri):
            return str(uri)
        case {"uri": str(uri)}:  # resources/subscribe, which has no hook of its own
            return uri
        case _:
            return None
