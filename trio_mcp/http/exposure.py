"""What the log is told of a connection that others could listen to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import httpx2

from ..auth.config import is_loopback
from ..network import Network, TcpNetwork
from .response import SECRET_HEADER
from .setup import Verify

__all__ = ["warn_if_exposed"]

logger: Final = logging.getLogger("trio_mcp")


def warn_if_exposed(
    server: str,
    url: httpx2.URL,
    verify: Verify,
    network: Network | None,
    headers: Mapping[str, str],
    *,
    authorized: bool,
) -> None:
    """Warn of a certificate that is not checked, and of credentials that go over the wire as they are.

    What stays on this machine is no such thing, and a network of the program's own is its own affair.

    Args:
        server: how it is called.
        url: where it is reached.
        verify: how its certificate is checked.
        network: what dials; None for the operating system's network.
        headers: what is sent with each request, names in lower case.
        authorized: whether more is sent that says who we are.
    """
    if is_loopback(url.host) or not isinstance(network, TcpNetwork | None):
        return
    if url.scheme == "https" and verify is False:
        logger.warning(
            "the certificate of %s is not checked (verify=False): anybody on the way can pass for that "
            "server",
            server,
        )
    if url.scheme == "http" and (authorized or any(map(SECRET_HEADER.search, headers))):
        logger.warning(
            "credentials go to %s without TLS: anybody on the way can read them, and use them", server
        )
