from __future__ import annotations

import sys
from pathlib import Path

import keyring.errors
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from trio_mcp import ConfigurationError, OAuthError
from trio_mcp.auth import keyring_storage
from trio_mcp.auth.keyring_storage import KeyringStorage
from trio_mcp.auth.storage import TokenStorage

from .test_file_storage import CLIENT, KEY, REGISTRATION, TOKEN


class Keyring(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self, name: str = "in memory") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.passwords: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.passwords.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_storage, "data_directory", lambda: tmp_path)


async def test_what_is_kept_is_in_the_keyring(tmp_path: Path) -> None:
    backend = Keyring()
    storage = KeyringStorage("mine", backend=backend)
    assert isinstance(storage, TokenStorage)
    await storage.set_token(KEY, TOKEN)
    await storage.set_registration(CLIENT, REGISTRATION)
    async with storage.lock(KEY):
        assert await KeyringStorage("mine", backend=backend).get_token(KEY) == TOKEN
    assert await storage.get_registration(CLIENT) == REGISTRATION
    assert await KeyringStorage("another", backend=backend).get_token(KEY) is None
    for _ in range(2):
        await storage.set_token(KEY, None)
        await storage.set_registration(CLIENT, None)
    assert backend.passwords == {}
    assert "access-1" not in repr(storage)
    assert "access-1" not in "".join(path.read_text() for path in (tmp_path / "locks").iterdir())


async def test_a_system_without_a_keyring_says_so() -> None:
    with pytest.raises(OAuthError, match="storage: the keyring .* cannot be read: No recommended backend"):
        await KeyringStorage(backend=NoKeyring()).get_token(KEY)  # type: ignore[no-untyped-call]


async def test_the_systems_own_is_used_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Keyring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    await KeyringStorage().set_token(KEY, TOKEN)
    assert len(backend.passwords) == 1


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'trio_mcp\[keyring\]'"):
        KeyringStorage()
