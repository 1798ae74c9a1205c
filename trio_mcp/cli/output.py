"""What the commands print: results on stdout, everything else on stderr.

Text of a server is data: it is never read as rich's markup, and on a terminal its control characters are
shown instead of obeyed. Piped output is plain, unwrapped and complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import mcp_types as types
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from ..text import one_line, printable

__all__ = [
    "ProgressView",
    "block_text",
    "print_contents",
    "print_json",
    "print_line",
    "print_log",
    "print_messages",
    "print_result",
    "print_text",
]


def print_text(console: Console, text: str, style: str = "") -> None:
    """A text of any length: as it is where it is piped, safe and not cut where it is seen."""
    if console.is_terminal:
        console.print(Text(printable(text), style=style), soft_wrap=True)
    else:
        print(text, file=console.file)


def print_json(console: Console, value: object) -> None:
    """A model, a list of models or a JSON value, indented."""
    print_text(console, json.dumps(value, indent=2, ensure_ascii=False, default=_dump))


def print_line(console: Console, value: object) -> None:
    """One of many: a text, or a JSON value on a line of its own; at once, whoever reads it."""
    print_text(console, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    console.file.flush()


def _dump(model: BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def print_result(console: Console, result: types.CallToolResult) -> None:
    """The content of a tool's result: its texts, then its structured content as JSON."""
    for block in result.content:
        print_text(console, block_text(block))
    structured = result.structured_content
    # Servers repeat structured content as text, for clients that know no other (26/server/tools).
    if structured is not None and not _repeats(result.content, structured):
        print_json(console, structured)


def print_messages(console: Console, result: types.GetPromptResult) -> None:
    """The messages of a prompt, each after whose it is."""
    for message in result.messages:
        print_text(console, f"{message.role}: {block_text(message.content)}")


def print_contents(console: Console, result: types.ReadResourceResult) -> None:
    """The contents of a resource; what is no text is only named."""
    for each in result.contents:
        print_text(console, _contents_text(each))


def _contents_text(contents: types.TextResourceContents | types.BlobResourceContents) -> str:
    if isinstance(contents, types.TextResourceContents):
        return contents.text
    kind = contents.mime_type or "bytes"
    return f"[resource {contents.uri}, {kind}, {len(contents.blob)} characters of base64]"


def block_text(block: types.ContentBlock | types.SamplingMessageContentBlock) -> str:
    """A block of content as text; what is no text is named in brackets."""
    match block:
        case types.TextContent():
            return block.text
        case types.ResourceLink():
            return f"[resource {block.uri}]"
        case types.EmbeddedResource():
            return _contents_text(block.resource)
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type}, {block.mime_type}, {len(block.data)} characters of base64]"
        case _:
            return f"[{block.type}]"


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
            self._task = None

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
            if self._task is not None:  # the call may have ended before the block
                self._bar.start()
