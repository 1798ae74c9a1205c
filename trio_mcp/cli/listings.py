"""What a server offers, as tables; in a pipe, one line for each, with tabs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import cleandoc
from typing import Any

import mcp_types as types
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..text import one_line, printable
from .arguments import as_list, as_mapping, kinds
from .output import print_text

__all__ = ["print_prompts", "print_resources", "print_rows", "print_tools", "signature"]


def print_tools(console: Console, tools: Sequence[types.Tool]) -> None:
    """A table of `tools`."""
    rows = [(tool.name, tool.description or "", signature(tool.input_schema)) for tool in tools]
    print_rows(console, ("name", "description", "arguments"), rows)


def signature(input_schema: dict[str, Any]) -> str:
    """The arguments of a tool in short: `a: integer, b?: string`."""
    required = as_list(input_schema.get("required"))
    parts = []
    for name, schema in as_mapping(input_schema.get("properties")).items():
        kind = " or ".join(sorted(kinds(schema, input_schema))) or "any"
        parts.append(f"{name}{'' if name in required else '?'}: {kind}")
    return ", ".join(parts)


def print_resources(
    console: Console, resources: Sequence[types.Resource], templates: Sequence[types.ResourceTemplate]
) -> None:
    """A table of `resources`, and of `templates` of their URIs."""
    rows = [(each.uri, each.name, each.mime_type or "") for each in resources]
    rows += [(each.uri_template, each.name, each.mime_type or "") for each in templates]
    print_rows(console, ("uri", "name", "type"), rows)


def print_prompts(console: Console, prompts: Sequence[types.Prompt]) -> None:
    """A table of `prompts`."""
    rows = []
    for prompt in prompts:
        names = [f"{each.name}{'' if each.required else '?'}" for each in prompt.arguments or ()]
        rows.append((prompt.name, prompt.description or "", ", ".join(names)))
    print_rows(console, ("name", "description", "arguments"), rows)


def print_rows(console: Console, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of any texts."""
    if not console.is_terminal:
        for row in rows:
            print_text(console, "\t".join(map(one_line, row)))
        return
    table = Table(*titles, row_styles=("", "dim"))
    table.columns[0].overflow = "fold"
    for first, *rest in rows:
        # A description is often a docstring, indented as in the source.
        texts = (Text(printable(cleandoc(each))) for each in rest)
        table.add_row(Text(printable(first), style="bold"), *texts)
    console.print(table)
