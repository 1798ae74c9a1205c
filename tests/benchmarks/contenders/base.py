"""What a round asks of a client."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from ..loops import Loop


class ProgressCallback(Protocol):
    """What takes the progress of a call. (Each client has its own name for this type.)"""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


ARGUMENTS: Final = {"text": "a small question", "number": 7}
"""What every call passes to its tool."""


class Connection(Protocol):
    """An open connection. Calls give the text of the tool's answer, so that a round can check it."""

    version: str
    """The protocol version that was negotiated."""

    async def call(self, tool: str) -> str: ...

    async def call_with_progress(self, tool: str, callback: ProgressCallback) -> str: ...


class Contender(Protocol):
    """A client.

    Attributes:
        title: what tables call it.
        loop: the event loop that it runs on.
        packages: the distributions whose versions are told with the results.
    """

    title: str
    loop: Loop
    packages: tuple[str, ...]

    def connect(self, url: str) -> AbstractAsyncContextManager[Connection]:
        """A connection with the client's own defaults: what is measured is what users get."""
