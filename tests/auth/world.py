"""An authorization server in memory, the MCP server that it protects, and a person who logs in at once."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import trio

from trio_mcp import Connector, OAuth
from trio_mcp.auth.fetcher import Answer, Fetcher
from trio_mcp.auth.guard import Guard
from trio_mcp.testing import Call, HttpExchange, HttpRequest, MemoryNetwork, ScriptedServer, serve_http
from trio_mcp.testing.call import Answer as CallAnswer

MCP: Final = "http://127.0.0.1:8000/mcp"
ISSUER: Final = "http://127.0.0.1:9000"
PRM: Final = f"{ISSUER}/prm"

Json = dict[str, Any]


class AuthorizationServer:
    """An authorization server: it registers everybody, and gives tokens that rotate.

    Attributes:
        metadata: what it publishes.
        resource: the protected resource metadata, which it serves for the MCP server.
        documents: further answers, by path.
        registrations: the registrations that it got.
        logins: the queries of the authorization URLs that were opened.
        received: all requests that it got.
        requests: the forms of the token requests; `headers` are theirs.
        valid: the access tokens that are good, with their scopes.
        refresh: the refresh tokens that are good, with their scopes.
        lifetime: of access tokens, in seconds; None says nothing.
        delay: how long a token request takes.
        refuse: answers a token request otherwise, if it returns something: a status, a document and headers.
        gives_refresh: whether there are refresh tokens.
        answer: changes the parameters of the redirect.
        extra: members of token answers.
    """

    def __init__(self, network: MemoryNetwork, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.metadata: Json = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
        }
        self.resource: Json = {"resource": MCP, "authorization_servers": [issuer]}
        self.documents: dict[str, tuple[int, Json]] = {}
        self.registrations: list[Json] = []
        self.logins: list[dict[str, str]] = []
        self.received: list[HttpRequest] = []
        self.requests: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.valid: dict[str, frozenset[str]] = {}
        self.refresh: dict[str, frozenset[str]] = {}
        self.lifetime: float | None = 3600
        self.delay = 0.0
        self.refuse: Callable[[dict[str, str]], tuple[int, Json, Mapping[str, str]] | None] = lambda form: (
            None
        )
        self.gives_refresh = True
        self.answer: Callable[[dict[str, str]], dict[str, str]] = lambda parameters: parameters
        self.extra: Json = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._count = 0
        parts = urlsplit(issuer)
        self._listener = network.listen(parts.hostname or "", parts.port or 80)

    async def run(self) -> None:
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, stream: trio.abc.Stream) -> None:
        await serve_http(stream, self._handle, cancel_on_disconnect=True)

    async def browse(self, url: str) -> str:
        """What a person and a browser do; where they come to."""
        query = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        self.logins.append(query)
        code = f"code-{len(self.logins)}"
        self._codes[code] = query
        parameters = self.answer({"code": code, "state": query["state"]})
        return f"{query['redirect_uri']}?{urlencode(parameters)}"

    async def _handle(self, exchange: HttpExchange) -> None:
        self.received.append(exchange.request)
        path = urlsplit(exchange.request.target).path
        self.paths.append(path)
        status = 404
        document: Json = {}
        headers: Mapping[str, str] = {}
        if path in self.documents:
            status, document = self.documents[path]
        elif path == "/prm":
            status, document = 200, self.resource
        elif path == "/.well-known/oauth-authorization-server":
            status, document = 200, self.metadata
        elif path == "/register":
            registration = json.loads(exchange.request.body)
            self.registrations.append(registration)
            name = f"client-{len(self.registrations)}"
            status, document = 201, {"client_id": name, **registration}
        elif path == urlsplit(self.metadata["token_endpoint"]).path:
            form = dict(parse_qsl(exchange.request.body.decode(), strict_parsing=True))
            self.requests.append(form)
            self.headers.append(exchange.request.headers)
            await trio.sleep(self.delay)
            status, document, headers = self.refuse(form) or (200, self._token(form), {})
            if "error" in document and status == 200:
                status = 400
        body = json.dumps(document).encode()
        await exchange.respond(status, [("content-type", "application/json"), *headers.items()], body)

    def _token(self, form: dict[str, str]) -> Json:
        scopes = frozenset(form.get("scope", "").split())
        match form["grant_type"]:
            case "authorization_code":
                login = self._codes.pop(form["code"], None)
                digest = hashlib.sha256(form["code_verifier"].encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                if login is None or login["code_challenge"] != challenge:
                    return {"error": "invalid_grant", "error_description": "the code is not good"}
                assert login["redirect_uri"] == form["redirect_uri"]
                assert login["resource"] == form["resource"] == self.resource["resource"]
                scopes = frozenset(login.get("scope", "").split())
            case "refresh_token":
                if form["refresh_token"] not in self.refresh:
                    return {"error": "invalid_grant", "error_description": "no such refresh token"}
                scopes = self.refresh.pop(form["refresh_token"])
        self._count += 1
        token: Json = {"access_token": f"token-{self._count}", "token_type": "Bearer", **self.extra}
        self.valid[token["access_token"]] = scopes
        if self.lifetime is not None:
            token["expires_in"] = self.lifetime
        if self.gives_refresh and form["grant_type"] in ("authorization_code", "refresh_token"):
            token["refresh_token"] = f"refresh-{self._count}"
            self.refresh[token["refresh_token"]] = scopes
        return token

    # The MCP server's side

    def protect(self, server: ScriptedServer) -> None:
        """Have `server` take only requests with a good token, for all methods that it has by now."""
        for method, handler in list(server.on.items()):

            def guarded(call: Call, handler: Any = handler) -> Any:
                return self.refusal(call) or handler(call)

            server.on[method] = guarded

    def refusal(self, call: Call, needed: str = "") -> CallAnswer:
        """The answer to a call without a good token; None if it has one."""
        token = call.headers.get("authorization", "").partition(" ")[2]
        if token not in self.valid:
            scope = f', scope="{needed}"' if needed else ""
            return challenge(call, 401, f'Bearer resource_metadata="{PRM}"{scope}')
        if not frozenset(needed.split()) <= self.valid[token]:
            return challenge(
                call, 403, f'Bearer error="insufficient_scope", scope="{needed}", resource_metadata="{PRM}"'
            )
        return None


def challenge(call: Call, status: int, value: str, **headers: str) -> CallAnswer:
    extra = {name.replace("_", "-"): text for name, text in headers.items()}
    return call.json({"error": "no"}, status=status, headers={"www-authenticate": value, **extra})


class World:
    """The two servers, and a person who logs in at once."""

    def __init__(self, nursery: trio.Nursery, version: str = "2026-07-28") -> None:
        self.network = MemoryNetwork()
        self.auth = AuthorizationServer(self.network)
        self.mcp = ScriptedServer(version, url=MCP, network=self.network)
        self.mcp.on["tools/call"] = lambda call: call.text("done")
        self.mcp.on["notifications/initialized"] = lambda call: None
        nursery.start_soon(self.auth.run)
        nursery.start_soon(self.mcp.run)

    def oauth(self, **options: Any) -> OAuth:
        return OAuth(**{"on_redirect": self.auth.browse, **options})

    def connect(self, **options: Any) -> Connector:
        options.setdefault("auth", self.oauth())
        return self.mcp.connect(**options)

    def tokens(self) -> list[str | None]:
        """What the MCP server was shown, call by call."""
        return [call.headers.get("authorization") for call in self.mcp.seen]


class Pages:
    """A world of documents: what `Fetcher` finds at each URL, and what it asked for."""

    def __init__(self, pages: Mapping[str, Any]) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []
        self.sent: list[tuple[str, Mapping[str, str], dict[str, list[str]]]] = []

    async def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        await trio.lowlevel.checkpoint()
        self.asked.append(url)
        if body is not None:
            self.sent.append((url, headers, parse_qs(body.decode())))
        page = self.pages.get(url, 404)
        if isinstance(page, Exception):
            raise page
        if isinstance(page, list):
            page = page.pop(0)
        if isinstance(page, int):
            return Answer(page, {}, b"")
        if isinstance(page, str):
            return Answer(302, {"location": page}, b"")
        if isinstance(page, Answer):
            return page
        return Answer(200, {}, json.dumps(page).encode())

    def fetcher(self, server: str = "https://mcp.example.com/mcp") -> Fetcher:
        return Fetcher(self, Guard(server))
