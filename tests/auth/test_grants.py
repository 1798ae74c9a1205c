"""What a token endpoint is sent: grants, who we are, and proofs."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.auth.test_config import EC
from tests.auth.world import Pages
from trio_mcp import IdentityProvider, OAuth, OAuthError
from trio_mcp.auth.client import authenticate, given_client, register, stored_client
from trio_mcp.auth.config import CLIENT_CREDENTIALS, JWT_BEARER
from trio_mcp.auth.discovery import Discovered
from trio_mcp.auth.documents import ClientInformation, ServerMetadata, TokenAnswer
from trio_mcp.auth.dpop import DpopKey
from trio_mcp.auth.fetcher import Answer, quoted
from trio_mcp.auth.grants import machine_grant, request_token
from trio_mcp.auth.storage import Registration

AUTH = "https://auth.example.com"
RESOURCE = "https://mcp.example.com/mcp"
TOKEN = f"{AUTH}/token"
PUBLIC = Registration(client_id="me")


def server(**more: Any) -> ServerMetadata:
    return ServerMetadata(**{"issuer": AUTH, "token_endpoint": TOKEN, **more})


def found(**more: Any) -> Discovered:
    return Discovered(resource=RESOURCE, server=server(**more))


def answer(status: int, document: Any, **headers: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, headers, json.dumps(document).encode())


def claims(token: str, audience: str) -> dict[str, Any]:
    key = load_pem_private_key(EC.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return dict(jwt.decode(token, key.public_key(), algorithms=["ES256"], audience=audience))


# Who we are


@pytest.mark.parametrize(
    ("offered", "method"),
    [
        (None, "client_secret_basic"),
        (["client_secret_basic", "client_secret_post"], "client_secret_basic"),
        (["client_secret_post"], "client_secret_post"),
        (["private_key_jwt"], "client_secret_basic"),
    ],
)
def test_a_secret_is_shown_in_the_way_that_the_server_offers(offered: list[str] | None, method: str) -> None:
    config = OAuth(client_id="me", client_secret="s")
    client = given_client(config, server(token_endpoint_auth_methods_supported=offered))
    assert client is not None
    assert client.auth_method == method


def test_the_programs_word_counts_more() -> None:
    config = OAuth(client_id="me", client_secret="s", token_endpoint_auth_method="client_secret_post")
    client = given_client(config, server())
    assert client is not None
    assert client.auth_method == "client_secret_post"


@pytest.mark.parametrize("supported", [True, False, None])
def test_a_metadata_document_is_used_where_it_is_supported(supported: bool | None) -> None:
    config = OAuth(client_metadata_url="https://me.example.com/client")
    client = given_client(config, server(client_id_metadata_document_supported=supported))
    assert (client is not None) is bool(supported)
    assert client is None or client.client_id == "https://me.example.com/client"
    assert client is None or client.auth_method == "none"


def test_id_and_secret_are_encoded_before_they_are_joined() -> None:
    client = Registration(client_id="m:e", client_secret="s e/", auth_method="client_secret_basic")
    headers, form = authenticate(client, OAuth(), AUTH, {"a": "b"})
    scheme, _, pair = headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"m%3Ae:s+e%2F")
    assert form == {"a": "b", "client_id": "m:e"}


def test_a_secret_may_go_into_the_form() -> None:
    client = Registration(client_id="me", client_secret="s", auth_method="client_secret_post")
    assert authenticate(client, OAuth(), AUTH, {}) == ({}, {"client_id": "me", "client_secret": "s"})


def test_a_key_signs_who_we_are() -> None:
    config = OAuth(client_id="me", private_key=EC)
    client = given_client(config, server())
    assert client is not None
    headers, form = authenticate(client, config, AUTH, {})
    assert headers == {}
    assert set(form) == {"client_assertion_type", "client_assertion"}
    signed = claims(form["client_assertion"], AUTH)
    assert (signed["iss"], signed["sub"], signed["exp"] - signed["iat"]) == ("me", "me", 300)
    other = claims(authenticate(client, config, AUTH, {})[1]["client_assertion"], AUTH)
    assert other["jti"] != signed["jti"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt", "tls"])
def test_a_method_that_needs_what_we_have_not_is_told(method: str) -> None:
    with pytest.raises(OAuthError, match=f"wants {method}"):
        authenticate(Registration(client_id="me", auth_method=method), OAuth(), AUTH, {})


# Registration


async def test_a_registration_is_kept_as_the_server_makes_it() -> None:
    pages = Pages(
        {
            f"{AUTH}/register": answer(
                201, {"client_id": "c", "client_secret": "s", "client_secret_expires_at": 0}
            )
        }
    )
    metadata = server(
        registration_endpoint=f"{AUTH}/register",
        token_endpoint_auth_methods_supported=["client_secret_post", "private_key_jwt"],
    )
    uri = "https://me.example.com/back"
    client = await register(pages.fetcher(), metadata, OAuth(client_name="mine"), uri, "a b")
    assert client == Registration(
        client_id="c", client_secret="s", auth_method="client_secret_post", redirect_uris=(uri,)
    )
    assert "s" not in repr(client).replace("client_secret_post", "").split("'")
    assert pages.sent[0][1]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("http://127.0.0.1:5/callback", "native"),
        ("http://localhost:5/", "native"),
        ("https://a.example/b", "web"),
    ],
)
async def test_a_registration_says_what_kind_of_application_it_is(uri: str, kind: str) -> None:
    sent = []

    class Recording(Pages):
        async def __call__(self, method: str, url: str, headers: Any, body: bytes | None) -> Answer:
            sent.append(json.loads(body or b""))
            return answer(200, {"client_id": "c", "token_endpoint_auth_method": "none"})

    metadata = server(registration_endpoint=f"{AUTH}/register")
    client = await register(Recording({}).fetcher(), metadata, OAuth(), uri, None)
    assert sent[0]["application_type"] == kind
    assert "scope" not in sent[0]
    assert sent[0]["token_endpoint_auth_method"] == "client_secret_basic"  # what RFC 8414 takes for granted
    assert client.auth_method == "none"


async def test_a_server_that_has_nothing_for_us_gets_what_everybody_has() -> None:
    pages = Pages({f"{AUTH}/register": answer(201, {"client_id": "c"})})
    metadata = server(
        registration_endpoint=f"{AUTH}/register", token_endpoint_auth_methods_supported=["private_key_jwt"]
    )
    assert (
        await register(pages.fetcher(), metadata, OAuth(), "http://localhost:1", None)
    ).auth_method == "none"


async def test_a_registration_that_is_refused_is_told_of() -> None:
    refusal = {"error": "invalid_redirect_uri", "error_description": "no loopback"}
    pages = Pages({f"{AUTH}/register": answer(400, refusal)})
    with pytest.raises(
        OAuthError, match="refused to register us.*invalid_redirect_uri: no loopback"
    ) as caught:
        await register(
            pages.fetcher(),
            server(registration_endpoint=f"{AUTH}/register"),
            OAuth(),
            "http://localhost:1",
            None,
        )
    assert (caught.value.step, caught.value.error) == ("registration", "invalid_redirect_uri")


@pytest.mark.parametrize("body", [b"<html>", b'{"client_id": 5}', b"{}"])
async def test_a_registration_that_makes_no_sense_is_told_of(body: bytes) -> None:
    pages = Pages({f"{AUTH}/register": Answer(201, {}, body)})
    with pytest.raises(OAuthError) as caught:
        await register(
            pages.fetcher(),
            server(registration_endpoint=f"{AUTH}/register"),
            OAuth(),
            "http://localhost:1",
            None,
        )
    assert caught.value.step == "registration"


@pytest.mark.parametrize("url", [None, "https://me.example.com/client"])
async def test_where_nobody_can_register_the_way_out_is_told(url: str | None) -> None:
    with pytest.raises(OAuthError, match="pass client_id.*client_metadata_url"):
        await register(
            Pages({}).fetcher(), server(), OAuth(client_metadata_url=url), "http://localhost:1", None
        )


def test_a_kept_registration_is_used_while_it_is_good() -> None:
    uri = "http://127.0.0.1:5/callback"
    good = Registration(client_id="c", redirect_uris=(uri,), secret_expires_at=4e9)
    ended = Registration(client_id="c", redirect_uris=(uri,), secret_expires_at=5)
    assert stored_client(good, uri) is good
    assert stored_client(good, "http://127.0.0.1:6/callback") is None
    assert stored_client(ended, uri) is None
    assert stored_client(None, uri) is None


# Grants


async def test_client_credentials_are_a_grant_of_their_own() -> None:
    config = OAuth(grant_type=CLIENT_CREDENTIALS, client_id="me", client_secret="s")
    grant = await machine_grant(Pages({}).fetcher(), config, found(), None)
    pages = Pages({TOKEN: {"access_token": "t", "expires_in": "60"}})
    client = given_client(config, server())
    assert client is not None
    token = await request_token(pages.fetcher(), config, found(), client, grant, None)
    assert (token.access_token, token.token_type, token.expires_in) == ("t", "Bearer", 60)
    ((_, headers, form),) = pages.sent
    assert form == {
        "grant_type": ["client_credentials"],
        "resource": [RESOURCE],
        "client_id": ["me"],
    }
    assert headers["authorization"].startswith("Basic ")
    assert headers["content-type"] == "application/x-www-form-urlencoded"


async def test_an_assertion_is_asked_for_each_time() -> None:
    given = iter(["one", "two"])

    async def ask() -> str:
        return next(given)

    config = OAuth(grant_type=JWT_BEARER, assertion=ask)
    for expected in ("one", "two"):
        grant = await machine_grant(Pages({}).fetcher(), config, found(), None)
        assert grant == {"grant_type": JWT_BEARER, "assertion": expected}
    config = OAuth(grant_type=JWT_BEARER, assertion=lambda: "three")
    assert (await machine_grant(Pages({}).fetcher(), config, found(), None))["assertion"] == "three"


async def test_a_key_signs_an_assertion() -> None:
    config = OAuth(grant_type=JWT_BEARER, client_id="me", private_key=EC)
    grant = await machine_grant(Pages({}).fetcher(), config, found(), None)
    signed = claims(grant["assertion"], AUTH)
    assert (signed["iss"], signed["sub"]) == ("me", "me")
    client = given_client(config, server())
    assert client is not None
    assert client.auth_method == "none"


@pytest.mark.parametrize("known", [True, False])
async def test_an_identity_provider_vouches_for_a_person(known: bool) -> None:
    idp = "https://idp.example.com"
    provider = IdentityProvider(
        issuer=None if known else idp,
        token_endpoint=f"{idp}/token" if known else None,
        client_id="us",
        client_secret="s3cret",
        subject_token="id-token",
    )
    exchanged = {
        "access_token": "jag",
        "token_type": "N_A",
        "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag",
    }
    pages = Pages(
        {
            f"{idp}/.well-known/openid-configuration": {"issuer": idp, "token_endpoint": f"{idp}/token"},
            f"{idp}/token": exchanged,
        }
    )
    config = OAuth(grant_type=JWT_BEARER, identity_provider=provider)
    grant = await machine_grant(pages.fetcher(), config, found(), "a b")
    assert grant == {"grant_type": JWT_BEARER, "assertion": "jag"}
    assert {name: value for name, (value,) in pages.sent[0][2].items()} == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
        "audience": AUTH,
        "resource": RESOURCE,
        "subject_token": "id-token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "scope": "a b",
        "client_id": "us",
        "client_secret": "s3cret",
    }


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {"access_token": "x", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"},
            "another kind",
        ),
        ({"error": "invalid_grant", "error_description": "bad id-token"}, r"invalid_grant: bad \[secret\]"),
    ],
)
async def test_an_identity_provider_that_does_not_is_told_of(document: Any, words: str) -> None:
    idp = "https://idp.example.com"
    provider = IdentityProvider(token_endpoint=f"{idp}/token", subject_token="id-token")
    config = OAuth(grant_type=JWT_BEARER, identity_provider=provider)
    with pytest.raises(OAuthError, match=words):
        await machine_grant(Pages({f"{idp}/token": document}).fetcher(), config, found(), None)


async def test_an_identity_provider_without_a_token_endpoint_is_told_of() -> None:
    idp = "https://idp.example.com"
    config = OAuth(
        grant_type=JWT_BEARER, identity_provider=IdentityProvider(issuer=idp, subject_token="id-token")
    )
    pages = Pages({f"{idp}/.well-known/openid-configuration": {"issuer": idp}})
    with pytest.raises(OAuthError, match="no token endpoint"):
        await machine_grant(pages.fetcher(), config, found(), None)


async def test_an_authorization_server_without_a_token_endpoint_is_told_of() -> None:
    with pytest.raises(OAuthError, match="no token endpoint"):
        await request_token(Pages({}).fetcher(), OAuth(), found(token_endpoint=None), PUBLIC, {}, None)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Answer(500, {}, b"oops"), "HTTP 500"),
        (answer(200, {"access_token": ""}), "no token"),
        (answer(200, {"access_token": 5}), "no token: access_token"),
        (answer(200, {"access_token": "two words"}), "cannot carry"),
        (answer(200, {"access_token": "ü"}), "cannot carry"),
        (answer(400, {"error": ["x"], "error_description": 5}), "HTTP 400"),
        (answer(302, {}, location="https://evil.example.com"), "HTTP 302"),
    ],
)
async def test_an_answer_that_is_no_token_is_told_of(reply: Answer, words: str) -> None:
    pages = Pages({TOKEN: reply})
    with pytest.raises(OAuthError, match=words) as caught:
        await request_token(pages.fetcher(), OAuth(), found(), PUBLIC, {"code": "x"}, None)
    assert caught.value.step == "token"
    assert pages.asked == [TOKEN]


async def test_what_a_server_repeats_of_a_secret_is_not_told() -> None:
    client = Registration(client_id="me", client_secret="s3cret", auth_method="client_secret_basic")
    pages = Pages({TOKEN: answer(400, {"error": "s3cret", "error_description": "s3cret or c0de"})})
    with pytest.raises(OAuthError) as caught:
        await request_token(pages.fetcher(), OAuth(), found(), client, {"code": "c0de"}, None)
    assert str(caught.value).count("[secret]") == 3


async def test_nor_as_it_was_written_but_what_is_no_secret_is() -> None:
    client = Registration(client_id="me", client_secret="s3cret", auth_method="client_secret_basic")
    basic = base64.b64encode(b"me:s3cret").decode()
    form = {"code": "c0de/+", "scope": "mcp:admin", "redirect_uri": "http://127.0.0.1:1/callback"}
    said = f"no scope mcp:admin for http://127.0.0.1:1/callback: code=c0de%2F%2B, Basic {basic}"
    pages = Pages({TOKEN: answer(400, {"error": "invalid_scope", "error_description": said})})
    with pytest.raises(OAuthError) as caught:
        await request_token(pages.fetcher(), OAuth(), found(), client, form, None)
    assert caught.value.error_description == (
        "no scope mcp:admin for http://127.0.0.1:1/callback: code=[secret], Basic [secret]"
    )


@pytest.mark.parametrize(
    "document",
    [
        TokenAnswer(access_token="s3cret", refresh_token="s3cret"),
        ClientInformation(client_id="me", client_secret="s3cret"),
    ],
)
def test_no_secret_is_in_the_repr_of_an_answer(document: object) -> None:
    assert "s3cret" not in f"{document!r} {document}"


def test_what_a_server_says_is_short_and_on_one_line() -> None:
    assert quoted("a\n\x1b[31mb ") == "a [31mb"
    assert len(quoted("x" * 5000) or "") == 301
    assert quoted(5) is None
    assert quoted("abc", ("abc",)) == "abc"  # too short to be one


def test_a_secret_that_is_a_part_of_another_does_not_spare_it() -> None:
    assert quoted("abcd-more", ("abcd", "abcd-more")) == "[secret]"


# Proofs


def test_a_proof_is_for_one_request_of_one_key() -> None:
    key = DpopKey()
    one, other = (key.proof("POST", f"{TOKEN}?a=b#c", "t") for _ in range(2))
    header = jwt.get_unverified_header(one)
    assert (header["typ"], header["alg"], set(header["jwk"])) == (
        "dpop+jwt",
        "ES256",
        {"kty", "crv", "x", "y"},
    )
    public = jwt.PyJWK(header["jwk"]).key
    seen = [jwt.decode(proof, public, algorithms=["ES256"]) for proof in (one, other)]
    assert seen[0]["htm"] == "POST"
    assert seen[0]["htu"] == TOKEN
    digest = "43vhzIDOI2-2Nq0tgOgkRGDbEOUmxnqIyTHQHzQs9NU"
    assert len(seen[0]["ath"]) == len(digest)
    assert seen[0]["jti"] != seen[1]["jti"]
    assert "nonce" not in seen[0]
    assert DpopKey(key.pem).pem == key.pem
    assert repr(key) == "DpopKey(…)"


def test_each_server_has_nonces_of_its_own() -> None:
    key = DpopKey()
    old = key.proof("POST", TOKEN)
    key.learn(TOKEN, {"dpop-nonce": "n"})
    key.learn(RESOURCE, {})
    key.learn(RESOURCE, {"dpop-nonce": "x" * 5000})
    assert key.is_outdated(TOKEN, old)
    assert not key.is_outdated(RESOURCE, old)
    assert not key.is_outdated(TOKEN, key.proof("GET", f"{AUTH}/other"))
    assert not key.is_outdated(TOKEN, None)


async def test_a_token_endpoint_that_wants_a_nonce_gets_it_once() -> None:
    want = answer(400, {"error": "use_dpop_nonce"}, dpop_nonce="n")
    pages = Pages({TOKEN: [want, answer(200, {"access_token": "t", "token_type": "DPoP"})]})
    await request_token(pages.fetcher(), OAuth(), found(), PUBLIC, {"code": "x"}, DpopKey())
    proofs = [
        jwt.decode(headers["dpop"], options={"verify_signature": False}) for _, headers, _ in pages.sent
    ]
    assert [proof.get("nonce") for proof in proofs] == [None, "n"]
    assert [form for *_, form in pages.sent] == [pages.sent[0][2]] * 2
    pages = Pages({TOKEN: [want, want]})
    with pytest.raises(OAuthError, match="use_dpop_nonce"):
        await request_token(pages.fetcher(), OAuth(), found(), PUBLIC, {"code": "x"}, DpopKey())
