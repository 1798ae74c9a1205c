from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

import trio_mcp
from trio_mcp import (
    ConfigurationError,
    FileStorage,
    IdentityProvider,
    KeyringStorage,
    MemoryStorage,
    OAuth,
)
from trio_mcp.auth.config import JWT_BEARER, is_loopback
from trio_mcp.auth.keys import signing_key


def pem(key: Any) -> str:
    return str(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
    )


EC = pem(ec.generate_private_key(ec.SECP256R1()))
PROVIDER = IdentityProvider(issuer="https://idp.example.com", subject_token="t")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"client_id": "me"},
        {"client_id": "me", "client_secret": "s", "token_endpoint_auth_method": "client_secret_post"},
        {"client_id": "me", "client_secret": "s", "grant_type": "client_credentials"},
        {"client_id": "me", "private_key": EC, "grant_type": "client_credentials"},
        {"client_id": "me", "private_key": EC, "grant_type": JWT_BEARER},
        {"client_id": "me", "assertion": "jwt", "grant_type": JWT_BEARER},
        {"grant_type": JWT_BEARER, "identity_provider": PROVIDER},
        {"client_metadata_url": "https://me.example.com/client.json"},
        {"callback_port": 8765},
        {"redirect_uri": "http://localhost:8765/back"},
        {"redirect_uri": "https://me.example.com/back", "on_redirect": print},
        {"issuer": "http://127.0.0.1:9000", "scope": "a b", "login_timeout": 10},
    ],
)
def test_what_can_work_is_taken(options: dict[str, Any]) -> None:
    assert OAuth.from_mapping(options) == OAuth(**{"storage": _Same(), **options})


class _Same:
    """Equal to every storage, and one by its methods."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]
    get_token = set_token = get_registration = set_registration = lock = print


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"client": 1}, "no option 'client': did you mean 'client_id'"),
        ({"xyzzy": 1}, "no option 'xyzzy'; there are client_id"),
        ({5: 1}, "no option 5"),
        ({"client_id": ""}, "client_id must be a str"),
        ({"client_id": 5}, "client_id must be a str"),
        ({"client_secret": "s3cret"}, "needs its client_id"),
        ({"grant_type": "password"}, "grant_type must be one of"),
        ({"token_endpoint_auth_method": "tls"}, "token_endpoint_auth_method must be one of"),
        ({"signing_algorithm": "none"}, "signing_algorithm must be one of"),
        ({"issuer": "idp"}, "issuer must be an absolute"),
        ({"issuer": "https://u:s3cret@idp"}, "issuer must be an absolute"),
        ({"issuer": 5}, "issuer must be an absolute"),
        ({"storage": object()}, "object is no TokenStorage"),
        ({"on_redirect": "echo"}, "on_redirect must be a function"),
        ({"login_timeout": 0}, "login_timeout must be above 0"),
        ({"login_timeout": True}, "login_timeout must be above 0"),
        ({"client_metadata_url": "http://me/x"}, "https URL with a path"),
        ({"client_metadata_url": "https://me/"}, "https URL with a path"),
        ({"grant_type": "client_credentials"}, "client_credentials needs a client_id"),
        ({"grant_type": "client_credentials", "client_id": "me"}, "client_credentials needs a client_id"),
        ({"assertion": "s3cret"}, "go with grant_type"),
        (
            {"assertion": "s3cret", "identity_provider": PROVIDER, "grant_type": JWT_BEARER},
            "exclude each other",
        ),
        ({"grant_type": JWT_BEARER, "private_key": EC}, "jwt-bearer needs"),
        ({"grant_type": JWT_BEARER, "client_id": "me"}, "jwt-bearer needs"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "needs a private_key"),
        ({"client_id": "me", "private_key": "s3cret"}, "must be a private key as PEM"),
        ({"client_id": "me", "private_key": EC, "signing_algorithm": "RS256"}, "does not go with"),
        ({"callback_port": 0}, "between 1 and 65535"),
        ({"callback_port": "80"}, "between 1 and 65535"),
        ({"redirect_uri": "http://127.0.0.1:1/", "callback_port": 5}, "exclude each other"),
        ({"redirect_uri": "http://me.example.com/back", "on_redirect": print}, "https, or on this machine"),
        ({"redirect_uri": "https://me.example.com/back"}, "needs an on_redirect"),
        ({"redirect_uri": "http://localhost/back"}, "needs an on_redirect"),
        ({"identity_provider": {"issuer": "https://idp"}}, "identity_provider: .*subject_token"),
        ({"identity_provider": {"subject_token": "s3cret"}}, "its issuer or its token_endpoint"),
        ({"identity_provider": {"subject_token": "s3cret", "token_endpoint": "x"}}, "token_endpoint must be"),
        ({"identity_provider": {"subject": "s3cret"}}, "did you mean 'subject_token'"),
    ],
)
def test_what_cannot_work_is_told_at_once_and_without_secrets(options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        trio_mcp.open_connector("https://example.com/mcp", auth=options)
    assert "s3cret" not in str(caught.value)


def test_none_in_a_dict_is_as_good_as_left_out() -> None:
    assert OAuth.from_mapping({"client_name": None, "scope": None}).client_name == "trio_mcp"


def test_a_repr_shows_no_secret() -> None:
    oauth = OAuth(client_id="me", client_secret="s3cret", private_key=EC, signing_algorithm="ES256")
    provider = IdentityProvider(issuer="https://idp", subject_token="s3cret", client_secret="s3cret")
    jwt = OAuth(grant_type=JWT_BEARER, assertion="s3cret")
    assert "s3cret" not in repr(oauth) + repr(provider) + repr(jwt)
    assert "PRIVATE" not in repr(oauth)


def test_each_object_has_a_storage_of_its_own() -> None:
    assert OAuth().storage is not OAuth().storage


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
def test_a_key_says_what_it_signs_with(key: Any, algorithm: str) -> None:
    assert signing_key(pem(key), None)[1] == algorithm


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(2048),
    ],
    ids=["P-224", "secp256k1", "DSA"],
)
def test_a_key_that_signs_no_jwt_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="no algorithm"):
        signing_key(pem(key), None)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("127.0.0.1.evil.example.com", False),
        ("127.0.0.256", False),
        ("127.0.0", False),
        ("localhost.evil.example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_this_machine_is_known_by_its_names(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("name", "kind"), [("memory", MemoryStorage), ("file", FileStorage), ("keyring", KeyringStorage)]
)
def test_a_dict_may_name_the_storage(name: str, kind: type) -> None:
    assert type(OAuth.from_mapping({"storage": name}).storage) is kind


def test_a_storage_that_there_is_none_of_is_told_of() -> None:
    with pytest.raises(ConfigurationError, match="storage must be one of memory, file, keyring, not 'disk'"):
        OAuth.from_mapping({"storage": "disk"})


def test_what_the_extensions_of_the_protocol_describe_is_declared() -> None:
    provider = IdentityProvider(subject_token="x", issuer="https://idp.example")
    assert OAuth().extensions == []
    assert OAuth(grant_type=JWT_BEARER, assertion="x").extensions == []
    enterprise = OAuth(grant_type=JWT_BEARER, identity_provider=provider)
    assert enterprise.extensions == ["io.modelcontextprotocol/enterprise-managed-authorization"]
