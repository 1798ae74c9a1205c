"""Tokens and registrations in files that only their owner can read, one for each."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from platformdirs import user_data_path

from .records import TokenRecord, read_record
from .storage import TokenKey
from .vault_storage import VaultStorage

__all__ = ["FileStorage", "FileVault", "data_directory"]

_MAX_BYTES: Final = 1 << 20
_STRAY_SECONDS: Final = 3600  # after which a file that a killed process has left half written is removed
_POSIX: Final = os.name == "posix"


class FileStorage(VaultStorage):
    """Keeps tokens and registrations in a directory; a `TokenStorage` that outlives the process.

    Files are readable by their owner only, and replaced as a whole, so that a process that is killed leaves
    the old one or the new one. Several processes may share the directory: a token is refreshed by one of
    them, and the others take what it has got.

    Args:
        directory: where; it is made when it is first needed. None for a directory of trio_mcp's among the
            user's data, such as `~/.local/share/trio_mcp/tokens`.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory: Path = data_directory() / "tokens" if directory is None else Path(directory)
        self._files = FileVault(self.directory)
        super().__init__(self._files, self._files.ready)

    def __repr__(self) -> str:
        return f"FileStorage({str(self.directory)!r})"

    async def entries(self) -> list[TokenKey]:
        """Which tokens there are."""
        await trio.lowlevel.checkpoint()
        return await self._run("read", self._entries)

    def _entries(self) -> list[TokenKey]:
        keys = []
        for name in self._files.names():
            text = self._files.read(name) if name.startswith("token-") else None
            try:
                keys.append(read_record(TokenRecord, text or "").key)
            except ValueError:
                continue
        return keys


class FileVault:
    """Keeps texts as files of one directory.

    Args:
        directory: it is made when it is first needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"the directory {self._directory}"

    def ready(self) -> Path:
        """The directory, which is there now.

        Raises:
            OSError: it cannot be made, or others could put files into it.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _POSIX:
            found = self._directory.stat()
            if found.st_uid != os.geteuid():
                raise PermissionError("it belongs to somebody else")
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError("others may write to it: chmod 700 it, or name another directory")
        return self._directory

    def names(self) -> list[str]:
        """Which texts there are."""
        return sorted(path.stem for path in self.ready().glob("*.json"))

    def read(self, name: str) -> str | None:
        """See `Vault.read`."""
        # Not through a link, which somebody may have put there to have us read something else.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        path = self.ready() / f"{name}.json"
        try:
            file = os.open(path, flags)
        except FileNotFoundError:
            return None
        with open(file, "rb") as opened:
            content = opened.read(_MAX_BYTES)
        return content.decode(errors="replace")

    def write(self, name: str, text: str | None) -> None:
        """See `Vault.write`."""
        directory = self.ready()
        path = directory / f"{name}.json"
        self._remove_strays(directory)
        if text is None:
            path.unlink(missing_ok=True)
            return
        # Made for its owner only, under a name that nobody can guess.
        file, stray = tempfile.mkstemp(prefix=f"{name}.", suffix=".tmp", dir=directory)
        try:
            with open(file, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(file)
            os.replace(stray, path)
        except BaseException:
            Path(stray).unlink(missing_ok=True)
            raise
        if _POSIX:
            _sync(directory)

    def _remove_strays(self, directory: Path) -> None:
        for stray in directory.glob("*.tmp"):
            with suppress(FileNotFoundError):  # another process may be faster
                if time.time() - stray.stat().st_mtime > _STRAY_SECONDS:
                    stray.unlink()


def data_directory() -> Path:
    """Where the data of this user's programs is kept, for trio_mcp's."""
    return user_data_path("trio_mcp", appauthor=False)


def _sync(directory: Path) -> None:
    """Have the new name of a file survive a crash of the machine."""
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
