"""What the commands print: results on stdout, everything else on stderr.

Text of a server is data: it is never read as rich's markup, and on a terminal its control characters are
shown instead of obeyed. Piped output is plain, unwrapped and complete.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import mcp_types as types
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from .arguments import as_list, as_mapping, kinds

__all__ = [
    "ProgressView",
    "one_line",
    "print_json",
    "print_log",
    "print_result",
    "print_text",
    "print_tools",
    "printable",
    "signature",
]

# All control characters but line feed and tab, and those that reverse the direction of a text.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with its control characters as escapes: it cannot steer a terminal."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """`text` for a line of its own."""
    return printable(" ".join(text.split()))


def print_text(console: Console, text: str, style: str = "") -> None:
    """A text of any length: as it is where it is piped, safe and not cut where it is seen."""
    if console.is_terminal:
        console.print(Text(printable(text), style=style), soft_wrap=True)
    else:
        print(text, file=console.file)


def print_json(console: Console, value: object) -> None:
    """A model, a list of models or a JSON value, indented."""
    print_text(console, json.dumps(value, indent=2, ensure_ascii=False, default=_dump))


def _dump(model: BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def print_tools(console: Console, tools: Sequence[types.Tool]) -> None:
    """A table of `tools`; one line for each, with tabs, where it is piped."""
    if not console.is_terminal:
        for tool in tools:
            line = (tool.name, tool.description or "", signature(tool.input_schema))
            print_text(console, "\t".join(map(one_line, line)))
        return
    table = Table("name", "description", "arguments", row_styles=("", "dim"))
    table.columns[0].overflow = "fold"
    for tool in tools:
        table.add_row(
            Text(printable(tool.name), style="bold"),
            Text(printable(tool.description or "")),
            Text(printable(signature(tool.input_schema))),
        )
    console.print(table)


def signature(input_schema: dict[str, Any]) -> str:
    """The arguments of a tool in short: `a: integer, b?: string`."""
    required = as_list(input_schema.get("required"))
    parts = []
    for name, schema in as_mapping(input_schema.get("properties")).items():
        kind = " or ".join(sorted(kinds(schema, input_schema))) or "any"
        parts.append(f"{name}{'' if name in required else '?'}: {kind}")
    return ", ".join(parts)


def print_result(console: Console, result: types.CallToolResult) -> None:
    """The content of a tool's result: its texts, then its structured content as JSON."""
    for block in result.content:
        print_text(console, _block_text(block))
    structured = result.structured_content
    # Servers repeat structured content as text, for clients that know no other (26/server/tools).
    if structured is not None and not _repeats(result.content, structured):
        print_json(console, structured)


def _block_text(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ResourceLink):
        return f"[resource {block.uri}]"
    if isinstance(block, types.EmbeddedResource):
        if isinstance(block.resource, types.TextResourceContents):
            return block.resource.text
        return f"[resource {block.resource.uri}]"
    return f"[{block.type}, {block.mime_type}, {len(block.data)} characters of base64]"


def _repeats(content: Iterable[types.ContentBlock], structured: object) -> bool:
    for block in content:
        if isinstance(block, types.TextContent):
            try:
                if json.loads(block.text) == structured:
                    return True
            except (ValueError, RecursionError):
                pass
    return False


def print_log(console: Console, message: types.LoggingMessageNotificationParams) -> None:
    """A log message of the server, as one line."""
    data = message.data if isinstance(message.data, str) else json.dumps(message.data, ensure_ascii=False)
    source = f"{message.logger}: " if message.logger else ""
    print_text(console, one_line(f"{message.level}: {source}{data}"), style="dim")


class ProgressView:
    """The progress of one call: a live bar on a terminal, a line for each report elsewhere.

    Nothing is shown before the first report, as most calls have none. The bar is drawn by the reports
    themselves: there is no thread that draws it.

    Args:
        console: where to.
        keep: whether the bar stays when the call is over.
        indent: what a line or the bar begins with.
    """

    def __init__(self, console: Console, *, keep: bool = False, indent: str = "") -> None:
        self._console = console
        self._indent = indent
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            auto_refresh=False,
            transient=not keep,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    async def report(self, progress: float, total: float | None, message: str | None) -> None:
        """A `progress_callback` for `Connector.call_tool`."""
        if not math.isfinite(progress):
            return
        total = total if total is not None and math.isfinite(total) else None
        text = one_line(message or "")
        if not self._console.is_terminal:
            of = "" if total is None else f"/{total:g}"
            print_text(self._console, f"{self._indent}progress: {progress:g}{of} {text}".rstrip())
            return
        first = self._task is None
        if self._task is None:
            self._task = self._bar.add_task("")
        description = self._indent + text
        self._bar.update(self._task, completed=progress, total=total, description=description, refresh=True)
        if first:  # not each time: while the bar is paused, reports do not draw
            self._bar.start()

    @contextmanager
    def paused(self) -> Generator[None]:
        """No bar in the block, which has the terminal for itself."""
        if self._task is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()
