"""`OAuth`: what a program says about how its tokens are to be had; and the same as a dict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

import httpx2

from ..errors import ConfigurationError
from ..nearest import nearest_names
from .storage import MemoryStorage, TokenStorage

__all__ = [
    "AUTHORIZATION_CODE",
    "CLIENT_CREDENTIALS",
    "JWT_BEARER",
    "AuthMethod",
    "GrantType",
    "IdentityProvider",
    "OAuth",
    "RedirectHandler",
    "Secret",
    "is_loopback",
]

AUTHORIZATION_CODE: Final = "authorization_code"
CLIENT_CREDENTIALS: Final = "client_credentials"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

GrantType: TypeAlias = Literal[
    "authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"
]
AuthMethod: TypeAlias = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
Secret: TypeAlias = "str | Callable[[], str | Awaitable[str]]"
"""A secret, or a function that gives it anew whenever it is needed, because it expires."""

T = TypeVar("T")

_GRANTS: Final = (AUTHORIZATION_CODE, CLIENT_CREDENTIALS, JWT_BEARER)
_METHODS: Final = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")
_ALGORITHMS: Final = (
    "ES256",
    "ES384",
    "ES512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "EdDSA",
)


class RedirectHandler(Protocol):
    """Shows a person where to log in, in place of a browser: prints it, mails it, drives its own browser.

    Returns None if the browser comes back to the loopback server that is waiting; else the URL that the
    authorization server redirected to, with its query. It may be async.
    """

    def __call__(self, url: str, /) -> str | Awaitable[str | None] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProvider:
    """An enterprise's identity provider, which vouches for a person who has logged in there.

    Its token exchange (RFC 8693) gives an identity assertion (ID-JAG) that the MCP server's authorization
    server takes: ext-auth, "Enterprise-Managed Authorization".

    Args:
        subject_token: what says who the person is: an ID token, or a SAML assertion.
        issuer: its issuer identifier, from which the token endpoint is found.
        token_endpoint: the token endpoint, if it need not be found.
        client_id: what we are called there.
        client_secret: None for a public client.
        subject_token_type: what kind of token it is.
    """

    subject_token: Secret = field(repr=False)
    issuer: str | None = None
    token_endpoint: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    subject_token_type: str = "urn:ietf:params:oauth:token-type:id_token"

    def __post_init__(self) -> None:
        if self.issuer is None and self.token_endpoint is None:
            raise ConfigurationError("auth: an identity_provider needs its issuer or its token_endpoint")
        for name in ("issuer", "token_endpoint"):
            _check_url(f"identity_provider: {name}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """How tokens for an MCP server are had (26/basic/authorization). `OAuth()` is enough for most servers.

    An object may be given to several connectors: with it they share its storage, and so their tokens.

    Args:
        client_id: of a client that was registered beforehand. Give its `issuer`, too: without, it is the
            first authorization server that the MCP server names.
        client_secret: of that client.
        scope: scopes to ask for, between spaces, beside those that the server asks for; None leaves it to the
            server.
        callback_port: where the loopback server listens for the browser to come back; None for any free port.
        client_metadata_url: the https URL of our client id metadata document (CIMD).
        redirect_uri: what the authorization server is to redirect to. One that is not on this machine needs
            an `on_redirect` that returns where the browser came to.
        client_name: how we introduce ourselves when we register.
        token_endpoint_auth_method: how the client authenticates; None for the best that both sides know.
        grant_type: "authorization_code", where a person logs in; "client_credentials";
            "urn:ietf:params:oauth:grant-type:jwt-bearer", with an `assertion`, an `identity_provider`, or
            a `private_key` to sign assertions with.
        private_key: a PEM; the client authenticates with it (`private_key_jwt`), or signs its assertions.
        signing_algorithm: of that key, such as "ES256"; None for what goes with the key.
        issuer: the only authorization server to trust. Credentials are sent nowhere else.
        storage: where tokens and registrations are kept; memory unless given. `FileStorage` and
            `KeyringStorage` keep them longer.
        on_redirect: shows the person where to log in; None opens a browser.
        assertion: a JWT that says who we are: workload identity. Give the `issuer` that it is for, too.
        identity_provider: for enterprise-managed authorization.
        dpop: whether tokens are bound to a key (RFC 9449); None if the server asks for that.
        login_timeout: seconds that the person may take. No other deadline of the connector counts meanwhile.

    Raises:
        ConfigurationError: an option that cannot work.
    """

    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scope: str | None = None
    callback_port: int | None = None
    client_metadata_url: str | None = None
    redirect_uri: str | None = None
    client_name: str = "trio_mcp"
    token_endpoint_auth_method: AuthMethod | None = None
    grant_type: GrantType = AUTHORIZATION_CODE
    private_key: str | None = field(default=None, repr=False)
    signing_algorithm: str | None = None
    issuer: str | None = None
    storage: TokenStorage = field(default_factory=MemoryStorage)
    on_redirect: RedirectHandler | None = None
    assertion: Secret | None = field(default=None, repr=False)
    identity_provider: IdentityProvider | None = None
    dpop: bool | None = None
    login_timeout: float = 300

    def __post_init__(self) -> None:
        for name in ("client_id", "client_secret", "scope", "private_key"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigurationError(f"auth: {name} must be a str that is not empty, or None")
        _check_choice("grant_type", self.grant_type, _GRANTS)
        _check_choice("token_endpoint_auth_method", self.token_endpoint_auth_method, (None, *_METHODS))
        _check_choice("signing_algorithm", self.signing_algorithm, (None, *_ALGORITHMS))
        _check_url("issuer", self.issuer)
        if not isinstance(self.storage, TokenStorage):
            raise ConfigurationError(f"auth: {type(self.storage).__name__} is no TokenStorage (storage)")
        if self.on_redirect is not None and not callable(self.on_redirect):
            raise ConfigurationError("auth: on_redirect must be a function of the authorization URL")
        if isinstance(self.login_timeout, bool) or not self.login_timeout > 0:
            raise ConfigurationError(f"auth: login_timeout must be above 0 s, not {self.login_timeout!r}")
        self._check_credentials()
        self._check_redirect()

    def _check_credentials(self) -> None:
        if self.client_secret is not None and self.client_id is None:
            raise ConfigurationError("auth: a client_secret needs its client_id")
        url = self.client_metadata_url
        if url is not None:
            parsed = _check_url("client_metadata_url", url)
            if parsed.scheme != "https" or parsed.path in ("", "/"):
                raise ConfigurationError(
                    f"auth: client_metadata_url must be an https URL with a path, not {url!r}"
                )
        if self.grant_type == CLIENT_CREDENTIALS and (
            self.client_id is None or (self.client_secret is None and self.private_key is None)
        ):
            raise ConfigurationError(
                "auth: client_credentials needs a client_id, with a client_secret or a private_key"
            )
        sources = (self.assertion, self.identity_provider)
        if self.grant_type != JWT_BEARER and sources != (None, None):
            raise ConfigurationError(
                f"auth: assertion and identity_provider go with grant_type={JWT_BEARER!r}"
            )
        if None not in sources:
            raise ConfigurationError("auth: assertion and identity_provider exclude each other")
        if self.grant_type == JWT_BEARER and (
            sources == (None, None) and None in (self.private_key, self.client_id)
        ):
            raise ConfigurationError(
                "auth: jwt-bearer needs an assertion, an identity_provider, or a private_key and client_id"
            )
        if self.token_endpoint_auth_method == "private_key_jwt" and self.private_key is None:
            raise ConfigurationError("auth: private_key_jwt needs a private_key")
        if self.private_key is not None:
            from .keys import signing_key

            signing_key(self.private_key, self.signing_algorithm)

    def _check_redirect(self) -> None:
        port, uri = self.callback_port, self.redirect_uri
        if port is not None and (type(port) is not int or not 0 < port < 1 << 16):
            raise ConfigurationError(f"auth: callback_port is between 1 and 65535, not {port!r}")
        if uri is None:
            return
        url = _check_url("redirect_uri", uri)
        if port is not None:
            raise ConfigurationError("auth: redirect_uri and callback_port exclude each other")
        if url.scheme != "https" and not is_loopback(url.host):
            raise ConfigurationError("auth: a redirect_uri is https, or on this machine")
        if self.on_redirect is None and (url.scheme == "https" or url.port is None):
            raise ConfigurationError(
                "auth: a redirect_uri that is not http on a port of this machine needs an on_redirect that "
                "returns where the browser came to"
            )

    @property
    def trusted_urls(self) -> list[str]:
        """The URLs that the program itself has named: they may be on a private network."""
        provider = self.identity_provider
        named = [self.issuer, *((provider.issuer, provider.token_endpoint) if provider else ())]
        return [url for url in named if url is not None]

    @property
    def extensions(self) -> list[str]:
        """The extensions of the protocol that this uses, for the client to declare (26/basic/versioning)."""
        if self.grant_type == CLIENT_CREDENTIALS:
            return ["io.modelcontextprotocol/oauth-client-credentials"]
        if self.identity_provider is not None:
            return ["io.modelcontextprotocol/enterprise-managed-authorization"]
        return []

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> OAuth:
        """The same from a dict, as `auth=` takes it; None is as good as left out.

        Args:
            options: the options by name. `storage` may be "memory", "file" (a `FileStorage`) or "keyring" (a
                `KeyringStorage`), too, and `identity_provider` a dict.

        Raises:
            ConfigurationError: a key that there is none of, or a value that cannot work.
        """
        options = {name: value for name, value in options.items() if value is not None}
        provider = options.get("identity_provider")
        if isinstance(provider, Mapping):
            options["identity_provider"] = _make(IdentityProvider, provider, "auth: identity_provider")
        if isinstance(options.get("storage"), str):
            options["storage"] = _named_storage(options["storage"])
        return _make(cls, options, "auth")


def _named_storage(name: str) -> TokenStorage:
    _check_choice("storage", name, ("memory", "file", "keyring"))
    if name == "file":
        from .file_storage import FileStorage  # imported late, for what it brings

        return FileStorage()
    if name == "keyring":
        from .keyring_storage import KeyringStorage

        return KeyringStorage()
    return MemoryStorage()


def _make(kind: Callable[..., T], options: Mapping[str, Any], where: str) -> T:
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # it is a dataclass
    for name in options:
        if name not in names:
            near = nearest_names(str(name), names, 1)
            hint = f": did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
            raise ConfigurationError(f"{where} has no option {name!r}{hint}")
    try:
        return kind(**options)
    except TypeError as exc:  # something is missing
        raise ConfigurationError(f"{where}: {exc}") from None


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        offered = ", ".join(str(each) for each in choices if each is not None)
        raise ConfigurationError(f"auth: {name} must be one of {offered}, not {value!r}")


def _check_url(name: str, value: object) -> httpx2.URL:
    if value is None:
        return httpx2.URL("")
    try:
        url = httpx2.URL(value)  # type: ignore[arg-type]  # a TypeError is what we are after
    except (httpx2.InvalidURL, TypeError, UnicodeError):
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.fragment or url.userinfo:
        raise ConfigurationError(f"auth: {name} must be an absolute http(s) URL without user and fragment")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine, by its name or address."""
    host = host.lower().rstrip(".")
    return host == "localhost" or host == "::1" or (host.startswith("127.") and _is_ipv4(host))


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(each.isdecimal() and int(each) < 256 for each in parts)
