"""A `TokenStorage` over something that keeps texts by blocking calls: files, a keyring.

Each call is made in a thread, and whoever waits for it can be cancelled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

import trio

from ..errors import OAuthError
from .file_lock import file_lock
from .records import ClientRecord, TokenRecord, read_record, record_name, write_record
from .storage import ClientKey, Registration, StoredToken, TokenKey

__all__ = ["Vault", "VaultStorage"]

logger: Final = logging.getLogger("trio_mcp")

_THREADS: Final = 8
_LOCK_SECONDS: Final = 60.0
_SECONDS: Final = 120.0  # a keyring may ask the person to unlock it

T = TypeVar("T")
Record = TypeVar("Record", TokenRecord, ClientRecord)


class Vault(Protocol):
    """Keeps texts by name. Its methods block, raise any exception, and are called by many threads."""

    def read(self, name: str) -> str | None:
        """The text of `name`; None if there is none."""
        ...

    def write(self, name: str, text: str | None) -> None:
        """Keep `text` in place of what was there, wholly or not at all; None forgets it."""
        ...


class VaultStorage:
    """Keeps tokens and registrations in a vault.

    Args:
        vault: what keeps them.
        locks: a directory for the locks between processes: makes it if it is not there.
    """

    def __init__(self, vault: Vault, locks: Callable[[], Path]) -> None:
        self._vault = vault
        self._make_locks = locks
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._locks: dict[TokenKey, trio.Lock] = {}
        self._mutex = threading.Lock()
        self._writes: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._vault!r})"

    async def get_token(self, key: TokenKey) -> StoredToken | None:
        """See `TokenStorage.get_token`."""
        record = await self._read(TokenRecord, record_name(key))
        return None if record is None else record.token

    async def set_token(self, key: TokenKey, token: StoredToken | None) -> None:
        """See `TokenStorage.set_token`."""
        await self._write(record_name(key), None if token is None else write_record(TokenRecord(key, token)))

    async def get_registration(self, key: ClientKey) -> Registration | None:
        """See `TokenStorage.get_registration`."""
        record = await self._read(ClientRecord, record_name(key))
        return None if record is None else record.registration

    async def set_registration(self, key: ClientKey, registration: Registration | None) -> None:
        """See `TokenStorage.set_registration`."""
        text = None if registration is None else write_record(ClientRecord(key, registration))
        await self._write(record_name(key), text)

    def lock(self, key: TokenKey) -> AbstractAsyncContextManager[object]:
        """See `TokenStorage.lock`."""
        return self._hold(key)

    @asynccontextmanager
    async def _hold(self, key: TokenKey) -> AsyncGenerator[None]:
        # First among our own tasks: then one of them only has to ask for the file again and again.
        async with self._locks.setdefault(key, trio.Lock()):
            directory = await self._run("made ready", self._make_locks)
            path = directory / f"{record_name(key)}.lock"
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(file_lock(path, _LOCK_SECONDS, self._limiter))
                except trio.TooSlowError:
                    raise OAuthError(
                        "storage",
                        f"another process has held {path} for {_LOCK_SECONDS:g} s; no refresh takes so long",
                    ) from None
                except OSError as exc:
                    raise OAuthError("storage", f"{path} cannot be locked: {exc.strerror or exc}") from exc
                yield

    # In threads

    async def _read(self, kind: type[Record], name: str) -> Record | None:
        text = await self._run("read", partial(self._vault.read, name))
        if text is None:
            return None
        try:
            return read_record(kind, text)
        except ValueError as exc:
            logger.warning("%r has something under %s that is not used: %s", self._vault, name, exc)
            return None

    async def _write(self, name: str, text: str | None) -> None:
        number = self._writes[name] = self._writes.get(name, 0) + 1

        def write() -> None:
            with self._mutex:
                # One that was given up, and comes late, must not undo a later one.
                if self._writes[name] == number:
                    self._vault.write(name, text)

        await self._run("written", write)

    async def _run(self, what: str, work: Callable[[], T]) -> T:
        try:
            with trio.fail_after(_SECONDS):
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
        except Exception as exc:
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise OAuthError("storage", f"{self._vault!r} cannot be {what}: {reason}") from exc
