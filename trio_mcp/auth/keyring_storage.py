"""Tokens and registrations in the system's keyring, by the `keyring` package: the extra `keyring`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .file_storage import FileVault, data_directory
from .vault_storage import VaultStorage

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["KeyringStorage"]


class KeyringStorage(VaultStorage):
    """Keeps tokens and registrations in the system's keyring; a `TokenStorage` that outlives the process.

    Args:
        service: what they are kept under.
        backend: a keyring; None for the one that the system has.

    Raises:
        ConfigurationError: the package is not installed. A system without a keyring is an `OAuthError` when
            it is needed.
    """

    def __init__(self, service: str = "trio_mcp", *, backend: KeyringBackend | None = None) -> None:
        try:
            import keyring
        except ImportError:
            raise ConfigurationError(
                "auth: a KeyringStorage needs one more package: pip install 'trio_mcp[keyring]'"
            ) from None
        super().__init__(_Keyring(service, backend or keyring.get_keyring()), _locks)


class _Keyring:
    def __init__(self, service: str, backend: KeyringBackend) -> None:
        self._service = service
        self._backend = backend

    def __repr__(self) -> str:
        return f"the keyring {self._backend.name}"

    def read(self, name: str) -> str | None:
        return self._backend.get_password(self._service, name)

    def write(self, name: str, text: str | None) -> None:
        if text is not None:
            self._backend.set_password(self._service, name, text)
        elif self.read(name) is not None:
            self._backend.delete_password(self._service, name)


def _locks() -> Path:
    return FileVault(data_directory() / "locks").ready()
