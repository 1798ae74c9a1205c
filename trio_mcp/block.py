"""An object whose life is an `async with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import trio

from .errors import UsageError

__all__ = ["Block", "check_trio"]


class Block(ABC):
    """Is entered by one at a time, and may be entered again when it was left."""

    def __init__(self) -> None:
        self._block: AbstractAsyncContextManager[None] | None = None

    @abstractmethod
    def _lifetime(self) -> AbstractAsyncContextManager[None]:
        """What the block is."""

    @abstractmethod
    def _is_open(self) -> UsageError:
        """The error of who enters it although it is open."""

    def _check_not_open(self) -> None:
        if self._block is not None:
            raise self._is_open()

    async def __aenter__(self) -> Self:
        check_trio()
        self._check_not_open()
        self._block = block = self._lifetime()
        try:
            await block.__aenter__()
        except BaseException:
            self._block = None
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._block is not None
        try:
            return await self._block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - its own business
        finally:
            self._block = None


def check_trio() -> None:
    """Make sure that this is a Trio program.

    Raises:
        UsageError: it runs on something else, such as asyncio.
    """
    if not trio.lowlevel.in_trio_task():
        raise UsageError("trio_mcp runs on Trio: start the program with trio.run(main), not with asyncio")
