"""The way to a server, below MCP: its name, its port, its certificate."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio

from ...http.failures import root_cause
from ...network import TcpNetwork, close_at_once, dial
from .findings import Findings, Stopwatch

__all__ = ["check_name", "check_port", "check_tls"]

_CODE: Final = 3
_EXPIRES_SOON: Final = 14 * 24 * 3600.0
_UNKNOWN: Final = "no authority that this machine knows vouches for it"
_PLAIN: Final = {
    "unable to get local issuer certificate": _UNKNOWN,
    "self-signed certificate in certificate chain": _UNKNOWN,
    "self-signed certificate": "it vouches for itself (self-signed)",
}
"""What OpenSSL says, in other words."""


async def check_name(findings: Findings, host: str, port: int, patience: float) -> Sequence[str]:
    """The addresses of `host`; none if it has none."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    watch = Stopwatch()
    found = None
    try:
        with trio.move_on_after(patience):
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        if exc.errno == socket.EAI_AGAIN:
            text, advice = f"the name server did not tell about {host}", "is this machine online?"
        else:
            text = f"there is no host {host}"
            advice = (
                "look at the name again; if it is new, or of a private network, does the name server know it?"
            )
        findings.add("name (DNS)", "failed", text, watch.seconds, advice, _CODE)
        return []
    except UnicodeError:
        findings.add("name (DNS)", "failed", f"{host} cannot be the name of a host", None, None, _CODE)
        return []
    if found is None:
        text = f"no name server has answered within {patience:g} s"
        findings.add("name (DNS)", "failed", text, watch.seconds, "is this machine online?", _CODE)
        return []
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    findings.add("name (DNS)", "ok", f"{host} is {', '.join(addresses)}", watch.seconds)
    return addresses


async def check_port(
    findings: Findings, host: str, addresses: Sequence[str], port: int, patience: float
) -> bool:
    """Whether one of the addresses takes connections; each is tried, all at once."""
    watch = Stopwatch()
    failures: dict[str, OSError | None] = {}
    reached: list[str] = []

    async def knock(address: str) -> None:
        try:
            with trio.move_on_after(patience) as scope:
                stream = await trio.open_tcp_stream(address, port)
                reached.append(address)
                await close_at_once(stream)
        except OSError as exc:
            failures[address] = exc
        else:
            if scope.cancelled_caught:
                failures[address] = None

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(knock, address)
    step = "port (TCP)"
    if not reached:
        text, advice = _unreached(host, port, list(failures.values()), patience)
        return findings.add(step, "failed", text, watch.seconds, advice, _CODE)
    if failures:
        text = f"port {port} answers at {', '.join(reached)}, but not at {', '.join(failures)}"
        advice = (
            "some clients try the dead address first: have the server listen there, or take it from the name"
        )
        return findings.add(step, "note", text, watch.seconds, advice)
    return findings.add(step, "ok", f"port {port} takes connections", watch.seconds)


def _unreached(host: str, port: int, failures: Sequence[OSError | None], patience: float) -> tuple[str, str]:
    if None in failures:
        return (
            f"{host} does not answer at port {port} within {patience:g} s",
            "is it switched on, and does a firewall let this port through? is the port right?",
        )
    reasons = [_innermost(exc) for exc in failures if exc is not None]
    if any(exc.errno == errno.ECONNREFUSED for exc in reasons):
        return (
            f"nothing listens at port {port} of {host}",
            "start the server, or look at the port again; a server in a container must publish it",
        )
    return (
        f"port {port} of {host} cannot be reached: {reasons[0].strerror}",
        "is this machine on that network?",
    )


def _innermost(exc: OSError) -> OSError:
    inner = exc.__cause__
    if isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return _innermost(inner) if isinstance(inner, OSError) else exc


async def check_tls(
    findings: Findings, host: str, port: int, context: Callable[[], ssl.SSLContext], patience: float
) -> bool:
    """Whether the server proves who it is."""
    watch = Stopwatch()
    stream = None
    try:
        with trio.move_on_after(patience):
            stream = await dial(TcpNetwork(), host, port, context())
    except (OSError, trio.BrokenResourceError) as exc:
        text, advice = await _untrusted(exc, host, port, patience)
        return findings.add("TLS", "failed", text, watch.seconds, advice, _CODE)
    if stream is None:
        text = f"no TLS handshake within {patience:g} s"
        advice = "does the port speak TLS at all? else the URL begins with http://"
        return findings.add("TLS", "failed", text, watch.seconds, advice, _CODE)
    seconds = watch.seconds
    assert isinstance(stream, trio.SSLStream)
    version, certificate = stream.version(), stream.getpeercert() or {}
    await close_at_once(stream)
    if not certificate:
        return findings.add("TLS", "note", f"{version}, with a certificate that was not checked", seconds)
    left = ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()
    text = f"{version}, with a certificate that is good for {left / 86400:.0f} days"
    if left < _EXPIRES_SOON:
        return findings.add("TLS", "note", text, seconds, "renew the server's certificate")
    return findings.add("TLS", "ok", text, seconds)


async def _untrusted(exc: Exception, host: str, port: int, patience: float) -> tuple[str, str]:
    """Why there is no TLS, and what to do."""
    cause = exc.__cause__
    if not isinstance(cause, ssl.SSLCertVerificationError):
        text = f"no TLS: {root_cause(exc)}"
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return (
                f"port {port} does not speak TLS",
                "the URL begins with http:// then, or the port is another",
            )
        return text, "is it the right port? what does the server's log say?"
    shown = await _certificate(host, port, patience)
    why = cause.verify_message.rstrip(".")
    text = f"the certificate is not trusted: {_PLAIN.get(why, why)}{shown}"
    if "expired" in why or "not yet valid" in why:
        return text, "renew the server's certificate; or is the clock of this machine wrong?"
    if "mismatch" in why:
        return text, "use the name that the certificate is for, or have one made for this name"
    return text, "if you trust who made it, give their certificate: --ca FILE (verify= in a program)"


async def _certificate(host: str, port: int, patience: float) -> str:
    """Whose certificate it is that was not trusted, in brackets."""
    from cryptography import x509

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with trio.move_on_after(patience):
            stream = await dial(TcpNetwork(), host, port, context)
            assert isinstance(stream, trio.SSLStream)
            content = stream.getpeercert(binary_form=True)
            await close_at_once(stream)
            found = x509.load_der_x509_certificate(content)
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            shown = ", ".join(str(each.value) for each in names)
            return f" (it is for {shown}, by {found.issuer.rfc4514_string()})"
    except Exception:  # whatever it is that a server shows: x509 has an exception for each kind of nonsense
        pass
    return ""
