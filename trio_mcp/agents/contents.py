"""What a tool's result has for a model, before any provider's form: texts and media, checked.

A conversation is sent whole with every turn, and a provider that refuses a part of it refuses all: an image
that is none would end the conversation for good. So media are what their first bytes say, or become a text.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types
from pydantic_core import to_json

__all__ = ["Media", "contents", "is_said", "joined", "take"]

NOTHING: Final = "(The tool gave no content.)"

_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Media:
    """An image or a file.

    Attributes:
        mime_type: what its bytes say that it is; what the server says, if they are of no kind that we know.
        data: base64.
        name: what it is called, for people and models.
    """

    mime_type: str
    data: str
    name: str

    @property
    def file_name(self) -> str:
        """The last part of its name, with an ending that says what it is."""
        ending = "." + self.mime_type.rpartition("/")[2]
        stem = self.name.rpartition("/")[2].removesuffix(ending) or "file"
        return stem + ending


def contents(result: types.CallToolResult) -> list[str | Media]:
    """The texts and media of a result that are meant for a model, in order.

    Blocks whose annotations name an audience without the assistant are left out (26/server/resources,
    "Annotations"). Structured content comes last, as JSON, unless the texts say it already: servers are asked
    to say it twice (26/server/tools, "Structured Content").
    """
    found: list[str | Media] = []
    for block in result.content:
        audience = block.annotations.audience if block.annotations is not None else None
        if audience is None or "assistant" in audience:
            found.append(_content(block))
    if "structured_content" in result.model_fields_set and result.structured_content is not None:
        texts = [part for part in found if isinstance(part, str)]
        if not is_said(result.structured_content, texts):
            found.append(to_json(result.structured_content).decode())
    return [part for part in found if not isinstance(part, str) or part.strip()]


def take(parts: Iterable[str | Media], mime_types: Container[str]) -> list[str | Media]:
    """`parts`, where media that are of none of `mime_types` have become texts that say so."""
    return [
        part if isinstance(part, str) or part.mime_type in mime_types else _left_out(part) for part in parts
    ] or [NOTHING]


def joined(parts: Sequence[str | Media]) -> str:
    """All parts as one text."""
    return "\n\n".join(part if isinstance(part, str) else _left_out(part) for part in parts) or NOTHING


def is_said(structured: Any, texts: Sequence[str]) -> bool:
    """Whether texts say what the structured content says.

    As JSON; or, where it is `{"result": ...}`, by which the official SDK's servers wrap what is no object, as
    what that holds: as one text, or for a list as one text for each of its items.
    """
    values = [_value(text) for text in texts]
    if structured in values:
        return True
    if not isinstance(structured, dict) or structured.keys() != {"result"}:
        return False
    held = structured["result"]
    return any(said in ([held], held) for said in (values, list(texts)))


def _value(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in '{["-0123456789tfn' else text
    except (ValueError, RecursionError):
        return text


def _content(block: types.ContentBlock) -> str | Media:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ImageContent | types.AudioContent):
        return _media(block.data, block.mime_type, block.type)
    if isinstance(block, types.ResourceLink):
        about = [block.name, f"<{block.uri}>", block.mime_type, block.description]
        return f"[link to a resource: {', '.join(filter(None, about))}]"
    resource = block.resource
    if isinstance(resource, types.TextResourceContents):
        return f"[resource <{resource.uri}>]\n{resource.text}"
    return _media(resource.blob, resource.mime_type or "application/octet-stream", resource.uri)


def _media(data: str, mime_type: str, name: str) -> str | Media:
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return f"[{name}: {mime_type}, left out: it is not valid base64]"
    mime_type = mime_type.partition(";")[0].strip().lower()
    if mime_type.startswith("text/") or mime_type == "application/json":
        try:
            return f"[resource <{name}>]\n{content.decode()}"
        except UnicodeDecodeError:
            pass
    found = _kind(content)
    if found is None and (mime_type in _SIGNATURES.values() or mime_type == "image/webp"):
        return f"[{name}: left out: it is said to be {mime_type}, and is not]"
    return Media(found or mime_type, data, name)


def _kind(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), None)


def _left_out(media: Media) -> str:
    size = len(media.data) * 3 // 4 - media.data.count("=", -2)
    return f"[{media.name}: {media.mime_type}, {size} bytes, left out: it cannot be shown to you]"
