from __future__ import annotations

import datetime
import errno
import json
import socket
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

import trio_mcp
from trio_mcp.cli.connecting import Connecting
from trio_mcp.cli.doctor import network, server
from trio_mcp.cli.doctor.examination import examine
from trio_mcp.cli.doctor.findings import Finding, Findings
from trio_mcp.cli.targets import as_word

from ..real.children import Child, free_port, start_mcp_server
from .helpers import LEGACY, STDIO, run
from .local_servers import Handle, answer, documents, hang, serving

PATIENCE = 0.3
HTML = {"content-type": "text/html; charset=utf-8"}


async def examined(target: str, patience: float = PATIENCE, **options: Any) -> Findings:
    findings = Findings(None)
    await examine(Connecting(target, **options), findings, patience)
    return findings


def steps(findings: Findings) -> list[tuple[str, str]]:
    return [(each.step, each.state) for each in findings]


def failure(findings: Findings) -> Finding:
    """The last step, which is the one that failed."""
    assert findings.failure is findings[-1]
    return findings[-1]


# The command


@pytest.mark.real
def test_a_healthy_server(full_server: Child) -> None:
    result = run("doctor", full_server.url)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"ok     address       {full_server.url}"
    assert any(
        line.startswith("ok     MCP           real 1.0, protocol version 2026-07-28") for line in lines
    )
    assert any(line.startswith("ok     tools         20 (") for line in lines)
    assert lines[-2:] == ["", "It works."]


@pytest.mark.real
def test_a_legacy_server_for_machines(full_server: Child) -> None:
    result = run("doctor", full_server.url, "--json", *LEGACY)
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["ok"]) == (0, True)
    found = {each["step"]: each for each in shown["steps"]}
    assert "2025-11-25" in found["MCP"]["text"]
    assert found["prompts"]["text"] == "1"
    assert found["latency"]["milliseconds"] > 0
    assert "milliseconds" not in found["address"]


def test_a_server_that_is_down() -> None:
    port = free_port()
    result = run("doctor", f"http://127.0.0.1:{port}/mcp")
    assert result.exit_code == 3
    assert f"What is wrong: nothing listens at port {port} of 127.0.0.1\n" in result.stdout
    assert "What to do: start the server, or look at the port again" in result.stdout
    shown = json.loads(run("doctor", f"http://127.0.0.1:{port}/mcp", "--json").stdout)
    assert shown["ok"] is False
    assert shown["steps"][-1]["advice"].startswith("start the server")


@pytest.mark.real
def test_http_and_sse_is_told_to_be_old() -> None:
    child = start_mcp_server("--sse")
    try:
        result = run("doctor", child.url)
    finally:
        child.stop()
    assert result.exit_code == 0
    assert "note   MCP           real 1.0, protocol version 2025-11-25, over sse" in result.stdout
    assert "It works.\nWhat to do: HTTP+SSE is of 2024-11-05 and deprecated" in result.stdout


def test_a_target_that_is_none() -> None:
    assert run("doctor", "ftp://a.example").exit_code == 2


@pytest.mark.real
def test_an_option_that_cannot_work_is_no_finding(full_server: Child) -> None:
    result = run("doctor", full_server.url, "--protocol-version", "1")
    assert result.exit_code == 2
    assert "protocol_version must be" in result.stderr


# Names and ports


class Resolver(trio.abc.HostnameResolver):
    """Knows the addresses of every name, or raises."""

    def __init__(self, *addresses: str, error: int | None = None) -> None:
        self.addresses = addresses
        self.error = error

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if self.error is not None:
            raise socket.gaierror(self.error, "no")
        if not self.addresses:
            await trio.sleep_forever()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, port)) for each in self.addresses]

    async def getnameinfo(self, *arguments: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("resolver", "text"),
    [
        (Resolver(error=socket.EAI_NONAME), "there is no host nowhere.example"),
        (Resolver(error=socket.EAI_AGAIN), "the name server did not tell about nowhere.example"),
        (Resolver(), "no name server has answered within 0.3 s"),
    ],
)
async def test_a_name_that_leads_nowhere(resolver: Resolver, text: str) -> None:
    trio.socket.set_custom_hostname_resolver(resolver)
    findings = await examined("https://nowhere.example/mcp")
    found = failure(findings)
    assert (found.step, found.text, found.code) == ("name (DNS)", text, 3)
    assert found.advice


async def test_a_name_that_cannot_be_one() -> None:
    findings = Findings(None)
    assert not await network.check_name(findings, "a" * 64 + ".example", 80, PATIENCE)
    assert "cannot be the name of a host" in failure(findings).text


async def test_a_name_of_which_one_address_is_dead() -> None:
    async with serving(answer(404)) as port:
        trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.1", "127.0.0.2", "127.0.0.1"))
        findings = await examined(f"http://localhost:{port}/mcp")
    assert findings[1].text == "localhost is 127.0.0.1, 127.0.0.2"
    assert (findings[2].state, findings[2].text) == (
        "note",
        f"port {port} answers at 127.0.0.1, but not at 127.0.0.2",
    )


async def test_a_port_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*arguments: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("trio.open_tcp_stream", nothing)
    found = failure(await examined("http://127.0.0.1:9/mcp"))
    assert (found.text, found.code) == ("127.0.0.1 does not answer at port 9 within 0.3 s", 3)


async def test_a_network_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*arguments: object) -> None:
        raise OSError("all attempts failed") from OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("trio.open_tcp_stream", unreachable)
    found = failure(await examined("http://127.0.0.1:9/mcp"))
    assert found.text == "port 9 of 127.0.0.1 cannot be reached: Network is unreachable"


async def test_a_proxy_makes_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    findings = await examined("http://a.example/mcp")
    assert steps(findings)[:3] == [("address", "note"), ("proxy", "note"), ("HTTP", "note")]
    assert findings[0].text == "http://a.example/mcp: not encrypted"
    assert failure(findings).step == "MCP"


# TLS


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def soon(**days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(**days)


async def test_a_certificate_that_is_good(authority: trustme.CA, trusted: str) -> None:
    certificate = authority.issue_cert("127.0.0.1", not_after=soon(days=100.5))
    async with serving(answer(200, HTML), certificate) as port:
        findings = await examined(f"https://127.0.0.1:{port}/mcp", ca=trusted)
    assert ("TLS", "ok") in steps(findings)
    assert findings[2].text == "TLSv1.3, with a certificate that is good for 100 days"


async def test_a_certificate_that_ends_soon(authority: trustme.CA, trusted: str) -> None:
    certificate = authority.issue_cert("127.0.0.1", not_after=soon(days=2.5))
    async with serving(answer(200, HTML), certificate) as port:
        findings = await examined(f"https://127.0.0.1:{port}/mcp", ca=trusted)
    assert (findings[2].state, findings[2].advice) == ("note", "renew the server's certificate")


async def test_a_certificate_that_is_not_checked(authority: trustme.CA) -> None:
    async with serving(answer(200, HTML), authority.issue_cert("127.0.0.1")) as port:
        findings = await examined(f"https://127.0.0.1:{port}/mcp", insecure=True)
    assert findings[2].text == "TLSv1.3, with a certificate that was not checked"


async def test_an_authority_that_nobody_knows(authority: trustme.CA) -> None:
    async with serving(answer(200, HTML), authority.issue_cert("127.0.0.1")) as port:
        found = failure(await examined(f"https://127.0.0.1:{port}/mcp"))
    assert (found.step, found.code) == ("TLS", 3)
    assert found.text.startswith(
        "the certificate is not trusted: no authority that this machine knows vouches for it (it is for "
    )
    assert "--ca FILE" in (found.advice or "")


async def test_a_certificate_for_another_name(authority: trustme.CA, trusted: str) -> None:
    async with serving(answer(200, HTML), authority.issue_cert("other.example")) as port:
        found = failure(await examined(f"https://127.0.0.1:{port}/mcp", ca=trusted))
    assert "(it is for other.example, by " in found.text
    assert found.advice == "use the name that the certificate is for, or have one made for this name"


async def test_a_certificate_that_has_expired(authority: trustme.CA, trusted: str) -> None:
    certificate = authority.issue_cert("127.0.0.1", not_before=soon(days=-9), not_after=soon(days=-1))
    async with serving(answer(200, HTML), certificate) as port:
        found = failure(await examined(f"https://127.0.0.1:{port}/mcp", ca=trusted))
    assert "certificate has expired" in found.text
    assert (found.advice or "").startswith("renew the server's certificate")


async def test_a_port_without_tls() -> None:
    async with serving(answer(200)) as port:
        found = failure(await examined(f"https://127.0.0.1:{port}/mcp"))
    assert (found.step, found.text) == ("TLS", f"port {port} does not speak TLS")


@pytest.mark.parametrize("closes", [True, False])
async def test_a_port_that_says_nothing_or_hangs_up(nursery: trio.Nursery, closes: bool) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        if not closes:
            await trio.sleep_forever()
        await stream.receive_some()
        await stream.aclose()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    found = failure(await examined(f"https://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"))
    assert found.step == "TLS"
    assert found.text.startswith("no TLS: " if closes else "no TLS handshake within 0.3 s")


class OddCertificate(trustme.LeafCert):
    """One for a kind of name that nobody reads (RFC 5280, 4.2.1.6, ediPartyName)."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "odd.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
        party = bytes.fromhex("3007a505a1030c0161")
        names = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, party)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, soon(days=-1), soon(days=1))
            .add_extension(names, critical=False)
            .sign(key, hashes.SHA256())
        )
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self._file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, *form)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )

    def configure_cert(self, ctx: Any) -> None:
        ctx.load_cert_chain(self._file)


async def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    async with serving(answer(200), OddCertificate(tmp_path)) as port:
        found = failure(await examined(f"https://127.0.0.1:{port}/mcp"))
    assert found.text == "the certificate is not trusted: it vouches for itself (self-signed)"


async def test_a_certificate_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*arguments: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(network, "dial", refuse)
    assert await network._certificate("127.0.0.1", 1, PATIENCE) == ""


async def test_a_certificate_that_is_not_shown_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(*arguments: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(network, "dial", wait)
    assert await network._certificate("127.0.0.1", 1, 0.01) == ""


# HTTP, and what is not MCP


@pytest.mark.parametrize(
    ("handle", "http", "text", "code"),
    [
        (
            answer(200, {**HTML, "server": "nginx"}, b"<title>Hello &amp;\n you</title>"),
            "200 OK, an HTML page, 'Hello & you', server nginx",
            "there is a web page, 'Hello & you', at this address, and no MCP endpoint",
            5,
        ),
        (
            answer(200, HTML, b"<h1>Hello</h1>"),
            "200 OK, an HTML page",
            "there is a web page at this address, and no MCP endpoint",
            5,
        ),
        (
            answer(200, HTML, b"<title>" * 9000),  # by a regular expression of it all, ten seconds
            "200 OK, an HTML page",
            "there is a web page at this address, and no MCP endpoint",
            5,
        ),
        (
            answer(501, HTML, b"<title>Not here</title>"),
            "501 Not Implemented, an HTML page, 'Not here'",
            "there is no MCP endpoint at this address (HTTP 501)",
            1,
        ),
        (
            answer(404, HTML, b"<title>Not here</title>"),
            "404 Not Found, an HTML page, 'Not here'",
            "there is no MCP endpoint at this address (HTTP 404)",
            1,
        ),
        (
            answer(200, {"content-type": "application/json"}, b"{}"),
            "application/json",
            "does not speak MCP",
            5,
        ),
        (answer(503, {"retry-after": "7"}), "503", "the server, or a proxy before it, fails: HTTP 503", 1),
        (answer(429, {"retry-after": "7"}), "429", "the server is asked too much (HTTP 429)", 1),
        (answer(499), "a GET is answered by 499", "HTTP 499", 1),
        (
            answer(307, {"location": "https://b.example/mcp"}),
            "307 Temporary Redirect",
            "the server sends on to https://b.example/mcp",
            1,
        ),
    ],
)
async def test_what_is_no_mcp_server(handle: Handle, http: str, text: str, code: int) -> None:
    async with serving(handle) as port:
        findings = await examined(f"http://127.0.0.1:{port}/mcp", token="t")
    assert http in findings[2].text
    found = failure(findings)
    assert text in found.text
    assert (found.step, found.code) == ("MCP", code)


async def test_a_server_that_hangs() -> None:
    async with serving(hang) as port:
        findings = await examined(f"http://127.0.0.1:{port}/mcp")
    assert steps(findings)[2] == ("HTTP", "note")
    found = failure(findings)
    assert found.text == "it takes connections, but does not answer MCP: no handshake within 0.6 s"
    assert found.code == 3


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, [listener])
        findings = await examined(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp")
        nursery.cancel_scope.cancel()
    assert steps(findings)[2] == ("HTTP", "note")
    assert failure(findings).text.startswith("the connection was lost: ")


# Authorization


def protected(**metadata: Any) -> Handle:
    """A server that wants OAuth, and is its own authorization server."""

    async def handle(exchange: Any) -> None:
        origin = f"http://{exchange.request.headers['host']}"
        pages = {
            "/.well-known/oauth-protected-resource/mcp": {
                "resource": f"{origin}/mcp",
                "authorization_servers": [origin],
                "scopes_supported": ["use", "see"],
            },
            "/.well-known/oauth-authorization-server": {
                "issuer": origin,
                "authorization_endpoint": f"{origin}/authorize",
                "token_endpoint": f"{origin}/token",
                **{name: f"{origin}{path}" for name, path in metadata.items()},
            },
        }
        await documents(pages, answer(401, {"www-authenticate": "Bearer"}))(exchange)

    return handle


async def test_a_server_that_wants_a_login() -> None:
    async with serving(protected(registration_endpoint="/register")) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        found = failure(await examined(url))
    assert (found.step, found.code) == ("authorization", 4)
    assert found.text == f"the server wants credentials: OAuth, at http://127.0.0.1:{port}, scopes see use"
    assert found.advice == f"log in: `trio-mcp login {url}`"


async def test_a_server_that_refuses_a_token() -> None:
    async with serving(protected()) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        found = failure(await examined(url, token="old"))
    assert found.text.startswith("the server does not take the credentials that it was given: OAuth")
    assert (found.advice or "").startswith(f"log in again: `trio-mcp login {url}` --client-id ID")


@pytest.mark.parametrize("scheme", ["Basic realm=x", ""])
async def test_a_server_that_wants_something_else_than_oauth(scheme: str) -> None:
    refusal = answer(401, {"www-authenticate": scheme} if scheme else {})
    async with serving(documents({}, refusal)) as port:
        found = failure(await examined(f"http://127.0.0.1:{port}/mcp", header=["Authorization: Basic eDp5"]))
    named = " (basic)" if scheme else ""
    assert found.text == (
        f"the server does not take the credentials that it was given{named}, and has no OAuth that could be "
        "used: it publishes nothing about an authorization server"
    )
    assert "ask its owner for a token" in (found.advice or "")


async def test_a_server_that_knows_us_and_says_no() -> None:
    async with serving(answer(403)) as port:
        found = failure(await examined(f"http://127.0.0.1:{port}/mcp"))
    assert found.text == "the server knows who asks, and does not let them in (HTTP 403)"


async def test_a_websocket_that_is_refused() -> None:
    async with serving(answer(403)) as port:
        findings = await examined(f"ws://127.0.0.1:{port}/mcp")
    assert ("HTTP", "ok") not in steps(findings)
    assert failure(findings).text == "the WebSocket handshake is refused (HTTP 403)"


# Programs


@pytest.mark.real
async def test_a_program_that_works() -> None:
    findings = await examined(as_word(STDIO), patience=10)
    assert findings[0].text == sys.executable
    assert findings.failure is None


async def test_a_program_that_is_not_there() -> None:
    found = failure(await examined(as_word(["no-such-program"])))
    assert (found.step, found.text, found.code) == ("program", "there is no program 'no-such-program'", 3)
    assert (found.advice or "").startswith("install it")


async def test_a_whole_command_in_the_place_of_the_program() -> None:
    found = failure(await examined(as_word(["python server.py"])))
    assert (found.advice or "").startswith("its arguments are words of their own")


async def test_a_program_that_dies() -> None:
    findings = await examined(as_word([sys.executable, "-c", "import sys; sys.exit('no key')"]), patience=10)
    found = failure(findings)
    assert found.text == "the server exited with code 1; the last it wrote to stderr: no key"
    assert (found.advice or "").startswith("run the command by hand")


async def test_a_directory_that_is_not_there() -> None:
    entry = {"command": sys.executable, "cwd": "/nothing/here"}
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"a": entry}}))
    assert failure(await examined("a")).text == "there is no directory /nothing/here"


async def test_a_name_of_a_configuration_is_shown() -> None:
    port = free_port()
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"a": {"url": f"http://127.0.0.1:{port}/mcp"}}}))
    assert (await examined("a"))[0].text == f"http://127.0.0.1:{port}/mcp, by the name a"


# What a server offers


class Faulty:
    """A connector whose lists fail."""

    protocol_version = "2026-07-28"
    server_info: types.Implementation | None = None
    transport = "memory"
    server_capabilities = types.ServerCapabilities.model_validate(
        {"tools": {}, "resources": {}, "prompts": {}, "extensions": {"x/y": {}}}
    )

    async def list_tools(self) -> list[object]:
        raise trio_mcp.MCPError(-1, "no tools today")

    async def list_resources(self) -> list[object]:
        raise trio_mcp.Stalled("nothing came")

    async def list_resource_templates(self) -> list[object]:
        return []

    async def list_prompts(self) -> list[object]:
        await trio.sleep_forever()
        raise AssertionError

    async def request(self, *arguments: object) -> None:
        raise trio_mcp.MCPError(-1, "no")


async def test_lists_that_fail(autojump_clock: trio.testing.MockClock) -> None:
    findings = Findings(None)
    await server.check_offer(findings, Faulty(), 5)  # type: ignore[arg-type]
    assert [(each.step, each.state, each.text, each.code) for each in findings] == [
        ("tools", "failed", "no tools today", 6),
        ("resources", "failed", "nothing came", 1),
        ("templates", "ok", "none", 1),
        ("prompts", "failed", "no answer within 5 s", 1),
        ("further", "ok", "x/y", 1),
    ]


async def test_a_server_that_offers_nothing() -> None:
    bare = Faulty()
    bare.server_capabilities = types.ServerCapabilities()
    findings = Findings(None)
    await server.check_offer(findings, bare, 5)  # type: ignore[arg-type]
    assert findings == []


class FaultySession:
    connector = Faulty()


async def test_a_ping_that_fails() -> None:
    findings = Findings(None)
    await server.check_speed(findings, FaultySession(), 5)  # type: ignore[arg-type]
    assert findings[0].text == "server/discover is not answered: no"


async def test_a_ping_that_is_not_answered(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def never(session: object) -> float:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(server, "pinged", never)
    findings = Findings(None)
    await server.check_speed(findings, FaultySession(), 5)  # type: ignore[arg-type]
    assert (findings[0].state, findings[0].text) == ("note", "no answer within 5 s")


def test_a_server_without_a_name() -> None:
    findings = Findings(None)
    server.tell_server(findings, Faulty(), 1)  # type: ignore[arg-type]
    assert findings[0].text == "a server without a name, protocol version 2026-07-28, over memory"


# What is shown


@pytest.fixture
def shown(make_console: Any) -> tuple[Findings, Any]:
    console, file = make_console(terminal=True)
    return Findings(console), file


def test_nothing_of_a_server_steers_the_terminal(shown: tuple[Findings, Any]) -> None:
    findings, file = shown
    findings.add("MCP", "failed", "a\x1b[2J\nb", 0.5, "do [red]this\x9b", 5)
    findings.conclude()
    assert file.getvalue().splitlines() == [
        "FAILED MCP           a\\x1b[2J b (500 ms)",
        "",
        "What is wrong: a\\x1b[2J b",
        "What to do: do [red]this\\x9b",
    ]


def test_notes_are_no_reason_of_a_failure(shown: tuple[Findings, Any]) -> None:
    findings, file = shown
    findings.add("address", "note", "http", None, "use https")
    findings.add("port", "failed", "closed")
    findings.conclude()
    assert "https" not in file.getvalue()
    assert findings.code == 1
