"""The world of one cell over HTTP: a server, a network in memory, and a client with something to hide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import mcp_types as types
import trio

from trio_mcp import Connector, OAuth, open_connector
from trio_mcp.http import Verify
from trio_mcp.testing import MemoryNetwork

from .faults import MAX_SIZE, SILENCE, TIMEOUT
from .oracle import Watch
from .outcomes import Attempt, attempt
from .server import ISSUER, MARK, Era, Server

__all__ = ["HOST", "PORT", "URL", "World"]

HOST: Final = "127.0.0.1"
PORT: Final = 8000
URL: Final = f"http://{HOST}:{PORT}/mcp?key=query-{MARK}"
_TOKEN: Final = f"token-{MARK}"


class World:
    """One.

    Args:
        era: the server's.
        network: what it is reached over.
        nursery: where it runs.
        watch: is told of every error that the client raises.
        oauth: whether tokens are got from the server's token endpoint.

    Attributes:
        heard: the notifications that the client's handler has got.
    """

    def __init__(
        self, era: Era, network: MemoryNetwork, nursery: trio.Nursery, watch: Watch, *, oauth: bool = False
    ) -> None:
        self.server = Server(era, wants=None if oauth else _TOKEN)
        self.network = network
        self.link = network.link(HOST, PORT)
        self.link.latency = 0.05
        self.heard: list[str] = []
        self._watch = watch
        self._oauth = oauth
        nursery.start_soon(partial(trio.serve_listeners, self.server.serve, [network.listen(HOST, PORT)]))

    def connect(self, url: str = URL, *, verify: Verify = True) -> Connector:
        """A connector whose options are those of every cell."""
        auth: Any = _TOKEN
        if self._oauth:
            auth = OAuth(
                client_id="client",
                client_secret=f"client-{MARK}",
                grant_type="client_credentials",
                issuer=ISSUER,
            )
        return open_connector(
            url,
            network=self.network,
            headers={"x-api-key": f"key-{MARK}"},
            auth=auth,
            verify=verify,
            timeout=TIMEOUT,
            sse_read_timeout=SILENCE,
            max_message_size=MAX_SIZE,
            message_handler=self._hear,
            elicitation_callback=_elicit,
            roots=[],
        )

    async def attempt(
        self, act: Callable[[], Awaitable[object]], leave_after: float | None = None
    ) -> Attempt:
        """See `outcomes.attempt`."""
        made = await attempt(act, leave_after)
        if made.error is not None:
            self._watch.errors.append(made.error)
        return made

    def tell(self, text: str) -> None:
        """A text that the client shows."""
        self._watch.texts.append(text)

    async def _hear(self, notification: types.ServerNotification) -> None:
        self.heard.append(notification.method)


async def _elicit(context: object, params: object) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "answer"})
