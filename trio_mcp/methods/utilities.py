"""What keeps a connection in order: signs of life, and how much the server logs."""

from __future__ import annotations

import mcp_types as types
import trio

from ..protocol.versions import is_modern
from .base import Requester

__all__ = ["UtilityMethods"]


class UtilityMethods(Requester):
    """`ping` and `set_logging_level`."""

    async def ping(self) -> None:
        """Ask the server for a sign of life. Legacy versions only (2511/basic/utilities/ping).

        Raises:
            UnsupportedFeature: the negotiated version has no such method.
        """
        await self.request("ping", None, types.EmptyResult)

    async def set_logging_level(self, level: types.LoggingLevel) -> None:
        """Have the server send log messages of `level` and above to `logging_callback`.

        A legacy server is told at once (2511/server/utilities/logging). A modern one is told by each request
        from now on, and sends what belongs to that request (26/server/utilities/logging).
        """
        if is_modern(self.protocol_version):
            self._live().session.log_level = level
            await trio.lowlevel.checkpoint()
        else:
            await self.request("logging/setLevel", {"level": level}, types.EmptyResult)
