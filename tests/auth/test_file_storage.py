"""Real files, and so the real clock: a mock clock would not see the threads at work."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from filelock import FileLock

from trio_mcp import OAuthError
from trio_mcp.auth import file_lock, file_storage, vault_storage
from trio_mcp.auth.file_storage import FileStorage
from trio_mcp.auth.storage import ClientKey, Registration, StoredToken, TokenKey, TokenStorage

KEY = TokenKey("https://issuer.example", "https://mcp.example/mcp", "")
CLIENT = ClientKey("https://issuer.example", "trio_mcp")
TOKEN = StoredToken(
    access_token="access-1",
    token_type="DPoP",
    refresh_token="refresh-1",
    scopes=frozenset({"read", "write"}),
    expires_at=1e9,
    dpop_key="a key",
)
REGISTRATION = Registration(client_id="c", client_secret="s", redirect_uris=("http://127.0.0.1:1/callback",))

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are of POSIX")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "not there" / "yet"


@pytest.fixture
def storage(directory: Path) -> FileStorage:
    return FileStorage(directory)


async def test_what_is_kept_is_there_in_another_process(storage: FileStorage, directory: Path) -> None:
    assert isinstance(storage, TokenStorage)
    assert await storage.get_token(KEY) is None
    assert await storage.get_registration(CLIENT) is None
    await storage.set_token(KEY, TOKEN)
    await storage.set_registration(CLIENT, REGISTRATION)
    another = FileStorage(str(directory))
    assert await another.get_token(KEY) == TOKEN
    assert await another.get_registration(CLIENT) == REGISTRATION
    assert await another.entries() == [KEY]
    await another.set_token(KEY, None)
    await another.set_token(KEY, None)
    await another.set_registration(CLIENT, None)
    assert await storage.get_token(KEY) is None
    assert await storage.get_registration(CLIENT) is None
    assert await storage.entries() == []


async def test_no_two_keys_have_the_same_file(storage: FileStorage) -> None:
    parts = ("https://a", "https://a/b", "b", "", "../../etc/passwd", "https://a\0b", "x" * 5000, "https://A")
    keys = [TokenKey(issuer, resource, client) for issuer in parts for resource in parts for client in parts]
    for index, key in enumerate(keys):
        await storage.set_token(key, StoredToken(access_token=f"token-{index}"))
    for index, key in enumerate(keys):
        token = await storage.get_token(key)
        assert token is not None
        assert token.access_token == f"token-{index}"
    assert set(await storage.entries()) == set(keys)


@posix
async def test_only_the_owner_can_read_it_whatever_the_umask(storage: FileStorage, directory: Path) -> None:
    before = os.umask(0)
    try:
        await storage.set_token(KEY, TOKEN)
        await storage.set_registration(CLIENT, REGISTRATION)
        async with storage.lock(KEY):
            files = list(directory.iterdir())
    finally:
        os.umask(before)
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@posix
async def test_a_directory_that_others_may_write_to_is_refused(storage: FileStorage, directory: Path) -> None:
    directory.mkdir(parents=True)
    directory.chmod(0o770)
    with pytest.raises(OAuthError, match="others may write to it: chmod 700") as caught:
        await storage.set_token(KEY, TOKEN)
    assert caught.value.step == "storage"
    assert "access-1" not in repr(caught.value)
    assert list(directory.iterdir()) == []


@posix
async def test_a_directory_of_somebody_else_is_refused(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with pytest.raises(OAuthError, match="it belongs to somebody else"):
        await storage.get_token(KEY)


async def test_a_directory_that_cannot_be_made_is_told_of_when_reading_too(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(self: Path, *args: object, **options: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "mkdir", nowhere)
    with pytest.raises(OAuthError, match="cannot be read: No such file or directory"):
        await storage.get_token(KEY)


@posix
async def test_a_link_is_not_followed(storage: FileStorage, directory: Path, tmp_path: Path) -> None:
    await storage.set_token(KEY, TOKEN)
    (file,) = directory.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OAuthError, match=r"storage: the directory .* cannot be read: "):
        await storage.get_token(KEY)


async def test_a_system_where_modes_mean_nothing_does_without(
    storage: FileStorage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_storage, "_POSIX", False)
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    await storage.set_token(KEY, TOKEN)
    assert await storage.get_token(KEY) == TOKEN


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"version":2,"key":{},"token":{"access_token":"access-1"}}',
        b"[" * (1 << 21),
    ],
    ids=["empty", "cut", "list", "binary", "another version", "large"],
)
async def test_what_is_no_record_is_none_and_is_told_of_without_being_quoted(
    storage: FileStorage, directory: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await storage.set_token(KEY, TOKEN)
    (file,) = directory.iterdir()
    file.write_bytes(content)
    with caplog.at_level(logging.DEBUG):
        assert await storage.get_token(KEY) is None
    assert "is not used: it is no record of this version" in caplog.text
    assert "access-1" not in caplog.text
    assert await storage.entries() == []
    await storage.set_token(KEY, TOKEN)
    assert await storage.get_token(KEY) == TOKEN


async def test_a_full_disk_leaves_the_old_token_and_no_stray_file(
    storage: FileStorage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.set_token(KEY, TOKEN)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OAuthError, match="cannot be written: No space left on device"):
            await storage.set_token(KEY, StoredToken(access_token="access-2"))
    assert len(list(directory.iterdir())) == 1
    assert await storage.get_token(KEY) == TOKEN


async def test_what_a_killed_process_has_left_half_written_is_removed_after_a_while(
    storage: FileStorage, directory: Path
) -> None:
    directory.mkdir(parents=True, mode=0o700)
    (old := directory / "token-1.a.tmp").write_text("half")
    (new := directory / "token-1.b.tmp").write_text("half")
    os.utime(old, (1, 1))
    await storage.set_token(KEY, TOKEN)
    assert not old.exists()
    assert new.exists()


# The lock


async def test_one_at_a_time_holds_the_lock_of_a_token(storage: FileStorage, directory: Path) -> None:
    others = FileStorage(directory)
    inside = 0

    async def hold(by: FileStorage) -> None:
        nonlocal inside
        async with by.lock(KEY):
            inside += 1
            assert inside == 1
            await trio.lowlevel.checkpoint()
            inside -= 1

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(hold, storage)
                nursery.start_soon(hold, others)
        async with storage.lock(KEY), storage.lock(TokenKey("https://another", "", "")):
            pass


async def test_who_waits_for_a_lock_can_be_cancelled(storage: FileStorage, directory: Path) -> None:
    async with storage.lock(KEY):
        with trio.move_on_after(0.05) as scope:
            async with FileStorage(directory).lock(KEY):
                raise AssertionError
        assert scope.cancelled_caught
    async with FileStorage(directory).lock(KEY):
        pass


@pytest.mark.parametrize("taken", [False, True])
async def test_a_lock_that_comes_too_late_is_given_back(
    directory: Path, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(parents=True)
    path, limiter = directory / "lock", trio.CapacityLimiter(8)
    begun, go_on, done = trio.Event(), threading.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    attempt = file_lock._Attempt.make
    acquire = FileLock.acquire

    def slow(self: Any, **options: Any) -> Any:
        if taken:  # it has the lock, but its caller has left before he hears of it
            acquire(self, **options)
        token.run_sync_soon(begun.set)
        assert go_on.wait(10)
        try:
            return acquire(self, **options)
        finally:
            done.set()

    monkeypatch.setattr(FileLock, "acquire", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, file_lock._Attempt(path), limiter)
        await begun.wait()
        nursery.cancel_scope.cancel()
    monkeypatch.setattr(FileLock, "acquire", acquire)
    go_on.set()
    await trio.to_thread.run_sync(done.wait, 10)
    async with file_lock.file_lock(path, 10, limiter):
        pass


async def test_a_lock_that_another_process_never_gives_back_is_an_error(
    storage: FileStorage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_storage, "_LOCK_SECONDS", 0.05)
    async with FileStorage(directory).lock(KEY):
        with pytest.raises(OAuthError, match=r"another process has held .*\.lock for 0.05 s"):
            await AsyncExitStack().enter_async_context(storage.lock(KEY))


@posix
async def test_a_lock_that_cannot_be_is_an_error(
    storage: FileStorage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, **options: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", broken)
    with pytest.raises(OAuthError, match=r"\.lock cannot be locked: No locks available"):
        await AsyncExitStack().enter_async_context(storage.lock(KEY))


# Blocking work


class Gate:
    """Holds up the threads that come to it."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work = work
        self.arrived = trio.Event()
        self.open = threading.Event()
        self.passed = threading.Event()
        self.token = trio.lowlevel.current_trio_token()

    def __call__(self, *args: Any) -> Any:
        self.token.run_sync_soon(self.arrived.set)
        assert self.open.wait(10)
        try:
            return self.work(*args)
        finally:
            self.passed.set()


async def test_a_file_system_that_hangs_holds_nobody_up(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(file_storage.FileVault.read)
    monkeypatch.setattr(file_storage.FileVault, "read", lambda *args: gate(*args))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.get_token, KEY)
        await gate.arrived.wait()
        nursery.cancel_scope.cancel()
    assert not gate.passed.is_set()
    gate.open.set()


async def test_a_write_that_comes_late_does_not_undo_a_later_one(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = file_storage.FileVault.write
    gates = [Gate(write), Gate(write), Gate(write)]
    waiting = iter(gates)
    monkeypatch.setattr(file_storage.FileVault, "write", lambda *args: next(waiting)(*args))
    # The first holds up the second, which is given up while the third overtakes it.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.set_token, KEY, StoredToken(access_token="1"))
        await gates[0].arrived.wait()
        with trio.move_on_after(0.01) as scope:
            await storage.set_token(KEY, StoredToken(access_token="2"))
        assert scope.cancelled_caught
        gates[1].open.set()
        nursery.start_soon(storage.set_token, KEY, StoredToken(access_token="3"))
        await trio.testing.wait_all_tasks_blocked()
        gates[0].open.set()
    monkeypatch.undo()
    token = await storage.get_token(KEY)
    assert token is not None
    assert token.access_token == "3"


async def test_what_never_comes_back_is_an_error_in_the_end(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(file_storage.FileVault.read)
    monkeypatch.setattr(file_storage.FileVault, "read", lambda *args: gate(*args))
    monkeypatch.setattr(vault_storage, "_SECONDS", 0.01)
    with pytest.raises(OAuthError, match="cannot be read: TooSlowError"):
        await storage.get_token(KEY)
    gate.open.set()


def test_without_a_directory_it_is_among_the_users_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(file_storage, "user_data_path", lambda name, appauthor: tmp_path / name)
    assert FileStorage().directory == tmp_path / "trio_mcp" / "tokens"
    assert repr(FileStorage("x")) == "FileStorage('x')"
